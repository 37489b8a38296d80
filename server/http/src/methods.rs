//! Direct methods of devices and modules: `POST /twins/.../methods` (contract/rest.md 1.9).
//!
//! The payload passes through as the text it is, both ways. Whatever the device's own status says, its answer is 200.
//! The request itself is refused like any other; why a call came to nothing is told as a document (style B).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use hub::Hub;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::InvokeMethod;
use hub::limits;
use hub::method::{MethodCall, MethodName, MethodResponse};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{Answer, Failure};
use crate::extract::{Caller, IdentityPath, JsonBody};
use crate::json::{self, Members};
use crate::layers::body::METHOD_BODY_BYTES;
use crate::names::{member, path, value};
use crate::render;
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new().with(Method::POST, path::DEVICE_METHODS, invoke).with(
        Method::POST,
        path::MODULE_METHODS,
        invoke,
    )
}

async fn invoke(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    IdentityPath(id): IdentityPath,
    JsonBody(bytes): JsonBody<METHOD_BODY_BYTES>,
) -> Answer {
    let by = caller.admit::<InvokeMethod>(&hub, id).await?;
    let response = hub.invoke_method(by, call(&bytes)?).await.map_err(Failure::of_method)?;
    Ok(answer(&response))
}

fn call(body: &Bytes) -> Result<MethodCall, HubError> {
    let (body, payload) = json::object_with_raw(body, member::PAYLOAD)?;
    let body = Members::of(&body);
    let name = body.text(member::METHOD_NAME)?.ok_or_else(|| {
        HubError::new(ErrorCode::ArgumentNull, format!("The member '{}' is missing.", member::METHOD_NAME))
    })?;
    // Go and the first Node SDK know only one time limit, by its older name.
    let response_secs = body.whole_number(member::RESPONSE_TIMEOUT)?.or(body.whole_number(member::TIMEOUT)?);
    let connect_secs = body.whole_number(member::CONNECT_TIMEOUT)?;
    Ok(MethodCall {
        name: MethodName::parse(name)?,
        payload: payload.unwrap_or(Bytes::from_static(value::NULL.as_bytes())),
        response_timeout: Duration::from_secs(response_secs.unwrap_or(limits::METHOD_RESPONSE_SECS_DEFAULT)),
        connect_timeout: Duration::from_secs(connect_secs.unwrap_or(0)),
    })
}

fn answer(response: &MethodResponse) -> Response {
    let payload = response.payload.as_deref().map(serde_json::from_slice::<&RawValue>).transpose();
    render::json_text(
        payload.and_then(|payload| serde_json::to_vec(&AnswerJson { status: response.status, payload })),
    )
}

#[derive(Serialize)]
struct AnswerJson<'a> {
    status: i32,
    /// Null when the device sent no body.
    payload: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<MethodCall, HubError> {
        call(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn absent_null_empty_text_and_an_empty_object_are_four_payloads() {
        for (body, payload) in [
            (r#"{"methodName":"m"}"#, "null"),
            (r#"{"methodName":"m","payload":null}"#, "null"),
            (r#"{"methodName":"m","payload":""}"#, "\"\""),
            (r#"{"payload":{} ,"methodName":"m"}"#, "{}"),
            (r#"{"methodName":"m","payload": [1.0, {"a" :1e2}] }"#, "[1.0, {\"a\" :1e2}]"),
        ] {
            assert_eq!(read(body).unwrap().payload, payload, "{body}");
        }
    }

    #[test]
    fn time_limits_are_30_and_0_unless_given_under_either_name() {
        let limits =
            |body| read(body).map(|call| (call.response_timeout.as_secs(), call.connect_timeout.as_secs()));
        assert_eq!(limits(r#"{"methodName":"m"}"#).unwrap(), (30, 0));
        assert_eq!(limits(r#"{"methodName":"m","responseTimeoutInSeconds":null}"#).unwrap(), (30, 0));
        let both = r#"{"methodName":"m","responseTimeoutInSeconds":200,"connectTimeoutInSeconds":100}"#;
        assert_eq!(limits(both).unwrap(), (200, 100));
        assert_eq!(limits(r#"{"methodName":"m","timeoutInSeconds":60}"#).unwrap(), (60, 0));
        for wrong in ["-1", "1.5", "\"30\"", "1e3", "18446744073709551616"] {
            let body = format!(r#"{{"methodName":"m","responseTimeoutInSeconds":{wrong}}}"#);
            let error = call(&Bytes::from(body)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ArgumentInvalid, "{wrong}");
            assert!(error.message().contains("'responseTimeoutInSeconds'"), "{}", error.message());
        }
    }

    #[test]
    fn a_call_has_a_name() {
        assert_eq!(read("{}").unwrap_err().code(), ErrorCode::ArgumentNull);
        assert_eq!(read(r#"{"methodName":null}"#).unwrap_err().code(), ErrorCode::ArgumentNull);
        assert_eq!(read(r#"{"methodName":""}"#).unwrap_err().code(), ErrorCode::ArgumentInvalid);
        assert_eq!(read(r#"{"methodName":1}"#).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }
}
