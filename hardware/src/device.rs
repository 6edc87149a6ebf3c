//! Published specifications of accelerators, from `hardware/catalog/devices.csv`: what a roofline may promise.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::machine::Gpu;
use crate::money::decimal_to_f64;
use crate::sheet::row::Row;
use crate::sheet::table::{Columns, each_csv_row};
use crate::sheet::{ComputePrice, SheetError};
use crate::units::Bytes;

const FILE: &str = "hardware/catalog/devices.csv";
const BUILT_IN: &str = include_str!("../catalog/devices.csv");
const COLUMNS: Columns = Columns {
    required: &["device", "memory_gb", "memory_bandwidth_gb_per_second", "verified", "source"],
    optional: Some(&[
        "bf16_dense_tflops",
        "fp8_dense_tflops",
        "fp4_dense_tflops",
        "int8_dense_tops",
        "tdp_watts",
        "all_in_watts",
        "scale_up_gb_per_second",
    ]),
};

/// Number format of a matrix product.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Brain float, 16 bits.
    Bf16,
    /// Float, 8 bits.
    Fp8,
    /// Float, 4 bits.
    Fp4,
    /// Integer, 8 bits.
    Int8,
}

/// One accelerator as published. What the source does not state is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Device {
    /// Name, family first: `H100-SXM`.
    pub name: String,
    /// On-board memory.
    pub memory: Bytes,
    /// Memory bandwidth.
    pub memory_bandwidth_bytes_per_second: f64,
    /// Dense (not sparse) matrix rate in bf16.
    pub bf16_flops_per_second: Option<f64>,
    /// Dense matrix rate in fp8.
    pub fp8_flops_per_second: Option<f64>,
    /// Dense matrix rate in fp4.
    pub fp4_flops_per_second: Option<f64>,
    /// Dense matrix rate in int8, operations.
    pub int8_ops_per_second: Option<f64>,
    /// Thermal design power of the device alone.
    pub tdp_watts: Option<f64>,
    /// Power of the device with its share of host, network and cooling fans.
    pub all_in_watts: Option<f64>,
    /// Bandwidth to its neighbours, one direction.
    pub scale_up_bytes_per_second: Option<f64>,
    /// Whether the collected figures were checked against their source; unverified ones print with a mark.
    pub verified: bool,
    /// Who says so.
    pub source: String,
}

impl Device {
    fn from_row(row: &Row<'_>) -> Result<Self, SheetError> {
        let scaled = |column: &str, unit: f64| -> Result<Option<f64>, SheetError> {
            Ok(positive(row, column)?.map(|value| decimal_to_f64(value) * unit))
        };
        let verified = row.parsed("verified", "yes or no", |text| match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        })?;
        let bandwidth = "memory_bandwidth_gb_per_second";
        let memory = row.count("memory_gb")?.filter(|gb| *gb > 0);
        Ok(Self {
            name: row.required("device", "a name")?.to_owned(),
            // Memory dies are binary, so a label's "80 GB" is 80 GiB of cells; bandwidth labels are decimal.
            memory: Bytes::from_gib(memory.ok_or_else(|| row.missing("memory_gb", "gigabytes above 0"))?),
            memory_bandwidth_bytes_per_second: scaled(bandwidth, 1e9)?
                .ok_or_else(|| row.missing(bandwidth, "gigabytes a second"))?,
            bf16_flops_per_second: scaled("bf16_dense_tflops", 1e12)?,
            fp8_flops_per_second: scaled("fp8_dense_tflops", 1e12)?,
            fp4_flops_per_second: scaled("fp4_dense_tflops", 1e12)?,
            int8_ops_per_second: scaled("int8_dense_tops", 1e12)?,
            tdp_watts: scaled("tdp_watts", 1.0)?,
            all_in_watts: scaled("all_in_watts", 1.0)?,
            scale_up_bytes_per_second: scaled("scale_up_gb_per_second", 1e9)?,
            verified: verified.ok_or_else(|| row.missing("verified", "yes or no"))?,
            source: row.required("source", "who says so")?.to_owned(),
        })
    }

    /// The family, as price rows name it: `H100`.
    pub fn family(&self) -> &str {
        // `RTX-PRO-6000-SE` is a family of its own; the others put the form factor behind the first hyphen.
        if self.name.starts_with("RTX-") {
            &self.name
        } else {
            self.name.split('-').next().unwrap_or(&self.name)
        }
    }

    /// Published dense rate in a number format.
    pub fn peak(&self, precision: Precision) -> Option<f64> {
        match precision {
            Precision::Bf16 => self.bf16_flops_per_second,
            Precision::Fp8 => self.fp8_flops_per_second,
            Precision::Fp4 => self.fp4_flops_per_second,
            Precision::Int8 => self.int8_ops_per_second,
        }
    }
}

