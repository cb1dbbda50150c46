//! Whether queries come back to where they were sent from (2.4).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::base::{Rtype, iana::Class};

use super::{query::Opt, stats::ForwardStats, zone::Zone};
use crate::answers::query::Question;

/// How long the upstreams have to answer a probe.
const WAIT: Duration = Duration::from_secs(2);
/// A probe that took longer than that on its way back counts, too.
const LINGER: Duration = Duration::from_secs(5);

/// Probes under way.
#[derive(Debug)]
pub struct Probes {
    sent: Mutex<Vec<Sent>>,
    stats: Arc<ForwardStats>,
}

#[derive(Debug)]
struct Sent {
    name: Box<[u8]>,
    zone: Arc<Zone>,
    came_back: Arc<AtomicBool>,
}

impl Probes {
    /// None under way.
    pub fn new(stats: &Arc<ForwardStats>) -> Self {
        Self { sent: Mutex::default(), stats: Arc::clone(stats) }
    }

    /// Whether a question is a probe of ours that has come back. Then its zone is not forwarded any more.
    pub fn recognise(&self, question: &Question) -> bool {
        if question.qtype != Rtype::HINFO {
            return false;
        }
        let sent = self.lock();
        let Some(probe) = sent.iter().find(|probe| probe.name == question.name) else { return false };
        probe.came_back.store(true, Relaxed);
        if !probe.zone.looping.swap(true, Relaxed) {
            self.stats.looping.inc();
            let addresses: Vec<_> = probe.zone.upstreams().iter().map(|upstream| upstream.address).collect();
            tracing::error!(
                zone = %probe.zone.options.from, upstreams = ?addresses,
                "forwarding loop: a query sent to the upstreams of this zone came back. Names of this zone are answered \
                 with SERVFAIL until its upstreams are others. Everything else goes on"
            );
        }
        true
    }

    /// Sends a probe to every upstream of a zone. A zone that was found to be a loop earlier is forwarded again if an
    /// upstream answers and nothing comes back.
    pub async fn probe(&self, zone: &Arc<Zone>) {
        let Some(question) = question(&zone.from) else { return };
        let came_back = Arc::new(AtomicBool::new(false));
        let sent = Sent { name: question.name.clone(), zone: Arc::clone(zone), came_back: Arc::clone(&came_back) };
        self.lock().push(sent);
        let forget = Forget(self, &question.name);
        let upstreams = zone.upstreams();
        let tcp = zone.options.force_tcp;
        let answers = upstreams.iter().map(|upstream| upstream.ask(&question, Opt::Nameless, tcp, WAIT));
        let answered = futures_util::future::join_all(answers).await.iter().any(Result::is_ok);
        tokio::time::sleep(LINGER).await;
        drop(forget);
        if answered && !came_back.load(Relaxed) {
            self.clear(zone);
        }
    }

    /// Forwards a zone again.
    pub fn clear(&self, zone: &Zone) {
        if zone.looping.swap(false, Relaxed) {
            self.stats.looping.dec();
            tracing::info!(zone = %zone.options.from, "forwarding again: no query comes back any more");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a probe, also when it is not waited for to its end.
struct Forget<'a>(&'a Probes, &'a [u8]);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().retain(|probe| *probe.name != *self.1);
    }
}

/// `<number>.<number>.<zone>`, which nobody else asks for. Nothing if the zone's name is too long for that.
fn question(zone: &[u8]) -> Option<Question> {
    let mut name = Vec::with_capacity(34 + zone.len());
    for _ in 0..2 {
        let label = format!("{:016x}", rand::random::<u64>());
        name.push(label.len() as u8);
        name.extend(label.as_bytes());
    }
    name.extend(zone);
    (name.len() <= crate::answers::name::MAX_NAME).then(|| Question {
        name: name.into(),
        qtype: Rtype::HINFO,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
    })
}
