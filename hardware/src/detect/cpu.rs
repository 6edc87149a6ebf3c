//! The processor: model, cores, vector extensions, caches, memory domains, governor, hypervisor.

use std::fs;
use std::path::Path;

use sysinfo::{CpuRefreshKind, System};

use crate::machine::{Cache, Cpu};
use crate::units::Bytes;

/// Describes the processor; `root` is where `/proc` and `/sys` live.
pub(super) fn detect(root: &Path) -> Cpu {
    let (model, logical) = model_and_threads();
    let caches = caches(&root.join("sys/devices/system/cpu/cpu0/cache"));
    Cpu {
        model: model.unwrap_or_else(|| format!("unnamed {} processor", std::env::consts::ARCH)),
        physical_cores: System::physical_core_count().ok().and_then(|n| u32::try_from(n).ok()),
        logical_cores: logical,
        simd: simd(root),
        last_level_cache: caches.iter().max_by_key(|cache| cache.level).map(|cache| cache.size),
        caches,
        numa_nodes: numa_nodes(&root.join("sys/devices/system/node")),
        governor: line(&root.join("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
    }
}

/// Marketing name and number of hardware threads.
fn model_and_threads() -> (Option<String>, u32) {
    let Ok(mut system) = System::new() else { return (None, 1) };
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    let threads = u32::try_from(system.cpus().len()).unwrap_or(u32::MAX).max(1);
    (brand.filter(|brand| !brand.is_empty()), threads)
}

/// The hypervisor's vendor where the processor says it is virtualised.
pub(super) fn hypervisor() -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    {
        let cpuid = raw_cpuid::CpuId::new();
        if !cpuid.get_feature_info().is_some_and(|features| features.has_hypervisor()) {
            return None;
        }
        let name = cpuid.get_hypervisor_info().map(|info| match info.identify() {
            raw_cpuid::Hypervisor::KVM => "KVM".to_owned(),
            raw_cpuid::Hypervisor::Xen => "Xen".to_owned(),
            raw_cpuid::Hypervisor::VMware => "VMware".to_owned(),
            raw_cpuid::Hypervisor::HyperV => "Hyper-V".to_owned(),
            raw_cpuid::Hypervisor::QEMU => "QEMU".to_owned(),
            raw_cpuid::Hypervisor::Bhyve => "bhyve".to_owned(),
            raw_cpuid::Hypervisor::QNX => "QNX".to_owned(),
            raw_cpuid::Hypervisor::ACRN => "ACRN".to_owned(),
            raw_cpuid::Hypervisor::Unknown(..) => "unnamed hypervisor".to_owned(),
        });
        Some(name.unwrap_or_else(|| "unnamed hypervisor".to_owned()))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        line(Path::new("/sys/hypervisor/type"))
    }
}

/// Vector extensions that inference kernels care about.
fn simd(root: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let tested = [
            ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
            ("avx", std::is_x86_feature_detected!("avx")),
            ("f16c", std::is_x86_feature_detected!("f16c")),
            ("fma", std::is_x86_feature_detected!("fma")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
            ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
            ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
            ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
            ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
        ];
        found.extend(tested.iter().filter(|(_, has)| *has).map(|(name, _)| (*name).to_owned()));
    }
    #[cfg(target_arch = "aarch64")]
    {
        let tested = [
            ("neon", std::arch::is_aarch64_feature_detected!("neon")),
            ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
            ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
            ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
            ("sve", std::arch::is_aarch64_feature_detected!("sve")),
            ("sve2", std::arch::is_aarch64_feature_detected!("sve2")),
        ];
        found.extend(tested.iter().filter(|(_, has)| *has).map(|(name, _)| (*name).to_owned()));
    }
    // The kernel also names what the standard library cannot test for yet.
    for (flag, name) in [
        ("avx_vnni", "avxvnni"),
        ("avx512_fp16", "avx512fp16"),
        ("amx_tile", "amx-tile"),
        ("amx_int8", "amx-int8"),
        ("amx_bf16", "amx-bf16"),
    ] {
        if kernel_flags(root).iter().any(|known| known == flag) {
            found.push(name.to_owned());
        }
    }
    found
}

/// The flags Linux lists for the first processor; empty elsewhere.
fn kernel_flags(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.map(|(_, list)| list.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// The caches of one core as Linux lists them, nearest first.
fn caches(folder: &Path) -> Vec<Cache> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut caches: Vec<Cache> = entries.flatten().filter_map(|entry| cache(&entry.path())).collect();
    caches.sort_by(|a, b| (a.level, &a.kind).cmp(&(b.level, &b.kind)));
    caches
}

fn cache(folder: &Path) -> Option<Cache> {
    Some(Cache {
        level: line(&folder.join("level"))?.parse().ok()?,
        kind: line(&folder.join("type"))?.to_lowercase(),
        size: cache_size(&line(&folder.join("size"))?)?,
        shared_by: line(&folder.join("shared_cpu_list")).and_then(|list| count_list(&list)),
    })
}

/// `32K` or `8M`, binary units, as Linux writes them.
fn cache_size(text: &str) -> Option<Bytes> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).map(Bytes)
}

/// How many numbers a list such as `0-3,8` names.
fn count_list(list: &str) -> Option<u32> {
    let mut count = 0_u32;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

fn numa_nodes(folder: &Path) -> Option<u32> {
    count_list(&line(&folder.join("online"))?)
}

/// First line of a small file, trimmed; `None` where it is missing or empty.
fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let first = text.lines().next()?.trim();
    (!first.is_empty()).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_sizes_are_binary() {
        assert_eq!(cache_size("32K"), Some(Bytes(32 << 10)));
        assert_eq!(cache_size("8M"), Some(Bytes(8 << 20)));
        assert_eq!(cache_size("512"), Some(Bytes(512)));
        assert_eq!(cache_size("huge"), None);
        assert_eq!(cache_size("99999999999999999999M"), None);
    }

    #[test]
    fn lists_are_counted() {
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list("0-3,8"), Some(5));
        assert_eq!(count_list("3-0"), None);
        assert_eq!(count_list("x"), None);
    }

    #[test]
    fn a_machine_that_tells_nothing_is_still_described() {
        let cpu = detect(Path::new("/nonexistent"));
        assert!(cpu.logical_cores >= 1);
        assert_eq!((cpu.caches, cpu.last_level_cache, cpu.governor), (Vec::new(), None, None));
    }
}