fn positive(row: &Row<'_>, column: &str) -> Result<Option<Decimal>, SheetError> {
    match row.price(column)? {
        Some(value) if value.is_zero() => Err(row.bad(column, "a number above 0")),
        value => Ok(value),
    }
}

/// The built-in device catalogue.
///
/// # Errors
/// None in a released program: a test parses every built-in row.
pub fn devices() -> Result<Vec<Device>, SheetError> {
    parse_devices(FILE, BUILT_IN.as_bytes())
}

/// Reads a device sheet.
///
/// # Errors
/// The first thing wrong, with file, line, value and expectation.
pub fn parse_devices(file: &str, bytes: &[u8]) -> Result<Vec<Device>, SheetError> {
    let (mut devices, mut names) = (Vec::new(), BTreeSet::new());
    each_csv_row(file, bytes, COLUMNS, 0, |row| {
        let device = Device::from_row(row)?;
        if !names.insert(device.name.clone()) {
            return Err(row.bad("device", "every device once"));
        }
        devices.push(device);
        Ok(())
    })?;
    if devices.is_empty() {
        return Err(SheetError::Empty { file: file.to_owned() });
    }
    Ok(devices)
}

/// The devices that a price row may mean: those of its family, told apart by memory and form factor where the row says.
///
/// Several are left where the row does not say enough; none where the catalogue lacks the device.
pub fn devices_of_price<'a>(devices: &'a [Device], price: &ComputePrice) -> Vec<&'a Device> {
    let family: Vec<&Device> =
        devices.iter().filter(|device| device.family().eq_ignore_ascii_case(&price.device)).collect();
    let by_memory = narrowed(&family, |device| match price.device_memory {
        // Sheets label the same device 180, 183 or 192 GB; another variant differs by more than a tenth.
        Some(memory) => memory.0.abs_diff(device.memory.0) * 10 <= device.memory.0,
        None => true,
    });
    let sku = price.sku.as_deref().unwrap_or("").to_ascii_uppercase();
    let form = |tag: &str| {
        by_memory
            .iter()
            .filter(|device| device.name.to_ascii_uppercase().contains(tag))
            .copied()
            .collect::<Vec<_>>()
    };
    let by_form = if sku.contains("PCIE") {
        form("PCIE")
    } else if ["SXM", "NVLINK", "HGX"].iter().any(|tag| sku.contains(tag)) {
        form("SXM")
    } else {
        Vec::new()
    };
    // A form factor that no device of this memory has says nothing more.
    if by_form.is_empty() { by_memory } else { by_form }
}

/// The devices that a detected accelerator may be, by the words of the driver's name and its memory.
///
/// Several are left where the name does not say enough; none where the catalogue lacks it.
pub fn devices_of_gpu<'a>(devices: &'a [Device], gpu: &Gpu) -> Vec<&'a Device> {
    let words: Vec<String> = gpu
        .name
        .to_ascii_uppercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let says = |word: &str| words.iter().any(|w| w.as_str() == word);
    let family: Vec<&Device> = devices
        .iter()
        .filter(|device| {
            // The driver spells `Server Edition` out.
            let family = device.family().to_ascii_uppercase();
            family.split('-').filter(|part| *part != "SE").all(says)
        })
        // The driver keeps some memory back, up to a tenth.
        .filter(|device| gpu.memory.0.abs_diff(device.memory.0) * 10 <= device.memory.0)
        .collect();
    let pcie = says("PCIE");
    let form: Vec<&Device> = family
        .iter()
        .filter(|device| device.name.to_ascii_uppercase().contains("PCIE") == pcie)
        .copied()
        .collect();
    if form.is_empty() { family } else { form }
}

