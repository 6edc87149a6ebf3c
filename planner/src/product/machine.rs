//! `[[machine]]`: another machine that was measured, to compare with the one of `[fleet]`.

use std::path::PathBuf;

use breakeven_hardware::sheet::Term;
use breakeven_measurement::Fraction;
use serde::{Deserialize, Deserializer, de};

use super::{OwnedTable, capacity_tables::ReplicaTable, text::Price};

/// `[[machine]]`. Everything of `[fleet]` that is not named here holds for it too.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    /// Its name in plans and reports.
    pub name: MachineName,
    /// The measurement that was made on it; a path that is not absolute starts at the product file.
    pub measurement: PathBuf,
    /// Instance of the price sheet that is like it.
    pub instance: Option<String>,
    /// Hourly price where no sheet has it.
    pub usd_per_hour: Option<Price>,
    /// Where that figure comes from.
    pub usd_per_hour_note: Option<String>,
    /// The ways to pay for it, each an option of the plan; the fleet's way where left out.
    #[serde(default, deserialize_with = "terms")]
    #[schemars(with = "Vec<String>")]
    pub terms: Vec<Term>,
    /// What buying and running one server costs, for the term `owned`.
    pub owned: Option<OwnedTable>,
    /// The scheduler of its server, as `[fleet.replica]`.
    pub replica: Option<ReplicaTable>,
    /// Share of requests that succeed where another model was measured on it; the product's own where left out.
    pub success_probability: Option<Fraction>,
}

/// What the machine of `[fleet]` is called in ids.
pub(crate) const FLEET: &str = "fleet";

/// Letters, digits, `-`, `_` and `.`: a part of an option's id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct MachineName(String);

impl MachineName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MachineName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(format!("expected a name of letters, digits, `-`, `_` and `.`, found `{name}`"));
        }
        if name == FLEET {
            return Err(format!("expected another name than `{FLEET}`, which is the machine of [fleet]"));
        }
        Ok(Self(name))
    }
}

/// Different terms, without those that are no price of an hour alone: spot is bought in `[fleet.purchase]`, with its interruptions.
pub(super) fn terms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Term>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let mut terms: Vec<Term> = Vec::new();
    for name in names {
        let term = name.parse().map_err(de::Error::custom)?;
        if matches!(term, Term::Spot | Term::CapacityBlock) {
            return Err(de::Error::custom(format!(
                "expected on_demand, reserved_1y, reserved_3y or owned, found `{name}`; spot is bought by [fleet.purchase], with its interruptions"
            )));
        }
        if terms.contains(&term) {
            return Err(de::Error::custom(format!("expected different terms, found `{name}` twice")));
        }
        terms.push(term);
    }
    Ok(terms)
}

/// Machines of different names, whose typed price is of one term.
pub(super) fn machines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MachineTable>, D::Error> {
    let machines = Vec::<MachineTable>::deserialize(deserializer)?;
    for (index, machine) in machines.iter().enumerate() {
        let name = machine.name.as_str();
        if machines.iter().take(index).any(|earlier| earlier.name == machine.name) {
            return Err(de::Error::custom(format!(
                "expected machines of different names, found `{name}` twice"
            )));
        }
        if machine.usd_per_hour.is_some() && machine.terms.len() > 1 {
            return Err(de::Error::custom(format!(
                "machine `{name}`: expected one term beside usd_per_hour, which is the price of one, found {}; give each term a [[machine]] of its own",
                machine.terms.len()
            )));
        }
    }
    Ok(machines)
}
