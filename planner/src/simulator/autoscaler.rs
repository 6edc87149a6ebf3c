//! How many replicas to want.

use std::collections::VecDeque;

use super::settings::{Autoscaler, ScaleOn};

/// What the autoscaler looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) now: f64,
    /// Replicas that serve.
    pub(crate) ready: u32,
    /// Replicas that serve or will.
    pub(crate) present: u32,
    /// Busy share of the ready replicas since the last look.
    pub(crate) utilization: f64,
    /// Requests waiting.
    pub(crate) queued: f64,
    /// Requests waiting and running.
    pub(crate) outstanding: f64,
}

/// HPA's rule with its memory.
#[derive(Debug, Clone)]
pub(crate) struct Scaling {
    policy: Autoscaler,
    recent: VecDeque<(f64, u32)>,
}

/// HPA's default tolerance.
const TOLERANCE: f64 = 0.1;

impl Scaling {
    pub(crate) fn new(policy: Autoscaler) -> Self {
        Self { policy, recent: VecDeque::new() }
    }

    /// Replicas to have after this look.
    pub(crate) fn wanted(&mut self, look: Look) -> u32 {
        let ready = f64::from(look.ready.max(1));
        let ratio = match self.policy.on {
            ScaleOn::Utilization(target) => look.utilization / target,
            ScaleOn::Queue(target) => look.queued / ready / target,
            ScaleOn::Concurrency(target) => look.outstanding / ready / target,
        };
        let recommended = if (ratio - 1.0).abs() <= TOLERANCE {
            look.present
        } else {
            whole((ready * ratio - 1e-9).ceil())
        };
        let recommended = recommended.clamp(self.policy.min, self.policy.max);
        self.recent.push_back((look.now, recommended));
        while self.recent.front().is_some_and(|(at, _)| *at < look.now - self.policy.cool_down_seconds) {
            self.recent.pop_front();
        }
        if recommended >= look.present {
            return recommended;
        }
        // Down only to the most that was wanted of late, and never up by this.
        self.recent.iter().map(|(_, n)| *n).max().unwrap_or(recommended).min(look.present)
    }
}

fn whole(value: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped; a float cast saturates"
    )]
    let whole = value.max(0.0) as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(now: f64, present: u32, utilization: f64) -> Look {
        Look { now, ready: present, present, utilization, queued: 0.0, outstanding: 0.0 }
    }

    fn policy() -> Autoscaler {
        Autoscaler {
            on: ScaleOn::Utilization(0.5),
            every_seconds: 15.0,
            cool_down_seconds: 60.0,
            min: 1,
            max: 10,
        }
    }

    #[test]
    fn up_at_once_and_down_after_the_cool_down() {
        let mut scaling = Scaling::new(policy());
        assert_eq!(scaling.wanted(look(0.0, 4, 0.8)), 7, "ceil(4 · 0.8 / 0.5)");
        assert_eq!(scaling.wanted(look(15.0, 7, 0.1)), 7, "7 was wanted within the last minute");
        assert_eq!(scaling.wanted(look(61.0, 7, 0.1)), 2, "only 2 was wanted since");
        assert_eq!(scaling.wanted(look(200.0, 7, 0.1)), 2);
    }

    #[test]
    fn within_a_tenth_nothing_moves_and_limits_hold() {
        let mut scaling = Scaling::new(policy());
        assert_eq!(scaling.wanted(look(0.0, 4, 0.54)), 4);
        assert_eq!(scaling.wanted(look(0.0, 9, 1.0)), 10);
    }
}
