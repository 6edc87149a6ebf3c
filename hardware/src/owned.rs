//! What hardware costs a month when one owns it: DESIGN section 4, "Owned hardware".
//!
//! annuity(capex with spares, less the discounted residual) + energy + colocation + maintenance + network + staff. Utilisation
//! comes from the plan, never from here.

use serde::{Deserialize, Serialize};

use crate::finance::{annuity, monthly_rate};
use crate::money::{Usd, UsdPerHour, decimal_from_f64};

/// Hours of a mean month: 365.25 days · 24 h / 12, as everywhere in a plan.
pub const HOURS_PER_MONTH: f64 = 730.5;

/// Days of a mean month.
const DAYS_PER_MONTH: f64 = HOURS_PER_MONTH / 24.0;

/// What is bought and what running it takes. Shares are 0 to 1; money is US dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnedHardware {
    /// Servers in use. Never read from a file: the plan says how many.
    #[serde(skip_deserializing, default = "one")]
    pub servers: u32,
    /// Price of one server without accelerators.
    pub usd_per_server: f64,
    /// Accelerators in one server.
    pub accelerators_per_server: u32,
    /// Price of one accelerator.
    pub usd_per_accelerator: f64,
    /// Switches, cables, racks, installation: share of the servers' price, bought with them.
    pub network_capex_share: f64,
    /// Spare servers and parts: share of everything bought.
    pub spares_share: f64,
    /// What money costs a year (effective).
    pub discount_rate_per_year: f64,
    /// Months until it is written off.
    pub amortisation_months: u32,
    /// What it then still sells for: share of the price.
    pub residual_share: f64,
    /// Power of one idle server, accelerators included.
    pub idle_watts_per_server: f64,
    /// Power of one fully loaded server, accelerators included.
    pub load_watts_per_server: f64,
    /// Power usage effectiveness of the building: all power over computing power, 1 or more.
    pub pue: f64,
    /// Price of energy.
    pub tariff: Tariff,
    /// Colocation, a month for each contracted kilowatt (what the loaded servers draw).
    pub colocation_usd_per_kw_month: f64,
    /// Connectivity a month.
    pub network_usd_per_month: f64,
    /// Maintenance contracts a year: share of the price.
    pub maintenance_share_per_year: f64,
    /// One operator, a year, all costs of employment.
    pub staff_usd_per_year: f64,
    /// Operators' time that this fleet takes: 0.25 is a quarter of one.
    pub staff_share: f64,
}

fn one() -> u32 {
    1
}

/// Price of a kilowatt-hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Tariff {
    /// One price.
    Flat {
        /// US dollars a kilowatt-hour.
        usd_per_kwh: f64,
    },
    /// A price for each hour of the day, midnight first, local time.
    TimeOfUse {
        /// US dollars a kilowatt-hour.
        usd_per_kwh: [f64; 24],
    },
}

impl Tariff {
    fn hour(&self, hour: usize) -> f64 {
        match self {
            Self::Flat { usd_per_kwh } => *usd_per_kwh,
            Self::TimeOfUse { usd_per_kwh } => usd_per_kwh.get(hour).copied().unwrap_or(0.0),
        }
    }
}

/// How the energy is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnergyBasis {
    /// From idle and load power and the share of each hour of the day that the servers are busy, as the plan has it.
    Utilisation {
        /// 0 to 1, midnight first, local time.
        busy_share_by_hour: [f64; 24],
    },
    /// From a measurement: what the servers take out of the wall socket in a month, before the building's overhead.
    Measured {
        /// Joules a month by hour of the day, midnight first.
        joules_per_month_by_hour: [f64; 24],
    },
}

impl EnergyBasis {
    /// The same share around the clock.
    pub fn steady(busy_share: f64) -> Self {
        Self::Utilisation { busy_share_by_hour: [busy_share; 24] }
    }
}

/// What a line of the cost of ownership is for, in the order of the bill.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OwnedLine {
    /// The annuity.
    Capital,
    /// Energy, the building's overhead included.
    Energy,
    /// Rack space and contracted power.
    Colocation,
    /// Maintenance contracts.
    Maintenance,
    /// Connectivity.
    Network,
    /// Operators.
    Staff,
}

