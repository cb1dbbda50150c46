//! How many queries may be under way: more are answered at once, not queued (2.2).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts queries under way, altogether and for each client.
#[derive(Debug)]
pub struct Limit {
    most: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    clients: HashMap<IpAddr, usize>,
}

/// One query's place, given up when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Limit>, IpAddr);

impl Limit {
    /// So many at a time; zero for no limit.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// A place for a query of a client. Nothing if there are too many: in all, or, once half of all places are taken, if
    /// this client has a quarter of them. So one client cannot take the places of all others.
    pub fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Permit> {
        let mut counts = self.lock();
        if self.most > 0 {
            let own = counts.clients.get(&client).copied().unwrap_or_default();
            let share = self.most.div_ceil(4);
            if counts.all >= self.most || counts.all >= self.most.div_ceil(2) && own >= share {
                return None;
            }
        }
        counts.all += 1;
        *counts.clients.entry(client).or_default() += 1;
        Some(Permit(Arc::clone(self), client))
    }

    /// Places that are taken.
    pub fn count(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.0.lock();
        counts.all -= 1;
        if let Some(count) = counts.clients.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.clients.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share() {
        let limit = Limit::new(8);
        let [one, other]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let mut held: Vec<_> = std::iter::from_fn(|| limit.enter(one)).collect();
        assert_eq!(held.len(), 4, "half of all while nobody else wants any");
        let others: Vec<_> = std::iter::from_fn(|| limit.enter(other)).collect();
        assert_eq!(others.len(), 2);
        held.pop();
        assert!(limit.enter(one).is_none(), "still above its share");
        drop(held);
        drop(others);
        assert_eq!(limit.lock().all, 0);
        assert!(limit.lock().clients.is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = Limit::new(0);
        let client = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..5000).map_while(|_| limit.enter(client)).collect();
        assert_eq!(held.len(), 5000);
    }
}
