//! What a machine is: the facts a measurement carries so that a reader knows where it ran.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A machine as detected, or as described by whoever imported a measurement.
///
/// Facts the machine does not tell are `None`, never a guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor.
    pub cpu: Cpu,
    /// Physical memory.
    pub memory: Bytes,
    /// Accelerators, empty where there are none.
    pub gpus: Vec<Gpu>,
    /// Operating system and kernel, as one line.
    pub os: String,
    /// Hypervisor vendor where the processor says it is virtualised.
    pub hypervisor: Option<String>,
    /// Limits a container sets below what the machine has.
    pub container: Option<ContainerLimits>,
}

/// A processor package as the operating system shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Marketing name, for example `AMD EPYC 9B14`.
    pub model: String,
    /// Cores, not counting hardware threads; `None` where not told.
    pub physical_cores: Option<u32>,
    /// Hardware threads the operating system schedules on.
    pub logical_cores: u32,
    /// SIMD extensions that inference kernels care about, lower case (`avx2`, `avx512f`, `avx512vnni`, `neon`…).
    pub simd: Vec<String>,
    /// Last-level cache of one package.
    pub last_level_cache: Option<Bytes>,
}

/// One accelerator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Product name as the driver gives it.
    pub name: String,
    /// On-board memory.
    pub memory: Bytes,
    /// Driver version.
    pub driver: Option<String>,
    /// Power limit in watts.
    pub power_limit_watts: Option<f64>,
}

/// Container (cgroup) limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLimits {
    /// CPU time as a number of cores.
    pub cpu_cores: Option<f64>,
    /// Memory limit.
    pub memory: Option<Bytes>,
}
