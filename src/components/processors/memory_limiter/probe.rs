//! How much memory is used, and how much there is. Reads `/proc` and the cgroup; both versions of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the memory in use is read.
#[derive(Clone, Debug)]
pub enum Probe {
    /// Resident memory of this process.
    Process,
    /// What the cgroup is charged for, without file pages that the kernel takes back first.
    Cgroup(CgroupFiles),
}

/// Files of one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFiles {
    limit: PathBuf,
    usage: PathBuf,
    stat: PathBuf,
    inactive_file_key: &'static str,
}

impl Probe {
    /// This process.
    pub fn of_process() -> Self {
        Probe::Process
    }

    /// The cgroup where it has a limit, else this process.
    pub fn for_share() -> Self {
        match limited_cgroup() {
            Some((files, _)) => Probe::Cgroup(files),
            None => Probe::Process,
        }
    }

    /// Bytes in use; `None` where the files cannot be read.
    pub fn used(&self) -> Option<u64> {
        match self {
            Probe::Process => resident(),
            Probe::Cgroup(files) => {
                let usage = read_number(&files.usage)?;
                let stat = fs::read_to_string(&files.stat).unwrap_or_default();
                let reclaimable = keyed_number(&stat, files.inactive_file_key).unwrap_or(0);
                Some(usage.saturating_sub(reclaimable))
            }
        }
    }
}

/// The cgroup's limit, else the machine's memory, in bytes.
pub fn total_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| keyed_number(&text, "MemTotal:"))
        .map(|kib| kib.saturating_mul(1024));
    match (limited_cgroup(), machine) {
        (Some((_, limit)), Some(machine)) => Some(limit.min(machine)),
        (Some((_, limit)), None) => Some(limit),
        (None, machine) => machine,
    }
}

/// Resident memory of this process.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    keyed_number(&status, "VmRSS:").map(|kib| kib.saturating_mul(1024))
}

/// The nearest cgroup upwards that has a limit.
fn limited_cgroup() -> Option<(CgroupFiles, u64)> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    candidates(&own).into_iter().find_map(|files| {
        // No limit reads as `max`, which is no number, or as a number close to 2^63.
        let limit = read_number(&files.limit).filter(|limit| *limit < 1 << 60)?;
        Some((files, limit))
    })
}

/// Directories to look at, nearest first, for the text of `/proc/self/cgroup`. In a container's own namespace the path
/// is `/`; with a host path that is not mounted the root of the mount is the container's own.
fn candidates(own: &str) -> Vec<CgroupFiles> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let is_v2 = controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|controller| controller == "memory") {
            continue;
        }
        let mount = Path::new(if is_v2 {
            "/sys/fs/cgroup"
        } else {
            "/sys/fs/cgroup/memory"
        });
        for directory in Path::new(path.trim_start_matches('/')).ancestors() {
            // A path out of our namespace shows as `/..`; the mount is all we may look at.
            if !directory
                .components()
                .any(|part| part == std::path::Component::ParentDir)
            {
                found.push(CgroupFiles::in_directory(&mount.join(directory), is_v2));
            }
        }
    }
    found
}

impl CgroupFiles {
    fn in_directory(directory: &Path, is_v2: bool) -> Self {
        let [limit, usage] = if is_v2 {
            ["memory.max", "memory.current"]
        } else {
            ["memory.limit_in_bytes", "memory.usage_in_bytes"]
        };
        Self {
            limit: directory.join(limit),
            usage: directory.join(usage),
            stat: directory.join("memory.stat"),
            inactive_file_key: if is_v2 { "inactive_file" } else { "total_inactive_file" },
        }
    }
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind `key` at the start of a line.
fn keyed_number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(key)).then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_memory_of_this_process_and_machine() {
        let used = Probe::of_process().used().unwrap();
        let total = total_memory().unwrap();
        assert!(used > 1 << 20, "a test binary is resident with more than a MiB: {used}");
        assert!(total > used, "{total} {used}");
    }

    #[test]
    fn looks_upwards_in_both_versions_and_never_out_of_the_mount() {
        let paths = |text: &str| -> Vec<String> {
            let found = candidates(text);
            found
                .iter()
                .map(|files| files.limit.to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(
            paths("0::/kube/pod1\n"),
            [
                "/sys/fs/cgroup/kube/pod1/memory.max",
                "/sys/fs/cgroup/kube/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            paths("5:cpu,memory:/a\n4:pids:/a\n"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(paths("0::/../other\nrubbish"), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn finds_a_number_by_its_key_only() {
        assert_eq!(keyed_number("a 1\ninactive_file 7\nb 2", "inactive_file"), Some(7));
        assert_eq!(keyed_number("inactive_file", "inactive_file"), None);
        assert_eq!(keyed_number("MemTotal:  12 kB", "MemTotal:"), Some(12));
    }
}
