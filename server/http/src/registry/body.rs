//! What a PUT or a bulk row writes of an identity -> the core's spec: only writable fields are read, everything else a caller
//! sends back to us (etags, times, states) is ignored (contract/rest.md 2.3).

use hub::error::HubError;
use hub::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec, DeviceStatus, ModuleSpec};
use hub::ids::{DeviceId, ModuleId};
use hub::json::kind;
use serde_json::Value;

use crate::json::{self, Members};
use crate::names::{member, term};

pub(super) fn device(id: &DeviceId, bytes: &[u8]) -> Result<DeviceSpec, HubError> {
    let body = json::object(bytes)?;
    let body = Members::of(&body);
    check_id(body, member::DEVICE_ID, id.as_str())?;
    device_spec(body)
}

/// The writable members of a device.
pub(super) fn device_spec(body: Members<'_>) -> Result<DeviceSpec, HubError> {
    let statuses = [(term::DISABLED, DeviceStatus::Disabled), (term::ENABLED, DeviceStatus::Enabled)];
    let capabilities = body.object(member::CAPABILITIES)?;
    Ok(DeviceSpec {
        authentication: authentication(body)?,
        status: body.term(member::STATUS, &statuses)?,
        status_reason: body.text(member::STATUS_REASON)?.map(Into::into),
        iot_edge: capabilities.map(|it| it.boolean(member::IOT_EDGE)).transpose()?.flatten(),
        // Null detaches as empty text and an empty list do (contract/rest.md 2.6).
        device_scope: body
            .text(member::DEVICE_SCOPE)?
            .or_else(|| body.is_null(member::DEVICE_SCOPE).then_some(""))
            .map(Into::into),
        parent_scopes: body
            .array(member::PARENT_SCOPES)?
            .or_else(|| body.is_null(member::PARENT_SCOPES).then_some(&[]))
            .map(|scopes| scopes.iter().map(parent_scope).collect())
            .transpose()?,
    })
}

fn parent_scope(element: &Value) -> Result<String, HubError> {
    element.as_str().map(Into::into).ok_or_else(|| {
        json::invalid(format!(
            "The member '{}' must hold strings, it holds {}.",
            member::PARENT_SCOPES,
            kind(element)
        ))
    })
}

pub(super) fn module(device: &DeviceId, id: &ModuleId, bytes: &[u8]) -> Result<ModuleSpec, HubError> {
    let body = json::object(bytes)?;
    let body = Members::of(&body);
    check_id(body, member::DEVICE_ID, device.as_str())?;
    check_id(body, member::MODULE_ID, id.as_str())?;
    module_spec(body)
}

/// A module that only its body names, on a device that is given otherwise.
pub(crate) fn module_of(device: &DeviceId, body: Members<'_>) -> Result<(ModuleId, ModuleSpec), HubError> {
    check_id(body, member::DEVICE_ID, device.as_str())?;
    let id = body.text(member::MODULE_ID)?.unwrap_or_default();
    Ok((ModuleId::parse(id)?, module_spec(body)?))
}

/// The writable members of a module.
fn module_spec(body: Members<'_>) -> Result<ModuleSpec, HubError> {
    Ok(ModuleSpec {
        authentication: authentication(body)?,
        managed_by: body.text(member::MANAGED_BY)?.map(Into::into),
    })
}

/// A body names the identity it is for, the same as its path (contract/rest.md 1.2).
fn check_id(body: Members<'_>, name: &str, in_path: &str) -> Result<(), HubError> {
    match body.text(name)? {
        Some(in_body) if in_body == in_path => Ok(()),
        Some(_) => {
            Err(json::invalid(format!("The member '{name}' differs from the id in the path, '{in_path}'.")))
        }
        None => Err(json::invalid(format!(
            "The member '{name}' is missing, it must be '{in_path}' as in the path."
        ))),
    }
}

