//! `/admin/certificates`: the certificate authorities whose devices may log in. Uploaded, they prove nothing; they
//! count once possession of their key is proven, or the caller vouches for them with `verified`.

use auth::CertificateAuthority;
use axum::extract::{RawPathParams, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hub::error::HubError;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Answer;
use crate::extract::{Condition, JsonBody};
use crate::json::{self, Members};
use crate::names::{self, member};
use crate::render;
use crate::state::AdminState;

pub(super) async fn list(State(state): State<AdminState>) -> Response {
    let authorities = state.authorities.list();
    render::json(&authorities.iter().map(Authority::from).collect::<Vec<_>>())
}

/// Takes `{name, certificate, verified?}`.
pub(super) async fn add(State(state): State<AdminState>, JsonBody(bytes): JsonBody) -> Answer {
    let body = json::object(&bytes)?;
    let name = required(&body, member::NAME)?;
    let pem = required(&body, member::CERTIFICATE)?;
    let verified = Members::of(&body).boolean(member::VERIFIED)?.unwrap_or(false);
    let authority = state.authorities.add(name, pem, verified)?;
    tracing::info!(name, verified, "certificate authority registered");
    Ok(render::json(&Authority::from(&authority)))
}

pub(super) async fn get(State(state): State<AdminState>, path: RawPathParams) -> Answer {
    let authority = state.authorities.authority(name(&path))?;
    Ok(render::json(&Authority::from(&authority)))
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    path: RawPathParams,
    Condition(if_match): Condition,
) -> Answer {
    state.authorities.remove(name(&path), &if_match)?;
    tracing::info!(name = name(&path), "certificate authority removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    verification_code: String,
}

pub(super) async fn verification_code(State(state): State<AdminState>, path: RawPathParams) -> Answer {
    let verification_code = state.authorities.verification_code(name(&path))?;
    Ok(render::json(&VerificationCode { verification_code }))
}

/// Takes `{certificate}`: one signed by the authority whose common name is the verification code.
pub(super) async fn verify(
    State(state): State<AdminState>,
    path: RawPathParams,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let body = json::object(&bytes)?;
    let authority = state.authorities.verify(name(&path), required(&body, member::CERTIFICATE)?)?;
    tracing::info!(name = name(&path), "certificate authority verified");
    Ok(render::json(&Authority::from(&authority)))
}

/// Registered names are plain ASCII; whatever else stands in the path is simply not found.
fn name(path: &RawPathParams) -> &str {
    path.iter().find_map(|(param, value)| (param == names::admin::NAME).then_some(value)).unwrap_or_default()
}

fn required<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, HubError> {
    Members::of(body).text(name)?.ok_or_else(|| json::invalid(format!("The member '{name}' is missing.")))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authority<'a> {
    name: &'a str,
    subject: &'a str,
    thumbprint: &'a str,
    sha256: &'a str,
    not_before: String,
    expiry: String,
    is_verified: bool,
    created: String,
    updated: String,
    etag: &'a str,
    certificate: String,
}

impl<'a> From<&'a CertificateAuthority> for Authority<'a> {
    fn from(authority: &'a CertificateAuthority) -> Self {
        Self {
            name: &authority.name,
            subject: &authority.facts.subject,
            thumbprint: &authority.facts.sha1,
            sha256: &authority.facts.sha256,
            not_before: authority.facts.not_before.to_string(),
            expiry: authority.facts.not_after.to_string(),
            is_verified: authority.is_verified,
            created: authority.created.to_string(),
            updated: authority.updated.to_string(),
            etag: &authority.etag,
            certificate: pem(&authority.certificate),
        }
    }
}

/// RFC 7468: base64 in lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, character) in BASE64.encode(der).chars().enumerate() {
        if index > 0 && index % PEM_LINE_CHARS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

const PEM_LINE_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_lines_have_64_characters() {
        let text = pem(&[0; 49]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!((lines[1].len(), lines[2].len()), (64, 4));
        assert!(text.ends_with("\n-----END CERTIFICATE-----\n"));
    }
}
