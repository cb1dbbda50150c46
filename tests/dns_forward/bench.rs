//! A forwarder and its surroundings.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use domain::base::{
    Name, Rtype,
    iana::{Class, ExtendedErrorCode, Rcode},
};
use portolan::{
    answers::{Client, Failure, Transport, query::Question},
    config::dns::{CacheOptions, ForwardOptions, Policy, ServeStale, ServerBlock, Upstream},
    dns::{
        cache::Hit,
        forward::{ForwardStats, Forwarder, Hop, Own, Surroundings},
    },
};

/// Nothing that is waited for takes so long, however busy the machine.
pub const LONG: Duration = Duration::from_secs(60);

pub struct Bench {
    pub forwarder: Arc<Forwarder>,
    pub stats: Arc<ForwardStats>,
}

pub fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

pub fn question(text: &str) -> Question {
    Question {
        name: name(text).as_slice().into(),
        qtype: Rtype::A,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
    }
}

pub fn forward(to: &[SocketAddr]) -> ForwardOptions {
    ForwardOptions {
        policy: Policy::Sequential,
        health_interval: Duration::from_millis(50),
        failover: Vec::new(),
        ..ForwardOptions::new(Name::root_vec(), to.iter().copied().map(Upstream::Address).collect())
    }
}

pub fn cache() -> CacheOptions {
    CacheOptions {
        octets: 1 << 20,
        success_ttl: (0, 3600),
        denial_ttl: (0, 1800),
        stale: Some(ServeStale { wait: Duration::from_millis(100), ..ServeStale::default() }),
        ..CacheOptions::default()
    }
}

pub fn block(forwards: Vec<ForwardOptions>, cache: Option<CacheOptions>) -> ServerBlock {
    ServerBlock { cache, forwards, ..ServerBlock::new(vec![Name::root_vec()], 53) }
}

impl Bench {
    pub fn new(block: &ServerBlock) -> Self {
        let stats = Arc::<ForwardStats>::default();
        let surroundings = Surroundings {
            own: Own::default(),
            hop: Hop::new(),
            mark: None,
            stats: Arc::clone(&stats),
            cache_stats: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Self { forwarder: Arc::new(Forwarder::new(block, surroundings)), stats }
    }

    /// Without a cache.
    pub fn plain(forwards: Vec<ForwardOptions>) -> Self {
        Self::new(&block(forwards, None))
    }

    pub async fn resolve(&self, question: &Question, transport: Transport) -> Result<Hit, Failure> {
        let client = Client { address: "192.0.2.1".parse().unwrap(), transport };
        let resolved = self.forwarder.resolve(question, client, std::time::Instant::now());
        tokio::time::timeout(LONG, resolved).await.unwrap()
    }

    pub async fn ask(&self, text: &str) -> Result<Hit, Failure> {
        self.resolve(&question(text), Transport::Udp).await
    }

    /// The last octet of the address in the answer.
    pub async fn address(&self, text: &str) -> u8 {
        *self.ask(text).await.unwrap().foreign.wire().last().unwrap()
    }
}

/// The extended error of a SERVFAIL.
pub fn servfail(outcome: Result<Hit, Failure>) -> ExtendedErrorCode {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    failure.ede.unwrap().code
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
