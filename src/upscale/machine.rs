//! What this machine has: cores, memory, disk, graphics cards. Limits of containers (cgroups) count.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the machine has.
    pub total: u64,
    /// What can be taken now without swapping, the limit of the container taken into account.
    pub available: u64,
    /// The limit of the container, if there is one below `total`.
    pub limit: Option<u64>,
}

/// A graphics card as the system lists it; whether a driver and provider for it are there is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// For example "NVIDIA 10de:2335" or the name the driver gives.
    pub name: String,
}

/// Cores this process may use: affinity and the container's quota count.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Memory of the machine and the container, `None` where the system does not say.
pub fn memory() -> Option<Memory> {
    let refresh = sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let system = sysinfo::System::new_with_specifics(refresh).ok()?;
    let (total, available) = (system.total_memory(), system.available_memory());
    let groups = fs::read_to_string("/proc/self/cgroup").map(|text| cgroup_folders(&text)).unwrap_or_default();
    Some(limited(total, available, groups.iter().filter_map(|folder| cgroup_memory(folder))))
}

/// Applies the limits of all groups, each with its use: the tightest counts.
fn limited(total: u64, available: u64, groups: impl Iterator<Item = (u64, u64)>) -> Memory {
    let mut memory = Memory { total, available, limit: None };
    for (limit, used) in groups.filter(|(limit, _)| *limit < total) {
        memory.limit = Some(memory.limit.map_or(limit, |l| l.min(limit)));
        memory.available = memory.available.min(limit.saturating_sub(used));
    }
    memory
}

/// The folders of the memory group of this process and of every group it lies in, from the text of `/proc/self/cgroup`.
///
/// Inside a container the group's path may name a folder of the host that is not visible; the mount point itself is then the
/// container's own group, so it is always among them.
fn cgroup_folders(text: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let mount = match controllers {
            "" => "/sys/fs/cgroup",
            c if c.split(',').any(|c| c == "memory") => "/sys/fs/cgroup/memory",
            _ => continue,
        };
        let own = Path::new(mount).join(path.trim_start_matches('/'));
        folders.extend(own.ancestors().take_while(|a| a.starts_with(mount)).map(Path::to_path_buf));
    }
    folders
}

/// Limit and use (bytes) of one group, version 2 or 1. Pages of files that can be dropped at once do not count as used.
fn cgroup_memory(folder: &Path) -> Option<(u64, u64)> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let dropped = |key: &str| {
        let text = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    if let Some(limit) = number("memory.max") {
        return Some((limit, number("memory.current").unwrap_or(0).saturating_sub(dropped("inactive_file "))));
    }
    let limit = number("memory.limit_in_bytes")?;
    Some((limit, number("memory.usage_in_bytes").unwrap_or(0).saturating_sub(dropped("total_inactive_file "))))
}

/// Free bytes on the disk that holds `path` (or would hold it), `None` where the system does not say.
pub fn free_disk(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find_map(|p| p.canonicalize().ok())?;
    let disks = sysinfo::Disks::new_with_refreshed_list().ok()?;
    let holding = disks.iter().filter(|d| there.starts_with(d.mount_point()));
    holding.max_by_key(|d| d.mount_point().components().count()).map(sysinfo::Disk::available_space)
}

/// Graphics cards, read from the system's device list without any graphics interface. Empty where there is no such list
/// (only Linux has one that can be read this way).
pub fn gpus() -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir("/sys/bus/pci/devices") else { return Vec::new() };
    let mut folders: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    folders.sort();
    let nvidia = nvidia_names();
    let mut nvidia = nvidia.iter();
    folders.iter().filter_map(|folder| gpu(folder, &mut nvidia)).collect()
}

/// The card at one entry of the device list, if it is one (PCI class 03: display controllers).
fn gpu<'a>(folder: &Path, nvidia: &mut impl Iterator<Item = &'a String>) -> Option<Gpu> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().trim_start_matches("0x").to_string();
    if !read("class").starts_with("03") {
        return None;
    }
    let (vendor, device) = (read("vendor"), read("device"));
    let maker = match vendor.as_str() {
        "10de" => match nvidia.next() {
            Some(name) => return Some(Gpu { name: name.clone() }),
            None => "NVIDIA",
        },
        "1002" => "AMD",
        "8086" => "Intel",
        "106b" => "Apple",
        // Cards of virtual machines draw a console and compute nothing.
        "1234" | "1af4" | "1b36" | "15ad" | "1013" => "virtual display",
        _ => "unknown maker",
    };
    Some(Gpu { name: format!("{maker} {vendor}:{device}") })
}

/// Names of NVIDIA cards in the order of the bus, as the kernel driver gives them; empty without the driver.
fn nvidia_names() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let mut folders: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    folders.sort();
    let name = |folder: &PathBuf| {
        let text = fs::read_to_string(folder.join("information")).ok()?;
        text.lines().find_map(|l| Some(l.strip_prefix("Model:")?.trim().to_string()))
    };
    folders.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found() {
        let v2 = cgroup_folders("0::/user.slice/job.scope\n");
        assert_eq!(v2, ["/sys/fs/cgroup/user.slice/job.scope", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"].map(PathBuf::from));
        let v1 = cgroup_folders("4:cpu,cpuacct:/x\n9:memory:/docker/ab\n");
        assert_eq!(v1, ["/sys/fs/cgroup/memory/docker/ab", "/sys/fs/cgroup/memory/docker", "/sys/fs/cgroup/memory"].map(PathBuf::from));
    }

    #[test]
    fn the_tightest_limit_counts() {
        let none = limited(100, 80, [(u64::MAX, 5), (100, 5)].into_iter());
        assert_eq!(none, Memory { total: 100, available: 80, limit: None });
        let two = limited(100, 80, [(50, 20), (40, 35)].into_iter());
        assert_eq!(two, Memory { total: 100, available: 5, limit: Some(40) });
    }

    #[test]
    fn a_group_without_limit_has_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_memory(dir.path()), None);
        fs::write(dir.path().join("memory.max"), "1000\n").unwrap();
        fs::write(dir.path().join("memory.current"), "700\n").unwrap();
        fs::write(dir.path().join("memory.stat"), "anon 100\ninactive_file 600\n").unwrap();
        assert_eq!(cgroup_memory(dir.path()), Some((1000, 100)));
    }

    #[test]
    fn cards_are_told_from_other_devices() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("class", "0x030000\n");
        write("vendor", "0x10de\n");
        write("device", "0x2335\n");
        assert_eq!(gpu(dir.path(), &mut [].iter()).unwrap().name, "NVIDIA 10de:2335");
        assert_eq!(gpu(dir.path(), &mut ["NVIDIA H200".to_string()].iter()).unwrap().name, "NVIDIA H200");
        write("class", "0x020000\n");
        assert_eq!(gpu(dir.path(), &mut [].iter()), None);
    }

    #[test]
    fn this_machine_answers() {
        assert!(cores() >= 1);
        let memory = memory().unwrap();
        assert!(memory.available > 0 && memory.available <= memory.total);
        assert!(free_disk(Path::new("no/such/folder/yet")).unwrap() > 0);
    }
}
