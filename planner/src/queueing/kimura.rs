//! M/G/c: waits from the mean and the variability of the service time.
//!
//! The mean is T. Kimura's two-moment interpolation between M/M/c and M/D/c (*A two-moment approximation for the mean
//! waiting time in the GI/G/s queue*, Management Science 32, 1986; exact for M/M/c and M/G/1), with G. P. Cosmetatos'
//! M/D/c (*Some approximate equilibrium results for the multi-server queue M/G/r*, Operational Research Quarterly 27, 1976).
//! Percentiles follow H. C. Tijms (*A First Course in Stochastic Models*, 2003, §9.6): the tail falls off exponentially, at a
//! rate interpolated between those of M/M/c and M/D/c, which are exact. The tail is shifted so that its mean is Kimura's.

use super::{QueueError, erlang::Mmc, not_negative};

/// Waits of M/G/c.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mgc {
    /// Share of arrivals that wait: Erlang C, which does not depend much on the service distribution.
    pub waiting_probability: f64,
    /// Mean wait of all arrivals, seconds.
    pub mean_wait_seconds: f64,
    /// Rate at which the tail of the wait falls off, per second.
    pub decay_per_second: f64,
}

impl Mgc {
    /// From the arrival rate, the mean service time and its squared coefficient of variation (variance / mean²: 0 for
    /// constant service, 1 for exponential).
    ///
    /// # Errors
    /// Where the load reaches the servers, or a number is nonsense.
    pub fn new(
        servers: u32,
        arrivals_per_second: f64,
        mean_service_seconds: f64,
        service_scv: f64,
    ) -> Result<Self, QueueError> {
        let scv = not_negative("the squared coefficient of variation", service_scv)?;
        let mmc = Mmc::new(servers, arrivals_per_second, mean_service_seconds)?;
        let (rate, service) = (arrivals_per_second, mean_service_seconds);
        let c = f64::from(servers);
        let load = rate * service;
        if load <= 0.0 {
            let decay_per_second = mmc.decay_per_second;
            return Ok(Self { waiting_probability: 0.0, mean_wait_seconds: 0.0, decay_per_second });
        }
        let utilization = load / c;
        // Cosmetatos: E[W(M/D/c)] over E[W(M/M/c)].
        let constant_ratio = 0.5
            * (1.0
                + (1.0 - utilization) * (c - 1.0) * ((4.0 + 5.0 * c).sqrt() - 2.0)
                    / (16.0 * utilization * c));
        let constant_wait = mmc.mean_wait_seconds * constant_ratio.min(1.0);
        // Kimura's interpolation, harmonic in the two waits.
        let mean_wait_seconds = if scv > 0.0 && mmc.mean_wait_seconds > 0.0 {
            (1.0 + scv) / (2.0 * scv / mmc.mean_wait_seconds + (1.0 - scv) / constant_wait)
        } else {
            constant_wait
        };
        // A very variable service turns the interpolation's denominator over; Pollaczek–Khinchine's factor does not.
        let bound = mmc.mean_wait_seconds * (1.0 + scv) / 2.0;
        let mean_wait_seconds =
            if mean_wait_seconds.is_finite() && mean_wait_seconds > 0.0 { mean_wait_seconds } else { bound };
        let exponential_scale = 1.0 / mmc.decay_per_second;
        let constant_scale = service / (c * constant_service_decay(utilization));
        let scale = (1.0 - scv) * constant_scale + scv * exponential_scale;
        Ok(Self {
            waiting_probability: mmc.waiting_probability,
            mean_wait_seconds,
            decay_per_second: 1.0 / scale,
        })
    }

    /// The wait that a share `quantile` (0 to below 1) of all arrivals stays within, in seconds.
    ///
    /// # Errors
    /// Where `quantile` is not from 0 to below 1.
    pub fn wait_quantile_seconds(&self, quantile: f64) -> Result<f64, QueueError> {
        if !(0.0..1.0).contains(&quantile) {
            let expected = "a share from 0 to below 1";
            return Err(QueueError::Nonsense { what: "the quantile", expected, value: quantile });
        }
        let beyond = 1.0 - quantile;
        if beyond >= self.waiting_probability {
            return Ok(0.0);
        }
        let tail = (self.waiting_probability / beyond).ln() / self.decay_per_second;
        Ok((self.shift_seconds() + tail).max(0.0))
    }

