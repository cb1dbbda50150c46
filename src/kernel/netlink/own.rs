//! Which commits to the ruleset are our own.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

/// Tells the commits of one data plane, and of the `nft` processes that it starts, from everybody else's.
///
/// The kernel names the sender of a commit by its netlink port, which is unique within a network namespace. The PID
/// that it gives, too, is the one of the initial PID namespace, and a process in a container does not know its own. The
/// port of `nft` is its PID as we see it: the kernel's first choice for a process's first socket. Where another socket
/// has that port already, because its process has the same PID in another PID namespace, the kernel gives nft some
/// other port, and its commit passes for somebody else's: that costs a look at the tables.
#[derive(Clone, Debug)]
pub struct OwnCommits {
    port: Arc<AtomicU32>,
    children: Arc<Mutex<Vec<Child>>>,
}

/// A run of `nft`.
#[derive(Debug)]
struct Child {
    pid: u32,
    /// The ruleset's generation before it
    before: u32,
    /// And after it, once it has ended
    after: Option<u32>,
}

impl OwnCommits {
    /// Those of a socket with this port.
    pub(crate) fn of_port(port: u32) -> Self {
        Self { port: Arc::new(AtomicU32::new(port)), children: Arc::default() }
    }

    /// The port of the socket that commits.
    pub(crate) fn port(&self) -> u32 {
        self.port.load(Ordering::Relaxed)
    }

    /// Another socket commits from now on.
    pub(crate) fn set_port(&self, port: u32) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Whether anybody asks.
    pub(crate) fn watched(&self) -> bool {
        Arc::strong_count(&self.children) > 1
    }

    /// Takes note of a run of `nft` that begins at a generation.
    pub(crate) fn begin(&self, pid: u32, before: u32) {
        self.with_children(|children| children.push(Child { pid, before, after: None }));
    }

    /// Takes note of its end. Without the generation then, it is forgotten.
    pub(crate) fn end(&self, pid: u32, generation: Option<u32>) {
        self.with_children(|children| match (children.iter_mut().rfind(|child| child.pid == pid), generation) {
            (Some(child), Some(generation)) => child.after = Some(generation),
            _ => children.retain(|child| child.pid != pid),
        });
    }

    /// Whether the commit that made this generation is our own. To be asked in the order of generations: runs of `nft`
    /// that ended before are forgotten.
    pub(crate) fn made(&self, port: u32, generation: u32) -> bool {
        port == self.port()
            || self.with_children(|children| {
                children.retain(|child| child.after.is_none_or(|after| reaches(after, generation)));
                let within = |child: &Child| child.before != generation && reaches(generation, child.before);
                children.iter().any(|child| child.pid == port && within(child))
            })
    }

    fn with_children<T>(&self, work: impl FnOnce(&mut Vec<Child>) -> T) -> T {
        work(&mut self.children.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a generation is another one or came after it. They are counted round and round.
pub(crate) fn reaches(generation: u32, other: u32) -> bool {
    generation.wrapping_sub(other) <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_nft_is_ours_between_its_generations_only() {
        let own = OwnCommits::of_port(7);
        own.begin(57, 10);
        assert!(own.made(57, 11) && own.made(57, 12), "it runs still");
        assert!(!own.made(58, 12), "another process");
        own.end(57, Some(13));
        assert!(own.made(57, 13));
        assert!(own.made(7, 14), "the socket itself");
        assert!(!own.made(57, 14), "another process that got the same number later");
        assert!(!own.made(57, 13), "forgotten");
        own.begin(57, 20);
        own.end(57, None);
        assert!(!own.made(57, 21));
        own.begin(57, 20);
        assert!(!own.made(57, 20), "what was before it");
    }

    #[test]
    fn generations_go_round() {
        assert!(reaches(5, 5) && reaches(6, 5) && !reaches(5, 6));
        assert!(reaches(1, u32::MAX) && !reaches(u32::MAX, 1));
    }
}
