//! Looks at NVIDIA accelerators while something runs. Where the library is missing there is nothing to look at.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use nvml_wrapper::{Device, Nvml, enum_wrappers::device::Clock};

use super::GpuUse;
use crate::{detect::throttle_names, units::Bytes};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// A wedged driver blocks inside the library for ever; nobody waits longer than this for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread that looks until it is told to stop.
#[derive(Debug)]
pub(crate) struct Sampling {
    stop: Sender<()>,
    done: mpsc::Receiver<Vec<GpuUse>>,
}

/// What the looks at one accelerator add up to.
#[derive(Debug, Default)]
struct Seen {
    energy_at_start: Option<u64>,
    utilization: Mean,
    clock: Mean,
    peak_memory: Option<u64>,
    throttled: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.count += 1;
        }
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

impl Sampling {
    /// Starts; `None` where there is no library or no thread.
    pub(crate) fn start() -> Option<Self> {
        let (stop, stopped) = mpsc::channel();
        let (send, done) = mpsc::channel();
        let sample = move || {
            let Ok(nvml) = Nvml::init() else { return };
            let count = nvml.device_count().unwrap_or(0);
            let devices: Vec<Device<'_>> = (0..count).filter_map(|i| nvml.device_by_index(i).ok()).collect();
            let start = |device: &Device<'_>| Seen {
                energy_at_start: device.total_energy_consumption().ok(),
                ..Seen::default()
            };
            let mut seen: Vec<Seen> = devices.iter().map(start).collect();
            loop {
                devices.iter().zip(&mut seen).for_each(|(device, seen)| look(device, seen));
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    // Told to stop, or nobody is left to tell.
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            let uses = devices.iter().zip(&seen).map(|(device, seen)| summed(device, seen)).collect();
            // Nobody may be waiting any more.
            drop(send.send(uses));
        };
        thread::Builder::new().name("nvml".to_owned()).spawn(sample).ok()?;
        Some(Self { stop, done })
    }

    /// What was seen; empty where the library is missing, or does not answer in time.
    pub(crate) fn stop(self) -> Vec<GpuUse> {
        // The thread may have ended at once.
        let _ = self.stop.send(());
        self.done.recv_timeout(PATIENCE).unwrap_or_default()
    }
}

fn look(device: &Device<'_>, seen: &mut Seen) {
    seen.utilization.add(device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0));
    seen.clock.add(device.clock_info(Clock::SM).ok().map(f64::from));
    let memory = device.memory_info().ok().map(|memory| memory.used);
    seen.peak_memory = seen.peak_memory.max(memory);
    seen.throttled.extend(device.current_throttle_reasons().map(throttle_names).unwrap_or_default());
}

fn summed(device: &Device<'_>, seen: &Seen) -> GpuUse {
    let energy_now = device.total_energy_consumption().ok();
    GpuUse {
        name: device.name().unwrap_or_else(|_| "NVIDIA accelerator".to_owned()),
        mean_utilization: seen.utilization.value(),
        peak_memory: seen.peak_memory.map(Bytes),
        // Millijoules since the driver was loaded (Volta and later).
        energy_joules: energy_now
            .zip(seen.energy_at_start)
            .and_then(|(now, start)| now.checked_sub(start))
            .map(|millijoules| millijoules as f64 / 1e3),
        mean_compute_clock_mhz: seen.clock.value(),
        throttle_reasons: seen.throttled.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_library_has_nothing_to_tell() {
        // On a machine with one, whatever is told is within its range.
        for gpu in Sampling::start().map(Sampling::stop).unwrap_or_default() {
            assert!(gpu.mean_utilization.is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
        assert_eq!(Mean::default().value(), None);
    }
}
