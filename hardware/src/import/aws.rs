//! The offer file of the AWS price list for EC2, CSV form: five lines about the file, a header, one row a price.
//!
//! Layout: AWS Billing user guide, "Reading the service price list file". Taken are Linux instances on shared hardware, on
//! demand and reserved without upfront payment: the prices that are wholly by the hour.

use super::skypilot::{SHARE, accelerators};
use super::{ComputeTaken, ImportReport, ImportSource, Imported};
use crate::money::{Usd, UsdPerHour};
use crate::sheet::row::Row;
use crate::sheet::table::{Columns, each_csv_row};
use crate::sheet::{AsOf, ComputePrice, SheetError, Term};

const DATASET: &str = "AWS price list, AmazonEC2 offer file";
const SOURCE_URL: &str = "https://aws.amazon.com/ec2/pricing/";
const PREAMBLE_LINES: usize = 5;
const COLUMNS: Columns = Columns {
    required: &["SKU", "TermType", "Unit", "PricePerUnit", "Currency", "Instance Type", "Region Code"],
    optional: None,
};

/// What a row must say to be an hour of a plain Linux machine; a column that the file lacks or leaves empty does not exclude.
const PLAIN: [(&str, &str); 4] = [
    ("Tenancy", "Shared"),
    ("Operating System", "Linux"),
    ("CapacityStatus", "Used"),
    ("Pre Installed S/W", "NA"),
];

/// Accelerators of the instance families, which the offer file counts but does not name. Source: what EC2's own
/// `DescribeInstanceTypes` answers, as published in the instance type reference of karpenter-provider-aws@1d927085d
/// (labels `instance-gpu-name`), read 2026-11-23.
const FAMILIES: [(&str, &str); 16] = [
    ("p6-b300", "B300"),
    ("p6-b200", "B200"),
    ("p5en", "H200"),
    ("p5e", "H200"),
    ("p5", "H100"),
    ("p4de", "A100"),
    ("p4d", "A100"),
    ("p3dn", "V100"),
    ("p3", "V100"),
    ("g7e", "RTX-PRO-6000-SE"),
    ("g6e", "L40S"),
    ("g6", "L4"),
    ("gr6", "L4"),
    ("g5", "A10G"),
    ("g5g", "T4G"),
    ("g4dn", "T4"),
];

/// Families that rent a share of an accelerator: their hour is not a device's hour.
const SHARES: [&str; 2] = ["g6f", "gr6f"];

pub(super) fn import(source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let source = ImportSource { as_of: publication_date(bytes).unwrap_or(source.as_of), ..source.clone() };
    let (mut report, mut taken) = (ImportReport::default(), ComputeTaken::default());
    each_csv_row(source.file, bytes, COLUMNS, PREAMBLE_LINES, |row| {
        report.rows += 1;
        match term(row) {
            Err(reason) => report.skip(reason),
            Ok(term) => {
                let price =
                    row.price("PricePerUnit")?.ok_or_else(|| row.missing("PricePerUnit", "a price"))?;
                if price.is_zero() {
                    report.skip("price is zero: a free tier or a placeholder");
                } else if row.text("Currency") == Some("USD") {
                    taken.take(instance(&source, row, term, UsdPerHour(Usd(price)))?, &mut report);
                } else {
                    let currency = row.text("Currency").unwrap_or("").to_owned();
                    return Err(SheetError::NoRate {
                        file: source.file.to_owned(),
                        line: row.line,
                        currency,
                    });
                }
            }
        }
        Ok(())
    })?;
    Ok(taken.finish(report))
}

/// `"Publication Date","2026-11-01T00:00:00Z"` in the lines before the header.
fn publication_date(bytes: &[u8]) -> Option<AsOf> {
    let mut lines = bytes.split(|byte| *byte == b'\n').take(PREAMBLE_LINES);
    let line = lines.find(|line| line.starts_with(b"\"Publication Date\""))?;
    let date = std::str::from_utf8(line).ok()?.split('"').nth(3)?.get(..10)?;
    date.parse().ok()
}

/// The term of a row we take, or why we do not.
fn term(row: &Row<'_>) -> Result<Term, &'static str> {
    if row.text("Instance Type").is_none() {
        return Err("no instance (storage, traffic, addresses)");
    }
    if row.text("Instance Type").is_some_and(|name| SHARES.contains(&family(name))) {
        return Err(SHARE);
    }
    if row.text("Unit") != Some("Hrs") {
        return Err("not by the hour (upfront payments)");
    }
    if PLAIN.iter().any(|(column, value)| row.text(column).is_some_and(|found| found != *value)) {
        return Err("not a plain Linux machine on shared hardware");
    }
    match (row.text("TermType"), row.text("LeaseContractLength")) {
        (Some("OnDemand"), _) => Ok(Term::OnDemand),
        (Some("Reserved"), length) => {
            if row.text("PurchaseOption") != Some("No Upfront")
                || row.text("OfferingClass") != Some("standard")
            {
                return Err("reserved with upfront payment or convertible");
            }
            match length {
                Some("1yr") => Ok(Term::Reserved1y),
                Some("3yr") => Ok(Term::Reserved3y),
                _ => Err("reserved for an unknown time"),
            }
        }
        _ => Err("an unknown kind of term"),
    }
}

fn family(instance: &str) -> &str {
    instance.split_once('.').map_or(instance, |(family, _)| family)
}

fn instance(
    source: &ImportSource<'_>,
    row: &Row<'_>,
    term: Term,
    usd_per_hour: UsdPerHour,
) -> Result<ComputePrice, SheetError> {
    let name = row.required("Instance Type", "a name")?;
    let family = family(name);
    let count = accelerators(row, "GPU")?.whole();
    let known = FAMILIES.iter().find(|(prefix, _)| *prefix == family).map(|(_, device)| (*device).to_owned());
    let size = |column: &str| row.text(column).unwrap_or("?");
    let device = match (count, known) {
        (_, Some(device)) => device,
        (Some(_), None) => format!("{family} accelerator"),
        (None, None) => "CPU".to_owned(),
    };
    Ok(ComputePrice {
        provider: "aws".to_owned(),
        region: row.text("Region Code").map(str::to_owned),
        instance: Some(name.to_owned()),
        sku: Some(format!("{} vCPU, {}", size("vCPU"), size("Memory"))),
        device,
        device_memory: None,
        device_count: count.unwrap_or(1),
        term,
        tier: None,
        usd_per_hour,
        converted: None,
        origin: source.origin(row.line, DATASET, Some(SOURCE_URL.to_owned())),
    })
}
