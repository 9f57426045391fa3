//! Access tokens from an OAuth2 server, for client credentials
//! (<https://datatracker.ietf.org/doc/html/rfc6749#section-4.4>).

use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Uri};
use object_store::client::{HttpClient, HttpRequest};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::store::api::ApiError;
use crate::store::secret::{Secret, Sent};
use crate::store::url::UNRESERVED;

/// A token is renewed this long before it expires.
const MARGIN: Duration = Duration::from_mins(1);

/// Credentials of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// `id:secret`, or only a secret.
    pub(crate) credential: Secret,
    pub(crate) scope: String,
    /// URL of the token endpoint; `None` if the API determines it.
    pub(crate) server: Option<String>,
}

/// Requests tokens when they are needed, and renews them before they expire.
#[derive(Debug)]
pub(super) struct Tokens {
    grant: Grant,
    /// URL of the token endpoint.
    pub(super) endpoint: String,
    /// Locked while a token is requested, so that all requests wait for the same token.
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    /// `Bearer` and the token.
    header: HeaderValue,
    /// When to renew the token; `None` if the server does not limit its lifetime.
    renew: Option<Instant>,
}

/// A successful response.
#[derive(Deserialize)]
struct Response {
    access_token: String,
    token_type: Option<String>,
    /// Lifetime of the token, in seconds.
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn new(grant: Grant, endpoint: String) -> Self {
        Self { grant, endpoint, kept: Mutex::default() }
    }

    /// Returns whether the user has specified the token endpoint.
    pub(super) fn is_pinned(&self) -> bool {
        self.grant.server.is_some()
    }

    /// Returns the `Authorization` header for a request.
    pub(super) async fn header(
        &self,
        client: &HttpClient,
        sent: &Sent,
    ) -> Result<HeaderValue, ApiError> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = &*kept
            && kept.renew.is_none_or(|renew| Instant::now() < renew)
        {
            return Ok(kept.header.clone());
        }
        let fetched = self.fetch(client, sent).await?;
        let header = fetched.header.clone();
        *kept = Some(fetched);
        Ok(header)
    }

    /// Drops the token if a request with this header was refused.
    pub(super) async fn forget(&self, header: &HeaderValue) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.header == header) {
            *kept = None;
        }
    }

    async fn fetch(&self, client: &HttpClient, sent: &Sent) -> Result<Kept, ApiError> {
        let failed = |why: &str, is_transient| {
            let why = sent.hide(&format!("no token from {}: {why}", self.endpoint));
            ApiError { why, is_transient }
        };
        let began = Instant::now();
        let credential = self.grant.credential.expose();
        let (id, secret) = match credential.split_once(':') {
            Some((id, secret)) => (Some(id), secret),
            None => (None, credential),
        };
        sent.add(credential);
        sent.add(secret);
        let fields = [
            ("grant_type", Some("client_credentials")),
            ("client_id", id),
            ("client_secret", Some(secret)),
            ("scope", Some(self.grant.scope.as_str())),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let fields = fields
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, &UNRESERVED)));
        let body = fields.collect::<Vec<_>>().join("&");

        let mut request = HttpRequest::new(body.into_bytes().into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            self.endpoint.parse::<Uri>().map_err(|error| failed(&error.to_string(), false))?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        let response = client.execute(request).await;
        let response = response.map_err(|error| {
            let ApiError { why, is_transient } = error.into();
            failed(&why, is_transient)
        })?;
        let status = response.status();
        let body = response.into_body().bytes().await;
        let body = body.map_err(|error| {
            let ApiError { why, is_transient } = error.into();
            failed(&why, is_transient)
        })?;
        if !status.is_success() {
            let code = status.as_u16();
            let is_transient = status.is_server_error() || matches!(code, 408 | 429);
            return Err(failed(&format!("status {code}: {}", refusal(&body)), is_transient));
        }
        // The error of the parser could quote the token, which is not yet known.
        let parsed = serde_json::from_slice::<Response>(&body);
        let Ok(Response { access_token, token_type, expires_in }) = parsed else {
            return Err(failed("the response is not a token", false));
        };
        sent.add(&access_token);
        if let Some(kind) = token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(failed(&format!("it has the type {kind:?} instead of bearer"), false));
        }
        let header = bearer(&access_token);
        let header = header.ok_or_else(|| failed("it contains invalid characters", false))?;
        // Without `max`, a token that expires within the margin would be renewed for every request.
        let life = expires_in.map(Duration::from_secs);
        let renew = life.map(|life| life.saturating_sub(MARGIN).max(life / 2));
        Ok(Kept { header, renew: renew.and_then(|renew| began.checked_add(renew)) })
    }
}

/// Returns whether requests can contain a token.
pub(crate) fn is_token(text: &str) -> bool {
    bearer(text).is_some()
}

/// Returns the `Authorization` header for a token, unless no header can contain the token.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let is_valid = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = is_valid.then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok())?;
    header.map(|mut header| {
        header.set_sensitive(true);
        header
    })
}

/// Returns the reason in an error response, which has the format of OAuth2 or of an Iceberg catalog.
fn refusal(body: &[u8]) -> String {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = [&parsed["error"], &parsed["error_description"], &parsed["error"]["message"]];
    let texts: Vec<&str> = texts.into_iter().filter_map(Value::as_str).collect();
    if texts.is_empty() { "the response has no reason".to_owned() } else { texts.join(": ") }
}
