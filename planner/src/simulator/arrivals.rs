//! Requests as they arrive.
//!
//! Times, lengths and segments are drawn from streams of their own: at another rate the same requests come, only faster,
//! so that two fleets or two rates are compared on common random numbers.

use breakeven_measurement::Workload;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma, StandardNormal};

use super::settings::SimulationError;
use crate::traffic::HOURS;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When it arrives, in seconds.
    pub at_seconds: f64,
    /// Tokens of its prompt; at least one is taken.
    pub prompt_tokens: u32,
    /// Tokens of its answer; at least one is taken.
    pub output_tokens: u32,
    /// What its prompt begins with that others share.
    pub prefix: Option<Prefix>,
}

/// A shared beginning of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Same number, same text.
    pub id: u64,
    /// Its length in tokens.
    pub tokens: u32,
}

/// How the gaps between arrivals vary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gaps {
    /// Not at all.
    Constant,
    /// Poisson.
    Exponential,
    /// Gamma with this coefficient of variation (standard deviation / mean): above 1 is burstier than Poisson.
    Gamma {
        /// Above 0.
        variation: f64,
    },
}

/// The mean rate over time, in requests a second.
#[derive(Debug, Clone, PartialEq)]
pub enum RateProfile {
    /// The same always.
    Constant(f64),
    /// One for each hour of the week, Monday 00:00 first; again from the start after a week.
    Weekly {
        /// 168 rates.
        per_second: Vec<f64>,
        /// Hour of the week at second 0.
        start_hour: usize,
    },
}

impl RateProfile {
    /// The rate at a time, and when it next changes.
    fn at(&self, seconds: f64) -> (f64, f64) {
        match self {
            Self::Constant(rate) => (*rate, f64::INFINITY),
            Self::Weekly { per_second, start_hour } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole hours from 0"
                )]
                let hours = (seconds / 3_600.0).floor() as usize;
                let rate =
                    per_second.get((start_hour + hours) % per_second.len().max(1)).copied().unwrap_or(0.0);
                (rate, (hours as f64 + 1.0) * 3_600.0)
            }
        }
    }
}

/// Requests drawn from a workload; the same seed gives the same requests.
#[derive(Debug, Clone)]
pub struct Arrivals {
    profile: RateProfile,
    gaps: Drawn,
    now: f64,
    until: f64,
    left: u64,
    times: ChaCha8Rng,
    shapes: ChaCha8Rng,
    segments: Vec<SegmentDraw>,
}

#[derive(Debug, Clone)]
enum Drawn {
    Constant,
    Exponential,
    Gamma(Gamma<f64>),
}

#[derive(Debug, Clone)]
struct SegmentDraw {
    up_to: f64,
    input: breakeven_measurement::Lengths,
    output: breakeven_measurement::Lengths,
    shared: f64,
}

