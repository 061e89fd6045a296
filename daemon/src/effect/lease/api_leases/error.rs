//! Why leases cannot be read or written at the API server, and what to do about it.

use std::time::Duration;

use hyper::StatusCode;
use kube::core::Status;

/// What is asked of the API server about leases: RBAC's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Delete,
}

impl Verb {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Why the API server is of no use for leases at present. Each says what to do, where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum ApiLeaseError {
    /// No answer, or not a whole one.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the API server does not answer in time when asked to {verb} leases")]
    Late {
        /// What was asked.
        verb: &'static str,
    },
    /// RBAC.
    #[error(
        "landfall may not {verb} leases.coordination.k8s.io in namespace {namespace}; apply the Role and the RoleBinding of Landfall's manifest"
    )]
    Denied {
        /// The verb that is missing.
        verb: &'static str,
        /// The agents' namespace.
        namespace: String,
    },
    /// Who asks is not known to the server.
    #[error(
        "the API server does not accept this agent's credentials; renew those of kubernetes.kubeconfig, or the pod's service account"
    )]
    Unknown,
    /// There is no such namespace, or it is going.
    #[error("namespace {namespace} is not there, or is being deleted; create it")]
    NoNamespace {
        /// The agents' namespace.
        namespace: String,
    },
    /// Priority and fairness, or a server that is starting or stopping.
    #[error("the API server is busy ({code})")]
    Busy {
        /// The HTTP status.
        code: u16,
        /// When to come again.
        after: Duration,
    },
    /// Anything else.
    #[error("the API server refused to {verb} leases: {message} ({code})")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// The HTTP status.
        code: u16,
        /// What the server said.
        message: String,
    },
    /// The answer is not what was asked for.
    #[error("the API server's answer is not a lease; is there a proxy between?")]
    Form(#[source] serde_json::Error),
    /// Kubernetes 1.35 says that they are.
    #[error(
        "resource version {text:?} is not a number, so that versions cannot be compared; landfall needs an API server that keeps leases in etcd"
    )]
    Revision {
        /// What there was instead.
        text: String,
    },
}

/// How long a server that says nothing of it is left in peace.
const PEACE: Duration = Duration::from_millis(200);
/// How long a server that asks for it is left in peace at most: all is to heal within seconds.
const MOST_PEACE: Duration = Duration::from_secs(1);

impl ApiLeaseError {
    pub(super) const fn late(verb: Verb) -> Self {
        Self::Late {
            verb: verb.as_str(),
        }
    }

    /// What the server's refusal means.
    pub(super) fn refusal(
        verb: Verb,
        namespace: &str,
        status: &Status,
        retry_after: Option<Duration>,
    ) -> Self {
        let verb = verb.as_str();
        let namespace = namespace.to_owned();
        if is_about_namespace(status) {
            return Self::NoNamespace { namespace };
        }
        match status.code {
            401 => Self::Unknown,
            403 => Self::Denied { verb, namespace },
            code @ (429 | 502..=504) => Self::Busy {
                code,
                after: retry_after.unwrap_or(PEACE).min(MOST_PEACE),
            },
            code => Self::Refused {
                verb,
                code,
                message: status.message.clone(),
            },
        }
    }

    /// What it has in common with others, so that one trouble is told once: a server that is away shows itself in many ways.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Unreachable(_) | Self::Late { .. } | Self::Busy { .. } => "away".to_owned(),
            other => other.to_string(),
        }
    }

    /// How long the server wants to be left in peace.
    pub(super) fn peace(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => Some(*after),
            _ => None,
        }
    }

    /// Whether a watch cannot, or may not be able to, go on from where the last one came to. 504 is what a server says that
    /// has not come so far itself, for which a restored etcd may be the reason.
    pub(super) fn loses_place(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Late { .. }
            | Self::Denied { .. }
            | Self::Unknown
            | Self::NoNamespace { .. } => false,
            Self::Busy { code, .. } => *code == StatusCode::GATEWAY_TIMEOUT.as_u16(),
            Self::Refused { .. } | Self::Form(_) | Self::Revision { .. } => true,
        }
    }

    /// A list or a watch cannot go on from where it was; another list has to be made.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::GONE.as_u16())
    }
}

/// Whether a refusal is for want of the namespace: a lease in it is neither there nor can it be made.
pub(super) fn is_about_namespace(status: &Status) -> bool {
    let details = status.details.as_ref();
    let missing = status.code == StatusCode::NOT_FOUND.as_u16()
        && details.is_some_and(|details| details.kind == "namespaces");
    let ending = status.code == StatusCode::FORBIDDEN.as_u16()
        && details.is_some_and(|details| {
            let mut causes = details.causes.iter();
            causes.any(|cause| cause.reason == "NamespaceTerminating")
        });
    missing || ending
}
