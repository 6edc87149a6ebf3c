//! `breakeven hardware`: what this machine is, and on request how fast it is beside what its makers publish.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use breakeven_hardware::{
    Bytes, Machine, detect,
    detect::{METADATA_PATIENCE, cloud_instance},
    device::{Device, devices, devices_of_gpu},
    roofline::{Rate, Roofline, RooflineSettings, measure},
};
use breakeven_measurement::{LevelName, Measurement, file};
use breakeven_models::{
    inference::{
        DeviceChoice,
        device_roofline::{DeviceRooflineSettings, measure as measure_device},
    },
    registry,
};
use breakeven_report::{
    format::{ABSENT, seconds},
    table::text_table,
};
use clap::Args;
use serde_json::json;

use crate::console::{self, Answer};

#[derive(Debug, Args)]
pub(crate) struct HardwareArguments {
    /// Measure memory bandwidth and compute peaks (about a second) and print them beside published figures
    #[arg(long)]
    roofline: bool,
    /// Say how close this measurement's decode and prefill run to the measured floor; implies --roofline
    #[arg(long, value_name = "MEASUREMENT")]
    against: Option<PathBuf>,
    /// Ask the cloud's metadata service which instance this is (a network call; gives up after 200 ms)
    #[arg(long)]
    metadata: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn hardware(arguments: &HardwareArguments) -> Result<Answer> {
    let machine = detect();
    let instance = arguments.metadata.then(|| cloud_instance(METADATA_PATIENCE));
    let against = arguments.against.as_deref().map(file::read).transpose()?;
    let roofline = (arguments.roofline || against.is_some())
        .then(|| measure(&RooflineSettings::quick(machine.cpu.last_level_cache)))
        .transpose()
        .context("cannot measure the roofline")?;
    if arguments.json {
        let json = json!({ "machine": machine, "instance": instance.flatten(), "roofline": roofline });
        console::print(&serde_json::to_string_pretty(&json)?)?;
        return Ok(Answer::Yes);
    }
    let mut text = description(&machine)?;
    match instance {
        Some(Some(cloud)) => writeln!(
            text,
            "instance    {} {} in {}",
            cloud.provider,
            cloud.instance,
            cloud.region.as_deref().unwrap_or("an unnamed region")
        )?,
        Some(None) => writeln!(text, "instance    no metadata service answered within 200 ms")?,
        None => {}
    }
    if let Some(roofline) = &roofline {
        text.push('\n');
        text.push_str(&rates(&machine, roofline)?);
        if let Some(measurement) = &against {
            text.push('\n');
            text.push_str(&floors(roofline, measurement));
        }
    }
    console::print(&text)?;
    Ok(Answer::Yes)
}

fn description(machine: &Machine) -> Result<String> {
    let cpu = &machine.cpu;
    let or_absent = |value: Option<String>| value.unwrap_or_else(|| ABSENT.to_owned());
    let caches: Vec<String> = cpu
        .caches
        .iter()
        .map(|cache| {
            let shared = cache.shared_by.map_or_else(String::new, |n| format!(" shared by {n}"));
            format!("L{} {} {}{shared}", cache.level, cache.kind, cache.size)
        })
        .collect();
    let mut text = String::new();
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<12}{value}");
    line("processor", &cpu.model)?;
    let physical = or_absent(cpu.physical_cores.map(|cores| cores.to_string()));
    line("cores", &format!("{physical} ({} hardware threads)", cpu.logical_cores))?;
    line("SIMD", &cpu.simd.join(", "))?;
    line("caches", &caches.join(", "))?;
    line("NUMA nodes", &or_absent(cpu.numa_nodes.map(|nodes| nodes.to_string())))?;
    line("governor", &or_absent(cpu.governor.clone()))?;
    line("hypervisor", &or_absent(machine.hypervisor.clone()))?;
    line("memory", &machine.memory.to_string())?;
    let limits = machine.container.as_ref().map(|limits| {
        let cores = limits.cpu_cores.map(|cores| format!("{cores} cores"));
        let memory = limits.memory.map(|memory| memory.to_string());
        [cores, memory].into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    line("container", &limits.unwrap_or_else(|| "no limit below the machine".to_owned()))?;
    if machine.gpus.is_empty() {
        line("GPU", "none")?;
    }
    for gpu in &machine.gpus {
        let mut facts = vec![gpu.memory.to_string()];
        facts.extend(gpu.power_limit_watts.map(|watts| format!("{watts:.0} W limit")));
        facts.extend(gpu.max_compute_clock_mhz.map(|mhz| format!("{mhz} MHz")));
        facts.extend(gpu.max_memory_clock_mhz.map(|mhz| format!("memory {mhz} MHz")));
        facts.extend(gpu.mig_enabled.map(|on| format!("MIG {}", if on { "on" } else { "off" })));
        facts.extend(gpu.driver.as_ref().map(|driver| format!("driver {driver}")));
        if !gpu.throttle_reasons.is_empty() {
            facts.push(format!("throttled: {}", gpu.throttle_reasons.join(", ")));
        }
        line("GPU", &format!("{}: {}", gpu.name, facts.join(", ")))?;
    }
    line("system", &machine.os)?;
    Ok(text)
}

/// Measured rates beside published ones.
fn rates(machine: &Machine, roofline: &Roofline) -> Result<String> {
    let published = "not in the catalogue".to_owned();
    let row = |what: &str, rate: &Rate, unit: f64| {
        let shown = |value: f64| format!("{:.1}", value / unit);
        vec!["processor".to_owned(), what.to_owned(), shown(rate.best), shown(rate.median), published.clone()]
    };
    let mut rows = vec![
        row("memory read, GB/s", &roofline.memory_read_bytes_per_second, 1e9),
        row("f32, GFLOP/s", &roofline.f32_flops_per_second, 1e9),
        row("int8, GOP/s", &roofline.int8_ops_per_second, 1e9),
    ];
    let catalogue = devices()?;
    for (index, gpu) in machine.gpus.iter().enumerate() {
        let known = devices_of_gpu(&catalogue, gpu);
        let measured = measure_device(DeviceChoice::Cuda(index), &DeviceRooflineSettings::QUICK);
        let cell =
            |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), |value| format!("{value:.1}"));
        let (copy, half) = match &measured {
            Ok(found) => (
                (Some(found.copy_bytes_per_second / 1e9), "copy, GB/s".to_owned()),
                (Some(found.half_flops_per_second / 1e12), format!("{}, TFLOP/s", found.format)),
            ),
            Err(error) => {
                console::note(&format!("GPU {index} not measured: {error}"));
                ((None, "memory, GB/s".to_owned()), (None, "bf16, TFLOP/s".to_owned()))
            }
        };
        let mut gpu_row = |(value, what): (Option<f64>, String), published: String| {
            rows.push(vec![gpu.name.clone(), what, cell(value), cell(value), published]);
        };
        gpu_row(copy, said(&known, |device| Some(device.memory_bandwidth_bytes_per_second), 1e9));
        gpu_row(half, said(&known, |device| device.bf16_flops_per_second, 1e12));
    }
    let heads = ["device", "measured", "best", "median", "published"];
    Ok(format!(
        "{}{} threads over {}, {}; shared machines vary, the median says by how much.\n",
        text_table(&heads, rows, 2..4, None),
        roofline.threads,
        roofline.buffer,
        roofline.simd,
    ))
}

