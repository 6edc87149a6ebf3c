//! `breakeven fit`: which devices hold a model, for how many sequences, and how fast they could at best run it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use breakeven_hardware::{
    Bytes, ComputePrice, PriceBook, Term,
    device::{Device, Precision, devices, devices_of_price},
    fit::{Bound, Efficiency, Fit, FitQuestion, ModelNeeds, WindowedKv, devices_needed, fit as fit_on},
};
use breakeven_models::{
    DecoderSpec, Quantization,
    inference::{gguf::Header, gguf_spec},
    registry, spec_from_config_json,
};
use breakeven_report::{
    format::{ABSENT, seconds},
    table::text_table,
};
use clap::{Args, ValueEnum};
use jiff::civil::Date;

use crate::{
    console::{self, Answer},
    plan::today,
    prices::read_on,
};

#[derive(Debug, Args)]
pub(crate) struct FitArguments {
    /// Built-in model name, a GGUF file, or a Hugging Face config.json
    model: String,
    /// Number format of the weights (`F32`, `BF16`, `FP8`, `Q8_0`, `Q4_K`…); a GGUF file brings its own
    #[arg(long, default_value = "BF16")]
    quantization: Quantization,
    /// Bytes of one value in the KV cache: 2 for 16 bit, 1 for 8 bit
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=4))]
    kv_bytes: u64,
    /// Number format of the matrix products
    #[arg(long, value_enum, default_value_t = Compute::Bf16)]
    compute: Compute,
    /// Prompt tokens of a sequence
    #[arg(long, default_value_t = 1024)]
    input_tokens: u64,
    /// Answer tokens of a sequence
    #[arg(long, default_value_t = 256)]
    output_tokens: u64,
    /// Devices to split the model over; the fewest that hold it (1, 2, 4, 8) where left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    devices: Option<u32>,
    /// Share of device memory that weights and KV cache may take
    #[arg(long, default_value_t = 0.9, value_parser = share)]
    usable_memory: f64,
    /// Share of the published bandwidth and matrix rate believed reachable; 1 is the roofline itself
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    efficiency: f64,
    /// Only devices whose name contains this text
    #[arg(long)]
    device: Option<String>,
}

/// Number format of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compute {
    Bf16,
    Fp8,
    Fp4,
    Int8,
}

