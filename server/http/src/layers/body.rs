//! Reading a request's body: bounded in size and time, cut off while it arrives.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use hub::error::{ErrorCode, HubError};

/// Bytes of a body that is about one identity; ours. A twin's sections are 72 KiB at most, names and white space
/// extra.
pub(crate) const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a bulk body; ours. A hundred rows with a twin of 72 KiB each.
pub(crate) const BULK_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of the call of a direct method; ours. It is kept until the device answers; its payload is 128 KiB at most.
pub(crate) const METHOD_BODY_BYTES: usize = 256 * 1024;
/// How long a body may take to arrive; ours, wire time. Twice what the slowest SDK waits for a whole call.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);

/// Takes the whole body.
///
/// # Errors
/// `GenericRequestEntityTooLarge` past `limit_bytes`, announced or arrived; `GenericBadRequest` when it breaks
/// off or takes longer than a minute.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit_bytes: usize) -> Result<Bytes, HubError> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit_bytes as u64) {
        return Err(too_large(limit_bytes));
    }
    match tokio::time::timeout(ARRIVAL_LIMIT, to_bytes(body, limit_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over_limit(&error) => Err(too_large(limit_bytes)),
        Ok(Err(error)) => {
            Err(HubError::new(ErrorCode::GenericBadRequest, "The body broke off before its end.")
                .with_reason(format!("the body could not be read: {error}")))
        }
        Err(_) => Err(HubError::new(
            ErrorCode::GenericBadRequest,
            format!("The body did not arrive within {} seconds.", ARRIVAL_LIMIT.as_secs()),
        )),
    }
}

fn is_over_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn too_large(limit_bytes: usize) -> HubError {
    HubError::new(
        ErrorCode::GenericRequestEntityTooLarge,
        format!("The body is larger than the {limit_bytes} bytes this call takes."),
    )
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn outcome(body: Body) -> Result<usize, ErrorCode> {
        read(&HeaderMap::new(), body, BODY_BYTES).await.map(|bytes| bytes.len()).map_err(|error| error.code())
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_byte_more_is_not() {
        assert_eq!(outcome(vec![b' '; BODY_BYTES].into()).await, Ok(BODY_BYTES));
        let too_large = outcome(vec![b' '; BODY_BYTES + 1].into()).await;
        assert_eq!(too_large, Err(ErrorCode::GenericRequestEntityTooLarge));
    }

    #[tokio::test]
    async fn an_endless_body_is_cut_off_while_it_arrives() {
        let chunk = Bytes::from(vec![b' '; 64 * 1024]);
        let endless = stream::iter(std::iter::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())));
        assert_eq!(outcome(Body::from_stream(endless)).await, Err(ErrorCode::GenericRequestEntityTooLarge));
    }

    #[tokio::test]
    async fn an_announced_giant_is_refused_before_it_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, "99999999999".parse().unwrap());
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(
            read(&headers, never, BODY_BYTES).await.unwrap_err().code(),
            ErrorCode::GenericRequestEntityTooLarge
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_to_arrive_is_given_up() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(outcome(never).await, Err(ErrorCode::GenericBadRequest));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_the_callers_fault() {
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
        assert_eq!(outcome(Body::from_stream(broken)).await, Err(ErrorCode::GenericBadRequest));
    }
}
