//! Kubernetes Events on Services: what their owners must know, where `kubectl describe service` shows it.
//!
//! Events never matter to the data plane. They wait in a short queue, are sent one after the other, each once in a
//! while; what cannot be sent is dropped.

mod filter;

use std::{
    fmt,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::{
    Api, Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::model::{Notice, ServiceId};
use filter::Filter;

/// Events that may wait to be sent. More are dropped: what goes on being wrong is told again.
const QUEUE: usize = 256;
/// How long the API server may take for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that the API takes as an Event's note, in bytes.
const LONGEST_NOTE: usize = 1024;
/// What Events name as their source.
const CONTROLLER: &str = "portolan";

/// Why an Event is written. All are of type Warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The kernel refuses the Service's rules; it keeps its last good state
    KernelRefused,
    /// The health check node port cannot be listened on; the name is kube-proxy's
    FailedToStartServiceHealthcheck,
    /// Another Service has a frontend that this one asks for
    FrontendConflict,
    /// The object, or a part of it, cannot be used
    InvalidService,
}

impl Reason {
    /// What was attempted, for the Event's `action`.
    fn action(self) -> &'static str {
        match self {
            Reason::KernelRefused => "ProgramRules",
            Reason::FailedToStartServiceHealthcheck => "Listen",
            Reason::FrontendConflict => "ClaimFrontend",
            Reason::InvalidService => "ReadService",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::KernelRefused => "KernelRefused",
            Reason::FailedToStartServiceHealthcheck => "FailedToStartServiceHealthcheck",
            Reason::FrontendConflict => "FrontendConflict",
            Reason::InvalidService => "InvalidService",
        })
    }
}

/// Something to tell the owner of a Service. Two that are equal are the same event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    service: ServiceId,
    reason: Reason,
    note: String,
}

/// Where events are put; they are sent in the background. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Option<mpsc::Sender<Told>>);

impl Events {
    /// Nowhere: without an API server, or with `--events=false`.
    pub fn off() -> Self {
        Self(None)
    }

    /// Sends events in the background until `stop`, in the name of this node. To be called from within the runtime.
    ///
    /// Needs the verb `get` for `services` and `create` for `events.events.k8s.io`.
    pub fn start(client: Client, node: &str, stop: CancellationToken) -> Self {
        let (queue, told) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(node.to_owned()) };
        tokio::spawn(Publisher { client, reporter, failing: false }.run(told, stop));
        Self(Some(queue))
    }

    /// Tells the owner of a Service. Returns at once. What was told a short while ago is not told again, so the caller
    /// may repeat it as long as it is true.
    pub fn warn(&self, service: &ServiceId, reason: Reason, note: impl Into<String>) {
        let Some(queue) = &self.0 else { return };
        let told = Told { service: service.clone(), reason, note: cut(note.into()) };
        if let Err(failure) = queue.try_send(told) {
            debug!(%service, %reason, %failure, "an event is dropped");
        }
    }

    /// Tells the owners of those Services that notices are about; other notices are left out.
    pub fn notices<'a>(&self, reason: Reason, notices: impl IntoIterator<Item = &'a Notice>) {
        for notice in notices {
            let Some(object) = notice.object.as_ref().filter(|object| &*object.kind == "Service") else { continue };
            let field = if notice.field.is_empty() { String::new() } else { format!("{}: ", notice.field) };
            let service = ServiceId { namespace: object.namespace.clone(), name: object.name.clone() };
            self.warn(&service, reason, format!("{field}{}", notice.reason));
        }
    }
}

/// At most as long as the API takes it.
fn cut(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        let end = (0..=LONGEST_NOTE).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
        note.truncate(end);
    }
    note
}

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("{0}; it needs the verb get for services and the verb create for events.events.k8s.io")]
    Forbidden(kube::Error),
    #[error("{0}")]
    Failed(kube::Error),
    #[error("the API server did not answer within {REQUEST_TIMEOUT:?}")]
    TimedOut,
}

impl From<kube::Error> for PublishError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 403 => PublishError::Forbidden(error),
            _ => PublishError::Failed(error),
        }
    }
}

/// Sends one event after the other.
struct Publisher {
    client: Client,
    reporter: Reporter,
    /// The last one could not be sent: the log knows
    failing: bool,
}

impl Publisher {
    async fn run(mut self, mut told: mpsc::Receiver<Told>, stop: CancellationToken) {
        let mut filter = Filter::new(Instant::now());
        loop {
            let next = tokio::select! {
                next = told.recv() => next,
                () = stop.cancelled() => None,
            };
            let Some(event) = next else { return };
            if !filter.lets_through(&event, Instant::now()) {
                continue;
            }
            tokio::select! {
                result = self.publish(&event) => self.note(&event, result),
                () = stop.cancelled() => return,
            }
        }
    }

    async fn publish(&self, told: &Told) -> Result<(), PublishError> {
        let request = async {
            let Some(service) = self.reference(&told.service).await? else { return Ok(()) };
            let event = Event {
                type_: EventType::Warning,
                reason: told.reason.to_string(),
                note: Some(told.note.clone()),
                action: told.reason.action().to_owned(),
                secondary: None,
            };
            // A new one each time: it would take two notes of one reason for the same event, and lose the second.
            let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            recorder.publish(&event, &service).await.map_err(PublishError::from)
        };
        timeout(REQUEST_TIMEOUT, request).await.unwrap_or(Err(PublishError::TimedOut))
    }

    /// The Service as Events refer to it; `None` if it is gone. Without its uid `kubectl describe` would not show them.
    async fn reference(&self, id: &ServiceId) -> Result<Option<ObjectReference>, PublishError> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &id.namespace);
        let Some(found) = services.get_metadata_opt(&id.name).await? else { return Ok(None) };
        Ok(Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(id.namespace.to_string()),
            name: Some(id.name.to_string()),
            uid: found.metadata.uid,
            ..ObjectReference::default()
        }))
    }

    fn note(&mut self, told: &Told, result: Result<(), PublishError>) {
        let (service, reason) = (&told.service, told.reason);
        match result {
            Ok(()) => self.failing = false,
            Err(failure) if self.failing => debug!(%service, %reason, "cannot publish an event: {failure}"),
            Err(failure) => {
                self.failing = true;
                warn!(%service, %reason, "cannot publish an event: {failure}; said once until one succeeds");
            }
        }
    }
}
