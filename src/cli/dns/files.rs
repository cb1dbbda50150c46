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
type Key = (&'static str, String, String);

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

    /// Everything that names are made of, and whether something could not be read that may be some of it.
    fn read(&mut self) -> anyhow::Result<(BTreeMap<Key, Object>, bool)> {
        let read = manifests::read(&self.input.manifests)?;
        let given = read.objects.clone();
        let options = controlplane::Options {
            service_cidrs: self.input.service_cidr.clone(),
            incomplete: read.unreadable,
            ..controlplane::Options::default()
        };
        // Nothing is written down: who only answers for names allocates nothing.
        let mut allocations = AllocationStore::new(&self.input.state_dir).load().unwrap_or_default();
        let completed = controlplane::complete(read.objects, &options, &mut allocations);
        self.tell([read.notices, completed.notices].concat());
        let mut objects: BTreeMap<Key, Object> =
            completed.objects.into_iter().map(|located| (key(&located.object), located.object)).collect();
        // What a control plane would refuse is most often no fault of the name: an alias of a name with capitals, two
        // cluster IPs without the policy for two. Whoever wrote it down wants it answered; of what cannot be used at
        // all, names are not made.
        for located in given.iter().filter(|located| is_named(&located.object)) {
            objects.entry(key(&located.object)).or_insert_with(|| located.object.clone());
        }
        imply_namespaces(&given, &mut objects);
        Ok((objects, read.unreadable))
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
        let (objects, incomplete) = match self.read() {
            Ok(read) => read,
            Err(error) => {
                warn!("{error:#}; names stay as they are");
                return;
            }
        };
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

fn is_named(object: &Object) -> bool {
    matches!(object, Object::Service(_) | Object::EndpointSlice(_) | Object::Namespace(_) | Object::Pod(_))
}

fn key(object: &Object) -> Key {
    (object.kind(), object.namespace().to_owned(), object.metadata().name.clone())
}

/// Where no manifest is a Namespace, those exist that objects are in.
fn imply_namespaces(given: &[Located], objects: &mut BTreeMap<Key, Object>) {
    if given.iter().any(|located| matches!(located.object, Object::Namespace(_))) {
        return;
    }
    let named: BTreeSet<String> =
        given.iter().map(|located| located.object.namespace().to_owned()).filter(|name| !name.is_empty()).collect();
    for name in named {
        let metadata = Metadata { name: name.clone(), ..Metadata::default() };
        objects.insert(("Namespace", String::new(), name), Object::Namespace(Namespace { metadata }));
    }
}
