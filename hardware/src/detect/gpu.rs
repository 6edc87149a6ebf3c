//! NVIDIA accelerators through the vendor's library (NVML), loaded at run time: no driver is an empty list.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::{Device, Nvml};

use crate::machine::Gpu;
use crate::units::Bytes;

/// A wedged driver blocks inside the library for ever; nobody waits longer than this for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lists the accelerators, or nothing where the library is missing, refuses, or does not answer in time.
pub(super) fn detect() -> Vec<Gpu> {
    let (send, receive) = mpsc::channel();
    let asking = thread::Builder::new().name("nvml".to_owned()).spawn(move || {
        // The receiver may have given up; then nobody wants the answer.
        drop(send.send(ask()));
    });
    match asking {
        Ok(_) => receive.recv_timeout(PATIENCE).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

fn ask() -> Vec<Gpu> {
    let Ok(nvml) = Nvml::init() else { return Vec::new() };
    let driver = nvml.sys_driver_version().ok();
    let count = nvml.device_count().unwrap_or(0);
    (0..count)
        .filter_map(|index| nvml.device_by_index(index).ok())
        .filter_map(|device| describe(&device, driver.as_ref()))
        .collect()
}

fn describe(device: &Device<'_>, driver: Option<&String>) -> Option<Gpu> {
    Some(Gpu {
        name: device.name().ok()?,
        memory: Bytes(device.memory_info().ok()?.total),
        driver: driver.cloned(),
        power_limit_watts: device.enforced_power_limit().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
        max_compute_clock_mhz: device.max_clock_info(Clock::SM).ok(),
        max_memory_clock_mhz: device.max_clock_info(Clock::Memory).ok(),
        mig_enabled: device.mig_mode().ok().map(|mode| mode.current != 0),
        throttle_reasons: device.current_throttle_reasons().map(throttle_names).unwrap_or_default(),
    })
}

/// The reasons that mean less speed than paid for; an idle or unthrottled device has none.
pub(crate) fn throttle_names(reasons: ThrottleReasons) -> Vec<String> {
    let slow = reasons - ThrottleReasons::GPU_IDLE - ThrottleReasons::NONE;
    slow.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_is_not_throttling() {
        assert!(throttle_names(ThrottleReasons::GPU_IDLE).is_empty());
        let hot =
            ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_THERMAL_SLOWDOWN;
        assert_eq!(throttle_names(hot), ["sw power cap", "hw thermal slowdown"]);
    }
}
