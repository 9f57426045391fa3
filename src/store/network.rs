//! The network: store settings, the runtime for requests, and counts of requests and failures.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::OnceCell;

use crate::store::credentials::Found;
use crate::store::explain;
use crate::store::limiter::Limiter;
use crate::store::listing_page;
use crate::store::raw;
use crate::store::waits::{Open, Wait, Waits};
use crate::util::threads::isolated;

/// Number of threads that process requests. They only copy received data, so two are enough.
const THREADS: usize = 2;

/// Maximum number of retries per request. The pauses between retries increase, and the retries take about two minutes
/// in total.
const RETRIES: usize = 20;

/// Network settings and statistics, shared by all stores of a run.
#[derive(Debug, Clone)]
pub struct Network {
    /// Names and values of settings. They take precedence over the environment.
    pub settings: Vec<(String, String)>,
    /// Maximum number of retries for a request that fails because of the server or the network.
    pub retries: usize,
    /// Statistics of the requests so far.
    pub traffic: Arc<Traffic>,
    /// Limits reads across all sources.
    pub(crate) limiter: Arc<Limiter>,
    /// The AWS configuration, read when it is first needed.
    pub(super) aws: Arc<OnceCell<Found>>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            retries: RETRIES,
            traffic: Arc::default(),
            limiter: Arc::default(),
            aws: Arc::default(),
        }
    }
}

impl Network {
    /// Returns a network with these settings and the default retry limit.
    pub fn new(settings: Vec<(String, String)>) -> Self {
        Self { settings, ..Self::default() }
    }
}

/// Statistics about the requests of a run.
#[derive(Default)]
pub struct Traffic {
    requests: AtomicU64,
    failed: AtomicU64,
    waits: Waits,
    observer: OnceLock<Observer>,
}

/// Called for each request that fails and may be retried.
type Observer = Box<dyn Fn(&str) + Send + Sync>;

impl Traffic {
    /// Returns the number of requests sent, including retries.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that failed because of the server or the network. Such requests are retried, up
    /// to a limit.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the number of requests sent, excluding those that failed.
    pub fn sent(&self) -> u64 {
        self.requests().saturating_sub(self.failed())
    }

    /// Returns the buckets with pending requests, and the time since each bucket's last response.
    pub fn waits(&self) -> Vec<Wait> {
        self.waits.now()
    }

    /// Calls `observer` for each request that fails from now on. Only the first call of this method has an effect.
    pub fn observe(&self, observer: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    pub(super) fn note(&self, failure: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = self.observer.get() {
            observer(failure);
        }
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, failed) = (self.requests(), self.failed());
        f.debug_struct("Traffic").field("requests", &requests).field("failed", &failed).finish()
    }
}

/// Creates clients that count requests and convert transient errors to errors that `object_store` retries.
#[derive(Debug)]
pub(super) struct Connector {
    network: Network,
    /// URL of the bucket.
    bucket: Arc<str>,
}

impl Connector {
    pub(super) fn new(network: &Network, bucket: &str) -> Self {
        Self { network: network.clone(), bucket: bucket.into() }
    }

    /// Returns a client that sends requests with `client`.
    pub(super) fn observe(&self, client: HttpClient) -> HttpClient {
        let (network, bucket) = (self.network.clone(), Arc::clone(&self.bucket));
        HttpClient::new(Observed { client, network, bucket })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.observe(ReqwestConnector::default().connect(options)?))
    }
}

#[derive(Debug)]
struct Observed {
    client: HttpClient,
    network: Network,
    bucket: Arc<str>,
}

#[async_trait]
impl HttpService for Observed {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        raw::replace(&mut request).await?;
        let traffic = &self.network.traffic;
        traffic.requests.fetch_add(1, Ordering::Relaxed);
        // The query is omitted, because it is long and rarely informative.
        let what = format!("{} {}", request.method(), request.uri().path());
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let open = traffic.waits.open(&self.bucket);
        let page_of = listing_page::is_wanted(request.extensions()).then(|| request.uri().clone());
        let is_post = *request.method() == Method::POST;
        let is_read = *request.method() == Method::GET && page_of.is_none();
        let answer = self.client.execute(request).await;
        if is_read && is_throttled(&answer) {
            self.network.limiter.throttle(&self.bucket);
        }
        let response = match answer {
            Ok(response) if response.status().is_success() && page_of.is_some() => {
                Ok(read_page(response, &page_of.unwrap_or_default()).await)
            }
            Ok(response) if response.status().is_success() && is_post => {
                read_answer(response).await
            }
            Ok(response) if is_refusal(response.status()) => Ok(read_refusal(response).await),
            // A retry cannot succeed. `object_store` retries connection errors, but not this kind of error.
            Err(error) if has_invalid_certificate(&error) => {
                Err(HttpError::new(HttpErrorKind::Decode, error))
            }
            Err(error) if is_open(error.kind()) => {
                open.fail();
                traffic.note(&format!("{what}: {error}"));
                return Ok(unavailable(error.to_string()));
            }
            answer => answer,
        };
        match &response {
            Ok(response) => {
                let status = response.status();
                if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
                    open.fail();
                    traffic.note(&format!("{what}: status {status}"));
                }
                let found = self.network.aws.get().and_then(|found| found.credentials.as_ref());
                if response.extensions().get() == Some(&Expired)
                    && let (Some(credentials), Some(signed)) = (found, &authorization)
                {
                    traffic.note(&format!("{what}: the credentials have expired"));
                    credentials.forget(signed.to_str().unwrap_or_default()).await;
                }
            }
            Err(error) => {
                open.fail();
                traffic.note(&format!("{what}: {error}"));
            }
        }
        response.map(|response| response.map(|body| HttpResponseBody::new(Arriving { body, open })))
    }
}

