//! Prices of rented or owned machines: one row, one price of one instance for one hour.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::currency::{Conversion, Rates};
use super::date::Freshness;
use super::error::SheetError;
use super::origin::Origin;
use super::row::Row;
use super::table::Columns;
use crate::money::{Usd, UsdPerHour};
use crate::units::Bytes;

/// Columns of a compute price sheet.
pub(crate) const COMPUTE_COLUMNS: Columns = Columns {
    required: &["provider", "device", "device_count", "term", "currency", "price_per_hour", "date"],
    optional: Some(&[
        "region",
        "instance",
        "sku",
        "device_memory_gb",
        "tier",
        "source_url",
        "dataset",
        "usd_per_unit",
        "rate_date",
    ]),
};

/// How long one commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// By the hour, as long as wanted.
    OnDemand,
    /// By the hour, until the provider wants it back.
    Spot,
    /// Days to weeks, paid whether used or not, from a fixed start.
    CapacityBlock,
    /// One year, paid whether used or not.
    #[serde(rename = "reserved-1y")]
    Reserved1y,
    /// Three years, paid whether used or not.
    #[serde(rename = "reserved-3y")]
    Reserved3y,
    /// Bought.
    Owned,
}

impl Term {
    /// Every term, in the order of commitment.
    pub const ALL: [Self; 6] =
        [Self::OnDemand, Self::Spot, Self::CapacityBlock, Self::Reserved1y, Self::Reserved3y, Self::Owned];

    /// The name in sheets.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::CapacityBlock => "capacity-block",
            Self::Reserved1y => "reserved-1y",
            Self::Reserved3y => "reserved-3y",
            Self::Owned => "owned",
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that names no term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a term, expected one of: on-demand, spot, capacity-block, reserved-1y, reserved-3y, owned \
     (an underscore does for the hyphen)"
)]
pub struct UnknownTerm(String);

impl FromStr for Term {
    type Err = UnknownTerm;

    fn from_str(text: &str) -> Result<Self, UnknownTerm> {
        let hyphenated = text.replace('_', "-");
        Self::ALL
            .into_iter()
            .find(|term| term.name() == hyphenated)
            .ok_or_else(|| UnknownTerm(text.to_owned()))
    }
}

/// What one instance costs an hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComputePrice {
    /// Who rents it out.
    pub provider: String,
    /// Where; `None` where the source names no region.
    pub region: Option<String>,
    /// The provider's name of the machine; `None` where it sells devices, not machines.
    pub instance: Option<String>,
    /// Device family, for example `H100`, or a processor.
    pub device: String,
    /// The device as the source spells it.
    pub sku: Option<String>,
    /// Memory of one device.
    pub device_memory: Option<Bytes>,
    /// Devices that the price buys.
    pub device_count: u32,
    /// Commitment.
    pub term: Term,
    /// The provider's own grade (`secure`, `community`, `marketplace`…).
    pub tier: Option<String>,
    /// Price of the whole: all its devices, one hour.
    pub usd_per_hour: UsdPerHour,
    /// How it came to be in dollars, where it was not.
    pub converted: Option<Conversion>,
    /// Who says so.
    pub origin: Origin,
}

impl ComputePrice {
    /// Reads a row.
    pub(crate) fn from_row(row: &Row<'_>, rates: &Rates) -> Result<Self, SheetError> {
        let expected = "the price of the whole instance for one hour";
        let amount = row.price("price_per_hour")?.ok_or_else(|| row.missing("price_per_hour", expected))?;
        let converted = rates.conversion(row)?;
        let device_count = row
            .parsed("device_count", "a whole number from 1", |text| {
                text.parse::<u32>().ok().filter(|n| *n > 0)
            })?
            .ok_or_else(|| row.missing("device_count", "a whole number from 1"))?;
        let term_names = "a term: on-demand, spot, capacity-block, reserved-1y, reserved-3y or owned";
        let own = |column| row.text(column).map(str::to_owned);
        Ok(Self {
            provider: row.required("provider", "a name")?.to_owned(),
            region: own("region"),
            instance: own("instance"),
            device: row.required("device", "a name")?.to_owned(),
            sku: own("sku"),
            // Vendors' GB on a device's label are binary: an 80 GB H100 reports 80 GiB of HBM, less what it keeps back.
            device_memory: row.count("device_memory_gb")?.map(Bytes::from_gib),
            device_count,
            term: row
                .parsed("term", term_names, |text| text.parse().ok())?
                .ok_or_else(|| row.missing("term", term_names))?,
            tier: own("tier"),
            usd_per_hour: UsdPerHour(Conversion::apply(converted.as_ref(), amount)),
            converted,
            origin: Origin::from_row(row)?,
        })
    }

