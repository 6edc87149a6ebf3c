//! Levers: switches of the product file (`[[lever]]`), ranked by the money that each saves at an unchanged success rate, alone and
//! together (issue 6; formulas in docs/METHOD.md).
//!
//! | file | holds |
//! |---|---|
//! | `path` | places in a product file by their paths |
//! | `patch` | the file with some of its levers on |
//! | [`ranking`] | what the ranking says: its types |
//! | `search` | each lever alone, and the best of them together |

mod patch;
mod path;
pub mod ranking;
mod search;

use breakeven_measurement::Fraction;
use serde::Deserialize;
use toml::{Table, Value};

use crate::{
    plan::LineItem,
    product::{
        CostEntry, Price, Product, ProductError, SegmentTable, Success, lever::LeverTable, stage::StageTable,
    },
};
use patch::Wrong;
pub(crate) use patch::is_on;
pub use search::levers;

/// Levers of a file at most: each alone and the best of them together has to be tried.
const MOST: usize = 20;

#[derive(Deserialize)]
struct Levers {
    #[serde(rename = "lever", default)]
    levers: Vec<LeverTable>,
}

/// What a measurement is of: a lever moves it in proportion.
#[derive(Deserialize)]
struct Measured {
    #[serde(rename = "segment")]
    segments: Vec<SegmentTable>,
    #[serde(rename = "stage", default)]
    stages: Vec<StageTable>,
    success: Success,
}

fn read<T: serde::de::DeserializeOwned>(file: Table) -> Result<T, Wrong> {
    let message = |error: toml::de::Error| error.message().trim().to_owned();
    Value::Table(file).try_into().map_err(|error| Wrong { at: "name".to_owned(), message: message(error) })
}

/// The product of a file's text with the levers of a mask on, their own costs in its costs. Stages and `[stack]` are not checked yet.
///
/// # Errors
/// The first lever that does not fit the file.
pub(crate) fn switched(text: &str, on: u64) -> Result<Product, Wrong> {
    let file: Table = toml::from_str(text)
        .map_err(|error| Wrong { at: "name".to_owned(), message: error.message().trim().to_owned() })?;
    let Levers { levers } = read(file.clone())?;
    let Measured { segments: before, stages, success } = read(file.clone())?;
    let mut product: Product = read(patch::patched(file, &levers, on)?)?;
    if product.segments != before {
        let lengths = |product: &Product| {
            let workload = product.workload();
            (workload.mean_input_tokens(), workload.mean_output_tokens())
        };
        let after = lengths(&product);
        let now = std::mem::replace(&mut product.segments, before);
        let before = lengths(&product);
        product.before_levers = Some(std::mem::replace(&mut product.segments, now));
        product.longer = Some((after.0 / before.0, after.1 / before.1));
    }
    let (typed, now) = (success.retries_per_request.get(), product.success.retries_per_request.get());
    product.retrying_over = (typed > 0.0).then(|| now / typed);
    for stage in &mut product.stages {
        let typed = stages.iter().find(|before| before.id == stage.id).and_then(|before| before.retries);
        if let Some((before, now)) = typed.zip(stage.retries) {
            let over = |now: Fraction, before: Fraction| {
                if before.get() > 0.0 { now.get() / before.get() } else { 1.0 }
            };
            stage.failing_over =
                Some((over(now.infrastructure, before.infrastructure), over(now.product, before.product)));
        }
    }
    for (_, lever) in levers.iter().enumerate().filter(|(index, _)| is_on(on, *index)) {
        let own = Price::try_from(lever.own_usd_per_month()).map_err(|message| Wrong {
            at: "once_usd".to_owned(),
            message: format!("its own cost a month: {message}"),
        })?;
        product.costs.push(CostEntry {
            line: lever.line.unwrap_or(LineItem::Engineering),
            usd_per_month: Some(own),
            usd_per_request: None,
            usd_per_failure: None,
            only: lever.only,
            note: Some(format!("lever `{}`", lever.name)),
            worked: None,
        });
    }
    Ok(product)
}

/// Checks the levers of a parsed product, each alone.
///
/// # Errors
/// The first that is wrong, with file, line, value and expectation.
pub(crate) fn check(product: &Product, text: &str, file: &str) -> Result<(), ProductError> {
    let refuse = |index: usize, wrong: Wrong| {
        let name = product.levers.get(index).map_or("", |lever| lever.name.as_str());
        let message = format!("lever `{name}`: {}", wrong.message);
        ProductError::of_table("lever", index, &wrong.at, message, text, file)
    };
    let of_name = |message: String| Wrong { at: "name".to_owned(), message };
    if product.levers.len() > MOST {
        let message = format!("expected at most {MOST} levers, found {}", product.levers.len());
        return Err(refuse(MOST, of_name(message)));
    }
    for (index, lever) in product.levers.iter().enumerate() {
        patch::check(lever).map_err(|wrong| refuse(index, wrong))?;
        if product.levers.iter().take(index).any(|earlier| earlier.name == lever.name) {
            let message = "expected levers of different names, found it twice".to_owned();
            return Err(refuse(index, of_name(message)));
        }
        if let Err(message) = product.uncertain.with_levers(1 << index) {
            let alone = |only: &LeverTable| wrong_of(product, only);
            return Err(refuse(index, culprit(lever, alone).unwrap_or_else(|| of_name(message))));
        }
    }
    Ok(())
}

/// What is wrong with a file whose only lever is this one.
fn wrong_of(product: &Product, lever: &LeverTable) -> Option<Wrong> {
    let file = product.uncertain.likely()?;
    match patch::patched(file, std::slice::from_ref(lever), 1) {
        Err(wrong) => Some(wrong),
        Ok(file) => read::<Product>(file).err(),
    }
}

/// The part of a lever that is refused by itself, so that the error names its line.
fn culprit(lever: &LeverTable, wrong: impl Fn(&LeverTable) -> Option<Wrong>) -> Option<Wrong> {
    let all = wrong(lever)?;
    if all.at != "name" {
        return Some(all);
    }
    let nothing = LeverTable { set: [].into(), times: [].into(), without: Vec::new(), ..lever.clone() };
    let sets = lever.set.iter().map(|(path, value)| {
        (path, LeverTable { set: [(path.clone(), value.clone())].into(), ..nothing.clone() })
    });
    let times = lever.times.iter().map(|(path, factor)| {
        (path, LeverTable { times: [(path.clone(), *factor)].into(), ..nothing.clone() })
    });
    let of_path = sets.chain(times).find_map(|(path, only)| {
        wrong(&only).map(|found| Wrong { at: format!("\"{path}\""), message: found.message })
    });
    Some(of_path.unwrap_or(all))
}
