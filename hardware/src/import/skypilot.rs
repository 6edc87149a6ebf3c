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
        // A machine without a price is listed, but not for sale in that zone.
        let (price, spot) = (row.price("Price")?, row.price("SpotPrice")?);
        if price.is_none() && spot.is_none() {
            report.skip("has no price in this zone");
            return Ok(());
        }
        for (term, price) in [(Term::OnDemand, price), (Term::Spot, spot)] {
            if let Some(price) = price {
                taken.take(instance(source, row, term, UsdPerHour(Usd(price)))?, &mut report);
            }
        }
        Ok(())
    })?;
    Ok(taken.finish(report))
}

fn instance(
    source: &ImportSource<'_>,
    row: &Row<'_>,
    term: Term,
    usd_per_hour: UsdPerHour,
) -> Result<ComputePrice, SheetError> {
    let size = |column: &str| row.text(column).unwrap_or("?");
    let (device, sku) = match row.text("AcceleratorName") {
        Some(name) => (name.to_owned(), None),
        None => ("CPU".to_owned(), Some(format!("{} vCPU, {} GiB", size("vCPUs"), size("MemoryGiB")))),
    };
    // Spot prices differ by zone within a region, so the zone is the place.
    let zone = row.text("AvailabilityZone").filter(|_| term == Term::Spot);
    Ok(ComputePrice {
        provider: source.provider.unwrap_or("unnamed cloud").to_owned(),
        region: zone.or(row.text("Region")).map(str::to_owned),
        instance: row.text("InstanceType").map(str::to_owned),
        device_count: accelerators(row, "AcceleratorCount")?.unwrap_or(1),
        device,
        sku,
        device_memory: None,
        term,
        tier: None,
        usd_per_hour,
        converted: None,
        origin: source.origin(row.line, DATASET, None),
    })
}

/// A count that the catalogue writes as a float. Shares of a device (`0.5`) count as one device.
pub(super) fn accelerators(row: &Row<'_>, column: &str) -> Result<Option<u32>, SheetError> {
    row.parsed(column, "a number of accelerators above 0", |text| {
        let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
        let count = whole.parse::<u32>().ok()?;
        (count > 0 || text.parse::<f64>().is_ok_and(|share| share > 0.0)).then_some(count.max(1))
    })
}
