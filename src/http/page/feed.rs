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
/// Nor more often for any.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);
/// So many times as long as the last picture took the loop it is left alone, whoever looks for what: viewers who look for
/// different things cannot keep it busy.
const REST: u32 = 20;
/// Who looks for something else than the last one waits so long for his turn, no longer.
const LONGEST_TURN: Duration = Duration::from_secs(2);
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
    /// When the loop was last asked, for whatever
    asked: Option<Instant>,
    /// It did not answer then: the picture is older
    busy: bool,
    connections: Connections,
}

impl Last {
    /// How long after it was asked the loop is not asked for this.
    fn pause(&self, find: &str) -> Duration {
        let least = if self.find == find { FRESH } else { LEAST_INTERVAL };
        least.max(self.picture.took * REST)
    }
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
        self.look(&mut last, find).await;
        self.count(&mut last).await;
        // A picture of what somebody else looks for is none.
        let none = Picture::default();
        let is_it = last.find == find;
        let view = View {
            agent: self.status.summary(),
            health: self.health.livez(),
            picture: if is_it { &last.picture } else { &none },
            busy: last.busy || !is_it,
            uncounted: last.connections.error.as_deref(),
            changes: self.status.changes_since(since),
        };
        json(StatusCode::OK, &view)
    }

    /// Brings the picture up to date, if the loop may be asked and has time.
    async fn look(&self, last: &mut Last, find: &str) {
        if let Some(when) = last.asked {
            let rest = last.pause(find).saturating_sub(when.elapsed());
            let is_it = last.find == find;
            if !rest.is_zero() && (is_it || rest > LONGEST_TURN) {
                return;
            }
            sleep(rest).await;
        }
        let (answer, answered) = oneshot::channel();
        let asked = self.asks.try_send(Ask { find: find.to_owned(), answer }).is_ok();
        let picture = match asked {
            true => timeout(PATIENCE, answered).await.ok().and_then(Result::ok),
            false => None,
        };
        last.asked = Some(Instant::now());
        last.busy = picture.is_none();
        if let Some(picture) = picture {
            last.picture = picture;
            find.clone_into(&mut last.find);
        }
    }

    /// Counts connections, now and then.
    async fn count(&self, last: &mut Last) {
        let frontends: BTreeSet<Frontend> = last.picture.frontends().collect();
        if last.connections.are_due(&frontends)
            && let Ok(read) = tokio::task::spawn_blocking(move || Connections::read(frontends)).await
        {
            last.connections = read;
        }
        last.picture.count(&last.connections);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::Value;

    use super::*;
    use crate::health::NodeState;

    fn feed() -> (Feed, mpsc::Receiver<Ask>) {
        Feed::new(Health::new(Duration::from_secs(60), NodeState::Eligible), Status::new("node-1"))
    }

    /// Whether the loop was busy, and how many Services there are.
    async fn seen(feed: &Feed, find: &str) -> (bool, u64) {
        let body = to_bytes(feed.state(0, find).await.into_body(), usize::MAX).await.unwrap();
        let view: Value = serde_json::from_slice(&body).unwrap();
        (view["busy"].as_bool().unwrap(), view["total"].as_u64().unwrap())
    }

    fn of(total: usize) -> Picture {
        Picture { total, ..Picture::default() }
    }

    #[tokio::test]
    async fn a_loop_without_time_is_told_of_at_every_ask() {
        let (feed, mut asks) = feed();
        for find in ["", "", "web", "web"] {
            assert_eq!(seen(&feed, find).await, (true, 0), "{find:?}");
        }
        assert!(asks.recv().await.unwrap().answer.is_closed(), "nobody waits for the first one any more");
        assert!(asks.try_recv().is_err(), "one waits at most");
        let last = feed.last.lock().await;
        assert_eq!(last.pause(""), FRESH, "waiting in vain cost the loop nothing");
    }

    #[tokio::test]
    async fn a_picture_is_only_for_those_who_look_for_the_same() {
        let (feed, mut asks) = feed();
        let (view, ()) = tokio::join!(seen(&feed, "web"), async {
            let _ = asks.recv().await.unwrap().answer.send(of(7));
        });
        assert_eq!(view, (false, 7));
        assert_eq!(seen(&feed, "web").await, (false, 7), "the loop is not asked again");
        assert!(asks.try_recv().is_err());
        drop(asks);
        assert_eq!(seen(&feed, "db").await, (true, 0));
        assert_eq!(seen(&feed, "web").await, (true, 7), "an older picture is told as such");
    }

    #[tokio::test]
    async fn a_picture_that_cost_much_makes_everybody_wait() {
        let (feed, mut asks) = feed();
        let (view, ()) = tokio::join!(seen(&feed, ""), async {
            let picture = Picture { took: Duration::from_secs(3600), ..of(12_000) };
            let _ = asks.recv().await.unwrap().answer.send(picture);
        });
        assert_eq!(view, (false, 12_000));
        for n in 0..5 {
            assert_eq!(seen(&feed, &format!("viewer {n}")).await, (true, 0));
        }
        assert!(asks.try_recv().is_err(), "nobody reached the loop");
    }
}