/// The cost of ownership a month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OwnedCost {
    /// Every line, in order; what costs nothing is an explicit zero.
    pub lines: Vec<(OwnedLine, Usd)>,
    /// Their sum.
    pub usd_per_month: Usd,
    /// The sum over servers in use and the hours of a month: comparable with a rental price.
    pub usd_per_server_hour: UsdPerHour,
    /// Everything bought, spares included.
    pub capex: Usd,
    /// Energy a month, the building's overhead included.
    pub kwh_per_month: f64,
}

impl OwnedCost {
    /// The amount of a line.
    pub fn line(&self, line: OwnedLine) -> Usd {
        self.lines.iter().filter(|(name, _)| *name == line).map(|(_, usd)| *usd).sum()
    }
}

/// An input that no hardware can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {value}, expected {expected}")]
pub struct OwnedError {
    /// The input.
    pub field: &'static str,
    /// What it says.
    pub value: f64,
    /// What would have been right.
    pub expected: &'static str,
}

/// The cost of owning a fleet for a month.
///
/// # Errors
/// The first input that is out of its range, by name.
pub fn owned_cost(hardware: &OwnedHardware, energy: &EnergyBasis) -> Result<OwnedCost, OwnedError> {
    check(hardware, energy)?;
    let servers = f64::from(hardware.servers);
    let machines = servers
        * (hardware.usd_per_server
            + f64::from(hardware.accelerators_per_server) * hardware.usd_per_accelerator);
    let capex = machines * (1.0 + hardware.network_capex_share) * (1.0 + hardware.spares_share);
    let rate = monthly_rate(hardware.discount_rate_per_year);
    let capital = annuity(capex, capex * hardware.residual_share, rate, hardware.amortisation_months)
        .ok_or(OwnedError { field: "capex", value: capex, expected: "a finite sum" })?;
    let (kwh_per_month, energy) = energy_of(hardware, energy);
    let contracted_kw = servers * hardware.load_watts_per_server / 1e3;
    let amounts = [
        (OwnedLine::Capital, capital),
        (OwnedLine::Energy, energy),
        (OwnedLine::Colocation, contracted_kw * hardware.colocation_usd_per_kw_month),
        (OwnedLine::Maintenance, capex * hardware.maintenance_share_per_year / 12.0),
        (OwnedLine::Network, hardware.network_usd_per_month),
        (OwnedLine::Staff, hardware.staff_usd_per_year * hardware.staff_share / 12.0),
    ];
    let usd = |field, value| {
        Usd::from_f64(value).ok_or(OwnedError { field, value, expected: "below 7.9e28 dollars" })
    };
    let lines = amounts
        .into_iter()
        .map(|(line, amount)| Ok((line, usd("a line of the cost", amount)?)))
        .collect::<Result<Vec<_>, OwnedError>>()?;
    let usd_per_month: Usd = lines.iter().map(|(_, amount)| *amount).sum();
    let server_hours = decimal_from_f64(servers * HOURS_PER_MONTH).unwrap_or_default();
    Ok(OwnedCost {
        usd_per_server_hour: UsdPerHour(usd_per_month.per(server_hours).unwrap_or(Usd::ZERO)),
        lines,
        usd_per_month,
        capex: usd("capex", capex)?,
        kwh_per_month,
    })
}

/// Kilowatt-hours and dollars a month, the building's overhead included.
fn energy_of(hardware: &OwnedHardware, energy: &EnergyBasis) -> (f64, f64) {
    let servers = f64::from(hardware.servers);
    let by_hour = (0..24).map(|hour| {
        let kwh = match energy {
            EnergyBasis::Utilisation { busy_share_by_hour } => {
                let busy = busy_share_by_hour.get(hour).copied().unwrap_or(0.0);
                let (idle, load) = (hardware.idle_watts_per_server, hardware.load_watts_per_server);
                servers * (idle + (load - idle) * busy) / 1e3 * DAYS_PER_MONTH
            }
            EnergyBasis::Measured { joules_per_month_by_hour } => {
                joules_per_month_by_hour.get(hour).copied().unwrap_or(0.0) / 3.6e6
            }
        };
        (kwh * hardware.pue, kwh * hardware.pue * hardware.tariff.hour(hour))
    });
    by_hour.fold((0.0, 0.0), |(kwh, usd), (more_kwh, more_usd)| (kwh + more_kwh, usd + more_usd))
}

