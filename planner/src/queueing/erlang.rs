//! Erlang B and C, and the waits of M/M/c.

use super::{QueueError, not_negative, positive};

/// Erlang B: the share of arrivals lost where none may wait.
///
/// The stable recursion 1/B(n) = 1 + n / (a · B(n−1)) (A. K. Erlang, 1917; recursion: R. B. Cooper, *Introduction to
/// Queueing Theory*, 1981, §3.3). `load` in Erlang.
pub fn erlang_b(servers: u32, load: f64) -> Result<f64, QueueError> {
    let load = not_negative("the load in Erlang", load)?;
    if load <= 0.0 {
        return Ok(if servers == 0 { 1.0 } else { 0.0 });
    }
    // The inverse only grows: past the largest float, B is 0 to every digit.
    let inverse = (1..=servers).fold(1.0, |inverse, n| 1.0 + f64::from(n) / load * inverse);
    Ok(1.0 / inverse)
}

/// Erlang C: the share of arrivals that wait in M/M/c, C = B / (1 − ρ(1 − B)).
///
/// # Errors
/// Where `load` (Erlang) reaches `servers`.
pub fn erlang_c(servers: u32, load: f64) -> Result<f64, QueueError> {
    if servers == 0 {
        return Err(QueueError::NoServers);
    }
    let blocked = erlang_b(servers, load)?;
    let utilization = load / f64::from(servers);
    if utilization >= 1.0 {
        return Err(QueueError::Saturated { load, servers });
    }
    Ok(blocked / (1.0 - utilization * (1.0 - blocked)))
}

/// Waits of M/M/c: exponential gaps, exponential service, one queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mmc {
    /// Share of arrivals that wait.
    pub waiting_probability: f64,
    /// Mean wait of all arrivals, seconds.
    pub mean_wait_seconds: f64,
    /// Rate at which the tail of the wait falls off, per second: c·μ − λ.
    pub decay_per_second: f64,
}

impl Mmc {
    /// From the arrival rate and the mean service time.
    ///
    /// # Errors
    /// Where the load reaches the servers, or a number is nonsense.
    pub fn new(
        servers: u32,
        arrivals_per_second: f64,
        mean_service_seconds: f64,
    ) -> Result<Self, QueueError> {
        let rate = not_negative("the arrival rate", arrivals_per_second)?;
        let service = positive("the mean service time", mean_service_seconds)?;
        let waiting_probability = erlang_c(servers, rate * service)?;
        let decay_per_second = f64::from(servers) / service - rate;
        Ok(Self {
            waiting_probability,
            mean_wait_seconds: waiting_probability / decay_per_second,
            decay_per_second,
        })
    }

    /// Share of arrivals that wait longer than `seconds`: C·exp(−(c·μ − λ)·t).
    pub fn waits_longer_than(&self, seconds: f64) -> f64 {
        self.waiting_probability * (-self.decay_per_second * seconds.max(0.0)).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_server_waits_as_often_as_it_is_busy() {
        assert!((erlang_c(1, 0.37).unwrap() - 0.37).abs() < 1e-15);
    }

    #[test]
    fn two_servers_by_hand() {
        // C(2, a) = a² / (2 + a): 1.5² / 3.5.
        assert!((erlang_c(2, 1.5).unwrap() - 2.25 / 3.5).abs() < 1e-15);
    }

    #[test]
    fn saturation_is_refused_with_its_numbers() {
        let error = erlang_c(4, 4.0).unwrap_err();
        assert!(error.to_string().contains("4 Erlang reaches the 4 servers"), "{error}");
        assert!(erlang_c(0, 0.0).is_err() && erlang_c(1, f64::NAN).is_err());
    }

    #[test]
    fn ten_thousand_servers_do_not_overflow() {
        assert!(erlang_c(10_000, 1.0).unwrap().abs() < 1e-300);
        assert!((0.0..1.0).contains(&erlang_c(10_000, 9_990.0).unwrap()));
    }

    proptest! {
        #[test]
        fn more_load_waits_more_and_more_servers_less(servers in 1u32..200, share in 0.01f64..0.98) {
            let load = share * f64::from(servers);
            let c = erlang_c(servers, load).unwrap();
            prop_assert!(erlang_c(servers, load * 1.01).unwrap() >= c);
            prop_assert!(erlang_c(servers + 1, load).unwrap() <= c);
        }
    }
}
