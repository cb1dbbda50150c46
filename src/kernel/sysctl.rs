//! What the node's kernel should be told besides rules: the size and the timeouts of connection tracking, and how readily
//! it ends this process (section 9 of the Service behaviour).
//!
//! What cannot be set is reported and costs nothing else: a container often has a read-only /proc/sys, and in a network
//! namespace other than the first one the size of the connection tracking table is not writable at all.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

const MAX: &str = "proc/sys/net/netfilter/nf_conntrack_max";
const HASHSIZE: &str = "sys/module/nf_conntrack/parameters/hashsize";
const ESTABLISHED: &str = "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
const CLOSE_WAIT: &str = "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";
const BE_LIBERAL: &str = "proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";
const UDP: &str = "proc/sys/net/netfilter/nf_conntrack_udp_timeout";
const UDP_STREAM: &str = "proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";
const OOM: &str = "proc/self/oom_score_adj";
const CPUS: &str = "sys/devices/system/cpu/online";

/// What a machine with very many CPUs gets at most from [`Wanted::max_per_core`], as from kube-proxy: the table takes
/// memory that is never given back.
const MOST_BY_CPUS: u64 = 1 << 20;

/// What the operator wants. A zero leaves the kernel's value, but for `oom_score_adj`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Connections to track for each CPU; zero makes `min` mean nothing, too
    pub max_per_core: u32,
    /// Connections to track at least
    pub min: u32,
    /// Seconds that an idle TCP connection is tracked
    pub tcp_timeout_established: Duration,
    /// Seconds that a TCP connection is tracked which one side has closed
    pub tcp_timeout_close_wait: Duration,
    /// Take TCP packets outside of the window for valid; false leaves the kernel's value
    pub tcp_be_liberal: bool,
    /// Seconds that a UDP flow without an answer is tracked
    pub udp_timeout: Duration,
    /// Seconds that a UDP flow in both directions is tracked
    pub udp_timeout_stream: Duration,
    /// From -1000 to 1000
    pub oom_score_adj: i16,
}

/// A file of the kernel's and what is to stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// Path below the root
    pub file: &'static str,
    /// Value
    pub value: i64,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{} = {}", self.file, self.value)
    }
}

/// A value that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot set /{} to {}: {reason}; {}", .setting.file, .setting.value, remedy(.setting, .reason))]
pub struct SysctlError {
    /// What was to be set
    pub setting: Setting,
    /// Why it could not
    pub reason: io::Error,
}

/// Who can mend it, and how.
fn remedy(setting: &Setting, reason: &io::Error) -> String {
    let by_hand = match setting.file.strip_prefix("proc/sys/") {
        Some(name) => format!("`sysctl -w {}={}` on the node", name.replace('/', "."), setting.value),
        None if setting.file == OOM => "the capability SYS_RESOURCE".to_owned(),
        None => format!("`echo {} > /{}` on the node", setting.value, setting.file),
    };
    match reason.kind() {
        io::ErrorKind::NotFound => "the kernel does not have it (yet): `modprobe nf_conntrack` on the node".to_owned(),
        _ if setting.file == OOM => {
            format!("{by_hand} is needed to lower it; without, memory shortage may end Portolan")
        }
        _ => format!(
            "the container may not write it, or not in this network namespace: {by_hand} mends it, or `portolan run \
             --init-only` with all privileges in the node's network namespace"
        ),
    }
}

/// What has become of what was wanted.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was written
    pub changed: Vec<Setting>,
    /// What could not be
    pub failed: Vec<SysctlError>,
}

/// Sets what is wanted and not so already. `root` is `/`; a test has a folder of its own.
pub fn apply(root: &Path, wanted: &Wanted) -> Outcome {
    let files = [MAX, HASHSIZE, ESTABLISHED, CLOSE_WAIT, BE_LIBERAL, UDP, UDP_STREAM, OOM];
    let present = files.into_iter().filter_map(|file| Some((file, read(root, file)?.trim().parse().ok()?))).collect();
    let mut outcome = Outcome::default();
    for setting in decide(wanted, cpus(root), &present) {
        // Every namespace shares the hash table; one that may not say how much it is to hold does not size it, either.
        if setting.file == HASHSIZE && outcome.failed.iter().any(|failure| failure.setting.file == MAX) {
            continue;
        }
        match write(&root.join(setting.file), setting.value) {
            Ok(()) => outcome.changed.push(setting),
            Err(reason) => outcome.failed.push(SysctlError { setting, reason }),
        }
    }
    outcome
}

/// What is to be written, given the number of CPUs and what the files hold; one that cannot be read is absent.
pub fn decide(wanted: &Wanted, cpus: u64, present: &BTreeMap<&'static str, i64>) -> Vec<Setting> {
    let seconds = |duration: Duration| Some(duration.as_secs()).filter(|seconds| *seconds > 0);
    let max = (wanted.max_per_core > 0).then(|| {
        let by_cpus = u64::from(wanted.max_per_core).saturating_mul(cpus).min(MOST_BY_CPUS);
        by_cpus.max(u64::from(wanted.min))
    });
    let values = [
        (MAX, max),
        (ESTABLISHED, seconds(wanted.tcp_timeout_established)),
        (CLOSE_WAIT, seconds(wanted.tcp_timeout_close_wait)),
        (BE_LIBERAL, wanted.tcp_be_liberal.then_some(1)),
        (UDP, seconds(wanted.udp_timeout)),
        (UDP_STREAM, seconds(wanted.udp_timeout_stream)),
    ];
    let mut settings = Vec::new();
    for (file, value) in values {
        let value = value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        settings.extend(value.map(|value| Setting { file, value }));
    }
    // The kernel sizes the hash table by the machine's memory; chains of more than four make look-ups slow.
    let buckets = max.map(|max| i64::try_from(max / 4).unwrap_or(i64::MAX));
    if let Some(value) = buckets.filter(|wanted| present.get(HASHSIZE).is_none_or(|present| present < wanted)) {
        settings.push(Setting { file: HASHSIZE, value });
    }
    settings.push(Setting { file: OOM, value: wanted.oom_score_adj.into() });
    settings.retain(|setting| present.get(setting.file) != Some(&setting.value));
    settings
}

