//! What owning the fleet costs a month: the cost of ownership of crate `hardware`, with servers and utilisation from the
//! plan (DESIGN §4, *Owned hardware*).

use breakeven_hardware::owned::{EnergyBasis, OwnedCost, OwnedError, OwnedHardware};
use breakeven_measurement::{LevelName, Measurement, RequestRate};

use crate::traffic::{HOURS_PER_MONTH, Week};

/// Power that a measured machine drew, and how busy it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MeasuredPower {
    /// Mean of the level's window, processor and accelerators.
    watts: f64,
    /// The level's rate over the highest under the SLO.
    busy_share: f64,
}

impl MeasuredPower {
    /// The power of the busiest level that was carried; `None` where the machine told no energy.
    pub(crate) fn of(measurement: &Measurement, capacity: RequestRate) -> Option<Self> {
        let level = measurement.level(LevelName::Expected)?;
        let watts = level.resources.energy_joules? / level.window.as_secs_f64();
        let busy_share = (level.target_rate.per_second() / capacity.per_second()).min(1.0);
        (watts.is_finite() && watts > 0.0 && busy_share > 0.0).then_some(Self { watts, busy_share })
    }
}

/// Hardware bought for the fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Owned<'a> {
    pub(crate) hardware: &'a OwnedHardware,
    pub(crate) power: Option<MeasuredPower>,
}

impl Owned<'_> {
    /// Whether its power was measured.
    pub(crate) fn is_measured(&self) -> bool {
        self.power.is_some()
    }

    /// The cost of a month with so many replicas, one a server, under a mean rate of attempts.
    pub(crate) fn month(
        &self,
        week: &Week,
        mean: RequestRate,
        capacity: RequestRate,
        replicas: u32,
    ) -> Result<OwnedCost, OwnedError> {
        let hardware = OwnedHardware { servers: replicas.max(1), ..self.hardware.clone() };
        let carried = capacity.per_second() * f64::from(hardware.servers);
        let busy: [f64; 24] = std::array::from_fn(|hour| {
            let days = week.mean.iter().skip(hour).step_by(24);
            let (sum, count) = days.fold((0.0, 0.0), |(sum, count), factor| (sum + factor, count + 1.0));
            (mean.per_second() * sum / count / carried).min(1.0)
        });
        let basis = match self.power {
            None => EnergyBasis::Utilisation { busy_share_by_hour: busy },
            Some(measured) => EnergyBasis::Measured {
                joules_per_month_by_hour: busy.map(|share| {
                    let watts = power_at(hardware.idle_watts_per_server, measured, share);
                    f64::from(hardware.servers) * watts * HOURS_PER_MONTH / 24.0 * 3_600.0
                }),
            },
        };
        breakeven_hardware::owned::owned_cost(&hardware, &basis)
    }
}

/// Power at a busy share: a line from the idle power through the measured point. A processor's own counters leave out
/// supplies, fans and disks, so the idle power, which is the whole server's, is the floor.
fn power_at(idle: f64, measured: MeasuredPower, share: f64) -> f64 {
    idle + (measured.watts - idle).max(0.0) * share / measured.busy_share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_runs_from_idle_through_the_measured_point() {
        let measured = MeasuredPower { watts: 700.0, busy_share: 0.5 };
        assert!((power_at(300.0, measured, 0.0) - 300.0).abs() < 1e-9);
        assert!((power_at(300.0, measured, 0.5) - 700.0).abs() < 1e-9);
        assert!((power_at(300.0, measured, 1.0) - 1_100.0).abs() < 1e-9);
        assert!((power_at(800.0, measured, 1.0) - 800.0).abs() < 1e-9, "never below idle");
    }
}
