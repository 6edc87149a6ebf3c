//! A known number of users, each of whom thinks, asks, and waits for the answer.
//!
//! With few users the Poisson models are too dark: a user who waits does not ask again.

use super::{QueueError, not_negative, positive};

/// Engset: the share of requests lost where none may wait, among `users` of whom each idle one asks with an intensity of
/// `load_per_idle_user` (asking rate × mean service time, in Erlang).
///
/// T. Engset 1918; P = C(N−1, c)·α^c / ΣC(N−1, k)·α^k over k ≤ c, by the recursion
/// B(k) = α(N−k)·B(k−1) / (k + α(N−k)·B(k−1)).
pub fn engset_blocking(users: u32, servers: u32, load_per_idle_user: f64) -> Result<f64, QueueError> {
    let alpha = not_negative("the load of an idle user", load_per_idle_user)?;
    if users <= servers {
        return Ok(0.0);
    }
    Ok((1..=servers).fold(1.0, |blocked, k| {
        let offered = alpha * f64::from(users - k) * blocked;
        offered / (f64::from(k) + offered)
    }))
}

/// The waits of a finite population: M/M/c with `users` sources (the machine-repair model).
#[derive(Debug, Clone, PartialEq)]
pub struct FinitePopulation {
    /// Requests a second that the population makes, thinking and waiting taken into account.
    pub requests_per_second: f64,
    /// Share of requests that find every server busy.
    pub waiting_probability: f64,
    /// Mean wait of all requests, seconds.
    pub mean_wait_seconds: f64,
    /// Mean share of servers in use.
    pub utilization: f64,
    /// For each number of waiting requests found ahead (the server's own finish included), its probability.
    found_beyond: Vec<f64>,
    completions_per_second: f64,
}

impl FinitePopulation {
    /// `users` who think for `think_seconds` on average between an answer and the next request, both exponential.
    ///
    /// Source: L. Kleinrock, *Queueing Systems* I, 1975, §3.8; an arriving request sees the population without its own
    /// user (the arrival theorem: Sevcik and Mitrani, Lavenberg and Reiser, 1980).
    ///
    /// # Errors
    /// Without servers, or where a time is no time.
    pub fn new(
        users: u32,
        servers: u32,
        think_seconds: f64,
        mean_service_seconds: f64,
    ) -> Result<Self, QueueError> {
        if servers == 0 {
            return Err(QueueError::NoServers);
        }
        let think = positive("the think time", think_seconds)?;
        let service = positive("the mean service time", mean_service_seconds)?;
        let states = state_probabilities(users, servers, service / think);
        let weighted =
            |f: &dyn Fn(f64) -> f64| -> f64 { states.iter().enumerate().map(|(n, p)| p * f(n as f64)).sum() };
        let c = f64::from(servers);
        let busy = weighted(&|n| n.min(c));
        let waiting = weighted(&|n| (n - c).max(0.0));
        let requests_per_second = busy / service;
        let found = state_probabilities(users.saturating_sub(1), servers, service / think);
        let found_beyond: Vec<f64> = found.into_iter().skip(servers as usize).collect();
        Ok(Self {
            requests_per_second,
            waiting_probability: found_beyond.iter().sum(),
            mean_wait_seconds: if requests_per_second > 0.0 { waiting / requests_per_second } else { 0.0 },
            utilization: busy / c,
            found_beyond,
            completions_per_second: c / service,
        })
    }

    /// Share of requests that wait longer than `seconds`: with j found waiting, the wait is Erlang of j + 1 completions.
    pub fn waits_longer_than(&self, seconds: f64) -> f64 {
        let x = self.completions_per_second * seconds.max(0.0);
        // P(Erlang(j+1) > t) = Σ_{i ≤ j} e^(−x) x^i / i!, summed as j grows.
        let (mut term, mut within, mut total) = ((-x).exp(), 0.0, 0.0);
        for (j, probability) in self.found_beyond.iter().enumerate() {
            within += term;
            total += probability * within;
            term *= x / (j as f64 + 1.0);
        }
        total
    }
}

/// Probability of each number of requests present, 0 to `users`; in logarithms, since factorials overflow.
fn state_probabilities(users: u32, servers: u32, ratio: f64) -> Vec<f64> {
    let mut logarithms = vec![0.0_f64];
    let mut last = 0.0;
    for n in 1..=users {
        last += (f64::from(users - n + 1) * ratio / f64::from(n.min(servers))).ln();
        logarithms.push(last);
    }
    let largest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logarithms.iter().map(|l| (l - largest).exp()).sum();
    logarithms.into_iter().map(|l| (l - largest).exp() / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queueing::erlang::{Mmc, erlang_b};

    #[test]
    fn two_users_one_server_by_hand() {
        // α = 0.5: P = α / (1 + α) = 1/3.
        assert!((engset_blocking(2, 1, 0.5).unwrap() - 1.0 / 3.0).abs() < 1e-15);
        // States with r = 0.5: 1, 2·0.5, 1·0.5·1 → 1, 1, 0.5 of 2.5; busy 0.6.
        let queue = FinitePopulation::new(2, 1, 2.0, 1.0).unwrap();
        assert!((queue.utilization - 0.6).abs() < 1e-12);
        assert!((queue.requests_per_second - 0.6).abs() < 1e-12);
        // Mean waiting 0.2 over 0.6 a second; the one other user is in service with probability 1/3.
        assert!((queue.mean_wait_seconds - 0.2 / 0.6).abs() < 1e-12);
        assert!((queue.waiting_probability - 1.0 / 3.0).abs() < 1e-12);
        assert!((queue.waits_longer_than(1.0) - (-1.0_f64).exp() / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_user_for_each_server_never_waits() {
        let queue = FinitePopulation::new(4, 4, 1.0, 1.0).unwrap();
        assert!(queue.mean_wait_seconds.abs() < 1e-15 && queue.waiting_probability.abs() < 1e-15);
        assert!(engset_blocking(4, 4, 1.0).unwrap().abs() < 1e-15);
    }

    #[test]
    fn many_users_are_a_poisson_stream() {
        // 200,000 users asking 8 times a second together.
        let users = 200_000;
        let think = f64::from(users) / 8.0;
        let finite = FinitePopulation::new(users, 10, think, 1.0).unwrap();
        let infinite = Mmc::new(10, 8.0, 1.0).unwrap();
        assert!((finite.waiting_probability / infinite.waiting_probability - 1.0).abs() < 1e-3);
        assert!((finite.mean_wait_seconds / infinite.mean_wait_seconds - 1.0).abs() < 2e-3);
        assert!((finite.waits_longer_than(1.0) / infinite.waits_longer_than(1.0) - 1.0).abs() < 3e-3);
        let engset = engset_blocking(users, 10, 8.0 / f64::from(users)).unwrap();
        assert!((engset / erlang_b(10, 8.0).unwrap() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn users_think_wait_and_are_served_in_a_closed_loop() {
        // Little's law over the whole loop: users = rate · (think + wait + service).
        let queue = FinitePopulation::new(60, 8, 3.0, 0.7).unwrap();
        let users = queue.requests_per_second * (3.0 + queue.mean_wait_seconds + 0.7);
        assert!((users - 60.0).abs() < 1e-9, "{users}");
    }
}