    /// Share of arrivals that wait longer than `seconds`.
    pub fn waits_longer_than(&self, seconds: f64) -> f64 {
        let tail = (-(seconds - self.shift_seconds()) * self.decay_per_second).exp();
        self.waiting_probability * tail.min(1.0)
    }

    /// Where the exponential tail begins: the mean wait of those that wait, less the tail's own mean. Negative for
    /// very variable service.
    fn shift_seconds(&self) -> f64 {
        if self.waiting_probability > 0.0 {
            self.mean_wait_seconds / self.waiting_probability - 1.0 / self.decay_per_second
        } else {
            0.0
        }
    }
}

/// The tail of M/D/c falls off like exp(−θ·t·c/D) where ρ(e^θ − 1) = θ; this is θ (Tijms 2003, §9.6.2).
fn constant_service_decay(utilization: f64) -> f64 {
    // f(θ) = ρ(e^θ − 1) − θ is 0 at 0, dips, and grows: the root lies above the dip at −ln ρ.
    let f = |theta: f64| utilization * theta.exp_m1() - theta;
    let mut low = -utilization.ln();
    let mut high = 2.0 * low + 1.0;
    while f(high) < 0.0 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exponential_service_is_m_m_c_exactly() {
        let (mmc, mgc) = (Mmc::new(5, 4.0, 1.0).unwrap(), Mgc::new(5, 4.0, 1.0, 1.0).unwrap());
        assert!((mmc.mean_wait_seconds / mgc.mean_wait_seconds - 1.0).abs() < 1e-12);
        let p95 = mgc.wait_quantile_seconds(0.95).unwrap();
        assert!((mmc.waits_longer_than(p95) - 0.05).abs() < 1e-12);
        assert!((mgc.waits_longer_than(p95) - 0.05).abs() < 1e-12);
    }

    #[test]
    fn one_server_is_pollaczek_khinchine_exactly() {
        for scv in [0.0, 0.3, 1.0, 1.7] {
            let wait = Mgc::new(1, 0.8, 1.0, scv).unwrap().mean_wait_seconds;
            assert!((wait - 0.8 / 0.2 * (1.0 + scv) / 2.0).abs() < 1e-12, "{scv}: {wait}");
        }
    }

    #[test]
    fn constant_service_p95_is_near_the_exact_m_d_1() {
        // Exact: P(W ≤ t) = (1−ρ) Σ_{k ≤ t} (ρ(k−t))^k / k! · e^(−ρ(k−t)) (Erlang 1909), service 1 s.
        for rho in [0.5, 0.7, 0.85] {
            let t = Mgc::new(1, rho, 1.0, 0.0).unwrap().wait_quantile_seconds(0.95).unwrap();
            let mut below = 0.0;
            let mut k: f64 = 0.0;
            let mut factorial = 1.0;
            while k <= t {
                let x = rho * (k - t);
                below += x.powf(k) / factorial * (-x).exp();
                k += 1.0;
                factorial *= k;
            }
            below *= 1.0 - rho;
            assert!((below - 0.95).abs() < 0.004, "utilisation {rho}: {below} of arrivals within {t}");
        }
    }

    #[test]
    fn an_idle_queue_does_not_wait() {
        let idle = Mgc::new(3, 0.0, 1.0, 0.5).unwrap();
        assert!(idle.wait_quantile_seconds(0.99).unwrap() < 1e-12 && idle.mean_wait_seconds < 1e-12);
        assert!(idle.wait_quantile_seconds(1.0).is_err());
    }

    proptest! {
        #[test]
        fn waits_are_finite_and_grow_with_load(
            servers in 1u32..64, share in 0.02f64..0.95, scv in 0.0f64..4.0, quantile in 0.0f64..0.999,
        ) {
            let rate = share * f64::from(servers);
            let less = Mgc::new(servers, rate, 1.0, scv).unwrap();
            let more = Mgc::new(servers, rate * 1.02, 1.0, scv).unwrap();
            prop_assert!(less.mean_wait_seconds.is_finite() && less.mean_wait_seconds >= 0.0);
            prop_assert!(more.mean_wait_seconds >= less.mean_wait_seconds * (1.0 - 1e-9));
            let (a, b) = (less.wait_quantile_seconds(quantile).unwrap(), more.wait_quantile_seconds(quantile).unwrap());
            prop_assert!(a.is_finite() && a >= 0.0 && b >= a * (1.0 - 1e-9), "{} {}", a, b);
        }
    }
}
