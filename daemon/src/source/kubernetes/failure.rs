//! Why a request to the API server failed, as a person is told.

/// No answer in time.
pub(super) const LATE: &str = "the server does not answer in time";

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In one line.
    pub(super) reason: String,
    /// HTTP's status, where the server answered.
    status: Option<u16>,
    /// Something else was answered than was asked for.
    garbled: bool,
}

impl Failure {
    pub(super) fn plain(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            status: None,
            garbled: false,
        }
    }

    /// The server answered with an error.
    pub(super) fn answered(status: u16, path: &str) -> Self {
        Self {
            reason: format!("{path} is answered by status {status}"),
            status: Some(status),
            garbled: false,
        }
    }

    pub(super) fn of(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self {
                reason: status.message.lines().next().unwrap_or_default().to_owned(),
                status: Some(status.code),
                garbled: false,
            },
            error => Self {
                garbled: matches!(error, kube::Error::SerdeError(_)),
                ..Self::plain(&chain(&error))
            },
        }
    }

    /// No answer came in time.
    pub(super) fn is_late(&self) -> bool {
        self.reason == LATE
    }

    /// The server does not know what was asked for.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == Some(404)
    }

    /// What was known of the past is too old for the server.
    pub(super) fn is_expired(&self) -> bool {
        self.status == Some(410)
    }

    /// What came makes no sense: whoever goes by it asks for everything anew.
    pub(super) fn is_unreadable(&self) -> bool {
        self.garbled || self.is_unknown()
    }

    /// The server knows this agent, or does not, and will not have it.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }
}

/// An error with what caused it, where that says more.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
