//! Which API server, with whose credentials.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::ConfigExt,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use thiserror::Error;
use tower::{BoxError, ServiceBuilder};

/// Where Kubernetes puts the credentials of a Pod's ServiceAccount.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A server that does not take a connection within this time is as good as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing was heard for this long is probed, at this interval, so many times. A watch may be
/// silent for minutes; one whose server died without a word would stay so for ever.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// How the API server is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAddress {
    /// `--apiserver`: takes the place of whatever address the credentials come with.
    pub server: Option<String>,
    /// `--kubeconfig`: the credentials, and the address if there is none given.
    pub kubeconfig: Option<PathBuf>,
}

/// An API server to talk to. Cloning it shares its connections.
#[derive(Clone)]
pub struct ApiServer {
    /// Sends requests.
    pub client: Client,
    /// Its URL.
    pub address: String,
    /// Where the credentials come from, for messages; never the credentials themselves.
    pub credentials: String,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.address, self.credentials)
    }
}

/// Why there is no API server to talk to.
#[derive(Debug, Error)]
pub enum KubeError {
    /// Nobody said where it is.
    #[error(
        "no API server is known: this is no Pod (KUBERNETES_SERVICE_HOST is not set), and none of {} is there; give \
         --apiserver or --kubeconfig",
        .0.join(", ")
    )]
    Unknown(Vec<String>),
    /// The address makes no sense.
    #[error("the API server's address {address:?} cannot be used: {reason}; it looks like https://10.0.0.1:6443")]
    Address {
        /// The address
        address: String,
        /// What is wrong with it
        reason: String,
    },
    /// The kubeconfig makes no sense.
    #[error("cannot use the kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file
        path: PathBuf,
        /// What is wrong with it
        source: Box<KubeconfigError>,
    },
    /// The kubeconfig wants something that is not done here.
    #[error("cannot use the kubeconfig {path}: {reason}")]
    Unsupported {
        /// The file
        path: PathBuf,
        /// What it wants
        reason: &'static str,
    },
    /// The credentials cannot be used.
    #[error("cannot use {credentials}: {reason}")]
    Credentials {
        /// Where they come from
        credentials: String,
        /// What is wrong with them
        reason: String,
    },
}

/// Finds the API server and prepares to talk to it; nothing is sent yet. The address is that of `--apiserver`, else of
/// `--kubeconfig`, else of the Pod's environment, else of `$KUBECONFIG` or `~/.kube/config`. Credentials and CA are
/// those of `--kubeconfig`, else of the Pod's ServiceAccount, else of the default kubeconfig, even if the address is
/// another: the server's certificate then has to name the host of the given one. Certificates are always verified; to
/// a server without TLS no credentials are sent. Files with tokens are read again every minute.
pub async fn connect(address: &ApiAddress) -> Result<ApiServer, KubeError> {
    let found = find(address, &Surroundings::own()).await?;
    let client = client(&found.config)
        .map_err(|error| KubeError::Credentials { credentials: found.credentials.clone(), reason: chain(&error) })?;
    Ok(ApiServer { client, address: found.config.cluster_url.to_string(), credentials: found.credentials })
}

/// What of the process's surroundings says where the API server is.
struct Surroundings {
    service_account: PathBuf,
    host: Option<String>,
    port: Option<String>,
    kubeconfigs: Vec<PathBuf>,
}

impl Surroundings {
    fn own() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let listed = variable("KUBECONFIG").map(|paths| env::split_paths(&paths).collect());
        let home = || env::home_dir().map(|home| home.join(".kube/config"));
        Self {
            service_account: SERVICE_ACCOUNT.into(),
            host: variable("KUBERNETES_SERVICE_HOST"),
            port: variable("KUBERNETES_SERVICE_PORT"),
            kubeconfigs: listed.unwrap_or_else(|| home().into_iter().collect()),
        }
    }
}

#[derive(Debug)]
struct Found {
    config: Config,
    credentials: String,
}

async fn find(address: &ApiAddress, around: &Surroundings) -> Result<Found, KubeError> {
    let server = address.server.as_deref().map(uri).transpose()?;
    let mut found = match &address.kubeconfig {
        Some(path) => from_kubeconfigs(&[path]).await?,
        None => match (from_service_account(server.as_ref(), around)?, &server) {
            (Some(found), _) => found,
            (None, server) => from_default_kubeconfigs(server.as_ref(), around).await?,
        },
    };
    if let Some(server) = server {
        found.config.cluster_url = server;
        found.config.tls_server_name = None;
    }
    if found.config.cluster_url.scheme_str() == Some("http") {
        found.config.auth_info = AuthInfo::default();
        found.credentials = "no credentials (none are sent without TLS)".into();
    }
    Ok(found)
}

