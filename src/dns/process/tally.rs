//! Counters of queries: one set for each thread, summed when somebody scrapes (4.2).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::base::iana::{OptRcode, Rtype};

use crate::answers::{Client, Source, Transport};

/// Query types with a count of their own; the rest is `other`, so that nobody can make up series.
pub const TYPES: [(&str, Rtype); 16] = [
    ("A", Rtype::A),
    ("AAAA", Rtype::AAAA),
    ("CNAME", Rtype::CNAME),
    ("MX", Rtype::MX),
    ("NS", Rtype::NS),
    ("PTR", Rtype::PTR),
    ("SOA", Rtype::SOA),
    ("SRV", Rtype::SRV),
    ("TXT", Rtype::TXT),
    ("ANY", Rtype::ANY),
    ("DS", Rtype::DS),
    ("DNSKEY", Rtype::DNSKEY),
    ("RRSIG", Rtype::RRSIG),
    ("HTTPS", Rtype::HTTPS),
    ("AXFR", Rtype::AXFR),
    ("IXFR", Rtype::IXFR),
];
/// Codes with a count of their own.
pub const RCODES: [(&str, OptRcode); 7] = [
    ("NOERROR", OptRcode::NOERROR),
    ("FORMERR", OptRcode::FORMERR),
    ("SERVFAIL", OptRcode::SERVFAIL),
    ("NXDOMAIN", OptRcode::NXDOMAIN),
    ("NOTIMP", OptRcode::NOTIMP),
    ("REFUSED", OptRcode::REFUSED),
    ("BADVERS", OptRcode::BADVERS),
];
/// What answers are made from, as CoreDNS calls it.
pub const PLUGINS: [&str; 9] = ["", "any", "kubernetes", "forward", "acl", "chaos", "template", "hosts", "file"];
pub const PROTOCOLS: [&str; 2] = ["udp", "tcp"];
pub const FAMILIES: [&str; 2] = ["1", "2"];
/// Upper limits of durations, in seconds: 0.00025 times powers of two.
pub const DURATIONS: usize = 16;
/// Upper limits of sizes, in octets.
pub const SIZES: [u64; 14] = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];

const OTHER: usize = 1;

/// A histogram's cells: one for each limit, one above, and the sum.
pub const DURATION_CELLS: usize = DURATIONS + 2;
pub const SIZE_CELLS: usize = SIZES.len() + 2;

/// Where the cells of one block are.
pub const REQUESTS: usize = 0;
pub const RESPONSES: usize = REQUESTS + 2 * 2 * (TYPES.len() + OTHER);
pub const DURATION: usize = RESPONSES + (RCODES.len() + OTHER) * PLUGINS.len();
pub const REQUEST_SIZE: usize = DURATION + DURATION_CELLS;
pub const RESPONSE_SIZE: usize = REQUEST_SIZE + 2 * SIZE_CELLS;
pub const DNSSEC_OK: usize = RESPONSE_SIZE + 2 * SIZE_CELLS;
pub const TRUNCATED: usize = DNSSEC_OK + 1;
pub const STALE: usize = TRUNCATED + 1;
pub const CELLS: usize = STALE + 1;

/// All sets of one listener.
#[derive(Debug)]
pub struct Tallies {
    /// Blocks, and one more for queries that lie in none
    rows: usize,
    sets: Mutex<Vec<Arc<[AtomicU64]>>>,
}

/// One thread's set.
#[derive(Debug)]
pub struct Tally(Arc<[AtomicU64]>);

/// A query that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Its row: that of the block
    pub row: usize,
    pub client: Client,
    pub qtype: Option<Rtype>,
    pub dnssec_ok: bool,
    /// The query's id, and the largest answer over UDP that the client takes
    pub id: u16,
    pub bufsize: u16,
    pub query: usize,
    pub reply: usize,
    pub rcode: OptRcode,
    pub source: Source,
    /// There are records in the answer section
    pub records: bool,
    pub truncated: bool,
    pub stale: bool,
    pub took: Duration,
}

impl Tallies {
    pub fn new(blocks: usize) -> Self {
        Self { rows: blocks + 1, sets: Mutex::default() }
    }

    /// The row of queries that lie in no block.
    pub fn nowhere(&self) -> usize {
        self.rows - 1
    }

    /// A set for one more thread.
    pub fn tally(&self) -> Tally {
        let set: Arc<[AtomicU64]> = (0..self.rows * CELLS).map(|_| AtomicU64::new(0)).collect();
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).push(set.clone());
        Tally(set)
    }

    /// The sums of all threads, row by row.
    pub fn sum(&self) -> Vec<u64> {
        let mut sums = vec![0; self.rows * CELLS];
        for set in self.sets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (sum, cell) in sums.iter_mut().zip(set.iter()) {
                *sum += cell.load(Relaxed);
            }
        }
        sums
    }
}

impl Tally {
    /// Counts. Must be called by one thread at a time: what is added by two at once may be lost.
    pub fn count(&mut self, answered: &Answered) {
        let proto = usize::from(answered.client.transport == Transport::Tcp);
        let family = usize::from(answered.client.address.is_ipv6());
        let kind = TYPES.iter().position(|(_, known)| Some(*known) == answered.qtype).unwrap_or(TYPES.len());
        let rcode = RCODES.iter().position(|(_, known)| *known == answered.rcode).unwrap_or(RCODES.len());
        let row = answered.row * CELLS;
        self.add(row + REQUESTS + (proto * 2 + family) * (TYPES.len() + OTHER) + kind, 1);
        self.add(row + RESPONSES + rcode * PLUGINS.len() + plugin(answered.source), 1);
        let micros = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX);
        let class = (0..DURATIONS).find(|power| micros <= 250 << power).unwrap_or(DURATIONS);
        self.add(row + DURATION + class, 1);
        self.add(row + DURATION + DURATIONS + 1, u64::try_from(answered.took.as_nanos()).unwrap_or(u64::MAX));
        self.size(row + REQUEST_SIZE + proto * SIZE_CELLS, answered.query);
        self.size(row + RESPONSE_SIZE + proto * SIZE_CELLS, answered.reply);
        for (cell, is_so) in [(DNSSEC_OK, answered.dnssec_ok), (TRUNCATED, answered.truncated), (STALE, answered.stale)]
        {
            if is_so {
                self.add(row + cell, 1);
            }
        }
    }

    fn size(&mut self, histogram: usize, size: usize) {
        let size = size as u64;
        let class = SIZES.iter().position(|limit| size <= *limit).unwrap_or(SIZES.len());
        self.add(histogram + class, 1);
        self.add(histogram + SIZES.len() + 1, size);
    }

    /// No other thread writes here: a locked instruction would cost more than a look-up.
    fn add(&mut self, cell: usize, more: u64) {
        if let Some(cell) = self.0.get(cell) {
            cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }
}

/// The place in [`PLUGINS`].
fn plugin(source: Source) -> usize {
    match source {
        Source::Server => 0,
        Source::Any => 1,
        Source::Cluster => 2,
        Source::Forward => 3,
        Source::Acl => 4,
        Source::Chaos => 5,
        Source::Template => 6,
        Source::Hosts => 7,
        Source::File => 8,
    }
}
