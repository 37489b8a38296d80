//! The CONNECT username: which hub, which identity, which client; `contract/mqtt.md 2.3`. Accepts every spelling
//! that SDKs are known to send and refuses the rest.
#![warn(clippy::indexing_slicing)]

use hub::api_version::ApiVersion;
use percent_encoding::percent_decode_str;

use crate::names::username;

/// What a username says. Ids are still text: whether they are ids is for the core to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Username<'a> {
    /// The hub's name as the client knows it. Never compared with SNI, `contract/mqtt.md 1`.
    pub(crate) host: &'a str,
    pub(crate) device: &'a str,
    pub(crate) module: Option<&'a str>,
    /// The version of the hub's interface the client speaks; `None` when it names none the hub knows.
    pub(crate) api_version: Option<ApiVersion>,
    /// The client's user agent, decoded.
    pub(crate) product_info: Option<String>,
    /// The IoT Plug and Play model, decoded.
    pub(crate) model_id: Option<String>,
}

/// Why a username is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsernameError {
    #[error("username names an empty host, device or module")]
    EmptyPart,
    #[error("username is not \"{{host}}/{{device}}[/{{module}}]/?api-version={{version}}\"")]
    NotInGrammar,
    #[error("username has an empty api-version")]
    NoVersion,
}

