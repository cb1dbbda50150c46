use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use tracing::warn;

use super::super::InputArgs;
use crate::{
    config::dns::DnsConfig,
    controlplane,
    dns::{names::Names, process::Feed},
    model::{Located, Notice},
    objects::{Metadata, Namespace, Object},
    source::{allocations::AllocationStore, manifests, watch::ManifestWatch},
};

/// Kind, namespace and name.
pub type Key = (&'static str, String, String);

/// Namespaces that every cluster has.
const MADE_BY_ITSELF: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Objects from manifests, read anew whenever one of them changes; names hear of the differences.
pub struct ManifestNames {
    input: InputArgs,
    watch: ManifestWatch,
    /// They were never read, or not since the names began anew
    first: bool,
    known: BTreeMap<Key, Object>,
    told: Vec<Notice>,
}

impl ManifestNames {
    /// Must be called in a runtime.
    pub fn new(input: InputArgs) -> Self {
        let watch = ManifestWatch::new(&input.manifests);
        Self { input, watch, first: true, known: BTreeMap::new(), told: Vec::new() }
    }

    /// What is wrong with manifests, once.
    fn tell(&mut self, notices: Vec<Notice>) {
        for notice in notices.iter().filter(|notice| !self.told.contains(notice)) {
            warn!("{notice}");
        }
        self.told = notices;
    }
}

impl Feed for ManifestNames {
    async fn changed(&mut self) {
        if !self.first {
            self.watch.changed().await;
        }
    }

    fn apply(&mut self, names: &mut Names) {
        let first = std::mem::take(&mut self.first);
        let Manifests { objects, incomplete, notices } = match read(&self.input) {
            Ok(read) => read,
            Err(error) => {
                warn!("{error:#}; names stay as they are");
                return;
            }
        };
        self.tell(notices);
        let mut known = std::mem::take(&mut self.known);
        for (key, object) in objects {
            if first || known.get(&key) != Some(&object) {
                names.put(&object);
            }
            known.remove(&key);
            self.known.insert(key, object);
        }
        if incomplete {
            // What is missing may stand in what could not be read.
            self.known.extend(known);
        } else {
            known.keys().for_each(|(kind, namespace, name)| names.remove(kind, namespace, name));
        }
        names.synced();
    }

    fn restart(&mut self, _: &DnsConfig) -> Result<(), String> {
        self.first = true;
        self.known.clear();
        Ok(())
    }

    fn missing(&self) -> Vec<String> {
        let list =
            |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        vec![format!("the manifests in {}", list(&self.input.manifests))]
    }
}

/// What manifests say about names.
pub struct Manifests {
    /// Everything that names are made of
    pub objects: BTreeMap<Key, Object>,
    /// Something could not be read that may be some of it
    pub incomplete: bool,
    /// What is wrong with them
    pub notices: Vec<Notice>,
}

/// Reads manifests, and does the control plane's part for them. Nothing is written down: who only answers for names
/// allocates nothing.
///
/// # Errors
/// A path that cannot be opened.
pub fn read(input: &InputArgs) -> anyhow::Result<Manifests> {
    let read = manifests::read(&input.manifests)?;
    let given = read.objects.clone();
    let options = controlplane::Options {
        service_cidrs: input.service_cidr.clone(),
        incomplete: read.unreadable,
        ..controlplane::Options::default()
    };
    let mut allocations = AllocationStore::new(&input.state_dir).load().unwrap_or_default();
    let completed = controlplane::complete(read.objects, &options, &mut allocations);
    let mut objects: BTreeMap<Key, Object> =
        completed.objects.into_iter().map(|located| (key(&located.object), located.object)).collect();
    // What a control plane would refuse is most often no fault of the name: an alias of a name with capitals, two
    // cluster IPs without the policy for two. Whoever wrote it down wants it answered; of what cannot be used at
    // all, names are not made.
    for located in given.iter().filter(|located| is_named(&located.object)) {
        objects.entry(key(&located.object)).or_insert_with(|| located.object.clone());
    }
    imply_namespaces(&given, &mut objects);
    Ok(Manifests { objects, incomplete: read.unreadable, notices: [read.notices, completed.notices].concat() })
}

fn is_named(object: &Object) -> bool {
    matches!(object, Object::Service(_) | Object::EndpointSlice(_) | Object::Namespace(_) | Object::Pod(_))
}

fn key(object: &Object) -> Key {
    (object.kind(), object.namespace().to_owned(), object.metadata().name.clone())
}

/// Namespaces that are there without a manifest: those that an API server makes by itself, as far as objects are in
/// them, and where no manifest is a Namespace, all that objects are in.
fn imply_namespaces(given: &[Located], objects: &mut BTreeMap<Key, Object>) {
    let all = !given.iter().any(|located| matches!(located.object, Object::Namespace(_)));
    let named = given.iter().map(|located| located.object.namespace()).filter(|name| !name.is_empty());
    let implied: BTreeSet<&str> = named.filter(|name| all || MADE_BY_ITSELF.contains(name)).collect();
    for name in implied {
        let metadata = Metadata { name: name.to_owned(), ..Metadata::default() };
        let key = ("Namespace", String::new(), name.to_owned());
        objects.entry(key).or_insert(Object::Namespace(Namespace { metadata }));
    }
}
