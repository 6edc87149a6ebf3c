//! Numbers typed as distributions: any number of the product file may be `{ low, likely, high }`, a named distribution or a
//! measured one.
//!
//! The text of such a table is replaced by its likely value, padded to the same length, before the file is parsed: every other
//! number, type and line stays what it was, and tables that other parts of the planner add take distributions at once.

use std::ops::Range;

use breakeven_measurement::{LevelName, Measurement, interval};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::distribution::Distribution;
use crate::product::{Product, ProductError, line_of};

/// The distributions of a product file and the text they stand in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Uncertain {
    text: String,
    /// Every number typed as a distribution, in the order of the file.
    pub slots: Vec<Slot>,
    /// Which of the file's levers are on, a bit each.
    on: u64,
}

/// One number typed as a distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Path in the product file: `traffic.requests_per_month`, `cost[0].usd_per_request`.
    pub path: String,
    /// What is drawn.
    pub distribution: Distribution,
    /// Whether the number is replaced by the share of requests within the SLO as measured.
    pub measured: bool,
    /// Whether only whole numbers are allowed there.
    whole: bool,
    place: Range<usize>,
}

#[derive(Debug, Deserialize)]
struct Holder {
    x: TypedDistribution,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Named {
    Pert,
    Triangular,
    Uniform,
    Normal,
    Lognormal,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Figure {
    Goodput,
}

/// A number that is not known exactly, as the product file types it: `{ low, likely, high }`, a named distribution or a measured figure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypedDistribution {
    /// PERT where left out.
    distribution: Option<Named>,
    /// Taken from the measurement: the share of requests within the SLO. `likely` is used until then.
    measured: Option<Figure>,
    /// Lowest value (PERT, triangular, uniform).
    low: Option<f64>,
    /// Likeliest value (PERT, triangular): the one that the bills are made of.
    likely: Option<f64>,
    /// Highest value (PERT, triangular, uniform).
    high: Option<f64>,
    /// Mean (normal).
    mean: Option<f64>,
    /// Standard deviation (normal).
    sd: Option<f64>,
    /// Median (log-normal).
    median: Option<f64>,
    /// 90 % quantile (log-normal).
    p90: Option<f64>,
    /// Cut below (normal).
    min: Option<f64>,
    /// Cut above (normal).
    max: Option<f64>,
}

impl TypedDistribution {
    fn distribution(&self) -> Result<Distribution, String> {
        let need = |value: Option<f64>, key: &str| {
            value.filter(|v| v.is_finite()).ok_or_else(|| format!("expected a finite number at `{key}`"))
        };
        let three = || {
            let (low, likely, high) =
                (need(self.low, "low")?, need(self.likely, "likely")?, need(self.high, "high")?);
            Distribution::pert(low, likely, high).map(|_| (low, likely, high))
        };
        if self.measured.is_some() {
            let likely = need(self.likely, "likely (what is used until it is measured)")?;
            return Ok(Distribution::MeasuredShare(likely, likely, likely));
        }
        match self.distribution {
            None | Some(Named::Pert) => {
                three().map(|(low, likely, high)| Distribution::Pert(low, likely, high))
            }
            Some(Named::Triangular) => {
                three().map(|(low, likely, high)| Distribution::Triangular(low, likely, high))
            }
            Some(Named::Uniform) => {
                let (low, high) = (need(self.low, "low")?, need(self.high, "high")?);
                Distribution::pert(low, low, high).map(|_| Distribution::Uniform(low, high))
            }
            Some(Named::Normal) => {
                let (mean, sd) = (need(self.mean, "mean")?, need(self.sd, "sd")?);
                let (min, max) = (self.min.unwrap_or(f64::MIN), self.max.unwrap_or(f64::MAX));
                if sd < 0.0 || !(min <= mean && mean <= max) {
                    return Err(format!(
                        "expected sd from 0 up and min <= mean <= max, found sd = {sd}, mean = {mean}"
                    ));
                }
                Ok(Distribution::Normal(mean, sd, (min, max)))
            }
            Some(Named::Lognormal) => {
                let (median, p90) = (need(self.median, "median")?, need(self.p90, "p90")?);
                if median <= 0.0 || p90 < median {
                    return Err(format!("expected 0 < median <= p90, found median = {median}, p90 = {p90}"));
                }
                Ok(Distribution::LogNormal(median, p90))
            }
        }
    }
}

/// The text with every distribution replaced by its likely value, and the distributions.
///
/// # Errors
/// The first one that is none, with file, line, value and expectation.
pub fn lift(text: &str, file: &str) -> Result<(String, Uncertain), ProductError> {
    let mut uncertain = Uncertain { text: text.to_owned(), slots: Vec::new(), on: 0 };
    // What is no TOML is said by the parse that follows, with its own words.
    let Ok(root) = DeTable::parse(text) else { return Ok((text.to_owned(), uncertain)) };
    walk(root.get_ref(), "", text, file, &mut uncertain.slots)?;
    if uncertain.slots.is_empty() {
        return Ok((text.to_owned(), Uncertain::default()));
    }
    uncertain.slots.sort_by_key(|slot| slot.place.start);
    Ok((uncertain.replaced(|_, slot| slot.distribution.likely()), uncertain))
}

fn walk(
    table: &DeTable<'_>,
    path: &str,
    text: &str,
    file: &str,
    slots: &mut Vec<Slot>,
) -> Result<(), ProductError> {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        value_at(value, &path, text, file, slots)?;
    }
    Ok(())
}

