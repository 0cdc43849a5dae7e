//! What the kernel says about this process: `otelcol_process_*`, read when metrics are gathered.

use nix::sys::resource::{UsageWho, getrusage};
use tokio::time::Instant;

/// One figure of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessSample {
    pub name: &'static str,
    pub help: &'static str,
    pub is_counter: bool,
    pub value: f64,
}

/// Now. Figures that the kernel does not give are left out; the Collector's `total_alloc` (bytes allocated since the
/// start) is one of them, because counting it would cost every allocation.
pub fn gather(started: Instant) -> Vec<ProcessSample> {
    let mut samples = vec![ProcessSample {
        name: "otelcol_process_uptime",
        help: "Uptime of the process in seconds.",
        is_counter: true,
        value: started.elapsed().as_secs_f64(),
    }];
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        samples.push(ProcessSample {
            name: "otelcol_process_cpu_seconds",
            help: "CPU user and system time in seconds.",
            is_counter: true,
            value: seconds(usage.user_time()) + seconds(usage.system_time()),
        });
    }
    // A file of the kernel, in memory: no waiting.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let figures = [
        ("VmRSS:", "otelcol_process_memory_rss", "Resident memory in bytes."),
        (
            "RssAnon:",
            "otelcol_process_runtime_heap_alloc_bytes",
            "Resident memory that is no file, in bytes.",
        ),
        (
            "VmData:",
            "otelcol_process_runtime_total_sys_memory_bytes",
            "Memory obtained from the system, in bytes.",
        ),
    ];
    for (key, name, help) in figures {
        if let Some(kib) = status_kib(&status, key) {
            samples.push(ProcessSample {
                name,
                help,
                is_counter: false,
                value: kib as f64 * 1024.0,
            });
        }
    }
    samples
}

/// The number of a `Key:   123 kB` line.
fn status_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    line[key.len()..].split_whitespace().next()?.parse().ok()
}

/// Resident memory in bytes, 0 where the kernel does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status_kib(&status, "VmRSS:").unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_a_key_is_read_and_a_missing_key_is_none() {
        let status = "Name:\tradiosonde\nVmRSS:\t    5120 kB\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(5120));
        assert_eq!(status_kib(status, "RssAnon:"), None);
    }

    #[tokio::test]
    async fn this_process_has_used_memory_and_time() {
        let samples = gather(Instant::now());
        let rss = samples
            .iter()
            .find(|sample| sample.name == "otelcol_process_memory_rss")
            .unwrap();
        assert!(rss.value > 100_000.0);
        assert!(
            samples
                .iter()
                .any(|sample| sample.name == "otelcol_process_cpu_seconds")
        );
    }
}
