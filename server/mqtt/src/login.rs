//! What a CONNECT asks for, as far as this head can judge it: identity, credential, Will, keep-alive;
//! `contract/mqtt.md 2.2`, `2.3`, `2.7` and `2.8`. Whether the credential is any good is for `auth` to say.

use std::fmt;
use std::time::Duration;

use hub::ids::IdentityId;
use hub::telemetry::DeviceMessage;
use hub::twin::Arrays;

use crate::error::{RefusedConnect, shown};
use crate::packet::{Connect, Publish};
use crate::properties;
use crate::topic::Topic;
use crate::username::Username;

/// A CONNECT that this head has nothing against. The core has the say now.
pub(crate) struct Login {
    pub(crate) identity: IdentityId,
    /// Whether the client's version of the interface lets it report arrays.
    pub(crate) arrays: Arrays,
    /// The hub's name as the client wrote it.
    pub(crate) host: String,
    pub(crate) keep_session: bool,
    pub(crate) model_id: Option<String>,
    /// The SAS token; empty for a client certificate.
    pub(crate) password: String,
    pub(crate) product_info: Option<String>,
    pub(crate) will: Option<DeviceMessage>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("identity", &self.identity)
            .field("password", &"***")
            .finish_non_exhaustive()
    }
}

/// What a CONNECT asks for, and how long its client may be silent; `contract/mqtt.md 2.2` to `2.4`, `2.7`, `2.8`.
pub(crate) fn login(connect: Connect) -> Result<(Login, Duration), RefusedConnect> {
    let username = Username::parse(&connect.username)?;
    let identity = IdentityId::parse(username.device, username.module).map_err(RefusedConnect::Core)?;
    if !username.is_client_id(&connect.client_id) {
        let client_id = shown(&connect.client_id);
        return Err(RefusedConnect::ClientId { client_id, expected: identity.to_string() });
    }
    let will = connect.will.map(|will| will_message(will, &identity)).transpose()?;
    let login = Login {
        arrays: username.api_version.into(),
        host: username.host.to_owned(),
        keep_session: !connect.clean_session,
        model_id: username.model_id,
        password: connect.password,
        product_info: username.product_info,
        will,
        identity,
    };
    Ok((login, silence_limit(connect.keep_alive_secs)))
}

fn silence_limit(keep_alive_secs: u16) -> Duration {
    match keep_alive_secs {
        0 => LONGEST_SILENCE,
        secs => (Duration::from_secs(secs.into()) * 3 / 2).min(LONGEST_SILENCE),
    }
}

/// The core marks it as a Will when it publishes it.
fn will_message(will: Publish, identity: &IdentityId) -> Result<DeviceMessage, RefusedConnect> {
    let topic = std::str::from_utf8(&will.topic).ok().and_then(Topic::parse);
    let Some(topic @ Topic::Telemetry { bag, .. }) = topic else { return Err(RefusedConnect::Will) };
    if !topic.is_telemetry_of(identity) {
        return Err(RefusedConnect::Will);
    }
    let mut properties = properties::decode(bag);
    properties::stamp_flags(&mut properties, will.retain, false);
    Ok(DeviceMessage { properties, body: will.payload })
}

/// Longest silence the hub grants, whatever keep-alive the client asks for. `contract/mqtt.md 2.7`.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(1767);
