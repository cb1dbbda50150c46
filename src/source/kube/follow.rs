//! Follows one kind: lists it, watches it, and comes back from whatever happens to either.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Change, Kind,
    backoff::Backoff,
    decode::{self, Event, Identity},
    failure::{Failure, Verb},
    frames::Frames,
    known::Known,
    request::Requests,
    wire::WireError,
};
use crate::objects::ObjectRef;

/// Where a watch is to go on; the state of one kind between two requests.
pub struct Follower {
    requests: Requests,
    changes: mpsc::Sender<Change>,
    known: Known,
    /// Where the next watch goes on; without one, a list is needed
    version: Option<String>,
    backoff: Backoff,
    /// The last good watch is longer ago than the last new list for an expired version
    expired: bool,
    /// What was said about failures since the last good watch
    told: BTreeSet<String>,
    /// The server does not have this API
    unserved: bool,
    /// It was said that the own Node is missing
    node_missing: bool,
}

/// Why following stops, for now or for good.
enum Stop {
    /// The request failed
    Failed(Verb, Failure),
    /// The server does not have this API
    Unserved,
    /// Nobody listens any more
    Closed,
}

impl Follower {
    pub fn new(requests: Requests, changes: mpsc::Sender<Change>) -> Self {
        let backoff = Backoff::new(requests.timing.first_retry, requests.timing.longest_retry);
        Self {
            requests,
            changes,
            known: Known::default(),
            version: None,
            backoff,
            expired: false,
            told: BTreeSet::new(),
            unserved: false,
            node_missing: false,
        }
    }

    /// Follows until nobody listens any more.
    pub async fn run(mut self) {
        loop {
            let pause = match self.follow().await {
                Ok(()) => continue,
                Err(Stop::Closed) => return,
                Err(Stop::Unserved) => self.requests.timing.unserved,
                Err(Stop::Failed(verb, failure)) => match self.failed(verb, &failure).await {
                    Ok(pause) => pause,
                    Err(_) => return,
                },
            };
            sleep(pause).await;
        }
    }

