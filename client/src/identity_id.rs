//! The names of devices and modules: 1 to 128 characters of the documented set, case-sensitive
//! (contract/rest.md 2.4).

use std::fmt;

use percent_encoding::utf8_percent_encode;

use crate::error::Error;
use crate::sas::UNRESERVED;

/// Longest device or module id, in characters.
const MAX_ID_LEN: usize = 128;

/// Names a device, or a module of a device. Displays as `device` or `device/module`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId {
    device: String,
    module: Option<String>,
}

impl IdentityId {
    /// Names a device.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the id is empty, too long or has a character the hub does not allow.
    pub fn of_device(device: impl Into<String>) -> Result<Self, Error> {
        Ok(Self { device: checked("device", device.into())?, module: None })
    }

    /// Names a module.
    ///
    /// # Errors
    /// As [`IdentityId::of_device`], for both ids.
    pub fn of_module(device: impl Into<String>, module: impl Into<String>) -> Result<Self, Error> {
        let module = Some(checked("module", module.into())?);
        Ok(Self { device: checked("device", device.into())?, module })
    }

    /// The device, or the device the module lives on.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The module, when it is one.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// `/devices/d` or `/devices/d/modules/m`, ids as they are: the start of AMQP addresses and token
    /// resources. MQTT topics use the same without the first slash.
    pub(crate) fn path(&self) -> String {
        match &self.module {
            Some(module) => format!("/devices/{}/modules/{module}", self.device),
            None => format!("/devices/{}", self.device),
        }
    }

    /// `d` or `d/modules/m` with the ids percent-encoded, as in the path of a request.
    pub(crate) fn encoded(&self) -> String {
        let device = utf8_percent_encode(&self.device, UNRESERVED);
        match &self.module {
            Some(module) => format!("{device}/modules/{}", utf8_percent_encode(module, UNRESERVED)),
            None => device.to_string(),
        }
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        match &self.module {
            Some(module) => write!(f, "/{module}"),
            None => Ok(()),
        }
    }
}

fn checked(kind: &str, id: String) -> Result<String, Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@;$'".contains(c);
    if id.is_empty() || id.len() > MAX_ID_LEN || !id.chars().all(allowed) {
        return Err(Error::configuration(format!(
            "{id:?} is not a {kind} id: 1 to {MAX_ID_LEN} of A-Z a-z 0-9 and - : . + % _ # * ? ! ( ) , = @ ; $ '"
        )));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_characters_are_allowed_and_others_are_not() {
        assert!(IdentityId::of_device("aZ09-:.+%_#*?!(),=@;$'").is_ok());
        for id in ["", "a b", "a/b", "ä", "a&b", "a\n"] {
            assert!(IdentityId::of_device(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn an_id_may_have_128_characters_and_not_129() {
        assert!(IdentityId::of_device("x".repeat(128)).is_ok());
        assert!(IdentityId::of_module("d", "x".repeat(129)).is_err());
    }

    #[test]
    fn a_request_path_encodes_what_a_url_would_misread() {
        let id = IdentityId::of_module("a#b", "c?%").unwrap();
        assert_eq!(id.encoded(), "a%23b/modules/c%3F%25");
        assert_eq!(id.path(), "/devices/a#b/modules/c?%");
        assert_eq!(id.to_string(), "a#b/c?%");
    }
}
