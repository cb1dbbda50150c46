//! A configuration comes into effect: sockets, names, forwarders, and the redirect of this node's queries.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::{Failure, Here, Process, Running};
use crate::{
    config::dns::DnsConfig,
    dns::{
        forward::Own,
        names::Names,
        process::{
            errorlog::ErrorLog,
            files::Files,
            forwarding::{self, Forwarders},
            listening,
            metrics::{Observed, Scene},
            node::Node,
            querylog::QueryLog,
            responder::{Current, Group},
            scene,
            tally::Tallies,
        },
        redirect::DNS_PORT,
        serve::{Limits, Serving, socket::wildcard},
    },
};

impl Process<'_> {
    /// Opens what is not open yet, answers by this configuration, and closes what is not wanted any more.
    /// Its names are made by those that there are, which must fit, unless there are others for it.
    ///
    /// # Errors
    /// A configuration or a socket that cannot be used: then everything stays as it is.
    pub async fn answer_as(
        &mut self,
        config: &DnsConfig,
        names: Option<Names>,
        version: String,
    ) -> Result<(), Failure> {
        let here = self.blocks_here(config)?;
        let groups = listening::groups(config, self.options.redirect.is_none());
        let mut opened = BTreeMap::new();
        for addresses in groups.keys().filter(|addresses| !self.running.contains_key(*addresses)) {
            opened.insert(addresses.clone(), listening::open(addresses, self.options.workers)?);
        }
        // From here on nothing can fail but for want of threads.
        match names {
            Some(mut names) => {
                names.take_place_of(&self.names);
                self.names = names;
            }
            None => self.names.take_up(config),
        }
        self.listening = groups.keys().flatten().copied().collect();
        self.virtual_ips = self.names.served().load().dns_addresses();
        self.forwarders = self.make_forwarders(config);
        self.config = config.clone();
        self.version += 1;
        self.files = Arc::new(ArcSwap::from_pointee(Files::read(config, None)));
        self.files_at = Files::interval(config).map(|interval| Instant::now() + interval);
        self.answer_here(&here)?;
        let mut running = BTreeMap::new();
        for (addresses, blocks) in &groups {
            let mut old = self.running.remove(addresses);
            let labels = scene::labels(config, addresses);
            let tallies = match &old {
                Some(old) if old.labels == labels => old.tallies.clone(),
                _ => Arc::new(Tallies::new(config.servers.len())),
            };
            let current = Arc::new(self.current(blocks, tallies.clone()));
            let now = match old.take() {
                Some(old) => {
                    old.group.set(current);
                    Running { tallies, labels, ..old }
                }
                None => {
                    let group = Arc::new(Group::new(current));
                    let sockets = opened.remove(addresses).unwrap_or_default();
                    let serving = Serving::start(&group, sockets, Limits::default(), &Handle::current());
                    Running { group, serving: serving.map_err(Failure::Workers)?, tallies, labels }
                }
            };
            running.insert(addresses.clone(), now);
        }
        for (addresses, closed) in std::mem::replace(&mut self.running, running) {
            info!("no longer listening on {addresses:?}");
            closed.serving.stop().await;
        }
        self.tell_addresses();
        self.told.set_beats(self.running.values().map(|running| running.serving.heartbeats()).collect());
        self.metrics.observe(self.scene(version));
        Ok(())
    }

    fn current(&self, blocks: &[usize], tallies: Arc<Tallies>) -> Current {
        let server = |block: &usize| (*block, &self.config.servers[*block]);
        Current {
            version: self.version,
            site: crate::answers::Site::new(blocks.iter().map(server)),
            forwarders: self.forwarders.iter().map(|known| known.as_ref().map(|(known, _)| known.clone())).collect(),
            served: self.names.served(),
            files: self.files.clone(),
            logs: self.config.servers.iter().map(|server| server.log.as_ref().map(QueryLog::new)).collect(),
            errors: self.config.servers.iter().map(|server| server.errors.then(ErrorLog::default)).collect(),
            tallies,
            hop: self.hop,
        }
    }

    /// The blocks that answer this node's redirected queries.
    fn blocks_here(&self, config: &DnsConfig) -> Result<Vec<usize>, Failure> {
        if self.options.redirect.is_none() {
            return Ok(Vec::new());
        }
        let servers = config.servers.iter().enumerate();
        let (blocks, others): (Vec<_>, Vec<_>) = servers.partition(|(_, server)| server.port == DNS_PORT);
        if blocks.is_empty() {
            let reason = format!("no server block answers on port {DNS_PORT}, where pods ask");
            return Err(Failure::Config(reason));
        }
        for (_, server) in others.iter().filter(|(_, server)| server.bind.is_empty()) {
            let (zone, port) = (scene::zone(server), server.port);
            warn!(
                "nobody can ask the server block of {zone} on port {port}: on a node, queries to port {DNS_PORT} of the DNS \
                 Service are answered, and addresses that `bind` names"
            );
        }
        Ok(blocks.into_iter().map(|(block, _)| block).collect())
    }

    /// Has this node's redirected queries answered by the present configuration, by these of its blocks.
    fn answer_here(&mut self, blocks: &[usize]) -> Result<(), Failure> {
        let Some(numbers) = self.options.redirect else { return Ok(()) };
        let labels = scene::labels(&self.config, &[wildcard(DNS_PORT)]);
        let tallies = match &self.here {
            Some(here) if here.labels == labels => here.tallies.clone(),
            _ => Arc::new(Tallies::new(self.config.servers.len())),
        };
        let current = Arc::new(self.current(blocks, tallies.clone()));
        self.here = Some(match self.here.take() {
            Some(here) => {
                here.group.set(current);
                Here { tallies, labels, ..here }
            }
            None => {
                let group = Arc::new(Group::new(current));
                let node = Node::start(group.clone(), self.options.workers, numbers)?;
                Here { node, group, tallies, labels }
            }
        });
        Ok(())
    }

    /// Tells forwarders which addresses are their own, and the redirect what is known.
    pub fn tell_addresses(&mut self) {
        let addresses = self.names.served().load().dns_addresses();
        if let Some(here) = &self.here {
            here.node.follow(&self.config, &addresses, self.names.state());
        }
        if self.virtual_ips != addresses {
            self.virtual_ips = addresses;
            let own = self.own();
            self.forwarders.iter().flatten().for_each(|(forwarder, _)| forwarder.set_own(own.clone()));
        }
    }

    fn own(&self) -> Own {
        Own { listening: self.listening.clone(), virtual_ips: self.virtual_ips.clone() }
    }

    /// The forwarders of a configuration that is to take the place of the present one.
    fn make_forwarders(&mut self, config: &DnsConfig) -> Forwarders {
        let own = self.own();
        let before = (&self.config, std::mem::take(&mut self.forwarders));
        let (hop, mark) = (self.hop, self.options.redirect.map(|numbers| numbers.marks.bypass));
        forwarding::make(config, before, &own, hop, mark, &self.metrics.forward)
    }

    fn scene(&self, version: String) -> Scene {
        let observed = |running: &Running| Observed {
            server: running.labels.0.clone(),
            zones: running.labels.1.clone(),
            tallies: running.tallies.clone(),
            counts: Box::new(running.serving.counter()),
        };
        let here = self.here.as_ref().map(|here| Observed {
            server: here.labels.0.clone(),
            zones: here.labels.1.clone(),
            tallies: here.tallies.clone(),
            counts: Box::new(here.node.counter()),
        });
        Scene {
            groups: self.running.values().map(observed).chain(here).collect(),
            caches: forwarding::caches(&self.config, &self.forwarders),
            plugins: self.config.servers.iter().flat_map(scene::plugins).collect(),
            names: Some((self.names.served(), self.names.stats())),
            redirect: self.here.as_ref().map(|here| here.node.states()),
            version,
        }
    }
}
