//! The key where there is an API server: a Secret that the agents make themselves, and a copy on each node.
//!
//! The first agent of a cluster makes the Secret; of several that try at once the API server lets one, and the others read
//! its. The copy serves an agent that starts while the server is away: [`Shared::unconfirmed`] is then to be run in the
//! background. Where the Secret has been deleted, the next agent that starts makes it again with what its copy says, so
//! that agents which run with that key still understand those that start.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::pause::Pause;
use crate::telemetry::chain;

use super::{SHORTEST, Secret};

/// The Secret's name.
pub const SECRET_NAME: &str = "landfall-heartbeat";
/// The entry of the Secret that holds the key.
const ENTRY: &str = "key";
/// The copy's name in the state directory.
const COPY: &str = "l2.key";
/// Octets of a new key.
const LENGTH: usize = 32;
/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where there is a copy. An agent that starts in the dark is not to be silent for long.
const COPY_PATIENCE: Duration = Duration::from_millis(500);
/// How soon a server that refuses is asked again by an agent that has a key.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Why the shared key cannot be had. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SharedKeyError {
    /// The Secret is there, and holds no key.
    #[error(
        "Secret {namespace}/{SECRET_NAME} has no entry {ENTRY:?} of {SHORTEST} characters at least; delete it, so that the agents make another"
    )]
    Unusable {
        /// The agents' namespace.
        namespace: String,
    },
    /// RBAC.
    #[error(
        "landfall may not {verb} secrets in namespace {namespace}; apply the Role and the RoleBinding of Landfall's manifest"
    )]
    Denied {
        /// The verb that is missing.
        verb: &'static str,
        /// The agents' namespace.
        namespace: String,
    },
    /// There is no such namespace.
    #[error("namespace {namespace} is not there, or is being deleted; create it")]
    NoNamespace {
        /// The agents' namespace.
        namespace: String,
    },
    /// No answer in time.
    #[error("the API server does not answer in time when asked for Secret {SECRET_NAME}")]
    Late,
    /// Anything else.
    #[error("Secret {SECRET_NAME} cannot be had from the API server")]
    Unreachable(#[source] Box<kube::Error>),
    /// No randomness.
    #[error("no random numbers can be had from /dev/urandom")]
    Random(#[source] io::Error),
}

/// The key, and whether it is certain to be the others'.
#[derive(Debug)]
pub struct Shared {
    /// The key.
    pub secret: Secret,
    /// To be run in the background, where the key is that of the copy and the server has not been asked.
    pub unconfirmed: Option<Unconfirmed>,
}

/// A key that the server has yet to confirm.
#[derive(Debug)]
pub struct Unconfirmed {
    road: Road,
    used: Secret,
}

/// Where the key is.
struct Road {
    secrets: Api<SecretObject>,
    namespace: String,
    copy: PathBuf,
}

impl std::fmt::Debug for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Road")
            .field("namespace", &self.namespace)
            .field("copy", &self.copy)
            .finish_non_exhaustive()
    }
}

/// The key of the agents in `namespace`, from the API server or else the copy in `state`. Waits where there is neither:
/// without a key this node cannot be one of several.
///
/// # Errors
/// The Secret is there and holds no key, or there is no randomness to make one from.
pub async fn shared_secret(
    client: Client,
    namespace: &str,
    state: &Path,
) -> Result<Shared, SharedKeyError> {
    let road = Road {
        secrets: Api::namespaced(client, namespace),
        namespace: namespace.to_owned(),
        copy: state.join(COPY),
    };
    let copy = road.read_copy();
    let patience = if copy.is_some() {
        COPY_PATIENCE
    } else {
        PATIENCE
    };
    let mut pause = Pause::new();
    let mut told = None;
    loop {
        let error = match road.ask_in(patience, copy.as_deref()).await {
            Ok(text) => {
                road.write_copy(copy.as_deref(), &text);
                return Ok(Shared {
                    secret: Secret::from(text.as_str()),
                    unconfirmed: None,
                });
            }
            Err(error @ (SharedKeyError::Unusable { .. } | SharedKeyError::Random(_))) => {
                return Err(error);
            }
            Err(error) => error,
        };
        if let Some(used) = copy {
            tracing::warn!(error = chain(&error), copy = %road.copy.display(), "going by this node's copy of the heartbeat key");
            let (secret, used) = (Secret::from(used.as_str()), Secret::from(used.as_str()));
            return Ok(Shared {
                secret,
                unconfirmed: Some(Unconfirmed { road, used }),
            });
        }
        let text = chain(&error);
        if told.as_ref() != Some(&text) {
            tracing::warn!(error = text, "waiting for the heartbeat key");
            told = Some(text);
        }
        tokio::time::sleep(pause.take()).await;
    }
}

