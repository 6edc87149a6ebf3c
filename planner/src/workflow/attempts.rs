//! Attempts of a call: closed forms of a retry policy.

/// Failing shares of attempts, and the policy. Attempts are taken to fail independently of each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempts {
    /// Share of attempts that fail and may be tried again.
    pub retried: f64,
    /// Share of attempts that fail and may not.
    pub lost: f64,
    /// Retries, at most.
    pub most: u32,
}

impl Attempts {
    /// No attempt fails.
    pub const SURE: Self = Self { retried: 0.0, lost: 0.0, most: 0 };

    /// Attempts of a call: 1 + q + … + q^most, with q the share that is tried again.
    pub fn mean(&self) -> f64 {
        let last = f64::from(self.most) + 1.0;
        if self.retried >= 1.0 { last } else { (1.0 - self.retried.powf(last)) / (1.0 - self.retried) }
    }

    /// Share of calls that succeed at some attempt: (1 − q − n) · attempts.
    pub fn success(&self) -> f64 {
        ((1.0 - self.retried - self.lost).max(0.0) * self.mean()).clamp(0.0, 1.0)
    }

    /// Share of calls that make at least `retry` retries, counted from 1: q^retry.
    pub fn reaches(&self, retry: u32) -> f64 {
        if retry > self.most { 0.0 } else { self.retried.powf(f64::from(retry)) }
    }
}

/// Calls of a visit, which may be a broken number: 2.3 is three calls for 30 % of visits, else two.
pub fn all_succeed(calls: f64, success: f64) -> f64 {
    let (whole, part) = (calls.floor(), calls.fract());
    success.powf(whole) * (1.0 - part + part * success)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attempts_by_hand() {
        // 0.2 fail and are tried again, twice at most: 1 + 0.2 + 0.04; 0.008 of calls fail three times.
        let policy = Attempts { retried: 0.2, lost: 0.0, most: 2 };
        assert!((policy.mean() - 1.24).abs() < 1e-12);
        assert!((policy.success() - 0.992).abs() < 1e-12);
        assert!((policy.reaches(2) - 0.04).abs() < 1e-12 && policy.reaches(3).abs() < 1e-12);
        let never = Attempts { retried: 1.0, lost: 0.0, most: 4 };
        assert!((never.mean() - 5.0).abs() < 1e-12 && never.success().abs() < 1e-12);
        // Without retries, what fails is lost.
        let once = Attempts { retried: 0.0, lost: 0.3, most: 7 };
        assert!((once.mean() - 1.0).abs() < 1e-12 && (once.success() - 0.7).abs() < 1e-12);
        assert!((all_succeed(2.3, 0.5) - (0.7 * 0.25 + 0.3 * 0.125)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_closed_forms_are_the_sums(retried in 0.0..1.0_f64, share in 0.0..1.0_f64, most in 0_u32..8) {
            let policy = Attempts { retried, lost: (1.0 - retried) * share, most };
            let (mut reach, mut attempts, mut success) = (1.0, 0.0, 0.0);
            for _ in 0..=most {
                attempts += reach;
                success += reach * (1.0 - policy.retried - policy.lost);
                reach *= policy.retried;
            }
            prop_assert!((policy.mean() - attempts).abs() < 1e-9);
            prop_assert!((policy.success() - success).abs() < 1e-9);
            let retries: f64 = (1..=most).map(|retry| policy.reaches(retry)).sum();
            prop_assert!((policy.mean() - 1.0 - retries).abs() < 1e-9);
        }
    }
}