    /// One list, if needed, and one watch. `Ok`: the watch ended as watches do.
    async fn follow(&mut self) -> Result<(), Stop> {
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.list().await?,
        };
        self.watch(version).await
    }

    /// Says what is wrong, if it was not said before, and returns how long to wait.
    async fn failed(&mut self, verb: Verb, failure: &Failure) -> Result<Duration, Stop> {
        if verb == Verb::Watch && !failure.can_resume() {
            self.version = None;
        }
        // The server is well and will not get better by waiting; unless it says so again and again.
        if *failure == Failure::Expired && !std::mem::replace(&mut self.expired, true) {
            return Ok(Duration::ZERO);
        }
        let retry_in = self.backoff.pause();
        let kind = self.requests.kind;
        let error = failure.advice(verb, kind, &self.requests.server);
        if self.told.insert(error.clone()) {
            self.tell(Change::Trouble { kind, error, retry_in }).await?;
        }
        Ok(retry_in)
    }

    async fn tell(&self, change: Change) -> Result<(), Stop> {
        self.changes.send(change).await.map_err(|_| Stop::Closed)
    }

    /// Lists all there is and returns the version to watch from.
    async fn list(&mut self) -> Result<String, Stop> {
        self.known.begin_list();
        let mut page = String::new();
        let version = loop {
            let body = match self.requests.page(&page).await {
                Ok(body) => body,
                Err(Failure::Refused(status)) if status.code == 404 && self.requests.kind == Kind::ServiceCidr => {
                    return self.no_such_api().await;
                }
                Err(failure) => return Err(Stop::Failed(Verb::List, failure)),
            };
            let list = decode::list(&body).map_err(|error| Stop::Failed(Verb::List, error.into()))?;
            for object in &list.items {
                self.see(object).await?;
            }
            if list.next_page.is_empty() {
                break list.version;
            }
            page = list.next_page;
        };
        self.end_list().await?;
        self.unserved = false;
        self.version = Some(version.clone());
        Ok(version)
    }

    /// Nothing is listed where there is no API; that is as good as an empty list.
    async fn no_such_api(&mut self) -> Result<String, Stop> {
        if !std::mem::replace(&mut self.unserved, true) {
            self.end_list().await?;
        }
        self.calm().await?;
        Err(Stop::Unserved)
    }

    async fn end_list(&mut self) -> Result<(), Stop> {
        let kind = self.requests.kind;
        for (namespace, name) in self.known.end_list() {
            self.tell(Change::Gone { kind, namespace: namespace.into(), name: name.into() }).await?;
        }
        if kind == Kind::Node && self.known.is_empty() && !std::mem::replace(&mut self.node_missing, true) {
            let name = &self.requests.node_name;
            let advice = format!(
                "the cluster has no Node {name:?}: zone, addresses and pod ranges of this node are unknown, and no \
                 endpoint counts as local; --node must be a name that `kubectl get nodes` lists"
            );
            self.tell(Change::NodeMissing { advice }).await?;
        }
        self.tell(Change::Listed(kind)).await
    }

    /// Follows the changes after `version` until the watch ends.
    async fn watch(&mut self, version: String) -> Result<(), Stop> {
        let failed = |failure| Stop::Failed(Verb::Watch, failure);
        let mut watch = self.requests.watch(&version).await.map_err(failed)?;
        let calm = Instant::now() + self.requests.timing.calm;
        let mut is_calm = false;
        let mut frames = Frames::default();
        loop {
            let part = tokio::select! {
                part = watch.part() => part,
                () = sleep_until(calm), if !is_calm => {
                    is_calm = true;
                    self.calm().await?;
                    continue;
                }
            };
            match part {
                Ok(Some(part)) => frames.push(&part),
                // Whoever ended it, it was worth its while: go on at once.
                Ok(None) | Err(Failure::Broken(_)) if is_calm => return Ok(()),
                Ok(None) => return Err(failed(Failure::Brief)),
                Err(failure) => return Err(failed(failure)),
            }
            while let Some(frame) = frames.take().map_err(|error| failed(error.into()))? {
                self.event(frame).await?;
            }
        }
    }

    /// All is well, and has been for a while.
    async fn calm(&mut self) -> Result<(), Stop> {
        self.backoff.reset();
        self.expired = false;
        if !std::mem::take(&mut self.told).is_empty() {
            self.tell(Change::Recovered(self.requests.kind)).await?;
        }
        Ok(())
    }

    async fn event(&mut self, frame: &[u8]) -> Result<(), Stop> {
        let kind = self.requests.kind;
        match decode::event(frame).map_err(|error| Stop::Failed(Verb::Watch, error.into()))? {
            Event::Put(object) => {
                if let Some(identity) = self.see(object).await? {
                    self.version = Some(identity.version);
                }
            }
            Event::Gone(identity) => {
                self.known.forget(&identity);
                self.version = Some(identity.version);
                self.tell(Change::Gone { kind, namespace: identity.namespace, name: identity.name }).await?;
            }
            Event::Bookmark(identity) => self.version = Some(identity.version),
            Event::Error(status) => return Err(Stop::Failed(Verb::Watch, Failure::refused(status))),
            Event::Unknown => {}
        }
        Ok(())
    }

    /// Tells of an object, unless the receiver knows it in this very version.
    async fn see(&mut self, object: &[u8]) -> Result<Option<Identity>, Stop> {
        let kind = self.requests.kind;
        let identity = match decode::identity(object) {
            Ok(identity) if !identity.name.is_empty() => identity,
            unreadable => {
                self.known.see_nameless();
                let reason = unreadable.err().unwrap_or(WireError::new("it has no name"));
                self.tell(told_undecodable(kind, &Identity::default(), &reason)).await?;
                return Ok(None);
            }
        };
        if self.known.see(&identity) {
            let change = match decode::object(kind, object) {
                Ok(object) => Change::Put(Box::new(object)),
                Err(error) => told_undecodable(kind, &identity, &error),
            };
            self.node_missing = false;
            self.tell(change).await?;
        }
        Ok(Some(identity))
    }
}

fn told_undecodable(kind: Kind, identity: &Identity, error: &WireError) -> Change {
    let (object, reason) = undecodable(kind, identity, error);
    Change::Undecodable { object, reason }
}

/// An object that cannot be read, and what is wrong with it.
pub fn undecodable(kind: Kind, identity: &Identity, error: &WireError) -> (ObjectRef, String) {
    let object = ObjectRef {
        kind: kind.name().into(),
        namespace: identity.namespace.as_str().into(),
        name: identity.name.as_str().into(),
    };
    (object, error.to_string())
}
