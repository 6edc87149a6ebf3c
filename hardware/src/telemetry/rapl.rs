//! RAPL counters in Linux's powercap tree: `intel-rapl:N/energy_uj` counts a package's microjoules up to
//! `max_energy_range_uj` and then begins again (Linux, Documentation/power/powercap/powercap.rst). AMD's appear under the same name.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One package and what its counter said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    counter: PathBuf,
    range: u64,
    microjoules: u64,
}

/// The packages under a powercap tree; `None` where there are none or one cannot be read.
pub(crate) fn packages(tree: &Path) -> Option<Vec<Package>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(tree).ok()?.flatten() {
        let zone = entry.path();
        // Zones within a package (`intel-rapl:0:0`, core and uncore) are parts of it; `psys` counts the platform a second time.
        if number(&zone.join("energy_uj")).is_none() && !zone.join("energy_uj").exists() {
            continue;
        }
        let name = fs::read_to_string(zone.join("name")).ok()?;
        if name.trim().starts_with("package") {
            let counter = zone.join("energy_uj");
            let (range, microjoules) = (number(&zone.join("max_energy_range_uj"))?, number(&counter)?);
            found.push(Package { counter, range, microjoules });
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Joules since the packages were read. A counter that began again is taken to have done so once: at 300 W that is some quarter of
/// an hour, longer than any level. `None` where one can no longer be read.
pub(crate) fn joules_since(packages: &[Package]) -> Option<f64> {
    let used = packages.iter().map(|package| {
        let now = number(&package.counter)?;
        let microjoules = if now >= package.microjoules {
            now - package.microjoules
        } else {
            package.range.saturating_sub(package.microjoules).saturating_add(now)
        };
        Some(microjoules as f64 / 1e6)
    });
    used.sum()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(tree: &Path, name: &str, label: &str, microjoules: u64) -> PathBuf {
        let zone = tree.join(name);
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), format!("{label}\n")).unwrap();
        fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
        fs::write(zone.join("energy_uj"), format!("{microjoules}\n")).unwrap();
        zone.join("energy_uj")
    }

    #[test]
    fn packages_add_up_and_a_counter_may_begin_again() {
        let tree = tempfile::tempdir().unwrap();
        assert_eq!(packages(tree.path()), None);
        let first = zone(tree.path(), "intel-rapl:0", "package-0", 1_000_000);
        let second = zone(tree.path(), "intel-rapl:1", "package-1", 262_143_000_000);
        zone(tree.path(), "intel-rapl:0:0", "core", 5);
        zone(tree.path(), "intel-rapl:2", "psys", 7);
        fs::create_dir_all(tree.path().join("intel-rapl")).unwrap();
        let before = packages(tree.path()).unwrap();
        assert_eq!(before.len(), 2);
        fs::write(first, "31000000\n").unwrap();
        fs::write(second, "671150\n").unwrap();
        // 30 J of the first; 0.328850 J up to the range and 0.671150 J after it of the second.
        assert!((joules_since(&before).unwrap() - 31.0).abs() < 1e-9);
        fs::remove_file(&before[0].counter).unwrap();
        assert_eq!(joules_since(&before), None);
    }

    #[test]
    fn a_counter_for_root_only_is_no_counter() {
        let tree = tempfile::tempdir().unwrap();
        let counter = zone(tree.path(), "intel-rapl:0", "package-0", 1);
        fs::write(&counter, "not a number").unwrap();
        assert_eq!(packages(tree.path()), None);
    }
}
