use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Uri, header},
    response::Response,
};
use futures_util::stream;
use portolan::source::kube::Kind;
use tokio::{
    net::TcpListener,
    runtime,
    sync::{Notify, oneshot},
};

use super::{PATIENCE, encode};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What the server does with one request.
#[derive(Debug)]
pub enum Answer {
    /// 200 with a page of a list
    Page(Vec<u8>),
    /// The same, in pieces of so many bytes, each sent on its own
    Trickle(Vec<u8>, usize),
    /// 200 and a watch
    Watch(Vec<Step>),
    /// An error as the API server tells it
    Error(u16, &'static str, &'static str),
    /// An error as something else tells it: code, content type, text
    Foreign(u16, &'static str, &'static str),
    /// Nothing, ever
    Silence,
    /// The answer, but not before it is allowed
    After(Arc<Notify>, Box<Answer>),
}

/// What happens in a watch. After the last step it stays open and says nothing more.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes are sent
    Send(Vec<u8>),
    /// Nothing happens until it is allowed
    Until(Arc<Notify>),
    /// The watch ends as it should
    End,
    /// The connection breaks
    Break,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub query: BTreeMap<String, String>,
}

impl Seen {
    pub fn get(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Script {
    /// By resource
    answers: BTreeMap<String, VecDeque<Answer>>,
    seen: BTreeMap<String, Vec<Seen>>,
}

/// An API server that answers from a script, and where that ends: with an empty list, and watches without events.
pub struct FakeApi {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    /// A thread and a runtime of its own, so that it can go down at once with all its connections
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl FakeApi {
    pub fn start(kind: Kind, answers: Vec<Answer>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut api = Self { address, script: Arc::default(), running: None };
        api.then(kind, answers);
        api.serve(listener);
        api
    }

    /// Adds to the script of a kind.
    pub fn then(&self, kind: Kind, answers: Vec<Answer>) {
        self.script.lock().unwrap().answers.entry(kind.resource().into()).or_default().extend(answers);
    }

    /// Goes down, at once: connections break, new ones are refused.
    pub fn down(&mut self) {
        let (stop, thread) = self.running.take().unwrap();
        drop(stop);
        thread.join().unwrap();
    }

    /// Comes up again at the same address.
    pub fn up(&mut self) {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&self.address.into()).unwrap();
        listener.listen(64).unwrap();
        self.serve(listener.into());
    }

    fn serve(&mut self, listener: std::net::TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let router = Router::new().fallback(answer).with_state(self.script.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving = axum::serve(TcpListener::from_std(listener).unwrap(), router);
                tokio::select! {
                    result = serving.into_future() => panic!("the server ended: {result:?}"),
                    _ = stopped => {}
                }
            });
        });
        self.running = Some((stop, thread));
    }

    /// The requests for a kind, as soon as there are so many.
    pub async fn seen(&self, kind: Kind, count: usize) -> Vec<Seen> {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.script.lock().unwrap().seen.get(kind.resource()).cloned().unwrap_or_default();
            if seen.len() >= count {
                return seen;
            }
            assert!(Instant::now() < end, "{} of {count} requests: {seen:?}", seen.len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.down();
        }
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, uri: Uri) -> Response {
    let resource = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<String, String> = pairs.map(|(key, value)| (key.into(), value.into())).collect();
    let is_watch = query.contains_key("watch");
    let answer = {
        let mut script = script.lock().unwrap();
        script.seen.entry(resource.clone()).or_default().push(Seen { at: Instant::now(), query });
        script.answers.get_mut(&resource).and_then(VecDeque::pop_front)
    };
    match answer {
        Some(answer) => play(answer).await,
        None if is_watch => play(Answer::Watch(Vec::new())).await,
        None => play(Answer::Page(encode::page(1, "", &[]))).await,
    }
}

async fn play(mut answer: Answer) -> Response {
    while let Answer::After(allowed, then) = answer {
        allowed.notified().await;
        answer = *then;
    }
    let response = |code, content_type: &str, body| {
        let builder = Response::builder().status(code).header(header::CONTENT_TYPE, content_type);
        builder.body(body).unwrap()
    };
    match answer {
        Answer::Page(page) => response(200, PROTOBUF, Body::from(page)),
        Answer::Trickle(page, size) => {
            let pieces: Vec<_> = page.chunks(size).map(Bytes::copy_from_slice).collect();
            let stream = stream::unfold(pieces.into_iter(), async |mut pieces| {
                let piece = pieces.next()?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                Some((Ok::<_, Infallible>(piece), pieces))
            });
            response(200, PROTOBUF, Body::from_stream(Box::pin(stream)))
        }
        Answer::Watch(steps) => response(200, &format!("{PROTOBUF};stream=watch"), watch(steps)),
        Answer::Error(code, reason, message) => {
            response(code, PROTOBUF, Body::from(encode::status(code, reason, message)))
        }
        Answer::Foreign(code, content_type, text) => response(code, content_type, Body::from(text)),
        Answer::Silence | Answer::After(..) => std::future::pending().await,
    }
}

fn watch(steps: Vec<Step>) -> Body {
    Body::from_stream(Box::pin(stream::unfold(steps.into_iter(), async |mut steps| {
        loop {
            match steps.next() {
                Some(Step::Send(bytes)) => {
                    // A breath, so that what is sent before a break arrives before it.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    return Some((Ok(Bytes::from(bytes)), steps));
                }
                Some(Step::Until(allowed)) => allowed.notified().await,
                Some(Step::End) => return None,
                Some(Step::Break) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    return Some((Err(std::io::Error::other("broken by the test")), steps));
                }
                None => std::future::pending().await,
            }
        }
    })))
}
