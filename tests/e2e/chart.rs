//! The chart, as Helm renders it with the files in values/: what runs on nodes and in pods, and what the API server must
//! take.

use std::{env, fs, path::Path};

use serde_json::Value;

/// The folder where `make e2e` puts what Helm renders.
const RENDERED: &str = "PORTOLAN_E2E_CHARTS";

/// Where the chart mounts its ConfigMaps and the folder for the last snapshot, and what of the host a process reads.
const CONFIG: &str = "/etc/portolan/config.yaml";
const COREFILE: &str = "/etc/coredns/Corefile";
const NAMES: &str = "/var/lib/portolan";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The chart with some values.
#[derive(Clone, Copy, Debug)]
pub struct Chart(&'static str);

/// Without names.
pub const PLAIN: Chart = Chart("plain");
/// Names on every node, with a Deployment behind the DNS Service.
pub const WITH_NAMES: Chart = Chart("names");
/// Names from a Deployment alone, those of pods checked.
pub const VERIFIED: Chart = Chart("verified");

pub const ALL: [Chart; 3] = [PLAIN, WITH_NAMES, VERIFIED];

/// The DaemonSet's name; ConfigMap, ServiceAccount and what it may do have it, too.
pub const NODE: &str = "portolan";
/// The same of the Deployment.
pub const CENTRAL: &str = "portolan-dns";

impl Chart {
    /// All objects.
    pub fn objects(self) -> Vec<Value> {
        let folder =
            env::var(RENDERED).unwrap_or_else(|_| panic!("{RENDERED} is not set: `make e2e` renders the chart"));
        let path = Path::new(&folder).join(self.0).with_extension("yaml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// One object.
    pub fn object(self, kind: &str, name: &str) -> Value {
        let is_it = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
        self.objects().into_iter().find(is_it).unwrap_or_else(|| panic!("{self:?} has no {kind} {name}"))
    }

    /// The only container of a DaemonSet or Deployment.
    pub fn container(self, kind: &str, name: &str) -> Value {
        self.object(kind, name)["spec"]["template"]["spec"]["containers"][0].clone()
    }

    /// The arguments of a container, with `folder` in the place of what is mounted, and the name of the node.
    pub fn arguments(self, kind: &str, name: &str, folder: &Path, node: &str) -> Vec<String> {
        let container = self.container(kind, name);
        let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let moved: Vec<String> = arguments.map(|argument| moved(argument, folder, node)).collect();
        assert!(!moved.iter().any(|argument| argument.contains("/etc/portolan") || argument.contains("/etc/coredns")));
        moved
    }

    /// The environment of a container, for whoever is started in it besides, likewise.
    pub fn environment(self, kind: &str, name: &str, folder: &Path, node: &str) -> Vec<(String, String)> {
        let container = self.container(kind, name);
        let variables = container["env"].as_array().unwrap().iter();
        let value = |variable: &Value| match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("spec.nodeName") => Some(node.to_owned()),
            _ => variable["value"].as_str().map(|value| moved(value, folder, node)),
        };
        variables.filter_map(|variable| Some((variable["name"].as_str()?.to_owned(), value(variable)?))).collect()
    }

    /// Writes what is mounted into a folder; `edit` may change the configuration file and the Corefile.
    pub fn mount(self, folder: &Path, edit: impl Fn(String) -> String) {
        let text = |name: &str, key: &str| {
            let objects = self.objects();
            let map = objects.iter().find(|o| o["kind"] == "ConfigMap" && o["metadata"]["name"] == name)?;
            Some(map["data"][key].as_str().unwrap().to_owned())
        };
        fs::create_dir_all(folder.join("names")).unwrap();
        if let Some(config) = text(NODE, "config.yaml") {
            fs::write(folder.join("config.yaml"), edit(config)).unwrap();
        }
        if let Some(corefile) = text(CENTRAL, "Corefile") {
            mount_corefile(folder, &edit(corefile));
        }
    }
}

/// Text of a container, with `folder` in the place of what is mounted, and the name of the node.
fn moved(text: &str, folder: &Path, node: &str) -> String {
    let [config, corefile, names] =
        ["config.yaml", "coredns/Corefile", "names"].map(|file| folder.join(file).display().to_string());
    let text = text.replace("$(PORTOLAN_NODE)", node).replace(CONFIG, &config);
    text.replace(COREFILE, &corefile).replace(NAMES, &names)
}

/// Puts a Corefile where [`Chart::arguments`] say that it is, as the kubelet does: a ConfigMap's files are links into a
/// folder that is replaced as a whole. The resolver's configuration is the one in `folder`.
pub fn mount_corefile(folder: &Path, text: &str) {
    let mount = folder.join("coredns");
    let (current, number) = (mount.join("..data"), fs::read_dir(&mount).map_or(0, Iterator::count));
    let version = format!("..{number}");
    fs::create_dir_all(mount.join(&version)).unwrap();
    let resolv_conf = folder.join("resolv.conf").display().to_string();
    fs::write(mount.join(&version).join("Corefile"), text.replace(RESOLV_CONF, &resolv_conf)).unwrap();
    let next = mount.join("..next");
    std::os::unix::fs::symlink(&version, &next).unwrap();
    fs::rename(next, current).unwrap();
    if !mount.join("Corefile").exists() {
        std::os::unix::fs::symlink("..data/Corefile", mount.join("Corefile")).unwrap();
    }
}

/// Path and port of one of a container's probes.
pub fn probe(container: &Value, which: &str) -> (String, u16) {
    let get = &container[which]["httpGet"];
    (get["path"].as_str().unwrap().to_owned(), u16::try_from(get["port"].as_u64().unwrap()).unwrap())
}
