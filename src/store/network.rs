//! The network: settings of stores, the runtime that their requests run on, and a count of what went
//! wrong on the way.

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
use http::{StatusCode, Uri};
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
use crate::store::listing_page;
use crate::store::raw;
use crate::store::waits::{Open, Wait, Waits};
use crate::util::threads::isolated;

/// Threads that requests run on; what comes in is only copied there.
const THREADS: usize = 2;

/// How often a request is repeated, at most: with growing pauses, for about two minutes.
const RETRIES: usize = 20;

/// How stores are reached, for all stores of a run.
#[derive(Debug, Clone)]
pub struct Network {
    /// Settings by their names, which win over the environment's.
    pub settings: Vec<(String, String)>,
    /// How often a request is repeated that a server or the network fails, at most.
    pub retries: usize,
    /// What is known of the requests so far.
    pub traffic: Arc<Traffic>,
    /// What the configuration of AWS says; read when it is first needed.
    pub(super) aws: Arc<OnceCell<Found>>,
}

impl Default for Network {
    fn default() -> Self {
        let (settings, traffic, aws) = (Vec::new(), Arc::default(), Arc::default());
        Self { settings, retries: RETRIES, traffic, aws }
    }
}

impl Network {
    /// Returns a network with some settings.
    pub fn new(settings: Vec<(String, String)>) -> Self {
        Self { settings, ..Self::default() }
    }
}

/// Requests of a run.
#[derive(Default)]
pub struct Traffic {
    requests: AtomicU64,
    failed: AtomicU64,
    waits: Waits,
    observer: OnceLock<Observer>,
}

/// Is told of each request that failed and may be repeated.
type Observer = Box<dyn Fn(&str) + Send + Sync>;

impl Traffic {
    /// Number of requests that were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Number of those that the server or the network failed; such are repeated, up to a limit.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Number of requests that were sent, those left out that failed.
    pub fn sent(&self) -> u64 {
        self.requests().saturating_sub(self.failed())
    }

    /// Returns the buckets with pending requests, and the time since the last response of each.
    pub fn waits(&self) -> Vec<Wait> {
        self.waits.now()
    }

    /// Tells `observer` of each request that fails from now on. Only the first observer is told.
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

/// Makes clients that count their requests, and see to it that what helps is repeated.
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
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        let (network, bucket) = (self.network.clone(), Arc::clone(&self.bucket));
        Ok(HttpClient::new(Watched { client, network, bucket }))
    }
}

#[derive(Debug)]
struct Watched {
    client: HttpClient,
    network: Network,
    bucket: Arc<str>,
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        raw::replace(&mut request).await?;
        let traffic = &self.network.traffic;
        traffic.requests.fetch_add(1, Ordering::Relaxed);
        // Without the query, which is long and says little.
        let what = format!("{} {}", request.method(), request.uri().path());
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let open = traffic.waits.open(&self.bucket);
        let page_of = listing_page::is_wanted(request.extensions()).then(|| request.uri().clone());
        let answer = self.client.execute(request).await;
        let response = match answer {
            Ok(response) if response.status().is_success() && page_of.is_some() => {
                Ok(paged(response, &page_of.unwrap_or_default()).await)
            }
            Ok(response) if is_refusal(response.status()) => Ok(judged(response).await),
            // `object_store` retries failed connections, but not this kind of error.
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
                    traffic.note(&format!("{what}: answered with {status}"));
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

/// The body of a response. The request is pending until it is read to its end.
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

/// Marks an answer that says that credentials have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expired;

/// Tells whether an answer is one that `object_store` does not repeat.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 429)
}

/// Tells whether it is open if a request took effect that ended so. `object_store` repeats no such create;
/// here it may be repeated, because whose file it is in the end is always found out by reading it.
fn is_open(kind: HttpErrorKind) -> bool {
    matches!(kind, HttpErrorKind::Interrupted | HttpErrorKind::Timeout | HttpErrorKind::Unknown)
}

/// Returns whether a connection failed because the client does not accept the certificate of the server.
fn has_invalid_certificate(error: &HttpError) -> bool {
    let mut cause = Some(error as &(dyn Error + 'static));
    while let Some(error) = cause {
        // The source of an I/O error is the source of the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
    }
    false
}

/// Returns an answer that makes `object_store` repeat the request.
fn unavailable(why: impl Into<Bytes>) -> HttpResponse {
    let mut answer = HttpResponse::new(why.into().into());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// Reads a refusal, and turns into an error of the server what is worth a repetition: an answer that is cut, and a
/// `RequestTimeout`, which S3 sends with status 400 when a request arrived too slowly.
async fn judged(response: HttpResponse) -> HttpResponse {
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

/// Reads a page of a listing. Retries a truncated page.
async fn paged(response: HttpResponse, uri: &Uri) -> HttpResponse {
    let (parts, body) = response.into_parts();
    match body.bytes().await {
        Ok(body) => listing_page::read(parts, &body, uri),
        Err(error) => unavailable(error.to_string()),
    }
}

/// Makes a request, and makes it once more if it was signed with credentials that expired before their time.
pub(super) async fn renewing<T, F>(request: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    match request().await {
        Err(error) if explain::is_expired(&error.to_string()) => request().await,
        answer => answer,
    }
}

/// Where the requests of a store run: on the runtime of all remote stores, or, for what is ready at
/// once, nowhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Option<Handle>);

impl Requests {
    /// Returns the runtime that remote stores share.
    pub(super) fn remote() -> std::io::Result<Self> {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        if let Some(runtime) = RUNTIME.get() {
            return Ok(Self(Some(runtime.handle().clone())));
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("requests").enable_all();
        // The runtime panics if the system refuses to start its threads.
        let runtime = isolated(|| builder.build())
            .map_err(|panic| io::Error::new(io::ErrorKind::WouldBlock, panic))??;
        // Of two that are made at once, one is dropped unused.
        Ok(Self(Some(RUNTIME.get_or_init(|| runtime).handle().clone())))
    }

    /// Waits for a request. Must not be called by what runs as one.
    pub(super) fn wait<F: Future>(&self, request: F) -> F::Output {
        match &self.0 {
            Some(runtime) => runtime.block_on(request),
            None => block_on(request),
        }
    }

    /// Tells whether the store is remote.
    pub(super) fn is_remote(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the runtime of a remote store, on which requests run while nobody waits.
    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.0.as_ref()
    }
}
