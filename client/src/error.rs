//! What can go wrong, in the words of the person who has to fix it. [`Error::kind`] is for programs to branch
//! on, the text is for people, and [`Error::hub`] holds what the hub itself said: HTTP status, error name and
//! number (contract/rest.md section 4), or the AMQP condition mapped to them.

use std::fmt;

/// A failed operation. `{}` writes what failed, `{:#}` the causes behind it as well.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hub: Option<Box<HubError>>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What sort of failure it was, and so what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An identity of that name exists already (HTTP 409).
    AlreadyExists,
    /// This client was closed.
    Closed,
    /// The hub could not be reached: name, port, network or TLS. Trying again may help.
    Connection,
    /// The connection went away during the operation, which may or may not have been carried out.
    ConnectionLost,
    /// The hub found the request wrong (HTTP 400, 413), or it could not even be formed.
    InvalidArgument,
    /// A connection string, key or certificate given to this client cannot be used.
    InvalidConfiguration,
    /// More desired-property changes arrived than the reader took: read the twin again.
    MissedChanges,
    /// No such device, module or hub (HTTP 404).
    NotFound,
    /// Another reader took the partition over, with the same or a higher owner level.
    OwnershipLost,
    /// If-Match named another version than the current one (HTTP 412).
    PreconditionFailed,
    /// The hub answered with something this client does not understand.
    Protocol,
    /// Quota, tier or state of the hub forbids it (HTTP 403).
    Refused,
    /// The hub asks to slow down (HTTP 429).
    Throttled,
    /// No answer in time.
    TimedOut,
    /// The credentials were not accepted: key, token, certificate, policy, or a disabled device (HTTP 401).
    Unauthorized,
    /// The hub is out of order or too busy (HTTP 5xx).
    Unavailable,
}

/// What the hub said about a refused operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubError {
    /// HTTP status, or the one a CBS, twin or AMQP answer corresponds to.
    pub status: u16,
    /// The hub's name for it, such as `DeviceNotFound`, or an AMQP condition such as `amqp:not-found`.
    pub name: Option<String>,
    /// The hub's number for it, such as 404001, where it was sent.
    pub number: Option<u32>,
    /// The hub's own text.
    pub text: String,
    /// For a support request about the real hub.
    pub tracking_id: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hub: None, source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure as one of another kind.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// A refusal by the hub; `doing` completes the sentence "could not ..".
    pub(crate) fn refused(doing: &str, hub: HubError) -> Self {
        let kind = ErrorKind::of_status(hub.status);
        Self { kind, message: format!("could not {doing}: {hub}"), hub: Some(Box::new(hub)), source: None }
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfiguration, message)
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    pub(crate) fn timed_out(waiting_for: &str) -> Self {
        Self::new(ErrorKind::TimedOut, format!("timed out waiting for {waiting_for}"))
    }

    /// The same failure once more, for another waiter; the causes become part of the text.
    pub(crate) fn duplicate(&self) -> Self {
        Self { kind: self.kind, message: format!("{self:#}"), hub: self.hub.clone(), source: None }
    }

    /// What sort of failure it was.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the hub said, when it was the hub that refused.
    #[must_use]
    pub fn hub(&self) -> Option<&HubError> {
        self.hub.as_deref()
    }

    /// Whether the same operation can succeed later with nothing changed on this side.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Connection
                | ErrorKind::ConnectionLost
                | ErrorKind::Throttled
                | ErrorKind::TimedOut
                | ErrorKind::Unavailable
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = std::error::Error::source(self).filter(|_| f.alternate());
        let mut written = self.message.clone();
        while let Some(inner) = cause {
            // Many libraries write the cause into their own text already.
            let text = inner.to_string();
            if !written.contains(&text) {
                write!(f, ": {text}")?;
            }
            written = text;
            cause = inner.source();
        }
        Ok(())
    }
}

impl ErrorKind {
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 => Self::InvalidArgument,
            401 => Self::Unauthorized,
            403 => Self::Refused,
            404 => Self::NotFound,
            408 | 504 => Self::TimedOut,
            409 => Self::AlreadyExists,
            412 => Self::PreconditionFailed,
            429 => Self::Throttled,
            500..=599 => Self::Unavailable,
            _ => Self::Protocol,
        }
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.number) {
            (Some(name), Some(number)) => write!(f, "the hub answered {} {name} ({number})", self.status)?,
            (Some(name), None) => write!(f, "the hub answered {} {name}", self.status)?,
            (None, _) => write!(f, "the hub answered {}", self.status)?,
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_a_sentence_and_keeps_the_hubs_code() {
        let error = Error::refused(
            "get device \"d1\"",
            HubError {
                status: 404,
                name: Some("DeviceNotFound".into()),
                number: Some(404_001),
                text: "no such device".into(),
                tracking_id: None,
            },
        );
        assert_eq!(
            error.to_string(),
            "could not get device \"d1\": the hub answered 404 DeviceNotFound (404001): no such device"
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.hub().and_then(|hub| hub.number), Some(404_001));
    }

    #[test]
    fn the_alternate_form_names_the_causes() {
        let error = Error::configuration("cannot read ca.pem").with_source("no such file");
        assert_eq!(error.to_string(), "cannot read ca.pem");
        assert_eq!(format!("{error:#}"), "cannot read ca.pem: no such file");
        assert_eq!(error.duplicate().to_string(), "cannot read ca.pem: no such file");
        let wordy = Error::configuration("no: no such file").with_source("no such file");
        assert_eq!(format!("{wordy:#}"), "no: no such file");
    }

    #[test]
    fn only_failures_that_pass_by_themselves_are_transient() {
        assert!(Error::timed_out("x").is_transient());
        assert!(Error::refused("x", HubError { status: 429, ..HubError::default() }).is_transient());
        assert!(!Error::refused("x", HubError { status: 401, ..HubError::default() }).is_transient());
        assert!(!Error::configuration("x").is_transient());
    }
}