/// The ServiceAccount's token and CA; the address is the given one or that of the Pod's environment.
fn from_service_account(server: Option<&Uri>, around: &Surroundings) -> Result<Option<Found>, KubeError> {
    let (token, ca) = (around.service_account.join("token"), around.service_account.join("ca.crt"));
    let server = match (server, &around.host) {
        (Some(server), _) => server.clone(),
        (None, Some(host)) => {
            let port = around.port.as_deref().unwrap_or("443");
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            uri(&format!("https://{host}:{port}"))?
        }
        (None, None) => return Ok(None),
    };
    if !token.exists() {
        return Ok(None);
    }
    let mut config = Config::new(server);
    config.auth_info.token_file = Some(token.display().to_string());
    config.root_cert_file = ca.exists().then_some(ca);
    Ok(Some(Found { config, credentials: format!("the ServiceAccount's token in {}", token.display()) }))
}

async fn from_default_kubeconfigs(server: Option<&Uri>, around: &Surroundings) -> Result<Found, KubeError> {
    let there: Vec<&PathBuf> = around.kubeconfigs.iter().filter(|path| path.exists()).collect();
    match (there.is_empty(), server) {
        (false, _) => from_kubeconfigs(&there).await,
        (true, Some(server)) => {
            Ok(Found { config: Config::new(server.clone()), credentials: "no credentials (none were found)".into() })
        }
        (true, None) => {
            let mut tried: Vec<String> = around.kubeconfigs.iter().map(|path| path.display().to_string()).collect();
            tried.push("$KUBECONFIG".into());
            Err(KubeError::Unknown(tried))
        }
    }
}

/// Reads kubeconfig files; where they disagree the first one is right, as kubectl has it.
async fn from_kubeconfigs(paths: &[impl AsRef<Path>]) -> Result<Found, KubeError> {
    let mut merged = Kubeconfig::default();
    let mut last = PathBuf::new();
    for path in paths {
        last = path.as_ref().to_owned();
        let read = Kubeconfig::read_from(&last).and_then(|next| merged.merge(next));
        merged = read.map_err(|source| KubeError::Kubeconfig { path: last.clone(), source: Box::new(source) })?;
    }
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await;
    let config = config.map_err(|source| KubeError::Kubeconfig { path: last.clone(), source: Box::new(source) })?;
    let unsupported = |reason| Err(KubeError::Unsupported { path: last.clone(), reason });
    if config.accept_invalid_certs {
        return unsupported(
            "it has insecure-skip-tls-verify, but certificates are always verified here; give it the CA",
        );
    }
    if config.proxy_url.is_some() {
        return unsupported("it has a proxy-url, but proxies are not supported; give --apiserver a direct address");
    }
    let credentials = format!("the credentials of {}", last.display());
    Ok(Found { config, credentials })
}

fn uri(address: &str) -> Result<Uri, KubeError> {
    let unusable = |reason: String| KubeError::Address { address: address.into(), reason };
    let uri: Uri = address.parse().map_err(|error: http::uri::InvalidUri| unusable(error.to_string()))?;
    match uri.scheme_str() {
        Some("https" | "http") => Ok(uri),
        _ => Err(unusable("it has neither https:// nor http://".into())),
    }
}

/// kube's own client, but for two things: connections have keepalives, and failures are neither retried nor logged
/// below us (kube logs each one as an error of its own).
fn client(config: &Config) -> Result<Client, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let (idle, interval, probes) = KEEPALIVE;
    tcp.set_keepalive(Some(idle));
    tcp.set_keepalive_interval(Some(interval));
    tcp.set_keepalive_retries(Some(probes));
    tcp.set_tcp_user_timeout(Some(idle + interval * probes));
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(HttpClient::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// An error with all its causes, without what one repeats of the next.
pub(super) fn chain(error: &kube::Error) -> String {
    // "ServiceError" says no more than that the client below failed.
    let outermost: &dyn std::error::Error = match error {
        kube::Error::Service(error) => error.as_ref(),
        error => error,
    };
    let mut text = outermost.to_string();
    let mut cause = outermost.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
