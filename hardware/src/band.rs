//! Bands for what nobody lists: capex, PUE, tariffs, depreciation. Every figure is an assumption with its source and how good
//! that source is; a plan shows them as such and never hides one in code.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::sheet::SheetError;
use crate::sheet::table::{Columns, each_csv_row};

const FILE: &str = "hardware/catalog/owned_bands.csv";
const BUILT_IN: &str = include_str!("../catalog/owned_bands.csv");
const COLUMNS: Columns = Columns {
    required: &["parameter", "low", "typical", "high", "unit", "source", "quality"],
    optional: Some(&[]),
};

/// An assumption with its spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Band {
    /// What it is about.
    pub parameter: String,
    /// Low end; `None` where the source gives none.
    pub low: Option<Decimal>,
    /// Middle; `None` where the source gives only ends.
    pub typical: Option<Decimal>,
    /// High end; `None` where the source gives none.
    pub high: Option<Decimal>,
    /// Unit; `None` for a plain ratio.
    pub unit: Option<String>,
    /// Who says so.
    pub source: String,
    /// How good the source is, in the words of whoever collected it.
    pub quality: String,
}

impl Band {
    /// The middle: what the source calls typical, else half-way between the ends, else the one end there is.
    pub fn middle(&self) -> Option<Decimal> {
        self.typical.or_else(|| match (self.low, self.high) {
            (Some(low), Some(high)) => low.checked_add(high)?.checked_div(Decimal::TWO),
            (low, high) => low.or(high),
        })
    }
}

/// The built-in bands.
///
/// # Errors
/// None in a released program: a test parses every built-in row.
pub fn owned_bands() -> Result<Vec<Band>, SheetError> {
    parse_bands(FILE, BUILT_IN.as_bytes())
}

/// Reads a sheet of bands.
///
/// # Errors
/// The first thing wrong, with file, line, value and expectation.
pub fn parse_bands(file: &str, bytes: &[u8]) -> Result<Vec<Band>, SheetError> {
    let mut bands: Vec<Band> = Vec::new();
    each_csv_row(file, bytes, COLUMNS, 0, |row| {
        let band = Band {
            parameter: row.required("parameter", "a name")?.to_owned(),
            low: row.price("low")?,
            typical: row.price("typical")?,
            high: row.price("high")?,
            unit: row.text("unit").map(str::to_owned),
            source: row.required("source", "who says so")?.to_owned(),
            quality: row.required("quality", "how good the source is")?.to_owned(),
        };
        if band.middle().is_none() {
            return Err(row.missing("typical", "at least one of low, typical and high"));
        }
        let known: Vec<Decimal> = [band.low, band.typical, band.high].into_iter().flatten().collect();
        if !known.is_sorted() {
            return Err(row.bad("low", "low, typical and high in rising order"));
        }
        if bands.iter().any(|earlier| earlier.parameter == band.parameter) {
            return Err(row.bad("parameter", "every parameter once"));
        }
        bands.push(band);
        Ok(())
    })?;
    if bands.is_empty() {
        return Err(SheetError::Empty { file: file.to_owned() });
    }
    Ok(bands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::decimal_to_f64;
    use crate::owned::{EnergyBasis, OwnedHardware, Tariff, owned_cost};

    #[test]
    fn every_band_has_a_middle_and_a_source() {
        let bands = owned_bands().unwrap();
        assert_eq!(bands.len(), 26);
        let pue = bands.iter().find(|band| band.parameter == "PUE hyperscale average").unwrap();
        assert_eq!(pue.middle(), Some(Decimal::new(125, 2)));
    }

    #[test]
    fn bad_bands_are_refused() {
        let head = "parameter,low,typical,high,unit,source,quality\n";
        let said =
            |row: &str| parse_bands("b.csv", format!("{head}{row}").as_bytes()).unwrap_err().to_string();
        assert!(
            said("x,3,2,4,USD,s,low")
                .starts_with("b.csv:2: low is `3`, expected low, typical and high in rising order")
        );
        assert!(said("x,,,,USD,s,low").starts_with("b.csv:2: typical is empty"));
        assert!(said("x,1,,,USD,,low").starts_with("b.csv:2: source is empty"));
        assert!(said("x,NaN,,,USD,s,low").starts_with("b.csv:2: low is `NaN`"));
    }

    /// An H100 owned at the middle of every band costs what a survey of owners found: 1.30 to 1.74 dollars an hour in the
    /// `InferenceX` revision of 2026-04-03 (hyperscaler to neocloud), 1.17 to 1.59 in mid-2026. Our bands must land near it.
    #[test]
    fn typical_ownership_of_an_h100_lands_in_the_surveyed_range() {
        let bands = owned_bands().unwrap();
        let middle = |name: &str| {
            let band = bands.iter().find(|band| band.parameter == name).unwrap();
            decimal_to_f64(band.middle().unwrap())
        };
        let hardware = OwnedHardware {
            servers: 1,
            usd_per_server: middle("8xH100 server capex"),
            accelerators_per_server: 8,
            usd_per_accelerator: 0.0,
            network_capex_share: middle("network/cabling/insurance adder") / 100.0,
            spares_share: 0.0,
            discount_rate_per_year: 0.08,
            amortisation_months: 48,
            residual_share: middle("residual value after 36 months") / 100.0,
            idle_watts_per_server: 8.0 * 300.0,
            load_watts_per_server: middle("8xH100 node max power") * 1e3,
            pue: middle("PUE hyperscale modern"),
            tariff: Tariff::Flat { usd_per_kwh: middle("electricity") },
            colocation_usd_per_kw_month: middle("colocation"),
            network_usd_per_month: 0.0,
            maintenance_share_per_year: 0.0,
            staff_usd_per_year: 0.0,
            staff_share: 0.0,
        };
        let cost = owned_cost(&hardware, &EnergyBasis::steady(0.7)).unwrap();
        let usd_per_gpu_hour = cost.usd_per_server_hour.0.to_f64() / 8.0;
        assert!((1.17..=1.74).contains(&usd_per_gpu_hour), "{usd_per_gpu_hour}");
    }
}
