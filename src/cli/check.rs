//! `portolan check`: whether something answers, for test Pods whose image has no shell.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Args;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout},
};

use crate::config::parse_duration;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(5);
/// The pause after a try that failed.
const PAUSE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  portolan check tcp://10.96.0.1:443                            does the Service default/kubernetes answer?
  portolan check http://192.168.49.11:10256/readyz -t 2m        wait until Portolan on that node is ready";

/// Try whether TCP ports and HTTP servers answer.
///
/// A target is tcp://HOST:PORT, which is good when a connection opens, or http://HOST:PORT/PATH, which is good when the
/// answer to a GET is 2xx. Each is tried once a second until it is good or time is up. IPv6 addresses may stand without
/// brackets.
///
/// Exit code: 0 all targets are good; 1 some are not; 2 a target cannot be understood.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// What to try: tcp://HOST:PORT or http://HOST:PORT/PATH
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<CheckTarget>,
    /// How long to try
    #[arg(short, long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
}

/// What is tried.
#[derive(Clone, Debug)]
struct CheckTarget {
    /// As it was given
    text: String,
    host: String,
    port: u16,
    /// The path to GET; without one, a connection is enough
    path: Option<String>,
}

impl FromStr for CheckTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither tcp://HOST:PORT nor http://HOST:PORT/PATH");
        let (authority, path) = if let Some(authority) = text.strip_prefix("tcp://") {
            (authority, None)
        } else {
            let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            (authority, Some(format!("/{path}")))
        };
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned(), port, path })
    }
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let deadline = Instant::now() + args.timeout;
        let mut all = true;
        for target in &args.targets {
            let result = target.wait(deadline).await;
            all &= result.is_ok();
            super::table::print(&format!("{}: {}\n", target.text, result.err().as_deref().unwrap_or("ok")))?;
        }
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(1) })
    })
}

impl CheckTarget {
    /// Tries until it is good; the last reason why it was not, once the deadline has passed.
    async fn wait(&self, deadline: Instant) -> Result<(), String> {
        loop {
            let limit = deadline.saturating_duration_since(Instant::now()).clamp(PAUSE, TRY);
            let late = |_| Err(format!("no answer within {} seconds", limit.as_secs()));
            let Err(reason) = timeout(limit, self.once()).await.unwrap_or_else(late) else { return Ok(()) };
            if Instant::now() + PAUSE >= deadline {
                return Err(reason);
            }
            sleep(PAUSE).await;
        }
    }

    async fn once(&self) -> Result<(), String> {
        let stream = TcpStream::connect(self.address().await?).await.map_err(|error| error.to_string())?;
        let Some(path) = &self.path else { return Ok(()) };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let authority = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let request = Request::get(path).header("host", format!("{authority}:{}", self.port));
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let status: StatusCode = sender.send_request(request).await.map_err(|error| error.to_string())?.status();
        connection.abort();
        if status.is_success() { Ok(()) } else { Err(format!("HTTP status {status}")) }
    }

    async fn address(&self) -> Result<SocketAddr, String> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, self.port));
        }
        let mut found = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| format!("cannot look it up: {error}"))?;
        found.next().ok_or_else(|| "the name has no address".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_with_and_without_brackets() {
        let read = |text: &str| text.parse::<CheckTarget>().map(|t| (t.host, t.port, t.path));
        assert_eq!(read("tcp://10.96.0.1:443"), Ok(("10.96.0.1".into(), 443, None)));
        assert_eq!(read("http://fd00::1:10256/readyz"), Ok(("fd00::1".into(), 10256, Some("/readyz".into()))));
        assert_eq!(read("http://[fd00::1]:10256"), Ok(("fd00::1".into(), 10256, Some("/".into()))));
        for wrong in ["10.0.0.1:80", "tcp://10.0.0.1", "tcp://:80", "http://a:0/", "https://a:1/", "tcp://a:70000"] {
            assert!(read(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
