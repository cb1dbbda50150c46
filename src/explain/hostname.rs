//! Names of single Pods below a headless Service: `web-0.web.shop.svc.cluster.local`.

use super::{
    Cause, Resolution, Scene, Stage, name,
    near::list,
    report::{Fault, Report},
    service,
    walk::absolute,
};
use crate::{
    controlplane::is_selected,
    model::{Service, ServiceId, nearest},
    objects::{EndpointSlice, Object, Pod, SERVICE_NAME_LABEL, SliceEndpoint},
};

/// Why there is no name of a single Pod, if such a name was asked for: in full, or by a search list.
pub(super) fn missing(resolution: &Resolution, scene: &Scene) -> Option<Fault> {
    let tried = resolution.tried.iter().filter_map(|tried| tried.split(' ').next());
    tried.chain([&*resolution.name]).find_map(|whole| {
        let (label, id) = name::of_labels(whole)?;
        // What a search list makes of a name of the world has such a form, too.
        let meant = || *whole == *resolution.name || pod(&label, &id, scene).is_some();
        match scene.world.services.get(&id) {
            _ if label.is_empty() => None,
            Some(service) if service.cluster_ips.is_empty() || meant() => {
                Some(Below { whole: absolute(whole), label: &label, service, scene }.fault())
            }
            None if meant() => {
                let mut aside = Report::new(String::new());
                service::missing(&id, scene, &mut aside);
                aside.into_first()
            }
            _ => None,
        }
    })
}

/// The Pod that a label is probably the host name of.
fn pod<'a>(label: &str, id: &ServiceId, scene: &'a Scene) -> Option<&'a Pod> {
    let mut own = scene.pods().filter(|pod| pod.metadata.namespace() == &*id.namespace);
    own.find(|pod| pod.spec.hostname.as_deref() == Some(label) || pod.metadata.name == label)
}

/// A name below a Service, which does not exist.
struct Below<'a> {
    whole: &'a str,
    label: &'a str,
    service: &'a Service,
    scene: &'a Scene,
}

impl Below<'_> {
    fn fault(&self) -> Fault {
        let (id, whole) = (&self.service.id, self.whole);
        if !self.service.cluster_ips.is_empty() {
            let because = format!(
                "there is no name {whole}: Service {id} has a cluster IP, and only below a headless Service Pods have names"
            );
            let remedy = "dial the Service's own name, or give the Pods a headless Service";
            return Fault::new(Stage::Name, Cause::NoSuchService, because, remedy);
        }
        // A ready endpoint without a host name may have its Pod's name.
        let is_pod = |endpoint: &SliceEndpoint| {
            let unready = endpoint.conditions.ready == Some(false) && endpoint.hostname.is_none();
            unready && endpoint.target_ref.as_ref().is_some_and(|target| target.name == self.label)
        };
        let is_it = |endpoint: &&SliceEndpoint| endpoint.hostname.as_deref() == Some(self.label) || is_pod(endpoint);
        let hidden = self.endpoints().find(is_it);
        if let Some(endpoint) = hidden {
            return self.not_ready(endpoint);
        }
        match pod(self.label, id, self.scene) {
            Some(pod) => self.of_pod(pod),
            None => self.nobody(),
        }
    }

    fn endpoints(&self) -> impl Iterator<Item = &SliceEndpoint> {
        let id = &self.service.id;
        let slices = self.scene.objects.iter().filter_map(|located| match &located.object {
            Object::EndpointSlice(slice) => Some(slice),
            _ => None,
        });
        let ours = move |slice: &&EndpointSlice| {
            slice.metadata.namespace() == &*id.namespace
                && slice.metadata.labels.get(SERVICE_NAME_LABEL).is_some_and(|name| **name == *id.name)
        };
        slices.filter(ours).flat_map(|slice| &slice.endpoints)
    }

    fn not_ready(&self, endpoint: &SliceEndpoint) -> Fault {
        let id = &self.service.id;
        let pod = endpoint.target_ref.as_ref().map(|target| &target.name).filter(|name| !name.is_empty());
        let (who, remedy) = match pod {
            Some(pod) => (
                format!("Pod {}/{pod}", id.namespace),
                format!("see why its readiness probe fails: kubectl -n {} describe pod {pod}", id.namespace),
            ),
            None => (
                format!("the endpoint {}", endpoint.addresses.join(", ")),
                "make it ready in its EndpointSlice or Endpoints object".to_owned(),
            ),
        };
        let because = format!("{} has no address, because {who} is not ready", self.whole);
        let remedy = format!("{remedy}; or set spec.publishNotReadyAddresses: true in Service {id}");
        Fault::new(Stage::Name, Cause::NotReady, because, remedy)
    }

    /// There is a Pod that is probably meant, and it has not got the name.
    fn of_pod(&self, pod: &Pod) -> Fault {
        let id = &self.service.id;
        let who = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
        let selected = self.scene.service(id).is_some_and(|raw| is_selected(raw, pod));
        let (why, remedy) = match (pod.spec.subdomain.as_deref(), pod.spec.hostname.as_deref()) {
            (Some(other), _) if *other != *id.name => {
                (format!("has spec.subdomain {other}, not {}", id.name), format!("set spec.subdomain: {}", id.name))
            }
            (None, _) => ("has no spec.subdomain".to_owned(), format!("set spec.subdomain: {}", id.name)),
            (_, Some(other)) if other != self.label => {
                (format!("has spec.hostname {other}"), format!("use the name {other}.{}.{}", id.name, id.namespace))
            }
            (_, None) => ("has no spec.hostname".to_owned(), format!("set spec.hostname: {}", self.label)),
            _ if !selected => {
                ("is not selected by that Service".to_owned(), "correct spec.selector or the Pod's labels".to_owned())
            }
            _ => (
                "does not run, or has no address".to_owned(),
                format!("see why: kubectl -n {} describe pod {}", id.namespace, pod.metadata.name),
            ),
        };
        let because = format!("there is no name {} below headless Service {id}: {who} {why}", self.label);
        Fault::new(Stage::Name, Cause::NoSuchService, because, remedy)
    }

    fn nobody(&self) -> Fault {
        let id = &self.service.id;
        let mut names: Vec<String> = self.endpoints().filter_map(|endpoint| endpoint.hostname.clone()).collect();
        names.sort();
        names.dedup();
        let because = format!(
            "there is no name {} below headless Service {id}: no Pod of it has that as spec.hostname",
            self.label
        );
        let remedy = match (nearest(self.label, names.iter().cloned()), names.is_empty()) {
            (Some(near), _) => format!("is {near} meant?"),
            (None, false) => format!("its Pods' names are {}", list(&names)),
            (None, true) => "give the Pods spec.hostname and spec.subdomain, as a StatefulSet does".to_owned(),
        };
        Fault::new(Stage::Name, Cause::NoSuchService, because, remedy)
    }
}
