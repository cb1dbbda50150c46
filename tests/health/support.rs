//! A namespace for one test with a runtime in it, and a small HTTP client.

use std::{
    future::Future,
    net::SocketAddr,
    panic,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Far longer than anything should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on a thread in a new network namespace, where nothing is but a loopback interface with these addresses.
pub fn in_namespace<F: Future<Output = ()>>(addresses: &[&str], test: impl FnOnce() -> F + Send) {
    let outcome = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                let required = std::env::var_os("PORTOLAN_REQUIRE_KERNEL").is_some_and(|value| value == "1");
                assert!(!required, "no network namespace: {error}");
                println!("SKIPPED: no network namespace ({error}); run as root");
                return;
            }
            ip(&["link", "set", "lo", "up"]);
            for address in addresses {
                ip(&["address", "add", address, "dev", "lo"]);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test());
        });
        thread.join()
    });
    if let Err(panic) = outcome {
        panic::resume_unwind(panic);
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks with one GET; `None` if nobody answers.
pub async fn try_get(server: SocketAddr, path: &str) -> Option<Answer> {
    request(server, format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await
}

/// Asks with one GET, which must be answered.
pub async fn get(server: SocketAddr, path: &str) -> Answer {
    try_get(server, path).await.unwrap_or_else(|| panic!("{server}{path} does not answer"))
}

/// Sends a request and reads until the server closes.
pub async fn request(server: SocketAddr, request: String) -> Option<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // A server that does not read all of a request resets the connection after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { code, head: head.to_owned(), body: body.to_owned() })
    };
    timeout(PATIENCE, exchange).await.expect("the server closes after its answer")
}

/// Waits until a server answers so.
pub async fn until(server: SocketAddr, path: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < PATIENCE {
        last = try_get(server, path).await;
        if let Some(answer) = last.take_if(|answer| is_so(answer)) {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{server}{path}: not within {PATIENCE:?}; the last answer is {last:?}");
}

/// Waits until nobody listens there.
pub async fn until_closed(server: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(server).await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "{server} is open still");
        sleep(Duration::from_millis(50)).await;
    }
}
