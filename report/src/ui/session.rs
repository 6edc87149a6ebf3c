//! What is open: a product file, measurements and prices; and the plan of them with other assumptions.

use std::sync::{Mutex, PoisonError};

use breakeven_hardware::PriceBook;
use breakeven_measurement::Measurement;
use breakeven_planner::{Plan, PlanOptions, Product};
use jiff::civil::Date;
use toml_edit::DocumentMut;

use super::assumption;

/// Why nothing can be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The product file is wrong.
    #[error(transparent)]
    Product(#[from] breakeven_planner::ProductError),
    /// The text is no TOML.
    #[error("the product file is no TOML: {0}")]
    Toml(#[from] toml_edit::TomlError),
    /// The planner refuses.
    #[error(transparent)]
    Plan(#[from] breakeven_planner::PlanError),
    /// Not a measurement of this version.
    #[error("expected a measurement written by `breakeven bench`: {0}")]
    Measurement(#[from] serde_json::Error),
    /// A link or a field names a number that the file does not have.
    #[error("the product file has no number `{path}`; the link may be for another file")]
    UnknownAssumption {
        /// The path asked for.
        path: String,
    },
    /// A link's or field's text is no number.
    #[error("`{path}`: expected a number, found `{found}`")]
    NotANumber {
        /// The path asked for.
        path: String,
        /// What was there.
        found: String,
    },
    /// Nothing to plan from.
    #[error("no measurement is open: open one, or start a benchmark")]
    NothingMeasured,
}

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The product file's text.
    pub product: String,
    /// Its name, for messages.
    pub name: String,
    /// Measurements by name; the last is planned from until another is chosen.
    pub measurements: Vec<(String, Measurement)>,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    opened: Mutex<Opened>,
    prices: PriceBook,
    as_of: Date,
    version: &'static str,
}

/// Draws of a plan that another will replace in a moment. The 5 % quantile of so many normal draws is known to ± 0.07 standard deviations
/// (its share to sqrt(0.05 · 0.95 / 1000), over the density there).
const DRAFT_DRAWS: u32 = 1_000;

/// The query's key for the measurement to plan from.
pub(crate) const MEASUREMENT: &str = "measurement";

/// A plan and what it was made of.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) product: String,
    pub(crate) fields: Vec<assumption::Field>,
    pub(crate) measurements: Vec<String>,
    pub(crate) chosen: String,
}

impl Session {
    /// Opens a product and measurements.
    ///
    /// # Errors
    /// Where the product file is wrong.
    pub fn open(
        opened: Opened,
        prices: PriceBook,
        as_of: Date,
        version: &'static str,
    ) -> Result<Self, SessionError> {
        Product::parse(&opened.product, &opened.name)?;
        Ok(Self { opened: Mutex::new(opened), prices, as_of, version })
    }

    fn opened(&self) -> Opened {
        // What is inside is replaced whole: a panic elsewhere leaves nothing half-done.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens another product, or another measurement beside those that are open.
    ///
    /// # Errors
    /// Where either is wrong; nothing changes then.
    pub(crate) fn replace(
        &self,
        product: Option<String>,
        measurement: Option<(String, &str)>,
    ) -> Result<(), SessionError> {
        let mut opened = self.opened();
        if let Some(product) = product {
            Product::parse(&product, "the opened product file")?;
            opened.product = product;
        }
        if let Some((name, text)) = measurement {
            opened.measurements.retain(|(other, _)| *other != name);
            opened.measurements.push((name, serde_json::from_str(text)?));
        }
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    /// Adds a measurement that was just made.
    pub(crate) fn add(&self, measurement: Measurement) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let name = measurement.run_id.clone();
        opened.measurements.retain(|(other, _)| *other != name);
        opened.measurements.push((name, measurement));
    }

    /// The product file with the query's assumptions.
    pub(crate) fn product(&self, query: &[(String, String)]) -> Result<DocumentMut, SessionError> {
        let mut document: DocumentMut = self.opened().product.parse()?;
        for (path, text) in query.iter().filter(|(path, _)| path != MEASUREMENT) {
            let not_a_number = || SessionError::NotANumber { path: path.clone(), found: text.clone() };
            let value: f64 = text.trim().parse().map_err(|_| not_a_number())?;
            assumption::set(&mut document, path, value)?;
        }
        Ok(document)
    }

    /// Plans with the query's assumptions.
    pub(crate) fn plan(&self, query: &[(String, String)]) -> Result<Planned, SessionError> {
        self.plan_with(query, |_| {})
    }

    /// The same with no more than [`DRAFT_DRAWS`], while a slider moves.
    pub(crate) fn draft(&self, query: &[(String, String)]) -> Result<Planned, SessionError> {
        self.plan_with(query, |product| product.most_draws = Some(DRAFT_DRAWS))
    }

    fn plan_with(
        &self,
        query: &[(String, String)],
        change: impl FnOnce(&mut Product),
    ) -> Result<Planned, SessionError> {
        let document = self.product(query)?;
        let opened = self.opened();
        let wanted = query.iter().find(|(key, _)| key == MEASUREMENT).map(|(_, name)| name);
        let (chosen, measurement) = opened
            .measurements
            .iter()
            .rfind(|(name, _)| wanted.is_none_or(|wanted| wanted == name))
            .or(opened.measurements.last())
            .ok_or(SessionError::NothingMeasured)?;
        let text = document.to_string();
        let mut product = Product::parse(&text, &opened.name)?;
        change(&mut product);
        // What a validity finding says stands in the report; the page refuses nothing.
        let options = PlanOptions { as_of: self.as_of, allow_invalid: true, version: self.version };
        let plan = breakeven_planner::plan(&product, measurement, &self.prices, &options)?;
        Ok(Planned {
            plan,
            product: text,
            fields: assumption::fields(&document),
            measurements: opened.measurements.iter().map(|(name, _)| name.clone()).collect(),
            chosen: chosen.clone(),
        })
    }

    /// The product file's text with the query's assumptions, for a benchmark.
    pub(crate) fn text(&self, query: &[(String, String)]) -> Result<String, SessionError> {
        let text = self.product(query)?.to_string();
        Product::parse(&text, "the product file with the page's assumptions")?;
        Ok(text)
    }

    /// The fields of the product file as opened.
    pub(crate) fn fields(&self) -> Vec<assumption::Field> {
        self.opened().product.parse().map(|document| assumption::fields(&document)).unwrap_or_default()
    }
}