fn narrowed<'a>(devices: &[&'a Device], keep: impl Fn(&Device) -> bool) -> Vec<&'a Device> {
    devices.iter().filter(|device| keep(device)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::{ComputeQuery, PriceBook};

    #[test]
    fn every_device_loads_with_its_source_and_the_doubtful_are_marked() {
        let devices = devices().unwrap();
        assert_eq!(devices.len(), 19);
        let doubtful: Vec<&str> = devices.iter().filter(|d| !d.verified).map(|d| d.name.as_str()).collect();
        assert_eq!(doubtful, ["A10G", "T4"]);
        let h100 = devices.iter().find(|d| d.name == "H100-SXM").unwrap();
        assert_eq!(h100.memory, Bytes::from_gib(80));
        assert!((h100.memory_bandwidth_bytes_per_second - 3.35e12).abs() < 1.0);
        assert_eq!(h100.peak(Precision::Fp8), Some(1979e12));
        assert_eq!(h100.peak(Precision::Int8), Some(1978e12));
        let mi300 = devices.iter().find(|d| d.name == "MI300X").unwrap();
        assert_eq!(mi300.peak(Precision::Int8), None, "not in the source, so not known");
    }

    #[test]
    fn a_price_row_finds_its_device() {
        let (devices, book) = (devices().unwrap(), PriceBook::built_in().unwrap());
        let names = |provider: &str, sku: &str| {
            let query = ComputeQuery {
                provider: Some(provider.to_owned()),
                device: Some(sku.to_owned()),
                ..ComputeQuery::default()
            };
            let price = book.find_compute(&query)[0].clone();
            devices_of_price(&devices, &price).iter().map(|d| d.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names("vast-ai", "NVIDIA H100 PCIe"), ["H100-PCIe"]);
        assert_eq!(names("runpod", "NVIDIA A100 SXM"), ["A100-SXM-80"]);
        assert_eq!(names("aws", "p5.4xlarge"), ["H100-SXM", "H100-PCIe"], "the row does not say which");
        assert_eq!(names("akash", "Tesla T4"), ["T4"]);
    }

    /// Names as NVIDIA's driver gives them.
    #[test]
    fn a_detected_accelerator_finds_its_device() {
        let devices = devices().unwrap();
        let found = |name: &str, mib: u64| {
            let gpu = Gpu { name: name.to_owned(), memory: Bytes(mib << 20), ..Gpu::default() };
            devices_of_gpu(&devices, &gpu).iter().map(|d| d.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found("NVIDIA H100 80GB HBM3", 81_559), ["H100-SXM"]);
        assert_eq!(found("NVIDIA H100 PCIe", 81_559), ["H100-PCIe"]);
        assert_eq!(found("NVIDIA A100-SXM4-80GB", 81_920), ["A100-SXM-80"]);
        assert_eq!(found("NVIDIA A100-SXM4-40GB", 40_960), ["A100-40"]);
        assert_eq!(found("Tesla T4", 15_360), ["T4"]);
        assert_eq!(found("NVIDIA L40S", 46_068), ["L40S"]);
        assert_eq!(found("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97_887), ["RTX-PRO-6000-SE"]);
        assert!(found("NVIDIA GeForce RTX 4090", 24_564).is_empty());
    }

    #[test]
    fn a_bad_device_sheet_is_refused() {
        let head = "device,memory_gb,memory_bandwidth_gb_per_second,verified,source\n";
        let said =
            |row: &str| parse_devices("d.csv", format!("{head}{row}").as_bytes()).unwrap_err().to_string();
        assert!(
            said("X,80,0,yes,s")
                .starts_with("d.csv:2: memory_bandwidth_gb_per_second is `0`, expected a number above 0")
        );
        assert!(said("X,80,1,maybe,s").starts_with("d.csv:2: verified is `maybe`, expected yes or no"));
        assert!(said("X,80,1,yes,").starts_with("d.csv:2: source is empty"));
        assert!(
            said("X,80,1,yes,s\nX,80,1,yes,s")
                .starts_with("d.csv:3: device is `X`, expected every device once")
        );
    }
}
