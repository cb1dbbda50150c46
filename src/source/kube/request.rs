//! Requests to the API server for one kind.

use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    ApiServer, Kind, Timing,
    backoff::shortened,
    connect::chain,
    decode::{self, Status},
    failure::Failure,
};

/// Protocol Buffers: half the size of JSON, and half the server's work.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// Objects in a page.
const PAGE: usize = 500;
/// What is read of an error's text.
const ERROR_TEXT: usize = 64 << 10;

/// Asks for one kind.
pub struct Requests {
    pub server: ApiServer,
    pub kind: Kind,
    /// The only Node that is asked for; empty: all
    pub node_name: String,
    pub timing: Timing,
}

impl Requests {
    pub fn new(server: ApiServer, kind: Kind, node_name: &str, timing: Timing) -> Self {
        Self { server, kind, node_name: node_name.into(), timing }
    }

    /// One page of the list; `page` is what the one before ended with, empty for the first. Without a version to be
    /// satisfied with, the API server answers with what is true now, never with an older state.
    pub async fn page(&self, page: &str) -> Result<Vec<u8>, Failure> {
        let next = if page.is_empty() { String::new() } else { format!("&continue={}", escaped(page)) };
        let mut body = self.get(&format!("limit={PAGE}{next}"), PROTOBUF).await?;
        let mut received = Vec::new();
        loop {
            let silent = |_| Failure::Silent(self.timing.answer);
            match timeout(self.timing.answer, part(&mut body)).await.map_err(silent)?? {
                Some(part) => received.extend_from_slice(&part),
                None => return Ok(received),
            }
        }
    }

    /// A watch from this version on.
    pub async fn watch(&self, version: &str) -> Result<Watch, Failure> {
        let asked = shortened(self.timing.watch, 1.0 / 6.0);
        let seconds = asked.as_secs().max(1);
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            escaped(version)
        );
        let body = self.get(&query, &format!("{PROTOBUF};stream=watch")).await?;
        let patience = asked.max(Duration::from_secs(1)) + self.timing.grace;
        Ok(Watch { body, patience, end: Instant::now() + patience })
    }

    async fn get(&self, query: &str, accept: &str) -> Result<Body, Failure> {
        let selector = match self.kind {
            Kind::Node if !self.node_name.is_empty() => {
                format!("&fieldSelector={}", escaped(&format!("metadata.name={}", self.node_name)))
            }
            _ => String::new(),
        };
        let request = Request::get(format!("{}?{query}{selector}", self.kind.path()))
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let answer = timeout(self.timing.answer, self.server.client.send(request)).await;
        let answer = answer.map_err(|_| Failure::Silent(self.timing.answer))?;
        let answer = answer.map_err(|error| Failure::Unreachable(chain(&error)))?;
        if !answer.status().is_success() {
            return Err(Failure::refused(self.error(answer).await));
        }
        if !content_type(&answer).starts_with(PROTOBUF) {
            return Err(Failure::Nonsense(format!("it is {:?}, not {PROTOBUF}", content_type(&answer))));
        }
        Ok(answer.into_body())
    }

    /// What the server says about an error; proxies say it in their own way.
    async fn error(&self, answer: Response<Body>) -> Status {
        let (code, content_type) = (answer.status().as_u16(), content_type(&answer).to_owned());
        let mut body = answer.into_body();
        let mut text = Vec::new();
        let end = Instant::now() + self.timing.answer;
        while let Ok(Ok(Some(part))) = timeout_at(end, part(&mut body)).await
            && text.len() < ERROR_TEXT
        {
            text.extend_from_slice(&part);
        }
        let status = if content_type.starts_with(PROTOBUF) {
            decode::unwrap(&text).and_then(|(_, object)| decode::status(object)).ok()
        } else {
            let json: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
            json.as_ref().and_then(|json| {
                let text = |field: &str| json.get(field).and_then(|value| value.as_str()).map(str::to_owned);
                Some(Status { code, reason: text("reason").unwrap_or_default(), message: text("message")? })
            })
        };
        let first_line =
            || String::from_utf8_lossy(&text).lines().next().unwrap_or_default().chars().take(200).collect();
        let status = status.unwrap_or_else(|| Status { code, reason: String::new(), message: first_line() });
        Status { code, ..status }
    }
}

/// A running watch.
pub struct Watch {
    body: Body,
    patience: Duration,
    /// By then the server has ended it; or it is dead
    end: Instant,
}

impl Watch {
    /// What is received next; `None` at its end. Dropping the future loses nothing.
    pub async fn part(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        timeout_at(self.end, part(&mut self.body)).await.map_err(|_| Failure::Silent(self.patience))?
    }
}

async fn part(body: &mut Body) -> Result<Option<Vec<u8>>, Failure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::Broken(chain(&error))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data.into()));
                }
            }
        }
    }
}

fn content_type(answer: &Response<Body>) -> &str {
    answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Text as part of a query (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
