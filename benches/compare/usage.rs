use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often the children of a process are looked for.
const INTERVAL: Duration = Duration::from_millis(10);

/// Peak memory of a process and of what it spawns, watched from a thread.
///
/// The kernel remembers for every process the most it ever had in RAM (VmHWM), so that a glance every 10 ms misses only
/// what a child took in its last 10 ms.
pub struct MemoryWatch {
    process: u32,
    stop: Arc<AtomicBool>,
    peak: Arc<Mutex<Peak>>,
    thread: Option<JoinHandle<()>>,
}

/// The most memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// Of the process itself
    pub own: u64,
    /// Of all its children that ran at one time
    pub children: u64,
    /// Of both at one time
    pub both: u64,
}

impl MemoryWatch {
    /// Begins to watch.
    pub fn start(process: u32) -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Peak::default())));
        let thread = {
            let (stop, peak) = (stop.clone(), peak.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    look(process, &mut peak.lock().unwrap());
                    thread::sleep(INTERVAL);
                }
            })
        };
        Self { process, stop, peak, thread: Some(thread) }
    }

    /// The peaks so far.
    pub fn peak(&self) -> Peak {
        let mut peak = self.peak.lock().unwrap();
        look(self.process, &mut peak);
        *peak
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn look(process: u32, peak: &mut Peak) {
    let Some(own) = high_water(process) else { return };
    // A child that is being started shares its parent's memory until it becomes another program.
    let program = |process: u32| fs::read_link(format!("/proc/{process}/exe")).ok();
    let started = program(process);
    let children = descendants(process).into_iter().filter(|child| program(*child) != started);
    let children: u64 = children.filter_map(high_water).sum();
    peak.own = peak.own.max(own);
    peak.children = peak.children.max(children);
    peak.both = peak.both.max(own + children);
}

/// VmHWM, in bytes; `None` if the process is gone.
fn high_water(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Everything that a process started and that still runs. A child belongs to the thread that started it.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![process];
    while let Some(parent) = waiting.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
                if found.insert(child, ()).is_none() {
                    waiting.push(child);
                }
            }
        }
    }
    found.into_keys().collect()
}

/// Seconds of processor time of a process and of its children that have ended, in user mode and in the kernel.
pub fn processor_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in brackets, may hold anything; behind it the state is field 3, utime, stime, cutime, cstime 14 to 17.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    ticks as f64 / hertz as f64
}
