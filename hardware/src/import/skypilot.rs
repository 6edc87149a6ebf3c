//! The SkyPilot catalogue's `vms.csv`, schema v5 and later: one row an instance, region and zone, with on-demand and spot price.
//!
//! Columns: `README.md` of skypilot-org/skypilot-catalog. The file names neither its provider nor its date.

use super::{ComputeTaken, ImportReport, ImportSource, Imported};
use crate::money::{Usd, UsdPerHour};
use crate::sheet::row::Row;
use crate::sheet::table::{Columns, each_csv_row};
use crate::sheet::{ComputePrice, SheetError, Term};

const DATASET: &str = "SkyPilot catalogue (Apache-2.0)";
const COLUMNS: Columns = Columns {
    required: &["InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region"],
    optional: None,
};

pub(super) fn import(source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let (mut report, mut taken) = (ImportReport::default(), ComputeTaken::default());
    each_csv_row(source.file, bytes, COLUMNS, 0, |row| {
        report.rows += 1;
        let count = accelerators(row, "AcceleratorCount")?;
        if count == Accelerators::Share {
            report.skip(SHARE);
            return Ok(());
        }
        // A machine without a price is listed, but not for sale in that zone.
        let (price, spot) = (row.price("Price")?, row.price("SpotPrice")?);
        if price.is_none() && spot.is_none() {
            report.skip("has no price in this zone");
            return Ok(());
        }
        for (term, price) in [(Term::OnDemand, price), (Term::Spot, spot)] {
            if let Some(price) = price {
                taken.take(instance(source, row, count, term, UsdPerHour(Usd(price))), &mut report);
            }
        }
        Ok(())
    })?;
    Ok(taken.finish(report))
}

fn instance(
    source: &ImportSource<'_>,
    row: &Row<'_>,
    count: Accelerators,
    term: Term,
    usd_per_hour: UsdPerHour,
) -> ComputePrice {
    let size = |column: &str| row.text(column).unwrap_or("?");
    let (device, sku) = match row.text("AcceleratorName") {
        Some(name) => (name.to_owned(), None),
        None => ("CPU".to_owned(), Some(format!("{} vCPU, {} GiB", size("vCPUs"), size("MemoryGiB")))),
    };
    // Spot prices differ by zone within a region, so the zone is the place.
    let zone = row.text("AvailabilityZone").filter(|_| term == Term::Spot);
    ComputePrice {
        provider: source.provider.unwrap_or("unnamed cloud").to_owned(),
        region: zone.or(row.text("Region")).map(str::to_owned),
        instance: row.text("InstanceType").map(str::to_owned),
        device_count: count.whole().unwrap_or(1),
        device,
        sku,
        device_memory: None,
        term,
        tier: None,
        usd_per_hour,
        converted: None,
        origin: source.origin(row.line, DATASET, None),
    }
}

/// Why a row with a share of an accelerator is left out: its price an hour is not that of a device, and a plan that took it
/// for one would be several times too cheap.
pub(super) const SHARE: &str = "rents a share of an accelerator";

/// How many accelerators a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerators {
    /// None.
    None,
    /// Whole ones.
    Whole(u32),
    /// A fraction, or a count that is not whole.
    Share,
}

impl Accelerators {
    /// Whole devices, where there are any.
    pub(super) fn whole(self) -> Option<u32> {
        match self {
            Self::Whole(count) => Some(count),
            Self::None | Self::Share => None,
        }
    }
}

/// A count, which the catalogue writes as a float (`8.0`, `0.5`).
pub(super) fn accelerators(row: &Row<'_>, column: &str) -> Result<Accelerators, SheetError> {
    let count = row.parsed(column, "a number of accelerators above 0", |text| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_whole = fraction.bytes().all(|digit| digit == b'0');
        match whole.parse::<u32>() {
            Ok(count) if is_whole && count > 0 => Some(Accelerators::Whole(count)),
            Ok(_) if !is_whole && text.parse::<f64>().is_ok_and(|share| share > 0.0) => {
                Some(Accelerators::Share)
            }
            _ => None,
        }
    })?;
    Ok(count.unwrap_or(Accelerators::None))
}
