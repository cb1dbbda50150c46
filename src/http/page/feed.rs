use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{Picture, connections::Connections};
use crate::{
    health::{Health, HealthReport},
    http::health::json,
    model::Frontend,
    status::{Entry, Status, Summary},
};

/// How long the loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The loop is not asked more often for the same picture.
const FRESH: Duration = Duration::from_millis(800);
/// Nor more often for any: so viewers who look for different things cannot keep it busy.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);
/// A picture that took the loop long is asked for so many times less often.
const REST: u32 = 20;
/// A longer text is no part of a name.
const LONGEST_FIND: usize = 320;

/// A question to the loop: a picture of the Services that have this text in their names.
#[derive(Debug)]
pub struct Ask {
    /// The text; may be empty
    pub find: String,
    /// Where the answer goes
    pub answer: oneshot::Sender<Picture>,
}

/// Where the page's pictures come from. Nothing is read while nobody looks.
#[derive(Clone)]
pub struct Feed {
    asks: mpsc::Sender<Ask>,
    health: Health,
    status: Status,
    last: Arc<Mutex<Last>>,
}

/// What was read last, which several viewers share.
#[derive(Default)]
struct Last {
    find: String,
    picture: Picture,
    /// When it was asked for, and how long the answer took
    asked: Option<(Instant, Duration)>,
    connections: Connections,
}

/// What the page gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    agent: Summary,
    health: HealthReport,
    #[serde(flatten)]
    picture: &'a Picture,
    /// The loop is busy: the picture is an older one
    busy: bool,
    /// Why connections could not be counted
    #[serde(skip_serializing_if = "Option::is_none")]
    uncounted: Option<&'a str>,
    /// The last changes
    changes: Vec<Entry>,
}

impl Feed {
    /// A feed, and what the loop receives.
    pub fn new(health: Health, status: Status) -> (Self, mpsc::Receiver<Ask>) {
        let (asks, received) = mpsc::channel(1);
        (Self { asks, health, status, last: Arc::default() }, received)
    }

    /// What is to be seen, as JSON.
    pub(super) async fn state(&self, since: u64, find: &str) -> Response {
        if find.len() > LONGEST_FIND {
            return (StatusCode::BAD_REQUEST, "no name is as long as this\n").into_response();
        }
        // One after the other: so one reading serves all who look for the same.
        let mut last = self.last.lock().await;
        let busy = !self.look(&mut last, find).await;
        self.count(&mut last).await;
        let view = View {
            agent: self.status.summary(),
            health: self.health.livez(),
            picture: &last.picture,
            busy,
            uncounted: last.connections.error.as_deref(),
            changes: self.status.changes_since(since),
        };
        json(StatusCode::OK, &view)
    }

    /// Brings the picture up to date; false if the loop has no time.
    async fn look(&self, last: &mut Last, find: &str) -> bool {
        if let Some((when, took)) = last.asked {
            let same = last.find == find;
            if same && when.elapsed() < FRESH.max(took * REST) {
                return true;
            }
            sleep(LEAST_INTERVAL.saturating_sub(when.elapsed())).await;
        }
        let begun = Instant::now();
        let (answer, answered) = oneshot::channel();
        let asked = self.asks.try_send(Ask { find: find.to_owned(), answer }).is_ok();
        let picture = match asked {
            true => timeout(PATIENCE, answered).await.ok().and_then(Result::ok),
            false => None,
        };
        last.asked = Some((Instant::now(), begun.elapsed()));
        let found = picture.is_some();
        if let Some(picture) = picture {
            last.picture = picture;
            find.clone_into(&mut last.find);
        }
        found
    }

    /// Counts connections, now and then.
    async fn count(&self, last: &mut Last) {
        let frontends: BTreeSet<Frontend> = last.picture.frontends().collect();
        if last.connections.are_due(&frontends)
            && let Ok(read) = tokio::task::spawn_blocking(move || Connections::read(frontends)).await
        {
            last.connections = read;
        }
        if last.connections.error.is_none() {
            last.picture.count(&last.connections.counts);
        }
    }
}