impl From<Compute> for Precision {
    fn from(compute: Compute) -> Self {
        match compute {
            Compute::Bf16 => Self::Bf16,
            Compute::Fp8 => Self::Fp8,
            Compute::Fp4 => Self::Fp4,
            Compute::Int8 => Self::Int8,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| format!("`{text}` is no share, expected a number above 0 and up to 1"))
}

/// Splitting further than one node's worth needs a network, which this roofline does not model.
const MOST_DEVICES: u32 = 8;

pub(crate) fn fit(arguments: &FitArguments) -> Result<Answer> {
    let model = read_model(arguments)?;
    let question = FitQuestion {
        devices: 1,
        prompt_tokens: arguments.input_tokens,
        output_tokens: arguments.output_tokens,
        precision: arguments.compute.into(),
        usable_memory_share: arguments.usable_memory,
        efficiency: Efficiency { bandwidth: arguments.efficiency, compute: arguments.efficiency },
    };
    let catalogue = devices()?;
    let prices = Prices { book: PriceBook::built_in()?, catalogue: &catalogue, day: today() };
    let wanted = arguments.device.as_deref().unwrap_or_default().to_lowercase();
    let asked: Vec<&Device> =
        catalogue.iter().filter(|device| device.name.to_lowercase().contains(&wanted)).collect();
    if asked.is_empty() {
        let names: Vec<&str> = catalogue.iter().map(|device| device.name.as_str()).collect();
        bail!("no device contains `{wanted}`, expected part of one of: {}", names.join(", "));
    }
    let mut any = false;
    let rows = asked.into_iter().map(|device| {
        let found = match arguments.devices {
            Some(devices) => {
                Some((devices, fit_on(device, &model.needs, &FitQuestion { devices, ..question })))
            }
            None => devices_needed(device, &model.needs, &question, MOST_DEVICES),
        };
        any |= found.is_some_and(|(_, fit)| fit.sequences.is_some_and(|sequences| sequences > 0));
        cells(device, found, model.context, &prices)
    });
    let heads = [
        "device",
        "devices",
        "sequences",
        "max context",
        "TTFT",
        "TPOT alone",
        "TPOT full",
        "tok/s full",
        "bound by",
        "from USD/hour",
    ];
    let table = text_table(&heads, rows, 1..8, None);
    let kind = format!("{:?}", arguments.compute).to_lowercase();
    console::print(&format!(
        "{}: {:.2} billion parameters, {} of weights in {}, {} of KV cache a token\n\
         {} prompt and {} answer tokens a sequence, {kind} products, {:.0} % of memory for weights and cache\n\
         Estimated, not measured: roofline at {:.0} % of the published rates, on the fewest devices that hold it. A floor under \
         every time; no engine reaches it.\n\n{table}",
        model.name,
        model.parameters as f64 / 1e9,
        model.needs.weights,
        model.format,
        Bytes(model.needs.kv_bytes_per_token),
        arguments.input_tokens,
        arguments.output_tokens,
        arguments.usable_memory * 100.0,
        arguments.efficiency * 100.0,
    ))?;
    Ok(if any { Answer::Yes } else { Answer::No })
}

/// A model as far as sizes go.
struct Sized {
    name: String,
    format: String,
    parameters: u64,
    /// Longest context the model was made for, tokens.
    context: u64,
    needs: ModelNeeds,
}

impl Sized {
    fn of_spec(name: &str, spec: &DecoderSpec, arguments: &FitArguments) -> Self {
        let format = arguments.quantization;
        Self {
            name: name.to_owned(),
            format: format.to_string(),
            parameters: spec.parameters(),
            context: spec.context as u64,
            needs: needs(
                spec,
                format.weight_bytes(spec),
                format.active_weight_bytes(spec),
                arguments.kv_bytes,
            ),
        }
    }
}

fn needs(spec: &DecoderSpec, weights: u64, active: u64, kv_bytes: u64) -> ModelNeeds {
    let all_layers = spec.kv_bytes_per_token(kv_bytes);
    let windowed = (0..spec.layers).filter(|layer| spec.window_of(*layer).is_some()).count() as u64;
    let of_a_layer = all_layers.checked_div(spec.layers as u64).unwrap_or(0);
    let macs = spec.projection_macs_per_token();
    ModelNeeds {
        weights: Bytes(weights),
        active_weights: Bytes(active),
        kv_bytes_per_token: all_layers,
        windowed_kv: spec.sliding_window.filter(|_| windowed > 0).map(|window| WindowedKv {
            bytes_per_token: windowed * of_a_layer,
            tokens: window.tokens as u64,
        }),
        flops_per_token: 2.0 * macs as f64,
        flops_per_prompt_token: 2.0 * (macs - spec.head_macs()) as f64,
    }
}

fn read_model(arguments: &FitArguments) -> Result<Sized> {
    let (name, path) = (arguments.model.as_str(), Path::new(&arguments.model));
    let ends = |ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
    if ends("gguf") {
        let header = Header::read(path)?;
        let spec = gguf_spec::spec(&header)?;
        let weights = header.tensors.values().map(|tensor| tensor.bytes).sum();
        let embedding = header.tensors.get("token_embd.weight").map_or(0, |tensor| tensor.bytes);
        let active = if spec.tied_head { weights } else { weights - embedding };
        return Ok(Sized {
            name: name.to_owned(),
            format: "the file's own formats".to_owned(),
            parameters: spec.parameters(),
            context: spec.context as u64,
            needs: needs(&spec, weights, active, arguments.kv_bytes),
        });
    }
    if ends("json") {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
        let spec = spec_from_config_json(&text).with_context(|| format!("`{name}`"))?;
        return Ok(Sized::of_spec(name, &spec, arguments));
    }
    let entry = registry::find(name).with_context(|| {
        format!(
            "unknown model `{name}`: expected a GGUF file, a config.json, or one of {}",
            registry::names().join(", ")
        )
    })?;
    Ok(Sized::of_spec(entry.title, &entry.spec, arguments))
}

fn cells(device: &Device, found: Option<(u32, Fit)>, context: u64, prices: &Prices<'_>) -> Vec<String> {
    let mark = if device.verified { "" } else { " (unverified)" };
    let mut cells = vec![format!("{}{mark}", device.name)];
    let Some((devices, fit)) = found else {
        cells.push(format!("> {MOST_DEVICES}"));
        cells.extend(std::iter::repeat_n(ABSENT.to_owned(), 8));
        return cells;
    };
    let number = |value: Option<u64>| value.map_or_else(|| ABSENT.to_owned(), |value| value.to_string());
    let speed = |pick: fn(&breakeven_hardware::fit::SpeedEstimate) -> f64| {
        fit.speed.as_ref().map_or_else(|| ABSENT.to_owned(), |speed| seconds(Some(pick(speed))))
    };
    cells.extend([
        devices.to_string(),
        number(fit.sequences),
        number(fit.kv_memory.map(|_| fit.max_context_tokens.map_or(context, |tokens| tokens.min(context)))),
        speed(|s| s.ttft_seconds),
        speed(|s| s.tpot_alone_seconds),
        speed(|s| s.tpot_seconds),
        fit.speed.map_or_else(|| ABSENT.to_owned(), |s| format!("{:.0}", s.decode_tokens_per_second)),
        fit.speed.map_or_else(
            || {
                if fit.sequences.is_some_and(|n| n > 0) { "rate not published" } else { "memory full" }
                    .to_owned()
            },
            |s| match s.decode_bound {
                Bound::Memory => "bandwidth".to_owned(),
                Bound::Compute => "compute".to_owned(),
            },
        ),
        prices.cheapest(device, devices),
    ]);
    cells
}

/// What the catalogue's devices cost.
struct Prices<'a> {
    book: PriceBook,
    catalogue: &'a [Device],
    day: Date,
}

impl Prices<'_> {
    /// The cheapest on-demand price of so many of a device, whose it is, and when it was read.
    fn cheapest(&self, device: &Device, devices: u32) -> String {
        let may_be = |price: &ComputePrice| {
            devices_of_price(self.catalogue, price).iter().any(|candidate| candidate.name == device.name)
        };
        let offers = self.book.compute.iter().filter(|price| price.term == Term::OnDemand && may_be(price));
        offers.min_by_key(|price| price.usd_per_device_hour()).map_or_else(
            || ABSENT.to_owned(),
            |price| {
                let hour = price.usd_per_device_hour().0.times(devices.into());
                format!("{:.2} {} ({})", hour.0, price.provider, read_on(&price.origin, self.day))
            },
        )
    }
}