/// The body of a response. The request counts as pending until the body is dropped.
struct Arriving {
    body: HttpResponseBody,
    open: Open,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            self.open.advance();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Marks a response to a request whose credentials have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expired;

/// Returns whether a response indicates that the store is throttling requests. S3 responds with `503 Slow Down`; other
/// stores also use `429 Too Many Requests`.
fn is_throttled(answer: &Result<HttpResponse, HttpError>) -> bool {
    match answer {
        Ok(response) => matches!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ),
        Err(error) => error.kind() == HttpErrorKind::Timeout,
    }
}

/// Returns whether a response has an error status that `object_store` does not retry.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 429)
}

/// Returns whether a request that failed with this error may still have taken effect. `object_store` does not retry a
/// create in that case. Here, a retry is safe, because the file is always read back to determine which create
/// succeeded.
fn is_open(kind: HttpErrorKind) -> bool {
    matches!(kind, HttpErrorKind::Interrupted | HttpErrorKind::Timeout | HttpErrorKind::Unknown)
}

/// Returns whether a connection failed because the client rejects the server's certificate.
fn has_invalid_certificate(error: &HttpError) -> bool {
    let mut cause = Some(error as &(dyn Error + 'static));
    while let Some(error) = cause {
        // For an I/O error, `source` returns the source of the wrapped error, not the wrapped error itself.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
    }
    false
}

/// Returns a response that makes `object_store` retry the request.
fn unavailable(why: impl Into<Bytes>) -> HttpResponse {
    let mut answer = HttpResponse::new(why.into().into());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// Reads an error response. Two kinds of responses are converted to server errors so that the request is retried:
/// truncated responses, and `RequestTimeout`, which S3 sends with status 400 when a request arrives too slowly.
async fn read_refusal(response: HttpResponse) -> HttpResponse {
    let (mut parts, body) = response.into_parts();
    let body = match body.bytes().await {
        Ok(body) => body,
        Err(error) => return unavailable(error.to_string()),
    };
    let text = String::from_utf8_lossy(&body);
    if text.contains("<Code>RequestTimeout</Code>") {
        return unavailable(body);
    }
    if explain::is_expired(&text) {
        parts.extensions.insert(Expired);
    }
    HttpResponse::from_parts(parts, body.into())
}

/// Reads a page of a listing. A truncated page is converted to a server error, so that the request is retried.
async fn read_page(response: HttpResponse, uri: &Uri) -> HttpResponse {
    let (parts, body) = response.into_parts();
    match body.bytes().await {
        Ok(body) => listing_page::read(parts, &body, uri),
        Err(error) => unavailable(error.to_string()),
    }
}

/// Reads the response to a POST, such as the ID of a new upload. A truncated response is converted to a server error, so
/// that the request is retried as if the response had been lost. A response that is too large is an error.
async fn read_answer(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    match body.bytes().await {
        Ok(body) => Ok(HttpResponse::from_parts(parts, body.into())),
        Err(error) if error.kind() == HttpErrorKind::Decode => Err(error),
        Err(error) => Ok(unavailable(error.to_string())),
    }
}

/// Sends a request, and retries it once if the credentials expired earlier than expected.
pub(super) async fn renewing<T, F>(request: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    match request().await {
        Err(error) if explain::is_expired(&error.to_string()) => request().await,
        answer => answer,
    }
}

/// Runs a store's requests: on the runtime that all remote stores share, or on the calling thread if no request has to
/// wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Option<Handle>);

impl Requests {
    /// Returns a handle to the runtime that remote stores share.
    pub(super) fn remote() -> std::io::Result<Self> {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        if let Some(runtime) = RUNTIME.get() {
            return Ok(Self(Some(runtime.handle().clone())));
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("requests").enable_all();
        // Building the runtime panics if the system refuses to start the threads.
        let runtime = isolated(|| builder.build())
            .map_err(|panic| io::Error::new(io::ErrorKind::WouldBlock, panic))??;
        // If two threads build a runtime at the same time, one of the runtimes is dropped unused.
        Ok(Self(Some(RUNTIME.get_or_init(|| runtime).handle().clone())))
    }

    /// Blocks until a request is finished. Must not be called from within a request.
    pub(super) fn wait<F: Future>(&self, request: F) -> F::Output {
        match &self.0 {
            Some(runtime) => runtime.block_on(request),
            None => block_on(request),
        }
    }

    /// Returns whether the store is remote.
    pub(super) fn is_remote(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the runtime that runs requests in the background, if the store is remote.
    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.0.as_ref()
    }
}