/// How many CPUs are online; those that a container is limited to do not matter, as the table is the node's.
fn cpus(root: &Path) -> u64 {
    let online = read(root, CPUS).and_then(|text| count(text.trim()));
    online.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |number| number.get() as u64))
}

/// The size of a list such as `0-3,5`.
fn count(list: &str) -> Option<u64> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    list.split(',').map(part).sum()
}

fn read(root: &Path, file: &str) -> Option<String> {
    fs::read_to_string(root.join(file)).ok()
}

/// Writes a value to a file that exists.
fn write(path: &PathBuf, value: i64) -> io::Result<()> {
    OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Wanted = Wanted {
        max_per_core: 32768,
        min: 131_072,
        tcp_timeout_established: Duration::from_secs(86400),
        tcp_timeout_close_wait: Duration::from_secs(3600),
        tcp_be_liberal: false,
        udp_timeout: Duration::ZERO,
        udp_timeout_stream: Duration::ZERO,
        oom_score_adj: -999,
    };

    fn decided(wanted: Wanted, cpus: u64, present: &[(&'static str, i64)]) -> Vec<(&'static str, i64)> {
        let present = present.iter().copied().collect();
        decide(&wanted, cpus, &present).iter().map(|setting| (setting.file, setting.value)).collect()
    }

    #[test]
    fn the_table_has_room_for_every_cpu_but_never_less_than_the_least() {
        let max = |wanted, cpus| decided(wanted, cpus, &[]).into_iter().find(|(file, _)| *file == MAX);
        assert_eq!(max(DEFAULTS, 2), Some((MAX, 131_072)));
        assert_eq!(max(DEFAULTS, 8), Some((MAX, 262_144)));
        assert_eq!(max(DEFAULTS, 1000), Some((MAX, 1_048_576)));
        assert_eq!(max(Wanted { min: 2_000_000, ..DEFAULTS }, 1000), Some((MAX, 2_000_000)));
        assert_eq!(max(Wanted { max_per_core: 0, ..DEFAULTS }, 8), None);
    }

    #[test]
    fn only_what_differs_is_written_and_the_hash_only_grows() {
        let right = [(MAX, 131_072), (HASHSIZE, 65_536), (ESTABLISHED, 86_400), (CLOSE_WAIT, 3600), (OOM, -999)];
        assert_eq!(decided(DEFAULTS, 4, &right), []);
        let mut small = right;
        small[1].1 = 16_384;
        assert_eq!(decided(DEFAULTS, 4, &small), [(HASHSIZE, 32_768)]);
        let none = Wanted { oom_score_adj: 5, ..Wanted::default() };
        assert_eq!(decided(none, 4, &right), [(OOM, 5)]);
        let udp = Wanted { tcp_be_liberal: true, udp_timeout: Duration::from_secs(30), ..DEFAULTS };
        assert_eq!(decided(udp, 4, &right), [(BE_LIBERAL, 1), (UDP, 30)]);
    }

    #[test]
    fn cpus_are_counted_as_the_kernel_lists_them() {
        assert_eq!(count("0-3"), Some(4));
        assert_eq!(count("0,2-5,9"), Some(6));
        assert_eq!(count("0"), Some(1));
        assert_eq!(count(""), None);
        assert_eq!(count("3-1"), None);
    }

    #[test]
    fn what_cannot_be_written_is_named_with_its_value_and_costs_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(CPUS, "0-7\n");
        put(MAX, "65536\n");
        put(HASHSIZE, "65536\n");
        put(CLOSE_WAIT, "60\n");
        put(OOM, "0\n");
        fs::create_dir_all(root.path().join(ESTABLISHED)).unwrap(); // cannot be written
        let outcome = apply(root.path(), &Wanted { udp_timeout: Duration::from_secs(9), ..DEFAULTS });
        let changed: Vec<String> = outcome.changed.iter().map(ToString::to_string).collect();
        assert_eq!(
            changed,
            [
                "/proc/sys/net/netfilter/nf_conntrack_max = 262144",
                "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait = 3600",
                "/proc/self/oom_score_adj = -999",
            ]
        );
        assert_eq!(read(root.path(), MAX).unwrap(), "262144");
        let failed: Vec<String> = outcome.failed.iter().map(ToString::to_string).collect();
        assert_eq!(failed.len(), 2);
        assert!(failed[0].starts_with(&format!("cannot set /{ESTABLISHED} to 86400: ")), "{failed:?}");
        assert!(
            failed[0].contains("`sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400`"),
            "{failed:?}"
        );
        assert!(failed[1].contains("modprobe nf_conntrack"), "{failed:?}");
    }
}
