//! What a machine drew and how its accelerators fared while something ran: energy counters of the processor packages (RAPL,
//! through Linux's powercap) and NVIDIA's library (NVML), each only where the machine has it.

mod nvml;
mod rapl;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// Where Linux lists the energy counters of processor packages.
const POWERCAP: &str = "/sys/class/powercap";

/// One accelerator over a stretch of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct GpuUse {
    /// Its name.
    pub name: String,
    /// Mean share of time in which a kernel ran, 0 to 1.
    pub mean_utilization: Option<f64>,
    /// Most memory in use, by all processes.
    pub peak_memory: Option<Bytes>,
    /// Energy drawn, in joules.
    pub energy_joules: Option<f64>,
    /// Mean clock of its processors, MHz.
    pub mean_compute_clock_mhz: Option<f64>,
    /// Why it ran slower than it could, at any look.
    pub throttle_reasons: Vec<String>,
}

/// What was drawn and used from [`Telemetry::start`] to [`Telemetry::stop`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Used {
    /// Energy of all processor packages, in joules; absent where the counters cannot be read (most need root).
    pub package_joules: Option<f64>,
    /// The accelerators; empty where there are none.
    pub gpus: Vec<GpuUse>,
}

impl Used {
    /// Packages and accelerators together, in joules. Absent where a part that the machine has does not tell its own: half a sum would
    /// look like a cheap machine.
    pub fn energy_joules(&self) -> Option<f64> {
        let of_gpus: Option<f64> = self.gpus.iter().map(|gpu| gpu.energy_joules).sum();
        Some(self.package_joules? + of_gpus?)
    }
}

/// Counters under way.
#[derive(Debug)]
pub struct Telemetry {
    packages: Option<Vec<rapl::Package>>,
    gpus: Option<nvml::Sampling>,
}

impl Telemetry {
    /// Reads the counters and begins to look at the accelerators, twice a second.
    pub fn start() -> Self {
        Self { packages: rapl::packages(Path::new(POWERCAP)), gpus: nvml::Sampling::start() }
    }

    /// What was used since.
    pub fn stop(self) -> Used {
        Used {
            package_joules: self.packages.and_then(|packages| rapl::joules_since(&packages)),
            gpus: self.gpus.map(nvml::Sampling::stop).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_sum_is_no_sum() {
        let gpu = |energy_joules| GpuUse { energy_joules, ..GpuUse::default() };
        let used = |package_joules, gpus| Used { package_joules, gpus };
        assert_eq!(used(Some(10.0), vec![]).energy_joules(), Some(10.0));
        assert_eq!(used(Some(10.0), vec![gpu(Some(5.0)), gpu(Some(1.0))]).energy_joules(), Some(16.0));
        assert_eq!(used(Some(10.0), vec![gpu(Some(5.0)), gpu(None)]).energy_joules(), None);
        assert_eq!(used(None, vec![gpu(Some(5.0))]).energy_joules(), None);
    }
}
