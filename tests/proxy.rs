//! Not a test: a proxy before a server, which does something else to the requests that a test chooses.

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

/// What is done to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is passed on after a while.
    Delay(Duration),
    /// It is passed on when so many of them have come.
    Gather(usize),
    /// It is answered with this status and code, and not passed on.
    Answer(u16, &'static str),
    /// It is passed on, and answered with this status and code.
    Landed(u16, &'static str),
    /// The connection ends, and it is not passed on.
    Refuse,
    /// It is passed on, and the connection ends without an answer.
    Reset,
    /// The answer ends after so many bytes of its body.
    Cut(usize),
    /// An answer that refuses, once for each request, ends before its body does.
    CutRefusal,
    /// Nothing more of the answer comes after so many bytes of its body.
    Stall(usize),
    /// The byte at this place of the answer's body is another.
    Flip(usize),
}

/// Tells of a request, and of its number from 0 on, whether something is done to it.
pub(crate) type Choice = Box<dyn Fn(&Asked, usize) -> bool + Send + Sync>;

/// A request as far as a choice looks at it.
pub(crate) struct Asked {
    method: Method,
    /// Path of the URL, decoded.
    path: String,
    is_conditional: bool,
    authorization: String,
}

impl Asked {
    /// Whether an object is read whose path holds this.
    pub(crate) fn is_read_of(&self, part: &str) -> bool {
        self.method == Method::GET && self.path.contains(part)
    }

    /// Whether it was signed with this access key.
    pub(crate) fn is_signed_with(&self, key_id: &str) -> bool {
        self.authorization.contains(key_id)
    }

    /// Whether an object is created, if there is none, whose path holds this.
    pub(crate) fn is_create_of(&self, part: &str) -> bool {
        self.method == Method::PUT && self.is_conditional && self.path.contains(part)
    }
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    /// Its host and port.
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
    /// Starts a proxy before the server at `upstream`, a host and port.
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
                // A connection that ends in the middle is what faults are about.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Number of requests that something was done to.
    pub(crate) fn injected(&self) -> u64 {
        self.shared.injected.load(Ordering::Relaxed) as u64
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Answer> {
        let asked = Asked {
            method: request.method().clone(),
            path: percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned(),
            is_conditional: ["if-none-match", "x-goog-if-generation-match"]
                .into_iter()
                .any(|name| request.headers().contains_key(name)),
            authorization: format!("{:?}", request.headers().get("authorization")),
        };
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut fault = (self.choice)(&asked, number).then_some(self.fault);
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
        *request.headers_mut().expect("is well formed") = parts.headers;
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let answer = self.client.request(request).await.map_err(io::Error::other)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if let Some(Fault::CutRefusal) = fault {
            // The repetition is told the whole.
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

/// Returns an answer of S3's kind.
fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>a fault</Message></Error>");
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("is a status");
    answer
}
