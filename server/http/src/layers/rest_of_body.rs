//! Takes what nobody read of a body before the answer goes out.
//!
//! A refusal may come before the body was read, or in the middle of it. Answering at once and closing loses the
//! answer: the client is still writing, the socket is reset under it, and all an SDK can report is a broken pipe.
//! So the rest is read and forgotten, up to a limit in bytes and time; it also keeps the connection usable.
//! A client that waits for `100 Continue` has sent nothing and is simply answered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use parking_lot::Mutex;

/// Bytes of a body that are read for nothing; ours. Twice what any call takes.
const FORGOTTEN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long that may take; ours, wire time.
const FORGETTING_LIMIT: Duration = Duration::from_secs(5);

/// Runs the request, then reads its body out.
pub(crate) async fn forget<F>(request: Request, run: impl FnOnce(Request) -> F + Send) -> Response
where
    F: Future<Output = Response> + Send,
{
    if request.body().is_end_stream() {
        return run(request).await;
    }
    let waits_for_go_ahead = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let mut stream = body.into_data_stream();
    // Most bodies come along with their head and leave nothing to read out. Asking for one is the go-ahead.
    let at_once = if waits_for_go_ahead { None } else { stream.next().now_or_never() };
    if let Some(Some(Ok(whole))) = &at_once
        && stream.is_end_stream()
    {
        return run(Request::from_parts(parts, Body::from(whole.clone()))).await;
    }
    let body = SharedBody::new(stream, at_once);
    let response = run(Request::from_parts(parts, Body::from_stream(body.clone()))).await;
    if body.was_asked_for() || !waits_for_go_ahead {
        // Past the limit the connection breaks, as it would have without this layer.
        let _elapsed = tokio::time::timeout(FORGETTING_LIMIT, body.forget_rest()).await;
    }
    response
}

/// A body that two can read: the handler first, this layer what it leaves.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Source>>);

struct Source {
    stream: BodyDataStream,
    /// What was taken of the stream before there was anybody to read it; `None` within if that was its end.
    taken: Option<Option<Result<Bytes, axum::Error>>>,
    was_asked_for: bool,
    has_ended: bool,
}

impl SharedBody {
    fn new(stream: BodyDataStream, taken: Option<Option<Result<Bytes, axum::Error>>>) -> Self {
        Self(Arc::new(Mutex::new(Source { stream, taken, was_asked_for: false, has_ended: false })))
    }

    fn was_asked_for(&self) -> bool {
        self.0.lock().was_asked_for
    }

    async fn forget_rest(mut self) {
        let mut left = FORGOTTEN_BYTES_MAX;
        while let Some(Ok(chunk)) = self.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    }
}

impl Stream for SharedBody {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut source = self.0.lock();
        source.was_asked_for = true;
        if source.has_ended {
            return Poll::Ready(None);
        }
        let item = match source.taken.take() {
            Some(item) => item,
            None => ready!(source.stream.poll_next_unpin(cx)),
        };
        source.has_ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::to_bytes;
    use axum::middleware::{Next, from_fn};
    use axum::routing::post;
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;

    /// A body of `chunks` mebibytes and the count of those taken.
    fn counted(chunks: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let chunk = Bytes::from(vec![0; 1024 * 1024]);
        let chunks = stream::iter(0..chunks).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(chunk.clone())
        });
        (Body::from_stream(chunks), taken)
    }

    async fn answer(request: Request) -> String {
        let routes = Router::new()
            .route("/refuse", post(async || "refused"))
            .route("/read", post(async |body: Bytes| body.len().to_string()))
            .layer(from_fn(async |request, next: Next| forget(request, |request| next.run(request)).await));
        let response = routes.oneshot(request).await.unwrap();
        String::from_utf8(to_bytes(response.into_body(), 100).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_body_the_handler_reads_arrives_whole() {
        let request = Request::post("/read").body("hello".into()).unwrap();
        assert_eq!(answer(request).await, "5");
    }

    #[tokio::test]
    async fn what_nobody_read_is_taken_before_the_answer() {
        let (body, taken) = counted(10);
        assert_eq!(answer(Request::post("/refuse").body(body).unwrap()).await, "refused");
        assert_eq!(taken.load(Ordering::Relaxed), 10);
    }

    #[tokio::test]
    async fn an_endless_body_is_given_up_at_the_limit() {
        let (body, taken) = counted(1_000_000);
        answer(Request::post("/refuse").body(body).unwrap()).await;
        assert_eq!(taken.load(Ordering::Relaxed), 17);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_the_go_ahead_is_not_given_it() {
        let (body, taken) = counted(10);
        let request = Request::post("/refuse").header(header::EXPECT, "100-continue").body(body).unwrap();
        assert_eq!(answer(request).await, "refused");
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_arriving_delays_the_answer_by_seconds_only() {
        let stuck = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let begun = tokio::time::Instant::now();
        assert_eq!(answer(Request::post("/refuse").body(stuck).unwrap()).await, "refused");
        assert_eq!(begun.elapsed().as_secs(), FORGETTING_LIMIT.as_secs());
    }
}
