//! The usual metrics of a process, from /proc.

use std::{fmt, fs};

use nix::sys::resource::{Resource, getrlimit};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// /proc tells times in hundredths of a second, on every architecture that Portolan runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads /proc at each scrape. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let (Some(user), Some(system)) = (stat_field(&stat, 14), stat_field(&stat, 15)) {
            let cpu = ConstCounter::new((user + system) / TICKS_PER_SECOND);
            let help = "Processor time used, in seconds.";
            cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use.", kibibytes(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Address space in use.", kibibytes(&status, "VmSize:")),
            ("process_start_time_seconds", "When the process started, in seconds since 1970.", start_time(&stat)),
            ("process_open_fds", "Open file descriptors.", open_files()),
            (
                "process_max_fds",
                "File descriptors that may be open.",
                getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        Ok(())
    }
}

/// A field of /proc/PID/stat by its number in proc(5). The second one, a name in parentheses, may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// A line of /proc/PID/status such as `VmRSS:     1234 kB`, in bytes.
fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: f64 = value.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024.0)
}

fn start_time(stat: &str) -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(stat, 22)? / TICKS_PER_SECOND)
}

fn open_files() -> Option<f64> {
    // One of them is this very listing.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_a_name_with_anything_in_it() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 90 0 0 0 150 50 0 0 20 0 3 0 4200 0 0";
        assert_eq!(stat_field(stat, 14), Some(150.0));
        assert_eq!(stat_field(stat, 15), Some(50.0));
        assert_eq!(stat_field(stat, 22), Some(4200.0));
        assert_eq!(stat_field("", 14), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\tportolan\nVmSize:\t   2048 kB\nVmRSS:\t    100 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(102_400.0));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }
}
