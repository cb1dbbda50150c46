//! The two sides: what each is, read and completed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use tracing::warn;

use super::{
    super::{
        InputArgs, NodeArgs,
        dns::files,
        input::{self, NodeView},
        node_name,
    },
    PlanArgs,
};
use crate::{
    config::dns::KubernetesOptions,
    controlplane::{self, Allocations},
    model::{IpRange, Located, Node, Notice, ServiceId, World, ingest},
    objects::Object,
    plan::{Alike, ServiceNames, names_by_service},
    source::manifests::{self, Manifests, STDIN},
    tables::{Listing, read_nft_json},
    zone::{Builder, State},
};

/// The word for what this node's kernel holds.
const LIVE: &str = "live";

/// A listing begins with its only field. What stands further down in a text is something else of that name.
const MOST_BEFORE_THE_LIST: usize = 16;

/// What a side is made of; `T` are manifests, as read or completed.
pub enum Given<T> {
    /// Manifests
    Objects(T),
    /// A ruleset that was printed
    Ruleset(Box<Listing>),
    /// The kernel
    Live,
}

/// Manifests of one side, completed.
pub struct Cluster {
    /// For messages
    pub paths: String,
    /// Objects as given
    given: Vec<Located>,
    /// Those that are valid, completed, and those that were made of them
    pub objects: Vec<Located>,
    /// What they come to, but for the node
    world: World,
    /// Nodes, and what else their settings are made of
    around: Vec<Located>,
    /// What is wrong with them
    pub notices: Vec<Notice>,
    /// Something could not be read
    pub incomplete: bool,
}

impl<T> Given<T> {
    /// The manifests, if that is what the side is made of.
    pub fn cluster(&self) -> Option<&T> {
        match self {
            Given::Objects(cluster) => Some(cluster),
            Given::Ruleset(_) | Given::Live => None,
        }
    }
}

impl Given<(String, Manifests)> {
    /// Finds out what the paths are, and reads them.
    ///
    /// # Errors
    ///
    /// A path that cannot be read; a ruleset that cannot be used, or that is not alone.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        if paths == [Path::new(LIVE)] && !Path::new(LIVE).exists() {
            return Ok(Given::Live);
        }
        let mut known = BTreeMap::new();
        for path in paths.iter().filter(|path| !path.is_dir()) {
            // Read once, to find out what it is and to use it: it may be a pipe.
            if known.contains_key(path) {
                continue;
            }
            let bytes = contents(path).with_context(|| format!("cannot read {}", path.display()))?;
            let Some(listing) = listing(path, &String::from_utf8_lossy(&bytes))? else {
                known.insert(path.clone(), bytes);
                continue;
            };
            if paths.len() > 1 {
                bail!("{} is a ruleset: it is a side by itself, and takes no other path beside it", path.display());
            }
            return Ok(Given::Ruleset(Box::new(listing)));
        }
        let said: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        Ok(Given::Objects((said.join(", "), manifests::read_rest(paths, &known)?)))
    }

    /// Does the control plane's work on manifests. `allocations` are those of the side before, and then those of this
    /// one.
    pub fn complete(self, input: &InputArgs, own_name: &str, allocations: &mut Allocations) -> Given<Cluster> {
        let (paths, read) = match self {
            Given::Objects(read) => read,
            Given::Ruleset(listing) => return Given::Ruleset(listing),
            Given::Live => return Given::Live,
        };
        let options = controlplane::Options {
            service_cidrs: input.service_cidr.clone(),
            load_balancer_pool: input.load_balancer_pool.iter().map(|range| IpRange::from(*range)).collect(),
            incomplete: read.unreadable,
            nodes: vec![own_name.to_owned()],
            ..controlplane::Options::default()
        };
        let given = read.objects.clone();
        let completed = controlplane::complete(read.objects, &options, allocations);
        let objects = completed.objects.iter().map(|located| (&located.object, Some(&located.origin)));
        let (world, of_model) = ingest::world(own_name, objects);
        let notices = [read.notices, completed.notices, of_model].concat();
        let objects = completed.objects;
        let is_around = |located: &&Located| matches!(located.object, Object::Node(_) | Object::ServiceCidr(_));
        let around = objects.iter().filter(is_around).cloned().collect();
        Given::Objects(Cluster { paths, given, objects, world, around, notices, incomplete: read.unreadable })
    }
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new(STDIN) {
        io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = fs::read(path)?;
    }
    Ok(bytes)
}

