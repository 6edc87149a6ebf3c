//! Asks this machine what it is. Every source may be missing; nothing here fails, blocks or guesses.

pub mod cgroup;
mod cloud;
mod cpu;
mod gpu;

use std::path::Path;

use sysinfo::{MemoryRefreshKind, System};

pub use cloud::{CloudInstance, METADATA_PATIENCE, cloud_instance};
pub(crate) use gpu::throttle_names;

use crate::machine::{ContainerLimits, Machine};
use crate::units::Bytes;

/// Describes the machine this process runs on.
///
/// Reads `/proc`, `/sys` and the processor's own identification; asks NVIDIA's library where it is installed and gives
/// it five seconds. What is not told is `None` or empty.
pub fn detect() -> Machine {
    // An operating system that sysinfo does not know tells no memory size; none that we run on is such.
    let memory = System::new().map_or(Bytes(0), |mut system| {
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Bytes(system.total_memory())
    });
    let cpu = cpu::detect(Path::new("/"));
    let limits = cgroup::limits(Path::new("/"));
    let container = effective_limits(&limits, memory, cpu.logical_cores);
    Machine { cpu, memory, gpus: gpu::detect(), os: os_line(), hypervisor: cpu::hypervisor(), container }
}

/// One line naming the operating system and its kernel.
fn os_line() -> String {
    let name = System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned());
    match System::kernel_version() {
        Ok(kernel) if !name.contains(&kernel) => format!("{name} ({kernel})"),
        _ => name,
    }
}

/// Keeps the limits that bind: below what the machine has. The scheduler's affinity mask counts as a CPU limit.
fn effective_limits(limits: &ContainerLimits, memory: Bytes, logical_cores: u32) -> Option<ContainerLimits> {
    let cores = f64::from(logical_cores);
    let affinity = std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    // `available_parallelism` rounds a quota down to whole cores; the exact quota is the better figure where there is one.
    let cpu_cores = limits.cpu_cores.or(affinity.map(f64::from)).filter(|limit| *limit < cores);
    let memory = limits.memory.filter(|limit| *limit < memory);
    (cpu_cores.is_some() || memory.is_some()).then_some(ContainerLimits { cpu_cores, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let machine = detect();
        assert!(machine.cpu.logical_cores >= 1);
        assert!(machine.memory > Bytes::from_gib(0));
        assert!(!machine.os.is_empty());
        let json = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&json).unwrap(), machine);
    }

    #[test]
    fn limits_above_the_machine_are_no_limits() {
        let limits = ContainerLimits { cpu_cores: Some(64.0), memory: Some(Bytes::from_gib(512)) };
        let effective = effective_limits(&limits, Bytes::from_gib(16), 8);
        assert_eq!(effective.and_then(|l| l.memory), None);
        let limits = ContainerLimits { cpu_cores: Some(1.5), memory: Some(Bytes::from_gib(2)) };
        assert_eq!(effective_limits(&limits, Bytes::from_gib(16), 8), Some(limits));
    }
}
