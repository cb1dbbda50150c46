use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::processes::descendants;

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