pub(super) fn authentication(body: Members<'_>) -> Result<Option<AuthenticationSpec>, HubError> {
    let Some(authentication) = body.object(member::AUTHENTICATION)? else { return Ok(None) };
    let types = [
        (term::CERTIFICATE_AUTHORITY, AuthenticationType::CertificateAuthority),
        (term::NONE, AuthenticationType::None),
        (term::SAS, AuthenticationType::Sas),
        (term::SELF_SIGNED, AuthenticationType::SelfSigned),
    ];
    let kind = authentication.term(member::TYPE, &types)?;
    let keys = authentication.object(member::SYMMETRIC_KEY)?;
    let thumbprints = authentication.object(member::X509_THUMBPRINT)?;
    Ok(Some(AuthenticationSpec {
        kind,
        primary_key: text_in(keys, member::PRIMARY_KEY)?,
        secondary_key: text_in(keys, member::SECONDARY_KEY)?,
        primary_thumbprint: text_in(thumbprints, member::PRIMARY_THUMBPRINT)?,
        secondary_thumbprint: text_in(thumbprints, member::SECONDARY_THUMBPRINT)?,
    }))
}

fn text_in(members: Option<Members<'_>>, name: &str) -> Result<Option<String>, HubError> {
    Ok(members.map(|it| it.text(name)).transpose()?.flatten().map(Into::into))
}

#[cfg(test)]
mod tests {
    use hub::error::ErrorCode;

    use super::*;

    fn read(text: &str) -> Result<DeviceSpec, HubError> {
        device(&DeviceId::parse("d1").unwrap(), text.as_bytes())
    }

    #[test]
    fn only_writable_fields_are_read_and_the_rest_ignored() {
        let spec = read(
            r#"{"deviceId":"d1","generationId":"1","etag":null,"connectionState":7,"lastActivityTime":"",
                "cloudToDeviceMessageCount":"x","status":"disabled","statusReason":"stolen","unheardOf":[],
                "capabilities":{"iotEdge":true,"more":1},"authentication":null}"#,
        )
        .unwrap();
        assert_eq!(spec.status, Some(DeviceStatus::Disabled));
        assert_eq!(spec.status_reason.as_deref(), Some("stolen"));
        assert_eq!(spec.iot_edge, Some(true));
        assert!(spec.authentication.is_none());
    }

    #[test]
    fn the_authentication_node_sends_when_the_caller_gave_none_is_read() {
        let spec = read(
            r#"{"deviceId":"d1","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}"#,
        );
        let authentication = spec.unwrap().authentication.unwrap();
        assert_eq!(authentication.kind, Some(AuthenticationType::Sas));
        assert_eq!(authentication.primary_key.as_deref(), Some(""));
    }

    #[test]
    fn the_body_must_name_the_identity_of_its_path() {
        assert!(read(r#"{"deviceId":"d1"}"#).is_ok());
        for other in [r#"{"deviceId":"D1"}"#, r#"{"deviceId":null}"#, "{}"] {
            assert_eq!(read(other).unwrap_err().code(), ErrorCode::ArgumentInvalid, "{other}");
        }
    }

    #[test]
    fn wrong_types_and_unknown_words_are_refused_by_name() {
        for (body, named) in [
            (r#"{"deviceId":"d1","status":true}"#, "'status' must be a string"),
            (r#"{"deviceId":"d1","status":"asleep"}"#, "'asleep', allowed are disabled, enabled"),
            (r#"{"deviceId":"d1","capabilities":[]}"#, "'capabilities' must be an object"),
            (r#"{"deviceId":"d1","capabilities":{"iotEdge":"yes"}}"#, "'iotEdge' must be a boolean"),
            (r#"{"deviceId":"d1","authentication":"sas"}"#, "'authentication' must be an object"),
            (r#"{"deviceId":"d1","authentication":{"type":"password"}}"#, "'type' is 'password'"),
            (
                r#"{"deviceId":"d1","authentication":{"symmetricKey":{"primaryKey":1}}}"#,
                "'primaryKey' must be",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ArgumentInvalid, "{body}");
            assert!(error.message().contains(named), "{}", error.message());
        }
    }
}
