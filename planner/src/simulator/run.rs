//! Many identical steps as one event: the reason for the speed.
//!
//! While the same sequences share each step, step i (from 0) takes first + i · growth seconds, since every sequence's
//! context grows by its tokens a step. The time of k steps is then a formula, and so is the step in progress at a time.

/// Steps planned ahead on one replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    /// When the first step starts, seconds.
    pub(crate) start: f64,
    /// Steps.
    pub(crate) steps: u64,
    /// Seconds of the first step.
    pub(crate) first: f64,
    /// Seconds by which each step is longer than the one before.
    pub(crate) growth: f64,
    /// Whether a request that arrives now would join the next step.
    pub(crate) joinable: bool,
    /// Prompt tokens each step works on, all of the first prompt; 0 where the run has none, or is a single mixed step.
    pub(crate) head_tokens: u64,
    /// Sequences that decode in each step.
    pub(crate) decoding: u64,
    /// Sequences in each step, prompts included.
    pub(crate) occupancy: u64,
}

impl Run {
    /// Seconds of the first `steps` steps: k·first + growth·k(k−1)/2.
    pub(crate) fn seconds_of(&self, steps: u64) -> f64 {
        let k = steps as f64;
        k * self.first + self.growth * (k * (k - 1.0) / 2.0)
    }

    /// When the last step ends.
    pub(crate) fn end(&self) -> f64 {
        self.start + self.seconds_of(self.steps)
    }

    /// Steps up to the end of the one in progress at `time`; a step that ends at `time` is over.
    pub(crate) fn steps_by(&self, time: f64) -> u64 {
        let x = time - self.start;
        if x <= 0.0 {
            return 1;
        }
        let linear = self.first - self.growth / 2.0;
        // growth/2·k² + linear·k = x, in the form that does not cancel.
        let root = 2.0 * x / (linear + (linear * linear + 2.0 * self.growth * x).sqrt());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count from 0; a float cast saturates"
        )]
        let mut steps = (root.ceil() as u64).clamp(1, self.steps);
        // The root is rounded: at most a step off.
        while steps > 1 && self.seconds_of(steps - 1) >= x {
            steps -= 1;
        }
        while steps < self.steps && self.seconds_of(steps) < x {
            steps += 1;
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_step_in_progress_is_the_one_found_by_counting(
            steps in 1u64..400, first in 0.001f64..1.0, growth in prop_oneof![Just(0.0), 0.0f64..0.01], share in 0.0f64..1.0,
        ) {
            let run = Run { start: 5.0, steps, first, growth, joinable: true, head_tokens: 0, decoding: 1, occupancy: 1 };
            let time = 5.0 + share * run.seconds_of(steps);
            let (mut elapsed, mut counted) = (0.0, 0);
            while counted < steps && (counted == 0 || elapsed < time - 5.0 - 1e-9) {
                elapsed += first + growth * counted as f64;
                counted += 1;
            }
            prop_assert!((run.seconds_of(counted) - elapsed).abs() < 1e-6);
            let found = run.steps_by(time);
            prop_assert!(found.abs_diff(counted) <= u64::from((elapsed - (time - 5.0)).abs() < 1e-6 || share < 1e-9), "{found} {counted}");
        }
    }
}
