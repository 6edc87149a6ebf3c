//! gpuhunt's catalogue CSV: one row an offer. Columns: the fields of `CatalogItem` in gpuhunt 0.1.34 (documented in its README).

use super::{ComputeTaken, ImportReport, ImportSource, Imported};
use crate::money::{Usd, UsdPerHour};
use crate::sheet::row::Row;
use crate::sheet::table::{Columns, each_csv_row};
use crate::sheet::{ComputePrice, SheetError, Term};
use crate::units::Bytes;

const DATASET: &str = "gpuhunt catalogue";
const COLUMNS: Columns = Columns {
    required: &["instance_name", "location", "price", "gpu_count", "gpu_name", "spot"],
    optional: None,
};

pub(super) fn import(source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let (mut report, mut taken) = (ImportReport::default(), ComputeTaken::default());
    each_csv_row(source.file, bytes, COLUMNS, 0, |row| {
        report.rows += 1;
        match row.price("price")? {
            None => report.skip("has no price"),
            Some(price) => taken.take(offer(source, row, UsdPerHour(Usd(price)))?, &mut report),
        }
        Ok(())
    })?;
    Ok(taken.finish(report))
}

fn offer(
    source: &ImportSource<'_>,
    row: &Row<'_>,
    usd_per_hour: UsdPerHour,
) -> Result<ComputePrice, SheetError> {
    let size = |column: &str| row.text(column).unwrap_or("?");
    let (device, sku) = match row.text("gpu_name") {
        Some(name) => (name.to_owned(), None),
        None => ("CPU".to_owned(), Some(format!("{} vCPU, {} GB", size("cpu"), size("memory")))),
    };
    let gpu_memory = row.parsed("gpu_memory", "gigabytes", |text| {
        text.split_once('.').map_or(text, |(whole, _)| whole).parse::<u64>().ok()
    })?;
    let spot = row
        .parsed("spot", "True or False", |text| match text {
            "True" | "true" => Some(true),
            "False" | "false" => Some(false),
            _ => None,
        })?
        .ok_or_else(|| row.missing("spot", "True or False"))?;
    let named = row.text("provider").or(source.provider);
    Ok(ComputePrice {
        provider: named.unwrap_or("unnamed cloud").to_owned(),
        region: row.text("location").map(str::to_owned),
        instance: row.text("instance_name").map(str::to_owned),
        device,
        sku,
        device_memory: gpu_memory.map(Bytes::from_gib),
        device_count: row.count("gpu_count")?.and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1),
        term: if spot { Term::Spot } else { Term::OnDemand },
        tier: None,
        usd_per_hour,
        converted: None,
        origin: source.origin(row.line, DATASET, None),
    })
}
