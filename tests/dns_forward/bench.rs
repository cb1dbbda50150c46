//! A forwarder and its surroundings.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use domain::base::{
    Name, Rtype,
    iana::{Class, ExtendedErrorCode, Rcode},
};
use portolan::{
    answers::{Client, Failure, Transport, query::Question},
    config::dns::{CacheOptions, ForwardOptions, Policy, Prefetch, ServeStale, ServerBlock, Upstream},
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
        place: None,
        from: Name::root_vec(),
        to: to.iter().copied().map(Upstream::Address).collect(),
        except: Vec::new(),
        force_tcp: false,
        prefer_udp: false,
        expire: Duration::from_secs(10),
        max_age: Duration::ZERO,
        max_idle: 0,
        read_timeout: Duration::from_secs(2),
        max_fails: 2,
        max_attempts: 0,
        policy: Policy::Sequential,
        health_interval: Duration::from_millis(50),
        health_no_rec: false,
        health_domain: Name::root_vec(),
        max_concurrent: 0,
        failover: Vec::new(),
        next: Vec::new(),
        next_on_nodata: false,
        failfast: false,
        source: None,
    }
}

pub fn cache() -> CacheOptions {
    CacheOptions {
        zones: Vec::new(),
        octets: 1 << 20,
        success_ttl: (0, 3600),
        denial_ttl: (0, 1800),
        servfail_ttl: 5,
        disable_success: Vec::new(),
        disable_denial: Vec::new(),
        prefetch: Some(Prefetch { hits: 3, pause: Duration::from_secs(60), percent: 10 }),
        stale: Some(ServeStale {
            window: Duration::from_secs(3600),
            wait: Duration::from_millis(100),
            ttl: 30,
            recheck: Duration::from_secs(30),
        }),
    }
}

pub fn block(forwards: Vec<ForwardOptions>, cache: Option<CacheOptions>) -> ServerBlock {
    ServerBlock {
        place: None,
        zones: vec![Name::root_vec()],
        port: 53,
        bind: Vec::new(),
        log: None,
        errors: false,
        health: None,
        ready: None,
        prometheus: None,
        bufsize: 1232,
        minimal: false,
        any: false,
        nsid: None,
        chaos: None,
        shuffle: false,
        acl: Vec::new(),
        rewrites: Vec::new(),
        templates: Vec::new(),
        hosts: None,
        files: Vec::new(),
        kubernetes: None,
        cache,
        detect_loops: false,
        reload: None,
        forwards,
    }
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
