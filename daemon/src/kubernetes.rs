//! The road to the API server: one client for whatever the agent asks of it or tells it.
//!
//! Where the server is and who we are: the kubeconfig of the settings, that of `KUBECONFIG`, or the pod's service account,
//! whose token is read anew as it is replaced. A kubeconfig in a home directory is a person's, not the daemon's, and is not
//! looked for.
//!
//! The client notices by itself that a connection is dead, within some seconds, though no reset comes: a watch has nothing to
//! send and would wait for a server that is long gone. Whoever asks sets a time-out for the answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::ServiceExt as _;
use tower::util::option_layer;

/// Whom `metadata.managedFields` names for what this daemon writes into the status of objects.
pub const STATUS_MANAGER: &str = "landfall-status";

/// Where a pod finds the token of its service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection may be quiet before it is asked whether it lives, and how long each question waits.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// Questions without an answer after which a connection is given up.
const QUESTIONS: u32 = 3;
/// How long what was sent may go without an acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);

/// How the agent gets to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By this kubeconfig.
    Kubeconfig(PathBuf),
    /// As the pod that the agent is in.
    ServiceAccount,
}

/// The server, as this agent reaches it. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    /// For whatever is asked.
    pub client: Client,
    /// Where it is, for people.
    pub url: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A kubeconfig is of no use.
    #[error("kubeconfig {path}: {source}; name a readable one in kubernetes.kubeconfig")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KubeconfigError,
    },
    /// The pod has no service account that could be used.
    #[error(
        "the pod's service account: {0}; give it one with automountServiceAccountToken, or set kubernetes.kubeconfig"
    )]
    ServiceAccount(#[source] kube::config::InClusterError),
    /// There is no way to a server at all.
    #[error(
        "source.kind is \"kubernetes\", and there is neither a kubeconfig nor a service account; set kubernetes.kubeconfig"
    )]
    None,
    /// Certificates or credentials cannot be used.
    #[error("the API server's client cannot be made: {0}")]
    Client(#[source] kube::Error),
}

/// The access that settings and environment give, if any. `kubeconfig` is the setting, `auto` unless somebody wrote a path.
pub fn access(kubeconfig: &str, variable: Option<&std::ffi::OsStr>) -> Option<Access> {
    if kubeconfig != "auto" {
        return Some(Access::Kubeconfig(kubeconfig.into()));
    }
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return Some(Access::Kubeconfig(path.into()));
    }
    Path::new(TOKEN).exists().then_some(Access::ServiceAccount)
}

/// The server. Does not connect yet: one that is away now is waited for by those who ask.
///
/// # Errors
/// What is written down about the server cannot be used.
pub async fn server(access: &Access) -> Result<ApiServer, AccessError> {
    let config = match access {
        Access::ServiceAccount => Config::incluster_env().map_err(AccessError::ServiceAccount)?,
        Access::Kubeconfig(path) => {
            let failed = |source| AccessError::Kubeconfig {
                path: path.clone(),
                source,
            };
            let read = Kubeconfig::read_from(path).map_err(failed)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(read, &options)
                .await
                .map_err(failed)?
        }
    };
    Ok(ApiServer {
        client: build(&config).map_err(AccessError::Client)?,
        url: config.cluster_url.to_string(),
    })
}

fn build(config: &Config) -> kube::Result<Client> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE));
    http.set_keepalive_retries(Some(QUESTIONS));
    http.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = config.rustls_https_connector_with_connector(http)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(https);
    let service = http.map_err(tower::BoxError::from);
    Ok(
        ClientBuilder::new(service, config.default_namespace.as_str())
            .with_layer(&option_layer(config.auth_layer()?))
            .with_layer(&config.base_uri_layer())
            .build(),
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_path_in_the_settings_goes_before_the_environment() {
        let variable = Some(OsStr::new("/from/environment"));
        let written = Access::Kubeconfig("/written".into());
        assert_eq!(access("/written", variable), Some(written));
        let found = Access::Kubeconfig("/from/environment".into());
        assert_eq!(access("auto", variable), Some(found));
        assert_eq!(access("auto", Some(OsStr::new(""))), None);
        assert_eq!(access("auto", None), None);
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named_with_what_to_do() {
        let access = Access::Kubeconfig("/not/there".into());
        let error = server(&access).await.err().expect("refused").to_string();
        assert!(error.contains("/not/there"), "{error}");
        assert!(error.contains("kubernetes.kubeconfig"), "{error}");
    }
}
