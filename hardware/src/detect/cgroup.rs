//! Container limits as Linux control groups state them, version 1 and 2.
//!
//! A limit of a parent group binds its children, so every ancestor is asked and the smallest answer counts.
//! Formats: `Documentation/admin-guide/cgroup-v1` and `cgroup-v2.rst` of the Linux kernel.

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::ContainerLimits;
use crate::units::Bytes;

/// Version 1 writes "no limit" as the largest page-aligned number; nothing this big is a limit.
const NO_LIMIT: u64 = 1 << 60;

/// Limits on this process; `root` is where `/proc` and `/sys` live.
pub fn limits(root: &Path) -> ContainerLimits {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mut limits = ContainerLimits { cpu_cores: None, memory: None };
    for group in groups.lines().filter_map(parse_group) {
        for mount in mounts.lines().filter_map(parse_mount) {
            if !mount.carries(&group) {
                continue;
            }
            for folder in folders(root, &mount, &group) {
                limits.cpu_cores = least(limits.cpu_cores, cpu_cores(&folder), f64::min);
                limits.memory = least(limits.memory, memory(&folder), Bytes::min);
            }
        }
    }
    limits
}

/// One line of `/proc/self/cgroup`: the controllers of a hierarchy and this process's group in it.
struct Group<'a> {
    controllers: Vec<&'a str>,
    path: &'a str,
}

fn parse_group(line: &str) -> Option<Group<'_>> {
    let mut parts = line.splitn(3, ':');
    let (_hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Group { controllers: controllers.split(',').filter(|name| !name.is_empty()).collect(), path })
}

/// One control-group mount of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// The part of the hierarchy that is mounted.
    root: &'a str,
    point: &'a str,
    version_2: bool,
    options: Vec<&'a str>,
}

impl Mount<'_> {
    /// Whether this mount shows the hierarchy that a group belongs to.
    fn carries(&self, group: &Group<'_>) -> bool {
        if self.version_2 {
            return group.controllers.is_empty();
        }
        !group.controllers.is_empty() && group.controllers.iter().all(|name| self.options.contains(name))
    }
}

fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, point) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, _source, options) = (after.next()?, after.next()?, after.next().unwrap_or(""));
    let version_2 = match kind {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    Some(Mount { root, point, version_2, options: options.split(',').collect() })
}

/// The folders of a group and all its visible ancestors, the group itself first.
fn folders(root: &Path, mount: &Mount<'_>, group: &Group<'_>) -> Vec<PathBuf> {
    let top = root.join(mount.point.trim_start_matches('/'));
    // Without a cgroup namespace the path names the group from the host's root, of which only a part is mounted.
    let below = group.path.strip_prefix(mount.root).unwrap_or(group.path).trim_start_matches('/');
    let mut folder = top.join(below);
    let mut folders = Vec::new();
    loop {
        if folder.is_dir() {
            folders.push(folder.clone());
        }
        if folder == top || !folder.pop() || !folder.starts_with(&top) {
            return folders;
        }
    }
}

fn cpu_cores(folder: &Path) -> Option<f64> {
    let (quota, period) = match read(&folder.join("cpu.max")) {
        Some(text) => {
            let (quota, period) = text.split_once(' ')?;
            (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
        }
        None => (
            read(&folder.join("cpu.cfs_quota_us"))?.parse::<f64>().ok()?,
            read(&folder.join("cpu.cfs_period_us"))?.parse::<f64>().ok()?,
        ),
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn memory(folder: &Path) -> Option<Bytes> {
    let text = read(&folder.join("memory.max")).or_else(|| read(&folder.join("memory.limit_in_bytes")))?;
    text.parse::<u64>().ok().filter(|limit| *limit < NO_LIMIT).map(Bytes)
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn least<T: Copy>(known: Option<T>, found: Option<T>, smaller: fn(T, T) -> T) -> Option<T> {
    match (known, found) {
        (Some(a), Some(b)) => Some(smaller(a, b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn version_2_takes_the_tightest_ancestor() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        write(root, "proc/self/cgroup", "0::/pod/app\n");
        write(root, "proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        write(root, "sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
        write(root, "sys/fs/cgroup/pod/memory.max", "max\n");
        write(root, "sys/fs/cgroup/pod/app/cpu.max", "max 100000\n");
        write(root, "sys/fs/cgroup/pod/app/memory.max", "1073741824\n");
        assert_eq!(limits(root), ContainerLimits { cpu_cores: Some(1.5), memory: Some(Bytes::from_gib(1)) });
    }

    #[test]
    fn version_1_without_a_namespace_strips_the_mounted_root() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        write(root, "proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n");
        write(
            root,
            "proc/self/mountinfo",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             36 31 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
        );
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
        write(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
        write(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        assert_eq!(limits(root), ContainerLimits { cpu_cores: Some(0.5), memory: Some(Bytes::from_gib(2)) });
    }

    #[test]
    fn version_1_spells_no_limit_as_a_huge_number() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        write(root, "proc/self/cgroup", "4:memory:/\n2:cpu:/\n");
        write(
            root,
            "proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
        );
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(limits(root), ContainerLimits { cpu_cores: None, memory: None });
    }

    #[test]
    fn no_control_groups_is_no_limit() {
        assert_eq!(limits(Path::new("/nonexistent")), ContainerLimits { cpu_cores: None, memory: None });
    }
}
