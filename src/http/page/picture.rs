use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};

use super::connections::Connections;
use crate::model::{Frontend, Target};

/// What the page shows of Services.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Picture {
    /// Services in it, by name
    pub services: Vec<ServicePicture>,
    /// Services that there are, of those asked for
    pub matching: usize,
    /// Services that there are
    pub total: usize,
    /// Frontends without an endpoint, in words, of all Services asked for; not more than a page can show
    pub dead_ends: Vec<DeadEndLine>,
    /// How long the loop worked on it
    #[serde(skip)]
    pub took: Duration,
}

/// A frontend that nobody answers at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadEndLine {
    /// `shop/web`
    pub service: String,
    /// What is dialled
    #[serde(serialize_with = "as_text")]
    pub frontend: Frontend,
    /// `refused: no endpoint`
    pub words: String,
    /// New connections that met it
    pub count: u64,
}

/// A Service.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePicture {
    /// `shop/web`
    pub name: String,
    /// `ClusterIP`
    pub kind: String,
    /// Why nothing of it is in the kernel, if nothing is
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing: Option<String>,
    /// Frontends, in order; not more than a page can show
    pub frontends: Vec<FrontendPicture>,
    /// How many more there are
    pub more_frontends: usize,
    /// Endpoints, in order: those that are used first; not more than a page can show
    pub endpoints: Vec<EndpointPicture>,
    /// How many more there are
    pub more_endpoints: usize,
    /// Endpoints that are used, and all
    pub used: usize,
    /// All of them
    pub known: usize,
    /// Connections that are tracked for the Service, as far as they were counted
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// New connections a second, of all its frontends
    pub rate: f64,
}

/// A frontend.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendPicture {
    /// What is dialled
    #[serde(serialize_with = "as_text")]
    pub frontend: Frontend,
    /// `cluster IP`
    pub kind: &'static str,
    /// The service port's name; may be empty
    pub port: String,
    /// Who gets what there: `one of 3`
    pub words: String,
    /// Nobody answers, at least not everybody
    pub dead_end: bool,
    /// New connections since it was programmed, and a second
    pub served: u64,
    /// New connections that met a dead end
    pub unserved: u64,
    /// Both, a second
    pub rate: f64,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPicture {
    /// Address and port
    #[serde(serialize_with = "as_text")]
    pub target: Target,
    /// `TCP`
    pub protocol: String,
    /// The Pod, if known
    pub pod: String,
    /// Its node, if known
    pub node: String,
    /// How it stands
    pub state: State,
    /// The same in words
    pub words: String,
    /// Connections that are tracked, if they were counted
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Used
    Ready,
    /// Used although it is terminating
    LastResort,
    /// Not ready
    NotReady,
    /// Terminating
    Terminating,
    /// Fit, but meant for others: another node, another zone
    Elsewhere,
    /// No endpoint any more, but connections to it are left
    Gone,
}

impl State {
    /// Whether new connections are sent there.
    pub fn is_used(self) -> bool {
        matches!(self, State::Ready | State::LastResort)
    }
}

/// The most endpoints that are no more and shown for their connections.
const MOST_GONE: usize = 8;

impl Picture {
    /// Every frontend in it.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend> + '_ {
        self.services.iter().flat_map(|service| &service.frontends).map(|frontend| frontend.frontend)
    }

    /// Writes in how many connections each endpoint has. A frontend leads to the endpoints of its Service alone. Nobody
    /// knows anything of Services whose frontends were not all counted.
    pub(super) fn count(&mut self, connections: &Connections) {
        for service in &mut self.services {
            service.count(connections);
        }
    }
}

impl ServicePicture {
    fn count(&mut self, connections: &Connections) {
        // This may be a picture that was counted before.
        self.endpoints.retain(|endpoint| endpoint.state != State::Gone);
        if !self.frontends.iter().all(|frontend| connections.are_known(frontend.frontend)) {
            self.connections = None;
            self.endpoints.iter_mut().for_each(|endpoint| endpoint.connections = None);
            return;
        }
        let mut counted: BTreeMap<(String, Target), u64> = BTreeMap::new();
        for frontend in self.frontends.iter().map(|frontend| frontend.frontend) {
            let lowest = Target { address: std::net::Ipv4Addr::UNSPECIFIED.into(), port: 0 };
            let of_frontend =
                connections.counts.range((frontend, lowest)..).take_while(|((other, _), _)| *other == frontend);
            for ((_, target), count) in of_frontend {
                *counted.entry((frontend.protocol.to_string(), *target)).or_default() += count;
            }
        }
        self.connections = Some(counted.values().sum());
        for endpoint in &mut self.endpoints {
            endpoint.connections = Some(counted.remove(&(endpoint.protocol.clone(), endpoint.target)).unwrap_or(0));
        }
        if self.more_endpoints > 0 {
            // What is left may belong to those that are not shown.
            return;
        }
        for ((protocol, target), count) in counted.into_iter().take(MOST_GONE) {
            self.endpoints.push(EndpointPicture {
                target,
                protocol,
                pod: String::new(),
                node: String::new(),
                state: State::Gone,
                words: "no endpoint any more; these connections are left".to_owned(),
                connections: Some(count),
            });
        }
    }
}

fn as_text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn target(last: u8) -> Target {
        Target { address: [10, 1, 0, last].into(), port: 80 }
    }

    fn endpoint(last: u8) -> EndpointPicture {
        EndpointPicture {
            target: target(last),
            protocol: "TCP".into(),
            pod: String::new(),
            node: String::new(),
            state: State::Ready,
            words: String::new(),
            connections: None,
        }
    }

    #[test]
    fn connections_are_those_of_the_services_own_frontends() {
        let frontend = |last| Frontend { address: [10, 96, 0, last].into(), protocol: Protocol::Tcp, port: 80 };
        let shown = |last| FrontendPicture {
            frontend: frontend(last),
            kind: "cluster IP",
            port: String::new(),
            words: String::new(),
            dead_end: false,
            served: 0,
            unserved: 0,
            rate: 0.0,
        };
        let service = |last| ServicePicture {
            frontends: vec![shown(last)],
            endpoints: vec![endpoint(1), endpoint(2)],
            ..ServicePicture::default()
        };
        let mut picture = Picture { services: vec![service(10), service(11), service(13)], ..Picture::default() };
        let counts = BTreeMap::from([
            ((frontend(10), target(1)), 3),
            ((frontend(10), target(9)), 2),
            ((frontend(11), target(2)), 7),
            ((frontend(12), target(1)), 100),
        ]);
        picture.count(&Connections::of([frontend(10), frontend(11)], counts));
        let lines = |picture: &Picture, n: usize| -> Vec<_> {
            picture.services[n].endpoints.iter().map(|e| (e.target, e.state, e.connections)).collect()
        };
        let counts = |n| lines(&picture, n);
        let expected = [(target(1), State::Ready, Some(3)), (target(2), State::Ready, Some(0))];
        assert_eq!(counts(0), [&expected[..], &[(target(9), State::Gone, Some(2))]].concat());
        assert_eq!(picture.services[0].connections, Some(5));
        assert_eq!(picture.services[1].connections, Some(7));
        let unknown = [(target(1), State::Ready, None), (target(2), State::Ready, None)];
        assert_eq!((picture.services[2].connections, counts(2)), (None, unknown.to_vec()), "nobody counted");

        picture.count(&Connections::default());
        assert_eq!((picture.services[0].connections, lines(&picture, 0)), (None, unknown.to_vec()), "nor any more");
    }
}
