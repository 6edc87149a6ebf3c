//! What a machine is: the facts a measurement carries so that a reader knows where it ran.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A machine as detected, or as described by whoever imported a measurement.
///
/// Facts the machine does not tell are `None`, never a guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Caches of the first core, nearest first; empty where not told.
    #[serde(default)]
    pub caches: Vec<Cache>,
    /// Memory domains (NUMA nodes); `None` where not told.
    #[serde(default)]
    pub numa_nodes: Option<u32>,
    /// Frequency governor (`performance`, `schedutil`…); `None` where the machine does not let itself be asked.
    #[serde(default)]
    pub governor: Option<String>,
}

/// One cache of a core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cache {
    /// 1 is nearest to the core.
    pub level: u8,
    /// What it holds, lower case: `data`, `instruction` or `unified`.
    pub kind: String,
    /// Capacity.
    pub size: Bytes,
    /// Hardware threads that share it; `None` where not told.
    pub shared_by: Option<u32>,
}

/// One accelerator.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gpu {
    /// Product name as the driver gives it.
    pub name: String,
    /// On-board memory.
    pub memory: Bytes,
    /// Driver version.
    pub driver: Option<String>,
    /// Power limit in watts.
    pub power_limit_watts: Option<f64>,
    /// Highest clock of the compute units, in MHz.
    #[serde(default)]
    pub max_compute_clock_mhz: Option<u32>,
    /// Highest memory clock, in MHz.
    #[serde(default)]
    pub max_memory_clock_mhz: Option<u32>,
    /// Whether the accelerator is split into instances (MIG); `None` where it cannot be.
    #[serde(default)]
    pub mig_enabled: Option<bool>,
    /// Why the clocks are held down at the moment of detection, lower case; idling does not count.
    #[serde(default)]
    pub throttle_reasons: Vec<String>,
}

/// Container (cgroup) limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContainerLimits {
    /// CPU time as a number of cores.
    pub cpu_cores: Option<f64>,
    /// Memory limit.
    pub memory: Option<Bytes>,
}