/// The ruleset that a text is, if it is one; `path` is where it was read.
fn listing(path: &Path, text: &str) -> anyhow::Result<Option<Listing>> {
    let text = text.trim_start();
    if text.starts_with("table ip ") || text.starts_with("table ip6 ") {
        bail!("{} is a ruleset in nft's own language; `portolan render -o json` prints one to compare", path.display());
    }
    let head = text.find("\"nftables\"").is_some_and(|at| at < MOST_BEFORE_THE_LIST);
    if !(text.starts_with('{') && head) {
        return Ok(None);
    }
    let listing = read_nft_json(text).with_context(|| format!("cannot use the ruleset in {}", path.display()))?;
    for stranger in &listing.state.strangers {
        warn!("{}: {stranger} is nothing that this version knows; it is left out", path.display());
    }
    Ok(Some(listing))
}

impl Cluster {
    /// A node as the objects and the options have it, without Services.
    ///
    /// # Errors
    ///
    /// The addresses of this node's interfaces cannot be read, where they count.
    pub fn node(&self, name: &str, args: &PlanArgs, told: &mut Told) -> anyhow::Result<NodeView> {
        let own = node_name(&args.node);
        let view = input::node_view(name, &self.around, &args.input.service_cidr, &args.node, |node| {
            // Of another node nothing is known but what its object says.
            if node.name.as_ref() == own || node.addresses.is_empty() {
                return input::interface_addresses().context("cannot list the addresses of the interfaces");
            }
            Ok(node.addresses.clone())
        })?;
        told.warnings(&view.warnings);
        told.notices(&view.notices);
        Ok(view)
    }

    /// What a node makes of the objects.
    ///
    /// # Errors
    ///
    /// Those of [`Cluster::node`]; there are no objects.
    pub fn view(&self, name: &str, args: &PlanArgs, told: &mut Told) -> anyhow::Result<NodeView> {
        if self.objects.is_empty() {
            bail!("{} hold no object that Portolan reads; check the path", self.paths);
        }
        let mut view = self.node(name, args, told)?;
        let World { node, service_networks, .. } = std::mem::replace(&mut view.world, self.world.clone());
        (view.world.node, view.world.service_networks) = (node, service_networks);
        Ok(view)
    }

    /// Nodes together for which the change to `new` is the same, as far as that can be told beforehand.
    ///
    /// # Errors
    ///
    /// Those of [`Cluster::node`].
    pub fn alike(
        &self,
        new: &Cluster,
        names: &BTreeSet<String>,
        args: &PlanArgs,
        told: &mut Told,
    ) -> anyhow::Result<Vec<Vec<Node>>> {
        let alike = Alike::new(&self.world, &new.world);
        let (mut together, mut apart): (BTreeMap<_, Vec<Node>>, _) = (BTreeMap::new(), Vec::new());
        for name in names {
            let (old, new) = (self.node(name, args, told)?, new.node(name, args, told)?);
            match alike.face((&old.world.node, &old.settings), (&new.world.node, &new.settings)) {
                Some(face) => together.entry(face).or_default().push(new.world.node),
                None => apart.push(vec![new.world.node]),
            }
        }
        Ok(together.into_values().chain(apart).collect())
    }

    /// Services that are there and are refused.
    pub fn refused_services(&self) -> BTreeSet<ServiceId> {
        input::refused_services(&self.notices, &input::services(&self.objects))
    }

    /// The names of all Nodes.
    fn nodes(&self) -> BTreeSet<String> {
        let name = |located: &Located| match &located.object {
            Object::Node(node) => Some(node.metadata.name.clone()),
            _ => None,
        };
        self.objects.iter().filter_map(name).collect()
    }

