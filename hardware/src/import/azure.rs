//! A page of the Azure Retail Prices API: `{"Items": [{"armSkuName", "retailPrice", "type", ...}]}`.
//!
//! Meaning of the fields: Microsoft's "Azure Retail Prices overview". The API names no accelerators; those of the known sizes
//! are in a table here: the device is in the size's own name, the count is what Azure's size pages say (ND A100 v4, ND H100 v5
//! and `NDv2`: eight; NC A100 v4: one to four). Every size in it exists in karpenter-provider-azure@352646f5
//! (`known_skus.yaml`), read 2026-11-23.

use rust_decimal::Decimal;

use super::json::{Array, JsonFile, Object};
use super::{ComputeTaken, ImportReport, ImportSource, Imported};
use crate::money::{Usd, UsdPerHour};
use crate::sheet::{ComputePrice, SheetError, Term};

const DATASET: &str = "Azure Retail Prices API";
const SOURCE_URL: &str =
    "https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices";
const HOURS_A_YEAR: i64 = 8_760;

/// Accelerator sizes: name, device, count.
const SIZES: [(&str, &str, u32); 19] = [
    ("Standard_ND96isr_H200_v5", "H200", 8),
    ("Standard_ND96isr_H100_v5", "H100", 8),
    ("Standard_NC80adis_H100_v5", "H100", 2),
    ("Standard_NC40ads_H100_v5", "H100", 1),
    ("Standard_ND96amsr_A100_v4", "A100", 8),
    ("Standard_ND96asr_v4", "A100", 8),
    ("Standard_NC96ads_A100_v4", "A100", 4),
    ("Standard_NC48ads_A100_v4", "A100", 2),
    ("Standard_NC24ads_A100_v4", "A100", 1),
    ("Standard_NV72ads_A10_v5", "A10", 2),
    ("Standard_NV36ads_A10_v5", "A10", 1),
    ("Standard_NC64as_T4_v3", "T4", 4),
    ("Standard_NC16as_T4_v3", "T4", 1),
    ("Standard_NC8as_T4_v3", "T4", 1),
    ("Standard_NC4as_T4_v3", "T4", 1),
    ("Standard_ND40rs_v2", "V100", 8),
    ("Standard_NC24s_v3", "V100", 4),
    ("Standard_NC12s_v3", "V100", 2),
    ("Standard_NC6s_v3", "V100", 1),
];

pub(super) fn import(source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let json = JsonFile::new(source.file, bytes)?;
    let root: Object<'_> = json.root("a JSON object with a list `Items`")?;
    let items: Array<'_> = match root.get("Items") {
        Some(raw) => json.read(raw, "a list of prices")?,
        None => {
            return Err(SheetError::NoColumn { file: source.file.to_owned(), column: "Items".to_owned() });
        }
    };
    let (mut report, mut taken) = (ImportReport::default(), ComputeTaken::default());
    for raw in &items.0 {
        report.rows += 1;
        let item: Object<'_> = json.read(raw, "an object")?;
        let line = json.line(raw);
        match kind(&item) {
            Err(reason) => report.skip(reason),
            Ok((name, term)) => {
                let currency = item.text("currencyCode").unwrap_or_default();
                if currency != "USD" {
                    return Err(SheetError::NoRate { file: source.file.to_owned(), line, currency });
                }
                let price = match item.get("retailPrice") {
                    Some(value) => json.price("retailPrice", value)?,
                    None => None,
                };
                let Some(price) = price else {
                    return Err(json.bad("Items", raw, "a price in `retailPrice`"));
                };
                match instance(source, &item, &name, term, price, line) {
                    Err(reason) => report.skip(reason),
                    Ok(price) => taken.take(price, &mut report),
                }
            }
        }
    }
    Ok(taken.finish(report))
}

/// Name and term of a row we take, or why we do not.
fn kind(item: &Object<'_>) -> Result<(String, Term), &'static str> {
    let text = |key: &str| item.text(key).unwrap_or_default();
    if text("serviceName") != "Virtual Machines" {
        return Err("no virtual machine");
    }
    let (product, meter, sku) = (text("productName"), text("meterName"), text("skuName"));
    if product.contains("Windows") {
        return Err("includes a Windows licence");
    }
    if meter.contains("Low Priority") || sku.contains("Low Priority") {
        return Err("low priority, withdrawn in favour of spot");
    }
    let name = text("armSkuName");
    if name.is_empty() || product.contains("Dedicated") {
        return Err("no size of machine");
    }
    let term = match (text("type").as_str(), text("reservationTerm").as_str()) {
        ("Consumption", _) if sku.contains("Spot") || meter.contains("Spot") => Term::Spot,
        ("Consumption", _) => Term::OnDemand,
        ("Reservation", "1 Year") => Term::Reserved1y,
        ("Reservation", "3 Years") => Term::Reserved3y,
        ("Reservation", _) => return Err("reserved for a time other than one or three years"),
        _ => return Err("neither by the hour nor reserved"),
    };
    if text("unitOfMeasure") != "1 Hour" {
        return Err("not by the hour");
    }
    Ok((name, term))
}

fn instance(
    source: &ImportSource<'_>,
    item: &Object<'_>,
    name: &str,
    term: Term,
    retail_price: Decimal,
    line: u64,
) -> Result<ComputePrice, &'static str> {
    // A reservation's price is that of its whole time, whatever unit the row names.
    let hours = match term {
        Term::Reserved1y => Decimal::from(HOURS_A_YEAR),
        Term::Reserved3y => Decimal::from(3 * HOURS_A_YEAR),
        Term::OnDemand | Term::Spot | Term::CapacityBlock | Term::Owned => Decimal::ONE,
    };
    let known = SIZES.iter().find(|(size, _, _)| *size == name);
    // Sizes of the N series carry accelerators; one we do not know would pass for a dear processor.
    if known.is_none() && name.strip_prefix("Standard_").is_some_and(|size| size.starts_with('N')) {
        return Err("an accelerator size whose devices we do not know");
    }
    let (device, device_count) = known.map_or(("CPU", 1), |(_, device, count)| (*device, *count));
    Ok(ComputePrice {
        provider: "azure".to_owned(),
        region: item.text("armRegionName"),
        instance: Some(name.strip_prefix("Standard_").unwrap_or(name).to_owned()),
        device: device.to_owned(),
        sku: None,
        device_memory: None,
        device_count,
        term,
        tier: None,
        usd_per_hour: UsdPerHour(Usd(retail_price).per(hours).unwrap_or(Usd::ZERO)),
        converted: None,
        origin: source.origin(line, DATASET, Some(SOURCE_URL.to_owned())),
    })
}
