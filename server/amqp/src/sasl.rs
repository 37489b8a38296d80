//! What a SASL layer presents (contract/amqp.md 1.1): usually nothing, because the token follows by CBS; with
//! PLAIN a user and a SAS token, or a policy and its key (contract/eventhubs.md 2).

#![warn(clippy::indexing_slicing)]

use std::fmt;

use hub::ids::IdentityId;
use percent_encoding::percent_decode_str;

use crate::names::{
    PLAIN_MODULES, PLAIN_ROOT_PREFIX, PLAIN_SAS_PREFIX, SASL_ANONYMOUS, SASL_CBS, SASL_EXTERNAL, SASL_PLAIN,
};

/// A sasl-init, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// The client's TLS certificate; which identity it is for, its links will say.
    Certificate,
    /// Nothing, or nothing that counts: an ANONYMOUS trace is ignored.
    Nothing,
    /// A user and its password.
    Login { user: User, password: Password },
}

/// Whom a PLAIN user name names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// A device or module, in either reading of its name.
    Identity(IdentityId),
    /// A shared access policy.
    Policy(String),
}

/// A SAS token or a key, which must not show in a log.
#[derive(PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Presented {
    /// Reads mechanism and response; the error says what is wrong, for the log.
    pub(crate) fn parse(mechanism: &str, response: &[u8]) -> Result<Self, String> {
        match mechanism {
            SASL_CBS | SASL_ANONYMOUS => Ok(Self::Nothing),
            SASL_EXTERNAL => Ok(Self::Certificate),
            SASL_PLAIN => plain(response),
            other => Err(format!("the SASL mechanism {other:?} was not offered")),
        }
    }
}

/// `authzid NUL authcid NUL password`.
fn plain(response: &[u8]) -> Result<Presented, String> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (Some(_), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a PLAIN response must be authzid, user and password with a NUL between them".into());
    };
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| "a PLAIN response must be UTF-8".to_owned())
    };
    Ok(Presented::Login { user: User::parse(&text(user)?)?, password: Password(text(password)?) })
}

impl User {
    /// `{policy}[@sas.root.{hub}]`, `{device}[/modules/{module}]@[sas.]{hub}`. An id may hold an `@` itself. Any hub
    /// label is taken: clients derive it as the text before the first dot, whatever the host is.
    fn parse(user: &str) -> Result<Self, String> {
        let Some((name, hub)) = user.rsplit_once('@') else {
            return Ok(Self::Policy(user.to_owned()));
        };
        if starts_with(hub, PLAIN_ROOT_PREFIX) {
            return Ok(Self::Policy(name.to_owned()));
        }
        debug_assert!(PLAIN_ROOT_PREFIX.starts_with(PLAIN_SAS_PREFIX));
        let (device, module) = match name.split_once(PLAIN_MODULES) {
            Some((device, module)) => (device, Some(module)),
            None => (name, None),
        };
        let identity = decoded(device, module)
            .or_else(|| IdentityId::parse(device, module).ok())
            .ok_or_else(|| format!("the PLAIN user {user:?} is neither a policy nor a device or module"))?;
        Ok(Self::Identity(identity))
    }
}

fn decoded(device: &str, module: Option<&str>) -> Option<IdentityId> {
    let device = percent_decode_str(device).decode_utf8().ok()?;
    let module = module.map(|module| percent_decode_str(module).decode_utf8()).transpose().ok()?;
    IdentityId::parse(&device, module.as_deref()).ok()
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: &str) -> Result<User, String> {
        let response = [b"\0", user.as_bytes(), b"\0SharedAccessSignature sr=x"].concat();
        match Presented::parse(SASL_PLAIN, &response)? {
            Presented::Login { user, password } => {
                assert_eq!(password.0, "SharedAccessSignature sr=x");
                Ok(user)
            }
            other => panic!("{other:?}"),
        }
    }

    fn identity(device: &str, module: Option<&str>) -> Result<User, String> {
        Ok(User::Identity(IdentityId::parse(device, module).unwrap()))
    }

    #[test]
    fn devices_modules_and_policies_are_told_apart() {
        let policy = |name: &str| Ok(User::Policy(name.to_owned()));
        assert_eq!(user("service@sas.root.hub"), policy("service"));
        assert_eq!(user("a@b@sas.root.hub"), policy("a@b"));
        assert_eq!(user("service"), policy("service"));
        assert_eq!(user("d1@sas.hub"), identity("d1", None));
        assert_eq!(user("d1@hub"), identity("d1", None));
        assert_eq!(user("d1/modules/m1@sas.localhost"), identity("d1", Some("m1")));
        assert_eq!(user("d%2B1/modules/m%3A1@sas.hub"), identity("d+1", Some("m:1")));
        assert_eq!(user("a@b@sas.hub"), identity("a@b", None));
    }

    #[test]
    fn what_is_no_user_is_refused() {
        assert!(user("@sas.hub").is_err());
        assert!(user("d 1@sas.hub").is_err());
        assert!(Presented::parse(SASL_PLAIN, b"no nul at all").is_err());
        assert!(Presented::parse(SASL_PLAIN, b"\0d1@sas.hub").is_err());
        assert!(Presented::parse("SCRAM-SHA-1", b"").is_err());
    }

    #[test]
    fn an_anonymous_trace_means_nothing() {
        assert_eq!(Presented::parse(SASL_ANONYMOUS, b"\0somebody"), Ok(Presented::Nothing));
        assert_eq!(Presented::parse(SASL_CBS, b""), Ok(Presented::Nothing));
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Password("secret".into())), "***");
    }
}
