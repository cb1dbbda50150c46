use std::{collections::BTreeMap, path::PathBuf};

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
const MADE_BY_ITSELF: [&str; 2] = ["default", "kube-system"];

/// Objects from manifests, read anew whenever one of them changes; names hear of the differences.
pub struct ManifestNames {
    input: InputArgs,
    watch: ManifestWatch,
    /// They were never read
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

    fn again(&self, _: &DnsConfig) -> Result<Self, String> {
        Ok(Self { told: self.told.clone(), ..Self::new(self.input.clone()) })
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
    let mut objects = by_key(completed.objects);
    // What a control plane would refuse is most often no fault of the name: an alias of a name with capitals, two
    // cluster IPs without the policy for two. Whoever wrote it down wants it answered; of what cannot be used at
    // all, names are not made.
    for located in given.iter().filter(|located| is_named(&located.object)) {
        objects.entry(key(&located.object)).or_insert_with(|| located.object.clone());
    }
    imply_namespaces(&given, &mut objects);
    Ok(Manifests { objects, incomplete: read.unreadable, notices: [read.notices, completed.notices].concat() })
}

fn by_key(objects: impl IntoIterator<Item = Located>) -> BTreeMap<Key, Object> {
    objects.into_iter().map(|located| (key(&located.object), located.object)).collect()
}

/// What names are made of where everything was completed already.
pub fn of_completed(objects: &[Located]) -> BTreeMap<Key, Object> {
    let mut by_key = by_key(objects.iter().cloned());
    imply_namespaces(objects, &mut by_key);
    by_key
}

fn is_named(object: &Object) -> bool {
    matches!(object, Object::Service(_) | Object::EndpointSlice(_) | Object::Namespace(_) | Object::Pod(_))
}

/// What tells an object from all others.
pub fn key(object: &Object) -> Key {
    (object.kind(), object.namespace().to_owned(), object.metadata().name.clone())
}

/// Namespaces exist that a manifest says, that any object is in, and those of every cluster.
pub fn imply_namespaces(given: &[Located], objects: &mut BTreeMap<Key, Object>) {
    let named = given.iter().map(|located| located.object.namespace()).filter(|name| !name.is_empty());
    for name in named.chain(MADE_BY_ITSELF) {
        let metadata = Metadata { name: name.to_owned(), ..Metadata::default() };
        let key = ("Namespace", String::new(), name.to_owned());
        objects.entry(key).or_insert(Object::Namespace(Namespace { metadata }));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::dns::corefile::parse;

    const FIXTURES: &str = include_str!("../../../tests/dns/fixtures.json");

    /// A server block with the cluster's names.
    fn names() -> Names {
        let text = ".:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods verified\n}\n}\n";
        let (config, _) = parse(text, "Corefile", &|_| None, &|_| Err("nothing".to_owned())).unwrap();
        Names::new(&config)
    }

    fn listing(names: &Names) -> Vec<String> {
        names.served().load().iter().flat_map(|(_, snapshot)| snapshot.listing()).collect()
    }

    fn from_manifests(manifests: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("objects.yaml"), manifests).unwrap();
        let input = InputArgs {
            manifests: vec![folder.path().to_owned()],
            service_cidr: Vec::new(),
            load_balancer_pool: Vec::new(),
            state_dir: folder.path().join("state"),
        };
        let mut names = names();
        ManifestNames::new(input).apply(&mut names);
        listing(&names)
    }

    /// The control plane makes what is missing; what manifests say as a cluster would is answered as they say it.
    #[tokio::test]
    async fn a_whole_cluster_has_the_names_it_would_have_with_an_api_server() {
        let mut direct = names();
        let read = manifests::read_text("fixtures.json".as_ref(), FIXTURES);
        read.objects.iter().for_each(|located| direct.put(&located.object));
        direct.synced();
        let (direct, from_manifests) = (listing(&direct), from_manifests(FIXTURES));
        let only = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
        assert_eq!(only(&direct, &from_manifests), [""; 0], "missing");
        assert_eq!(only(&from_manifests, &direct), [""; 0], "too much");
    }

    #[tokio::test]
    async fn namespaces_are_there_without_being_written_down() {
        let service =
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: quiet}\nspec: {clusterIP: None}\n";
        let listing =
            from_manifests(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\n{service}"));
        let namespaces: Vec<&String> = listing.iter().filter(|line| line.ends_with(" namespace")).collect();
        assert_eq!(namespaces, ["default namespace", "kube-system namespace", "quiet namespace", "shop namespace"]);
    }
}