impl<'a> Username<'a> {
    /// Steps 1 to 7 of `contract/mqtt.md 2.3`.
    pub(crate) fn parse(text: &'a str) -> Result<Self, UsernameError> {
        let (path, parameters) = split_parameters(text);
        let mut parts = path.split('/').map(str::trim);
        let segments = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(host), Some(device), module, None) = segments else {
            return Err(UsernameError::NotInGrammar);
        };
        if host.is_empty() || device.is_empty() || module.is_some_and(str::is_empty) {
            return Err(UsernameError::EmptyPart);
        }
        let version = parameter(parameters, username::API_VERSION);
        if version.as_deref().is_some_and(str::is_empty) {
            return Err(UsernameError::NoVersion);
        }
        Ok(Self {
            host,
            device,
            module,
            api_version: version.as_deref().and_then(ApiVersion::parse),
            product_info: parameter(parameters, username::DEVICE_CLIENT_TYPE),
            model_id: parameter(parameters, username::MODEL_ID),
        })
    }

    /// The client id that goes with this username, `contract/mqtt.md 2.2`.
    pub(crate) fn is_client_id(&self, client_id: &str) -> bool {
        match (self.module, client_id.split_once('/')) {
            (Some(module), Some((device, rest))) => device == self.device && rest == module,
            (None, None) => client_id == self.device,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Path and parameter list. A last segment is the list if it starts with `?`, has an api-version in it, or is empty:
/// then only the slash of the list was written.
fn split_parameters(text: &str) -> (&str, &str) {
    if let Some(path) = text.strip_suffix(username::PREVIEW_CLIENT_ENDING) {
        // Its user agent holds a slash; nothing in it is needed.
        return (path, "");
    }
    match text.rsplit_once('/') {
        Some((path, last)) => match last.strip_prefix('?') {
            Some(parameters) => (path, parameters),
            None if last.is_empty() || names_a_version(last) => (path, last),
            None => (text, ""),
        },
        None => (text, ""),
    }
}

fn names_a_version(segment: &str) -> bool {
    segment
        .split('&')
        .any(|pair| pair.strip_prefix(username::API_VERSION).is_some_and(|rest| rest.starts_with('=')))
}

/// The first value of `name`, decoded; `None` if it is missing.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let (_, value) =
        parameters.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str =
        "h.example/d1/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node)";

    fn ids(text: &str) -> Result<(&str, Option<&str>), UsernameError> {
        Username::parse(text).map(|name| (name.device, name.module))
    }

    #[test]
    fn every_spelling_of_an_sdk_is_accepted() {
        let rows = [
            ("node device", NODE, ("d1", None)),
            ("node module", "h/d1/m1/?api-version=2021-04-12", ("d1", Some("m1"))),
            ("go device, no question mark", "h/d1/api-version=2020-09-30", ("d1", None)),
            ("no question mark, version second", "h/d1/x=y&api-version=2020-09-30", ("d1", None)),
            ("module without question mark", "h/d1/m1/api-version=2018-06-30", ("d1", Some("m1"))),
            (
                "preview client",
                "h/d1/m1/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003",
                ("d1", Some("m1")),
            ),
            ("bare device", "h/d1", ("d1", None)),
            ("bare module", "h/d1/m1", ("d1", Some("m1"))),
            ("empty list", "h/d1/?", ("d1", None)),
            ("device with a slash at its end", "h/d1/", ("d1", None)),
            ("module with a slash at its end", "h/d1/m1/", ("d1", Some("m1"))),
            ("blanks round ids", "h/ d1 / m1 /?api-version=x", ("d1", Some("m1"))),
            ("edge module", "h/d1/$edgeHub/?api-version=x", ("d1", Some("$edgeHub"))),
            ("a question mark within an id", "h/d?1/?api-version=x", ("d?1", None)),
        ];
        for (name, text, expected) in rows {
            assert_eq!(ids(text), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_username_outside_the_grammar_is_refused() {
        let rows = [
            ("nothing", "", UsernameError::NotInGrammar),
            ("host alone", "h", UsernameError::NotInGrammar),
            ("only parameters", "h/?api-version=x", UsernameError::NotInGrammar),
            ("too deep", "h/d/m/x/?api-version=x", UsernameError::NotInGrammar),
            ("no host", "/d/?api-version=x", UsernameError::EmptyPart),
            ("no device", "h//?api-version=x", UsernameError::EmptyPart),
            ("no device, no list", "h//", UsernameError::EmptyPart),
            ("two slashes at its end", "h/d//", UsernameError::EmptyPart),
            ("no module", "h/d//?api-version=x", UsernameError::EmptyPart),
            ("no version", "h/d/?api-version=", UsernameError::NoVersion),
        ];
        for (name, text, expected) in rows {
            assert_eq!(ids(text), Err(expected), "{name}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_the_first_of_two_wins() {
        let name =
            Username::parse("h/d/?api-version=1&model-id=dtmi%3Aa%3Bb;1&model-id=other&DeviceClientType=a=b")
                .expect("a valid username");
        assert_eq!(name.model_id.as_deref(), Some("dtmi:a;b;1"));
        assert_eq!(name.product_info.as_deref(), Some("a=b"));
        let node = Username::parse(NODE).expect("a valid username");
        assert_eq!((node.host, node.model_id), ("h.example", None));
        assert_eq!(node.product_info.as_deref(), Some("azure-iot-device/1.18.4 (node)"));
    }

    #[test]
    fn any_version_is_accepted_and_a_known_one_kept() {
        let version = |text| Username::parse(text).expect("a valid username").api_version;
        assert_eq!(version(NODE), ApiVersion::parse("2021-04-12"));
        assert_eq!(version("h/d1/m1/api-version=2018-06-30"), ApiVersion::parse("2018-06-30"));
        for unknown in ["h/d1", "h/d1/?api-version=x", "h/d1/?api-version=2010-01-01"] {
            assert_eq!(version(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_client_id_is_the_identity_spelled_the_same() {
        let device = Username::parse("h/d/?api-version=1").expect("a valid username");
        let module = Username::parse("h/d/m/?api-version=1").expect("a valid username");
        assert!(device.is_client_id("d"));
        assert!(module.is_client_id("d/m"));
        for (name, client_id) in
            [(&device, "D"), (&device, "d/m"), (&device, ""), (&module, "d"), (&module, "d/M")]
        {
            assert!(!name.is_client_id(client_id), "{client_id}");
        }
    }
}
