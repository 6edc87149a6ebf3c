//! `[[lever]]`: a switch by name: the assumptions of the file that it changes, and what it costs itself. What it saves is in
//! [`crate::levers`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    OnlyFor,
    text::{NonNegative, Positive, Price},
};
use crate::plan::LineItem;

/// `[[lever]]`. The plan is that of all levers off; `breakeven levers` switches them on, each alone and together.
///
/// Paths are those of the file, members of lists in brackets by name or number from 0: `"stage[answer].retries.most"`,
/// `"segment[*].input_tokens"`, `"api[openai/gpt-5-nano].success_probability"`, `"stack.observability[logs].sampled_share"`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeverTable {
    /// Its name.
    pub name: String,
    /// Where the figures come from.
    pub note: Option<String>,
    /// What it sets, by path in quotes. Levers that set the same place are alternatives: they are never on together.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub set: BTreeMap<String, toml::Value>,
    /// Numbers that it multiplies, by path in quotes; of a table all of its numbers. After every `set`, so that levers add up.
    #[serde(default)]
    pub times: BTreeMap<String, NonNegative>,
    /// Tables that it adds to the file's, `[[lever.add.stage]]` to `[[stage]]`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub add: toml::Table,
    /// Whether added stages come before the file's, so that a request begins at the first of them.
    #[serde(default)]
    pub first: bool,
    /// Paths of what it takes away.
    #[serde(default)]
    pub without: Vec<String>,
    /// What the lever itself costs a month beside what its changes do.
    #[serde(default)]
    pub usd_per_month: Price,
    /// What switching it on costs once.
    #[serde(default)]
    pub once_usd: Price,
    /// Months over which that is paid off; 36 where left out.
    #[serde(default = "three_years")]
    pub life_months: Positive,
    /// Line of its own cost; engineering where left out.
    pub line: Option<LineItem>,
    /// The options that pay its own cost; all where left out.
    pub only: Option<OnlyFor>,
}

fn three_years() -> Positive {
    Positive::try_from(36.0).expect("36 is above 0")
}

impl LeverTable {
    /// What it costs itself a month, what is paid once spread over its life.
    pub fn own_usd_per_month(&self) -> f64 {
        self.usd_per_month.0.to_f64() + self.once_usd.0.to_f64() / self.life_months.get()
    }

    /// What it changes, for a reader.
    pub fn changes(&self) -> Vec<String> {
        let set = self.set.iter().map(|(path, value)| format!("{path} = {value}"));
        let times = self.times.iter().map(|(path, factor)| format!("{path} x {}", factor.get()));
        let add = self.add.keys().map(|name| format!("adds to {name}"));
        let without = self.without.iter().map(|path| format!("without {path}"));
        set.chain(times).chain(add).chain(without).collect()
    }
}
