//! One upstream: how long it takes, whether it answers, and what is open towards it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::base::{
    Rtype,
    iana::{Class, OptRcode},
};
use tokio::time::{Instant, timeout};

use super::{
    query::{self, Opt},
    socket::From,
    stats::ForwardStats,
    tcp::{Limits, TcpPool},
    udp::UdpPool,
};
use crate::{
    answers::{
        foreign::{Foreign, Unusable},
        query::Question,
    },
    config::dns::ForwardOptions,
};

/// How long a probe waits.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// The first attempt waits at least so long.
const LEAST_PATIENCE: Duration = Duration::from_millis(400);

/// Who is asked.
#[derive(Debug)]
pub struct Upstream {
    /// Where it is
    pub address: SocketAddr,
    label: Arc<str>,
    from: From,
    udp: UdpPool,
    tcp: TcpPool,
    /// Failures in a row
    fails: AtomicU32,
    max_fails: u32,
    /// Smoothed time until an answer, in microseconds; zero before the first
    srtt: AtomicU32,
    probing: AtomicBool,
    probe: Probe,
    stats: Arc<ForwardStats>,
}

#[derive(Clone, Debug)]
struct Probe {
    interval: Duration,
    question: Question,
    recursive: bool,
    tcp: bool,
}

/// Why an attempt brought no answer.
#[derive(Debug)]
pub enum Attempt {
    /// Nothing came in time
    Silence,
    /// The network failed
    Network(io::Error),
    /// What came cannot be used
    Unusable(Unusable),
}

impl Upstream {
    /// An upstream that nothing is known about.
    pub fn new(address: SocketAddr, options: &ForwardOptions, mark: Option<u32>, stats: &Arc<ForwardStats>) -> Self {
        let limits = Limits { expire: options.expire, max_age: options.max_age, max_idle: options.max_idle };
        let question = Question {
            name: options.health_domain.as_slice().to_ascii_lowercase().into(),
            qtype: Rtype::NS,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
        };
        Self {
            address,
            label: address.to_string().into(),
            from: From { source: options.source.filter(|source| source.is_ipv4() == address.is_ipv4()), mark },
            udp: UdpPool::default(),
            tcp: TcpPool::new(limits),
            fails: AtomicU32::new(0),
            max_fails: options.max_fails,
            srtt: AtomicU32::new(0),
            probing: AtomicBool::new(false),
            probe: Probe {
                interval: options.health_interval,
                question,
                recursive: !options.health_no_rec,
                tcp: options.force_tcp,
            },
            stats: Arc::clone(stats),
        }
    }

    /// Whether it failed too often in a row.
    pub fn is_down(&self) -> bool {
        self.max_fails > 0 && self.fails.load(Relaxed) > self.max_fails
    }

    /// How long the attempt `nth` (from 0) waits before another upstream is asked.
    pub fn patience(&self, nth: usize) -> Duration {
        let usual = Duration::from_micros(self.srtt.load(Relaxed).into()) * 2;
        usual.max(LEAST_PATIENCE) * (1 << nth.min(8))
    }

    /// Asks, and waits for at most `limit`. A failure counts, and makes the upstream be probed until it answers.
    ///
    /// # Errors
    ///
    /// If no usable answer came.
    pub async fn ask(
        self: &Arc<Self>,
        question: &Question,
        opt: Opt,
        tcp: bool,
        limit: Duration,
    ) -> Result<Foreign, Attempt> {
        let started = Instant::now();
        let query = query::write(question, true, opt);
        let outcome = match timeout(limit, self.carry(question, &query, tcp, limit)).await {
            Err(_) => Err(Attempt::Silence),
            Ok(Err(error)) => Err(Attempt::Network(error)),
            Ok(Ok(Err(unusable))) => {
                self.stats.ignored.inc();
                Err(Attempt::Unusable(unusable))
            }
            Ok(Ok(Ok(foreign))) => Ok(foreign),
        };
        match &outcome {
            Ok(foreign) => self.answered(foreign.rcode(), started.elapsed()),
            // It is there; what is wrong is this answer.
            Err(Attempt::Unusable(_)) => {}
            Err(Attempt::Silence | Attempt::Network(_)) => self.failed(),
        }
        outcome
    }

    async fn carry(
        &self,
        question: &Question,
        query: &[u8],
        tcp: bool,
        limit: Duration,
    ) -> io::Result<Result<Foreign, Unusable>> {
        let (result, proto, reused) = if tcp {
            let (octets, reused) = self.tcp.ask(&self.from, self.address, query, limit).await?;
            (Foreign::parse(&octets, question), "tcp", reused)
        } else {
            let ignored = || _ = self.stats.ignored.inc();
            let reply = self.udp.ask(&self.from, self.address, query, question, ignored).await?;
            (reply.result, "udp", reply.reused)
        };
        self.stats.carried(&self.label, proto, reused);
        Ok(result)
    }

    fn answered(&self, rcode: OptRcode, took: Duration) {
        self.fails.store(0, Relaxed);
        self.stats.answered(&self.label, rcode, took.as_secs_f64());
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        // Two at a time may lose one of the samples.
        let smoothed = match self.srtt.load(Relaxed) {
            0 => took,
            before => before - before / 8 + took / 8,
        };
        self.srtt.store(smoothed, Relaxed);
    }

    fn failed(self: &Arc<Self>) {
        let fails = self.fails.fetch_add(1, Relaxed).saturating_add(1);
        if self.max_fails > 0 && fails == self.max_fails + 1 {
            tracing::warn!(upstream = %self.address, "upstream does not answer; others are asked until it does");
        }
        if self.max_fails > 0 && !self.probing.swap(true, Relaxed) {
            let upstream = Arc::downgrade(self);
            tokio::spawn(async move {
                // An upstream that is no longer in use is dropped, and its probing with it.
                while let Some(upstream) = upstream.upgrade() {
                    if upstream.probe().await {
                        upstream.probing.store(false, Relaxed);
                        return;
                    }
                    let pause = upstream.probe.interval;
                    drop(upstream);
                    tokio::time::sleep(pause).await;
                }
            });
        }
    }

    /// Asks whether it is there, in the way that queries go. Every answer says yes, whatever its code.
    async fn probe(&self) -> bool {
        let probe = &self.probe;
        let query = query::write(&probe.question, probe.recursive, Opt::None);
        let asked = async {
            match probe.tcp {
                true => self.tcp.ask(&self.from, self.address, &query, PROBE_WAIT).await.is_ok(),
                false => self.udp.ask(&self.from, self.address, &query, &probe.question, || ()).await.is_ok(),
            }
        };
        let there = timeout(PROBE_WAIT, asked).await.unwrap_or(false);
        if there {
            if self.is_down() {
                tracing::info!(upstream = %self.address, "upstream answers again");
            }
            self.fails.store(0, Relaxed);
        } else {
            self.fails.fetch_add(1, Relaxed);
            self.stats.probe_failed(&self.label);
        }
        there
    }
}