/// What the catalogue publishes, of every device that this may be.
fn said(known: &[&Device], pick: fn(&Device) -> Option<f64>, unit: f64) -> String {
    let each: Vec<String> = known
        .iter()
        .filter_map(|device| {
            Some(format!("{:.1} ({}: {})", pick(device)? / unit, device.name, device.source))
        })
        .collect();
    if each.is_empty() { "not in the catalogue".to_owned() } else { each.join(" or ") }
}

/// How close a measured model runs to the floor.
fn floors(roofline: &Roofline, measurement: &Measurement) -> String {
    let (Some(model), Some(level)) = (&measurement.model, measurement.level(LevelName::Baseline)) else {
        return "The measurement names no model or has no baseline level: no floor to compare with.\n"
            .to_owned();
    };
    let load = &level.overall;
    let median = |series: &breakeven_measurement::LatencySeries| {
        series
            .quantile(0.5)
            .and_then(breakeven_measurement::series::Quantile::finite)
            .map(|d| d.as_secs_f64())
    };
    // What a step reads and computes needs the model's shapes, which a measurement does not hold: the built-in ones do.
    let Some(spec) = registry::find(&model.name)
        .map(|entry| entry.spec)
        .filter(|spec| spec.parameters() == model.parameters)
    else {
        return format!("`{}` is not a built-in model: no floor to compare with.\n", model.name);
    };
    let head = spec.head_macs();
    let looked_up = if spec.tied_head { 0 } else { model.weight_bytes * head / model.parameters.max(1) };
    let decode = roofline.read_floor(Bytes(model.weight_bytes - looked_up)).map(|floor| floor.as_secs_f64());
    let prompt = load.input_tokens.0.checked_div(load.completed);
    let layers = spec.projection_macs_per_token() - head;
    let prefill = prompt.map(|tokens| roofline.int8_floor(2.0 * (layers * tokens + head) as f64));
    let row = |what: &str, floor: Option<f64>, measured: Option<f64>| {
        let share = floor.zip(measured).map_or_else(
            || ABSENT.to_owned(),
            |(floor, measured)| format!("{:.0} %", 100.0 * floor / measured),
        );
        vec![what.to_owned(), seconds(floor), seconds(measured), share]
    };
    let rows = [
        row("decode: TPOT", decode, median(&load.tpot)),
        row("prefill: service TTFT", prefill, median(&load.service_ttft)),
    ];
    let heads = ["baseline, median", "floor", "measured", "floor/measured"];
    format!(
        "{} at its baseline level ({})\n{}The floor reads every weight once for a token, and computes a prompt of the mean length in int8 (the head once); waiting \
         and batching are in the measured times.\n",
        model.name,
        measurement.run_id,
        text_table(&heads, rows, 1..4, None)
    )
}

/// The machine in one line.
pub(crate) fn line(machine: &Machine) -> String {
    let cpu = &machine.cpu;
    let gpus = if machine.gpus.is_empty() {
        "no GPU".to_owned()
    } else {
        let names: Vec<String> = machine.gpus.iter().map(|g| format!("{} {}", g.name, g.memory)).collect();
        names.join(", ")
    };
    format!("{}, {} cores, {}, {gpus}, {}", cpu.model, cpu.logical_cores, machine.memory, machine.os)
}