    /// Price of one of its devices, one hour.
    pub fn usd_per_device_hour(&self) -> UsdPerHour {
        let count = Decimal::from(self.device_count.max(1));
        UsdPerHour(self.usd_per_hour.0.per(count).unwrap_or(Usd::ZERO))
    }

    /// Everything that tells this price from others, without the price itself.
    pub fn key(&self) -> String {
        let memory = self.device_memory.map(|bytes| bytes.to_string());
        let parts = [
            Some(self.provider.as_str()),
            self.region.as_deref(),
            self.instance.as_deref(),
            Some(self.device.as_str()),
            self.sku.as_deref(),
            memory.as_deref(),
            Some(self.term.name()),
            self.tier.as_deref(),
            self.origin.dataset.as_deref(),
        ];
        let named: Vec<&str> = parts.into_iter().map(|part| part.unwrap_or("-")).collect();
        format!("{} x{}", named.join("/"), self.device_count)
    }

    /// What two prices of the same thing surely share, for finding them quickly.
    pub(crate) fn rough_key(&self) -> (String, u32, Term) {
        (format!("{}/{}", self.provider, self.device).to_ascii_lowercase(), self.device_count, self.term)
    }

    /// Whether this price is about the same thing as an older one. Details that this one does not name do not keep them apart.
    pub(crate) fn replaces(&self, older: &Self) -> bool {
        let same = |new: &Option<String>, old: &Option<String>| match (new, old) {
            (Some(new), Some(old)) => new.eq_ignore_ascii_case(old),
            (new, old) => new.is_none() && old.is_none(),
        };
        let unnamed_or_same = |new: &Option<String>, old: &Option<String>| new.is_none() || same(new, old);
        self.rough_key() == older.rough_key()
            && same(&self.region, &older.region)
            && same(&self.instance, &older.instance)
            && unnamed_or_same(&self.sku, &older.sku)
            && unnamed_or_same(&self.tier, &older.tier)
            && unnamed_or_same(&self.origin.dataset, &older.origin.dataset)
            && (self.device_memory.is_none() || self.device_memory == older.device_memory)
    }

    /// Whether the price is recent on a given day.
    pub fn freshness(&self, today: jiff::civil::Date) -> Freshness {
        self.origin.as_of.freshness(today)
    }
}

/// Which compute prices are wanted; what is `None` does not matter. Names compare without case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComputeQuery {
    /// Who rents it out.
    pub provider: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// The provider's name of the machine.
    pub instance: Option<String>,
    /// Device family or the device as the source spells it.
    pub device: Option<String>,
    /// Devices in one instance.
    pub device_count: Option<u32>,
    /// Commitment.
    pub term: Option<Term>,
}

impl ComputeQuery {
    /// Whether a price is wanted.
    pub fn matches(&self, price: &ComputePrice) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        };
        same(&self.provider, Some(&price.provider))
            && same(&self.region, price.region.as_deref())
            && same(&self.instance, price.instance.as_deref())
            && (same(&self.device, Some(&price.device)) || same(&self.device, price.sku.as_deref()))
            && self.device_count.is_none_or(|count| count == price.device_count)
            && self.term.is_none_or(|term| term == price.term)
    }
}
