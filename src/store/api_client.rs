//! HTTP clients for APIs. They follow no redirects, because a redirected request could carry a secret to another host,
//! and they limit the size of responses.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::redirect::Policy;

use crate::store::client::{IDLE, STALL, install_tls};

/// Maximum size of a response, in bytes. The metadata of a table grows by about 1 KB per snapshot.
const MAX_RESPONSE: u64 = 256 << 20;
/// Maximum size of an error response, in bytes. The rest is ignored.
const MAX_ERROR: u64 = 64 << 10;
const USER_AGENT: &str = concat!("alb2parquet/", env!("CARGO_PKG_VERSION"));

/// A response is larger than [`MAX_RESPONSE`].
#[derive(Debug, thiserror::Error)]
#[error("the response is larger than {} MiB", MAX_RESPONSE >> 20)]
struct TooLarge;

/// Returns a client.
///
/// # Errors
///
/// Fails if TLS cannot be set up.
pub(super) fn connect() -> Result<HttpClient, reqwest::Error> {
    install_tls();
    let client = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .read_timeout(STALL)
        .pool_idle_timeout(IDLE)
        .build()?;
    Ok(HttpClient::new(Limited(HttpClient::new(client))))
}

/// Returns whether a response was too large.
pub(super) fn is_too_large(error: &HttpError) -> bool {
    error.source().is_some_and(<dyn Error>::is::<TooLarge>)
}

#[derive(Debug)]
struct Limited(HttpClient);

#[async_trait]
impl HttpService for Limited {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.execute(request).await?;
        let is_error = !response.status().is_success();
        if !is_error && response.body().size_hint().lower() > MAX_RESPONSE {
            return Err(too_large());
        }
        let left = if is_error { MAX_ERROR } else { MAX_RESPONSE };
        Ok(response.map(|body| HttpResponseBody::new(Start { body, left, is_error })))
    }
}

fn too_large() -> HttpError {
    HttpError::new(HttpErrorKind::Decode, TooLarge)
}

/// The start of a body.
struct Start {
    body: HttpResponseBody,
    /// Number of bytes that may follow.
    left: u64,
    is_error: bool,
}

impl Body for Start {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None if self.is_error => Poll::Ready(None),
            None => Poll::Ready(Some(Err(too_large()))),
        }
    }
}