    /// The names that DNS has for the Services, without the cluster's domain.
    pub fn names(&self) -> BTreeMap<ServiceId, ServiceNames> {
        let mut objects: BTreeMap<files::Key, Object> = BTreeMap::new();
        for located in &self.objects {
            objects.insert(files::key(&located.object), located.object.clone());
        }
        files::imply_namespaces(&self.given, &mut objects);
        let mut builder = Builder::new(Arc::new(KubernetesOptions::new(Vec::new())));
        for object in objects.values() {
            builder.put(object);
        }
        names_by_service(&builder.publish(State::Synced, 1))
    }
}

/// The nodes that are looked at.
pub struct Nodes {
    /// On both sides
    pub both: BTreeSet<String>,
    /// Only on the new one
    pub joining: BTreeSet<String>,
    /// Only on the old one
    pub leaving: BTreeSet<String>,
}

impl Nodes {
    /// The node that was asked for, or that a ruleset must be of; otherwise those that have an object.
    ///
    /// # Errors
    ///
    /// Several nodes, and one side that can be of one only.
    pub fn of(old: &Given<Cluster>, new: &Given<Cluster>, node: &NodeArgs) -> anyhow::Result<Self> {
        let one = || Self { both: [node_name(node)].into(), joining: BTreeSet::new(), leaving: BTreeSet::new() };
        if node.node.is_some() {
            return Ok(one());
        }
        let named = |side: &Given<Cluster>| side.cluster().map(Cluster::nodes).unwrap_or_default();
        let (before, after) = (named(old), named(new));
        if old.cluster().is_none() || new.cluster().is_none() {
            let own = node_name(node);
            let others: BTreeSet<&String> = before.union(&after).collect();
            if matches!((old, new), (Given::Ruleset(_), _) | (_, Given::Ruleset(_)))
                && !others.is_empty()
                && !others.contains(&own)
            {
                let names: Vec<&str> = others.into_iter().map(String::as_str).collect();
                bail!("a ruleset is that of one node: say with --node whether of {}", names.join(", "));
            }
            return Ok(one());
        }
        if before.is_empty() && after.is_empty() {
            return Ok(one());
        }
        if !node.node_ip.is_empty() {
            bail!("--node-ip is the address of one node: say with --node of which");
        }
        if before.is_empty() || after.is_empty() {
            // One of the sides leaves nodes out: they are the same for both.
            bail!("only one side has Node objects; say with --node for which node to plan");
        }
        Ok(Self {
            both: before.intersection(&after).cloned().collect(),
            joining: after.difference(&before).cloned().collect(),
            leaving: before.difference(&after).cloned().collect(),
        })
    }
}

impl Nodes {
    /// The nodes that are looked at, together as many as a change is the same for.
    ///
    /// # Errors
    ///
    /// Those of [`Cluster::node`].
    pub fn alike(
        &self,
        args: &PlanArgs,
        old: &Given<Cluster>,
        new: &Given<Cluster>,
        told: &mut Told,
    ) -> anyhow::Result<Vec<Vec<Node>>> {
        match (old, new) {
            (Given::Objects(old), Given::Objects(new)) if self.both.len() > 1 => old.alike(new, &self.both, args, told),
            _ => {
                let named = |name: &String| vec![Node { name: name.as_str().into(), ..Node::default() }];
                Ok(self.both.iter().map(named).collect())
            }
        }
    }
}

/// What was said already: nodes have much in common.
#[derive(Default)]
pub struct Told {
    notices: BTreeSet<Notice>,
    warnings: BTreeSet<String>,
}

impl Told {
    /// Prints what was not printed yet.
    pub fn notices(&mut self, notices: &[Notice]) {
        let fresh = notices.iter().filter(|notice| self.notices.insert((*notice).clone()));
        input::print_notices(fresh);
    }

    /// Likewise.
    pub fn warnings(&mut self, warnings: &[String]) {
        for warning in warnings {
            if self.warnings.insert(warning.clone()) {
                warn!("{warning}");
            }
        }
    }
}