fn check(hardware: &OwnedHardware, energy: &EnergyBasis) -> Result<(), OwnedError> {
    let amounts = [
        ("usd_per_server", hardware.usd_per_server),
        ("usd_per_accelerator", hardware.usd_per_accelerator),
        ("network_capex_share", hardware.network_capex_share),
        ("spares_share", hardware.spares_share),
        ("discount_rate_per_year", hardware.discount_rate_per_year),
        ("idle_watts_per_server", hardware.idle_watts_per_server),
        ("load_watts_per_server", hardware.load_watts_per_server),
        ("colocation_usd_per_kw_month", hardware.colocation_usd_per_kw_month),
        ("network_usd_per_month", hardware.network_usd_per_month),
        ("maintenance_share_per_year", hardware.maintenance_share_per_year),
        ("staff_usd_per_year", hardware.staff_usd_per_year),
        ("staff_share", hardware.staff_share),
    ];
    for (field, value) in amounts {
        within(field, value, 0.0, 1e12, "a number from 0")?;
    }
    within("servers", f64::from(hardware.servers), 1.0, f64::MAX, "1 or more")?;
    within("amortisation_months", f64::from(hardware.amortisation_months), 1.0, 1_200.0, "1 to 1200 months")?;
    within("residual_share", hardware.residual_share, 0.0, 1.0, "a share from 0 to 1")?;
    within("pue", hardware.pue, 1.0, 10.0, "1 or more: the building takes what the computers take and more")?;
    if hardware.idle_watts_per_server > hardware.load_watts_per_server {
        let (field, value) = ("idle_watts_per_server", hardware.idle_watts_per_server);
        return Err(OwnedError { field, value, expected: "at most load_watts_per_server" });
    }
    for hour in 0..24 {
        within("tariff.usd_per_kwh", hardware.tariff.hour(hour), 0.0, 1e3, "dollars a kilowatt-hour from 0")?;
    }
    match energy {
        EnergyBasis::Utilisation { busy_share_by_hour } => busy_share_by_hour
            .iter()
            .try_for_each(|share| within("busy_share_by_hour", *share, 0.0, 1.0, "a share from 0 to 1")),
        EnergyBasis::Measured { joules_per_month_by_hour } => joules_per_month_by_hour
            .iter()
            .try_for_each(|joules| within("joules_per_month_by_hour", *joules, 0.0, 1e18, "joules from 0")),
    }
}

