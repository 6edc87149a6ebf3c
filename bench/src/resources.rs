//! CPU, memory and steal beside a level, from /proc, and energy and accelerators; absent where the machine does not tell.

use std::{fs, time::Duration};

use breakeven_hardware::{Bytes, telemetry::Telemetry};
use breakeven_measurement::{Fraction, level::Resources};
use tokio::time::Instant;

use crate::target::TargetLoad;

/// Clock ticks a second in /proc; fixed at 100 on every Linux that user space sees.
const TICKS_PER_SECOND: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug)]
pub struct Sample {
    at: Instant,
    telemetry: Option<Telemetry>,
    own_ticks: Option<u64>,
    all_ticks: Option<u64>,
    stolen_ticks: Option<u64>,
}

impl Sample {
    /// Reads the counters now.
    pub fn now() -> Self {
        Self { telemetry: Some(Telemetry::start()), ..Self::counters() }
    }

    fn counters() -> Self {
        let stat = fs::read_to_string("/proc/stat").ok();
        let cpu: Option<Vec<u64>> = stat.as_deref().and_then(|text| {
            let line = text.lines().next()?.strip_prefix("cpu ")?;
            line.split_whitespace().map(|field| field.parse().ok()).collect()
        });
        Self {
            at: Instant::now(),
            telemetry: None,
            own_ticks: own_ticks(),
            // user, nice, system, idle, iowait, irq, softirq, steal; guest time is already in user.
            all_ticks: cpu.as_ref().map(|fields| fields.iter().take(8).sum()),
            stolen_ticks: cpu.as_ref().and_then(|fields| fields.get(7).copied()),
        }
    }

    /// What was used from this sample until now, and the time between. The energy is that of all this time.
    pub fn until_now(self, load: TargetLoad) -> (Resources, Duration) {
        let now = Self::counters();
        let used = self.telemetry.map(Telemetry::stop).unwrap_or_default();
        let elapsed = now.at.saturating_duration_since(self.at);
        let seconds = elapsed.as_secs_f64();
        let since = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let resources = Resources {
            mean_batch_occupancy: load.mean_batch_occupancy,
            peak_queue: load.peak_queue,
            peak_kv_tokens: load.peak_kv_tokens,
            peak_memory: peak_memory(),
            mean_cpu_cores: since(now.own_ticks, self.own_ticks)
                .filter(|_| seconds > 0.0)
                .map(|ticks| ticks as f64 / TICKS_PER_SECOND / seconds),
            cpu_steal: since(now.stolen_ticks, self.stolen_ticks)
                .zip(since(now.all_ticks, self.all_ticks))
                .and_then(|(stolen, all)| Fraction::of(stolen, all)),
            energy_joules: used.energy_joules(),
            gpus: used.gpus,
        };
        (resources, elapsed)
    }
}

/// User and system ticks of this process: fields 14 and 15 of /proc/self/stat, counted after the name's bracket.
fn own_ticks() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn peak_memory() -> Option<Bytes> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kibibytes * 1024))
}
