//! What the machine or the container lets us use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::pdata::MemoryBudget;

/// Worker threads: the processors that the CPU quota and the affinity mask leave us.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The control group of this process, where its memory is limited.
pub struct MemoryGroup {
    /// Bytes.
    pub limit: u64,
    folder: PathBuf,
}

impl MemoryGroup {
    /// The innermost group with a limit, of version 2 or 1.
    pub fn find() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find_below(Path::new("/sys/fs/cgroup"), &own)
    }

    fn find_below(root: &Path, own: &str) -> Option<Self> {
        for line in own.lines() {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let (base, file) = match controllers {
                "" => (root.to_owned(), "memory.max"),
                list if list.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
                _ => continue,
            };
            // Inside a container the path may be that of the host; then the root is the group.
            let mut folder = base.join(path.trim_start_matches('/'));
            loop {
                if let Some(limit) = read_bytes(&folder.join(file)) {
                    return Some(Self { limit, folder });
                }
                if folder == base || !folder.pop() {
                    break;
                }
            }
        }
        None
    }

    /// Memory in use that the kernel could not take back: without the page cache of files nobody reads.
    fn used(&self) -> Option<u64> {
        let current = read_bytes(&self.folder.join("memory.current"))
            .or_else(|| read_bytes(&self.folder.join("memory.usage_in_bytes")))?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let cache = stat
            .lines()
            .find_map(|line| line.strip_prefix("inactive_file ")?.parse::<u64>().ok());
        Some(current.saturating_sub(cache.unwrap_or(0)))
    }
}

/// A number of bytes; `max` and version 1's huge number mean that there is no limit.
fn read_bytes(file: &Path) -> Option<u64> {
    let bytes: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

/// RAM of the machine, bytes.
pub fn total_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Above this part of the group's limit nothing is admitted.
const HARD_PERCENT: u64 = 95;
/// Below it again, everything is.
const SOFT_PERCENT: u64 = 90;

/// The outer fuse: closes admission when the group is nearly full, until there is room again.
pub async fn guard(group: MemoryGroup, budget: MemoryBudget, stop: CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_millis(500));
    // Only what this guard has closed does it open again.
    let mut closed = false;
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        let Some(used) = group.used() else { continue };
        let percent = used.saturating_mul(100) / group.limit.max(1);
        if !closed && percent >= HARD_PERCENT {
            closed = true;
            budget.close();
            warn!(
                used_bytes = used,
                limit_bytes = group.limit,
                "The container's memory is nearly full. Refusing data."
            );
        } else if closed && percent < SOFT_PERCENT {
            closed = false;
            budget.reopen();
            info!(
                used_bytes = used,
                "The container's memory has room again. Resuming normal operation."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_group_with_a_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("pod/container");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.path().join("pod/memory.max"), "1000\n").unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        let group = MemoryGroup::find_below(root.path(), "0::/pod/container\n").unwrap();
        assert_eq!(group.limit, 1000);
        fs::write(inner.join("memory.max"), "500\n").unwrap();
        let group = MemoryGroup::find_below(root.path(), "0::/pod/container\n").unwrap();
        assert_eq!(group.limit, 500);
    }

    #[test]
    fn a_path_of_the_host_falls_back_to_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("memory.max"), "700").unwrap();
        let group = MemoryGroup::find_below(root.path(), "0::/kubepods/not/visible\n").unwrap();
        assert_eq!(group.limit, 700);
    }

    #[test]
    fn version_1_is_read_from_its_memory_controller() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("memory/docker/a");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("memory.limit_in_bytes"), "9223372036854771712").unwrap();
        let own = "3:cpu,cpuacct:/docker/a\n2:memory:/docker/a\n";
        assert!(MemoryGroup::find_below(root.path(), own).is_none());
        fs::write(folder.join("memory.limit_in_bytes"), "4096").unwrap();
        assert_eq!(MemoryGroup::find_below(root.path(), own).unwrap().limit, 4096);
    }

    #[tokio::test(start_paused = true)]
    async fn the_fuse_closes_admission_and_opens_it_again() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("memory.max"), "1000").unwrap();
        let set_used = |bytes: &str| fs::write(root.path().join("memory.current"), bytes).unwrap();
        fs::write(root.path().join("memory.stat"), "anon 1\ninactive_file 100\n").unwrap();
        set_used("1040");
        let group = MemoryGroup::find_below(root.path(), "0::/\n").unwrap();
        let budget = MemoryBudget::unlimited();
        let stop = CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(guard(group, budget.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!budget.is_closed(), "the page cache does not count");
        set_used("1060");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(budget.is_closed());
        set_used("1020");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(budget.is_closed(), "between soft and hard it stays as it is");
        set_used("800");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!budget.is_closed());
        stop.cancel();
    }
}