fn value_at(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    text: &str,
    file: &str,
    slots: &mut Vec<Slot>,
) -> Result<(), ProductError> {
    match value.get_ref() {
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                value_at(item, &format!("{path}[{index}]"), text, file, slots)?;
            }
            Ok(())
        }
        DeValue::Table(table) => {
            let place = value.span();
            let typed = text.get(place.clone()).unwrap_or_default();
            let is = |key: &str| table.keys().any(|k| k.get_ref() == key);
            if !typed.starts_with('{') || !(is("likely") || is("distribution") || is("measured")) {
                return walk(table, path, text, file, slots);
            }
            let refuse = |message: String| ProductError {
                file: file.to_owned(),
                line: line_of(text, place.start),
                found: typed.chars().take(120).collect(),
                message,
            };
            let raw: Holder =
                toml::from_str(&format!("x = {typed}")).map_err(|e| refuse(e.message().trim().to_owned()))?;
            let distribution = raw.x.distribution().map_err(&refuse)?;
            let measured = raw.x.measured.is_some();
            slots.push(Slot { path: path.to_owned(), distribution, measured, whole: false, place });
            Ok(())
        }
        _ => Ok(()),
    }
}

impl Uncertain {
    /// The text with each distribution replaced by a number, as long as it was.
    fn replaced(&self, value: impl Fn(usize, &Slot) -> f64) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut from = 0;
        for (index, slot) in self.slots.iter().enumerate() {
            out.push_str(self.text.get(from..slot.place.start).unwrap_or_default());
            let number = value(index, slot);
            let typed =
                if slot.whole || is_whole(number) { format!("{number:.0}") } else { format!("{number:?}") };
            // Line breaks stay, so that what follows keeps its line.
            let rest = self.text.get(slot.place.clone()).unwrap_or_default();
            out.push_str(&typed);
            out.extend(rest.chars().skip(typed.len()).map(|c| if c == '\n' { '\n' } else { ' ' }));
            from = slot.place.end;
        }
        out.push_str(self.text.get(from..).unwrap_or_default());
        out
    }

    /// The product with some of its distributions at other values.
    ///
    /// # Errors
    /// Where a value is none that the file may hold.
    pub fn product_at(&self, values: &[Option<f64>]) -> Result<Product, String> {
        let at = |index: usize, slot: &Slot| {
            values.get(index).copied().flatten().unwrap_or_else(|| slot.distribution.likely())
        };
        let text = self.replaced(at);
        let mut product = if self.on == 0 {
            toml::from_str(&text).map_err(|error| error.message().trim().to_owned())?
        } else {
            crate::levers::switched(&text, self.on).map_err(|wrong| wrong.message)?
        };
        if !product.stages.is_empty() {
            crate::workflow::bill::check(&product).map_err(|e| {
                let stage = product.stages.get(e.index).map_or("", |stage| stage.id.as_str());
                format!("stage `{stage}`: {}", e.message)
            })?;
        }
        product.costs.extend(
            crate::stack::entries(&product.stack)
                .map_err(|error| format!("[[stack.{}]] multiplies to {:e} USD", error.table, error.usd))?,
        );
        product.uncertain = self.clone();
        Ok(product)
    }

    /// The file's text; empty of a file without distributions, levers and other machines.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Keeps the text of a file without distributions, whose levers or machines change it.
    pub(crate) fn keep(&mut self, text: &str) {
        text.clone_into(&mut self.text);
    }

    /// The file's likely values as a table.
    pub(crate) fn likely(&self) -> Option<toml::Table> {
        toml::from_str(&self.replaced(|_, slot| slot.distribution.likely())).ok()
    }

    /// The product with the levers of a mask switched on, and no others.
    ///
    /// # Errors
    /// Where they do not fit the file together.
    pub(crate) fn with_levers(&self, on: u64) -> Result<Product, String> {
        Self { on, ..self.clone() }.product_at(&[])
    }

    /// Whether a number at a path, or one within it, is typed as a distribution.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let within = |slot: &Slot| {
            slot.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.slots.iter().any(within)
    }

    /// Whether the number of a distribution is in use: that of a lever only where the lever is on, and that of another machine never,
    /// since the file on that machine has it in its `[fleet]`.
    pub(crate) fn counts(&self, slot: &Slot) -> bool {
        if slot.path.starts_with("machine[") {
            return false;
        }
        let index = slot.path.strip_prefix("lever[").and_then(|rest| rest.split_once(']')?.0.parse().ok());
        index.is_none_or(|index| crate::levers::is_on(self.on, index))
    }

    /// Checks that the number's own type takes both ends of every distribution, and learns which must be whole.
    ///
    /// # Errors
    /// The first that does not, with file, line, value and expectation.
    pub(crate) fn check_ends(&mut self, file: &str) -> Result<(), ProductError> {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index).cloned() else { continue };
            let (low, high) = slot.distribution.range();
            for end in [low, high] {
                let mut values = vec![None; self.slots.len()];
                if let Some(value) = values.get_mut(index) {
                    *value = Some(end);
                }
                // A number halfway tells a whole-number field from a bad end.
                if self.product_at(&values).is_ok()
                    && (!is_whole(end) || self.takes_fractions(index, low, high))
                {
                    continue;
                }
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.whole = true;
                }
                if let Err(error) = self.product_at(&values) {
                    return Err(ProductError {
                        file: file.to_owned(),
                        line: line_of(&self.text, slot.place.start),
                        found: self.text.get(slot.place.clone()).unwrap_or_default().to_owned(),
                        message: format!(
                            "`{}` may be drawn as {end}: {}; narrow the distribution or give it min and max",
                            slot.path, error
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    fn takes_fractions(&self, index: usize, low: f64, high: f64) -> bool {
        let middle = low + (high - low) * 0.487_123;
        let mut values = vec![None; self.slots.len()];
        if let Some(value) = values.get_mut(index) {
            *value = Some(middle);
        }
        is_whole(middle) || self.product_at(&values).is_ok()
    }

    /// Replaces measured shares by what was measured at the expected level; `None` where nothing is asked for or was measured.
    pub(crate) fn with_measured(&self, measurement: &Measurement) -> Option<Product> {
        let load = &measurement.level(LevelName::Expected)?.overall;
        let share = interval::proportion(load.within_slo, load.scheduled, 0.05)?;
        let mut measured = self.clone();
        let mut any = false;
        for slot in measured.slots.iter_mut().filter(|slot| slot.measured) {
            slot.distribution = Distribution::MeasuredShare(share.estimate, share.low, share.high);
            any = true;
        }
        any.then(|| measured.product_at(&[]).ok()).flatten()
    }
}

fn is_whole(number: f64) -> bool {
    number.fract().abs() < f64::EPSILON && number.abs() < 9e15
}