impl Arrivals {
    /// Requests of `workload` until `until_seconds` or `most_requests`, whichever comes first.
    ///
    /// # Errors
    /// Where a rate or the variation makes no sense, or a weekly profile has no end.
    pub fn new(
        workload: &Workload,
        profile: RateProfile,
        gaps: Gaps,
        until_seconds: f64,
        most_requests: u64,
        seed: u64,
    ) -> Result<Self, SimulationError> {
        let setting = |what, expected, value| Err(SimulationError::Setting { what, expected, value });
        let good = |rate: f64| rate.is_finite() && rate >= 0.0;
        match &profile {
            RateProfile::Constant(rate) if !(good(*rate) && *rate > 0.0) => {
                return setting("the arrival rate", "above 0 requests a second", *rate);
            }
            RateProfile::Weekly { per_second, .. } if per_second.len() != HOURS => {
                return setting("the weekly profile", "168 rates", per_second.len() as f64);
            }
            RateProfile::Weekly { per_second, .. } => {
                if let Some(bad) = per_second.iter().find(|rate| !good(**rate)) {
                    return setting("an hour's rate", "0 or more requests a second", *bad);
                }
                if !until_seconds.is_finite() {
                    return setting("the end of a weekly profile", "a finite time", until_seconds);
                }
            }
            RateProfile::Constant(_) => {}
        }
        let gaps = match gaps {
            Gaps::Constant => Drawn::Constant,
            Gaps::Exponential => Drawn::Exponential,
            Gaps::Gamma { variation } => match Gamma::new(variation.powi(-2), variation.powi(2)) {
                Ok(gamma) if variation.is_finite() => Drawn::Gamma(gamma),
                Ok(_) | Err(_) => return setting("the variation of gaps", "above 0", variation),
            },
        };
        let mut up_to = 0.0;
        let segments = workload.segments.iter().zip(workload.shares());
        let segments = segments
            .map(|(segment, share)| {
                up_to += share;
                let (input, output) = (segment.input_tokens, segment.output_tokens);
                SegmentDraw { up_to, input, output, shared: segment.shared_prefix.get() }
            })
            .collect();
        let stream = |number| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            rng
        };
        Ok(Self {
            profile,
            gaps,
            now: 0.0,
            until: until_seconds,
            left: most_requests,
            times: stream(1),
            shapes: stream(2),
            segments,
        })
    }

    /// The next arrival: gaps of mean 1 on a clock that runs at the present rate.
    fn next_time(&mut self) -> Option<f64> {
        let mut gap = match &self.gaps {
            Drawn::Constant => 1.0,
            Drawn::Exponential => Exp1.sample(&mut self.times),
            Drawn::Gamma(gamma) => gamma.sample(&mut self.times),
        };
        loop {
            let (rate, until) = self.profile.at(self.now);
            let here = rate * (until - self.now);
            if gap <= here {
                self.now += gap / rate;
                return (self.now < self.until).then_some(self.now);
            }
            gap -= here;
            self.now = until;
            if self.now >= self.until {
                return None;
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.left = self.left.checked_sub(1)?;
        let Some(at_seconds) = self.next_time() else {
            self.left = 0;
            return None;
        };
        let pick: f64 = self.shapes.random();
        let (z_in, z_out) =
            (StandardNormal.sample(&mut self.shapes), StandardNormal.sample(&mut self.shapes));
        let last = self.segments.len().saturating_sub(1);
        let at = self.segments.iter().position(|s| pick < s.up_to).unwrap_or(last);
        let segment = self.segments.get(at)?;
        let prompt_tokens = segment.input.at_deviate(z_in);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u32")]
        let tokens = (segment.shared * f64::from(prompt_tokens)).floor() as u32;
        let prefix = (tokens > 0).then_some(Prefix { id: at as u64, tokens });
        Some(Request { at_seconds, prompt_tokens, output_tokens: segment.output.at_deviate(z_out), prefix })
    }
}

#[cfg(test)]
mod tests {
    use breakeven_measurement::{Fraction, Lengths, Segment};

    use super::*;

    fn workload() -> Workload {
        Workload {
            segments: vec![Segment {
                name: "only".to_owned(),
                weight: 1.0,
                input_tokens: Lengths::constant(100).unwrap(),
                output_tokens: Lengths::constant(10).unwrap(),
                shared_prefix: Fraction::new(0.5).unwrap(),
                prefix_pool: 1,
                text: breakeven_measurement::PromptText::Support,
                session: None,
            }],
        }
    }

    #[test]
    fn gaps_have_the_mean_and_variation_asked_for() {
        for (gaps, variation) in
            [(Gaps::Constant, 0.0), (Gaps::Exponential, 1.0), (Gaps::Gamma { variation: 2.0 }, 2.0)]
        {
            let times: Vec<f64> =
                Arrivals::new(&workload(), RateProfile::Constant(4.0), gaps, f64::INFINITY, 100_000, 3)
                    .unwrap()
                    .map(|r| r.at_seconds)
                    .collect();
            let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            assert!((mean - 0.25).abs() < 0.006, "{mean}");
            assert!((variance.sqrt() / mean - variation).abs() < 0.03, "{}", variance.sqrt() / mean);
        }
    }

    #[test]
    fn a_weekly_profile_fills_each_hour_by_its_rate() {
        let mut per_second = vec![0.0; HOURS];
        per_second[9] = 1.0;
        per_second[10] = 3.0;
        let profile = RateProfile::Weekly { per_second, start_hour: 8 };
        let week = 168.0 * 3_600.0;
        let all: Vec<Request> =
            Arrivals::new(&workload(), profile, Gaps::Exponential, week, u64::MAX, 1).unwrap().collect();
        let within = |from: f64, to: f64| {
            all.iter().filter(|r| (from * 3_600.0..to * 3_600.0).contains(&r.at_seconds)).count() as f64
        };
        // Poisson counts within four standard deviations.
        assert!((within(1.0, 2.0) - 3_600.0).abs() < 4.0 * 60.0);
        assert!((within(2.0, 3.0) - 10_800.0).abs() < 4.0 * 104.0);
        assert!((all.len() as f64 - within(1.0, 3.0)).abs() < 0.5);
        assert_eq!(all[0].prefix, Some(Prefix { id: 0, tokens: 50 }));
    }

    #[test]
    fn another_rate_brings_the_same_requests() {
        let at = |rate| {
            Arrivals::new(&workload(), RateProfile::Constant(rate), Gaps::Exponential, f64::INFINITY, 50, 9)
                .unwrap()
        };
        for (slow, fast) in at(1.0).zip(at(2.0)) {
            assert!((slow.at_seconds - 2.0 * fast.at_seconds).abs() < 1e-9);
            assert_eq!((slow.prompt_tokens, slow.output_tokens), (fast.prompt_tokens, fast.output_tokens));
        }
    }
}
