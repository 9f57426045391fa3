//! Not a test: a proxy that injects faults into the requests that a test selects.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode_str;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;

/// A fault that the proxy injects into a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Forwards the request after a delay.
    Delay(Duration),
    /// Holds requests until this many have arrived, and then forwards them all.
    Gather(usize),
    /// Responds with this status and code without forwarding the request.
    Answer(u16, &'static str),
    /// Forwards the request, but responds with this status and code.
    Landed(u16, &'static str),
    /// Closes the connection without forwarding the request.
    Refuse,
    /// Forwards the request, but closes the connection without a response.
    Reset,
    /// Truncates the response body after this many bytes.
    Cut(usize),
    /// Truncates the body of an error response, but leaves the response to the retry intact.
    CutRefusal,
    /// Stops sending the response after this many bytes of its body, but keeps the connection open.
    Stall(usize),
    /// Changes the byte at this position of the response body.
    Flip(usize),
}

/// Returns whether to inject the fault into a request, given the request and its 0-based number.
pub(crate) type Choice = Box<dyn Fn(&RequestInfo, usize) -> bool + Send + Sync>;

/// The properties by which a [`Choice`] selects requests.
pub(crate) struct RequestInfo {
    method: Method,
    /// The decoded path of the request URL.
    path: String,
    is_conditional: bool,
    authorization: String,
}

impl RequestInfo {
    /// Returns whether the request reads an object whose path contains `part`.
    pub(crate) fn is_read_of(&self, part: &str) -> bool {
        self.method == Method::GET && self.path.contains(part)
    }

    /// Returns whether the request can write.
    pub(crate) fn is_write(&self) -> bool {
        [Method::POST, Method::PUT].contains(&self.method)
    }

    /// Returns whether the request is signed with an access key.
    pub(crate) fn is_signed_with(&self, key_id: &str) -> bool {
        self.authorization.contains(key_id)
    }

    /// Returns whether the request is a conditional create of an object whose path contains `part`.
    pub(crate) fn is_create_of(&self, part: &str) -> bool {
        self.method == Method::PUT && self.is_conditional && self.path.contains(part)
    }
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    /// Host and port.
    pub(crate) address: String,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    upstream: String,
    fault: Fault,
    choice: Choice,
    client: Client<HttpConnector, Full<Bytes>>,
    requests: AtomicUsize,
    injected: AtomicUsize,
    gathered: Barrier,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Proxy {
    /// Starts a proxy in front of the server at `upstream` (host and port).
    pub(crate) fn start(upstream: &str, fault: Fault, choice: Choice) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            fault,
            choice,
            client: Client::builder(TokioExecutor::new()).build_http(),
            requests: AtomicUsize::new(0),
            injected: AtomicUsize::new(0),
            gathered: Barrier::new(if let Fault::Gather(count) = fault { count } else { 1 }),
        });
        let serving = Arc::clone(&shared);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&shared).serve(request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // This returns an error if a fault closes the connection during a request.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Returns the number of requests with an injected fault.
    pub(crate) fn injected(&self) -> u64 {
        self.shared.injected.load(Ordering::Relaxed) as u64
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Answer> {
        let info = RequestInfo {
            method: request.method().clone(),
            path: percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned(),
            is_conditional: ["if-none-match", "x-goog-if-generation-match"]
                .into_iter()
                .any(|name| request.headers().contains_key(name)),
            authorization: format!("{:?}", request.headers().get("authorization")),
        };
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut fault = (self.choice)(&info, number).then_some(self.fault);
        match fault {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Gather(_)) => {
                self.gathered.wait().await;
            }
            _ => {}
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if let Some(Fault::Answer(..) | Fault::Refuse) = fault {
            self.injected.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Some(Fault::Answer(status, code)) => return Ok(refusal(status, code)),
            Some(Fault::Refuse) => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://{}{path}", self.upstream);
        let mut request = Request::builder().method(parts.method).uri(uri);
        *request.headers_mut().expect("the request is valid") = parts.headers;
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let answer = self.client.request(request).await.map_err(io::Error::other)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if let Some(Fault::CutRefusal) = fault {
            // Only requests with even numbers are truncated, so that the retry gets the complete response.
            let cut =
                parts.status.is_client_error() && !body.is_empty() && number.is_multiple_of(2);
            fault = cut.then_some(Fault::Cut(1));
        }
        if fault.is_some() && !matches!(self.fault, Fault::Answer(..) | Fault::Refuse) {
            self.injected.fetch_add(1, Ordering::Relaxed);
        }
        let body = match fault {
            Some(Fault::Landed(status, code)) => return Ok(refusal(status, code)),
            Some(Fault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Cut(at)) => {
                let end = io::Error::from(io::ErrorKind::ConnectionReset);
                let frames = [Ok(Frame::data(body.slice(..at.min(body.len())))), Err(end)];
                StreamBody::new(stream::iter(frames)).boxed()
            }
            Some(Fault::Stall(at)) => {
                let begun = Frame::data(body.slice(..at.min(body.len())));
                let frames = stream::unfold(Some(begun), |begun| async {
                    match begun {
                        Some(begun) => Some((Ok(begun), None)),
                        None => std::future::pending().await,
                    }
                });
                StreamBody::new(frames).boxed()
            }
            Some(Fault::Flip(at)) => {
                let mut body = body.to_vec();
                body[at] ^= 0x55;
                whole(body)
            }
            _ => whole(body),
        };
        Ok(Response::from_parts(parts, body))
    }
}

fn whole(body: impl Into<Bytes>) -> BoxBody<Bytes, io::Error> {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

/// Returns an S3 error response.
fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>a fault</Message></Error>");
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("the status is valid");
    answer
}