impl Unconfirmed {
    /// Asks until the server answers, and tells where its key is another. The copy is then the server's, for the next
    /// start; this agent goes on with the key that it has. Dropped, it leaves nothing half done.
    pub async fn confirm(self) {
        let used = String::from_utf8_lossy(&self.used.0);
        let mut pause = Pause::new();
        let mut told = None;
        let text = loop {
            let error = match self.road.ask_in(PATIENCE, Some(&used)).await {
                Ok(text) => break text,
                Err(error) => error,
            };
            let away = matches!(error, SharedKeyError::Late | SharedKeyError::Unreachable(_));
            let text = chain(&error);
            if !away && told.as_ref() != Some(&text) {
                tracing::warn!(error = text, "the heartbeat key cannot be confirmed");
                told = Some(text);
            }
            // What a person has to mend takes its time.
            let wait = if away { pause.take() } else { REFUSED_PAUSE };
            tokio::time::sleep(wait).await;
        };
        if text == *used {
            tracing::info!("the API server's heartbeat key is that of this node's copy");
            return;
        }
        self.road.write_copy(Some(&used), &text);
        tracing::error!(
            secret = format!("{}/{SECRET_NAME}", self.road.namespace),
            "this agent runs with another heartbeat key than the other agents, and they do not hear each other; restart it, which makes it use the Secret's"
        );
    }
}

impl Road {
    async fn ask_in(
        &self,
        patience: Duration,
        copy: Option<&str>,
    ) -> Result<String, SharedKeyError> {
        let answered = tokio::time::timeout(patience, self.ask(copy)).await;
        answered.unwrap_or(Err(SharedKeyError::Late))
    }

    /// Reads the Secret, or makes it.
    async fn ask(&self, copy: Option<&str>) -> Result<String, SharedKeyError> {
        if let Some(text) = self.read().await? {
            return Ok(text);
        }
        let text = match copy {
            Some(text) => text.to_owned(),
            None => random().map_err(SharedKeyError::Random)?,
        };
        let object = SecretObject {
            metadata: ObjectMeta {
                name: Some(SECRET_NAME.into()),
                labels: Some([("app.kubernetes.io/managed-by".into(), "landfall".into())].into()),
                ..ObjectMeta::default()
            },
            data: Some([(ENTRY.into(), ByteString(text.clone().into_bytes()))].into()),
            type_: Some("Opaque".into()),
            ..SecretObject::default()
        };
        match self.secrets.create(&PostParams::default(), &object).await {
            Ok(_) => {
                tracing::info!(
                    secret = format!("{}/{SECRET_NAME}", self.namespace),
                    "made the heartbeat key"
                );
                Ok(text)
            }
            // Another agent was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // It may be gone again; then all begins anew.
                self.read().await?.ok_or(SharedKeyError::Late)
            }
            Err(error) => Err(self.told("create", error)),
        }
    }

    async fn read(&self) -> Result<Option<String>, SharedKeyError> {
        let found = self.secrets.get_opt(SECRET_NAME).await;
        let Some(object) = found.map_err(|error| self.told("get", error))? else {
            return Ok(None);
        };
        let octets = object.data.and_then(|mut data| data.remove(ENTRY));
        let text = octets.and_then(|octets| String::from_utf8(octets.0).ok());
        let text = text.map(|text| text.trim().to_owned());
        match text.filter(|text| text.len() >= SHORTEST) {
            Some(text) => Ok(Some(text)),
            None => Err(SharedKeyError::Unusable {
                namespace: self.namespace.clone(),
            }),
        }
    }

    fn told(&self, verb: &'static str, error: kube::Error) -> SharedKeyError {
        let namespace = self.namespace.clone();
        match &error {
            kube::Error::Api(status) => {
                let details = status.details.as_ref();
                let ending = details.is_some_and(|details| {
                    let mut causes = details.causes.iter();
                    causes.any(|cause| cause.reason == "NamespaceTerminating")
                });
                match status.code {
                    404 => SharedKeyError::NoNamespace { namespace },
                    403 if ending => SharedKeyError::NoNamespace { namespace },
                    403 => SharedKeyError::Denied { verb, namespace },
                    _ => SharedKeyError::Unreachable(error.into()),
                }
            }
            _ => SharedKeyError::Unreachable(error.into()),
        }
    }

    /// The copy, if there is one that is a key.
    fn read_copy(&self) -> Option<String> {
        match fs::read_to_string(&self.copy) {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| text.len() >= SHORTEST),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, copy = %self.copy.display(), "this node's copy of the heartbeat key cannot be read");
                None
            }
        }
    }

    /// Makes `text` the copy. Where that fails the agent goes on, and could not start without the server.
    fn write_copy(&self, before: Option<&str>, text: &str) {
        if before == Some(text) {
            return;
        }
        if let Err(error) = replace(&self.copy, text) {
            tracing::error!(%error, copy = %self.copy.display(), "the heartbeat key cannot be kept on this node; make state.dir writable, or an agent that starts without the API server waits for it");
        }
    }
}

/// Replaces the file whole; only its owner may read it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let beside = directory.join(format!(".{COPY}.new"));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(directory)?.sync_all()
}

/// A new key: random(4) as hexadecimal digits, as `landfall keygen` prints one.
fn random() -> io::Result<String> {
    let mut octets = [0; LENGTH];
    fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests;