fn within(
    field: &'static str,
    value: f64,
    low: f64,
    high: f64,
    expected: &'static str,
) -> Result<(), OwnedError> {
    // NaN is within nothing.
    if (low..=high).contains(&value) { Ok(()) } else { Err(OwnedError { field, value, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Eight accelerators in one server, round figures for working by hand.
    fn hardware() -> OwnedHardware {
        OwnedHardware {
            servers: 1,
            usd_per_server: 45_000.0,
            accelerators_per_server: 8,
            usd_per_accelerator: 30_000.0,
            network_capex_share: 0.0,
            spares_share: 0.0,
            discount_rate_per_year: 0.0,
            amortisation_months: 48,
            residual_share: 0.2,
            idle_watts_per_server: 2_000.0,
            load_watts_per_server: 10_000.0,
            pue: 1.25,
            tariff: Tariff::Flat { usd_per_kwh: 0.10 },
            colocation_usd_per_kw_month: 150.0,
            network_usd_per_month: 500.0,
            maintenance_share_per_year: 0.06,
            staff_usd_per_year: 120_000.0,
            staff_share: 0.1,
        }
    }

    fn usd(text: &str) -> Usd {
        Usd(text.parse().unwrap())
    }

    #[test]
    fn every_line_is_as_worked_by_hand() {
        let cost = owned_cost(&hardware(), &EnergyBasis::steady(0.5)).unwrap();
        assert_eq!(cost.capex, usd("285000"));
        // 285,000 x 0.8 / 48.
        assert_eq!(cost.line(OwnedLine::Capital).rounded(6), usd("4750"));
        // 6 kW x 730.5 h x 1.25 x 0.10.
        assert_eq!(cost.line(OwnedLine::Energy).rounded(6), usd("547.875"));
        assert_eq!(cost.line(OwnedLine::Colocation), usd("1500"));
        assert_eq!(cost.line(OwnedLine::Maintenance), usd("1425"));
        assert_eq!(cost.line(OwnedLine::Network), usd("500"));
        assert_eq!(cost.line(OwnedLine::Staff), usd("1000"));
        assert_eq!(cost.usd_per_month.rounded(6), usd("9722.875"));
        assert_eq!(cost.usd_per_server_hour.0.rounded(6), usd("13.309890"));
        assert!((cost.kwh_per_month - 5_478.75).abs() < 1e-9);
    }

    #[test]
    fn night_work_is_cheaper_under_a_time_of_use_tariff() {
        let mut prices = [0.20; 24];
        prices[..6].fill(0.05);
        let hardware = OwnedHardware { tariff: Tariff::TimeOfUse { usd_per_kwh: prices }, ..hardware() };
        let busy = |hours: std::ops::Range<usize>| {
            let mut busy_share_by_hour = [0.0; 24];
            busy_share_by_hour[hours].fill(1.0);
            owned_cost(&hardware, &EnergyBasis::Utilisation { busy_share_by_hour }).unwrap()
        };
        let (night, day) = (busy(0..6), busy(12..18));
        assert!((night.kwh_per_month - day.kwh_per_month).abs() < 1e-9);
        // 6 h x 8 kW x 30.4375 days x 1.25 x 0.15 dollars.
        let saved = (day.usd_per_month - night.usd_per_month).to_f64();
        assert!((saved - 48.0 * 30.4375 * 1.25 * 0.15).abs() < 1e-6, "{saved}");
    }

    #[test]
    fn measured_joules_replace_the_watts() {
        let energy = EnergyBasis::Measured { joules_per_month_by_hour: [3.6e6 * 100.0; 24] };
        let cost = owned_cost(&hardware(), &energy).unwrap();
        assert!((cost.kwh_per_month - 3_000.0).abs() < 1e-9);
        assert_eq!(cost.line(OwnedLine::Energy).rounded(6), usd("300"));
    }

    #[test]
    fn inputs_that_no_hardware_has_are_named() {
        let refuse = |change: &dyn Fn(&mut OwnedHardware)| {
            let mut hardware = hardware();
            change(&mut hardware);
            owned_cost(&hardware, &EnergyBasis::steady(0.5)).unwrap_err().to_string()
        };
        assert_eq!(refuse(&|h| h.pue = 0.9).split(", ").next(), Some("pue is 0.9"));
        assert!(refuse(&|h| h.usd_per_server = f64::NAN).starts_with("usd_per_server is NaN"));
        assert!(refuse(&|h| h.residual_share = 1.5).starts_with("residual_share is 1.5"));
        assert!(refuse(&|h| h.amortisation_months = 0).starts_with("amortisation_months is 0"));
        assert!(refuse(&|h| h.servers = 0).starts_with("servers is 0"));
        assert!(refuse(&|h| h.idle_watts_per_server = 20_000.0).ends_with("at most load_watts_per_server"));
        let busy = owned_cost(&hardware(), &EnergyBasis::steady(1.2)).unwrap_err();
        assert_eq!(busy.to_string(), "busy_share_by_hour is 1.2, expected a share from 0 to 1");
    }

    proptest! {
        #[test]
        fn the_total_is_the_sum_and_dearer_money_or_power_never_cheapens(
            servers in 1_u32..100, rate in 0.0_f64..0.3, pue in 1.0_f64..2.0, busy in 0.0_f64..1.0, residual in 0.0_f64..0.9,
        ) {
            let base = OwnedHardware { servers, discount_rate_per_year: rate, pue, residual_share: residual, ..hardware() };
            let cost = |hardware: &OwnedHardware, busy| owned_cost(hardware, &EnergyBasis::steady(busy)).unwrap();
            let reference = cost(&base, busy);
            prop_assert_eq!(reference.usd_per_month, reference.lines.iter().map(|(_, usd)| *usd).sum());
            let dearer = OwnedHardware { discount_rate_per_year: rate + 0.05, ..base.clone() };
            prop_assert!(cost(&dearer, busy).usd_per_month > reference.usd_per_month);
            prop_assert!(cost(&base, (busy + 0.1).min(1.0)).usd_per_month >= reference.usd_per_month);
        }
    }
}
