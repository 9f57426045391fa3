//! Requests to HTTP APIs other than object stores, such as catalogs of tables.

use std::env;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpClient, HttpError, HttpRequest};

use crate::store::StoreError;
use crate::store::api_client::{self, is_too_large};
use crate::store::credentials::Credentials;
use crate::store::explain::with_causes;
use crate::store::network::{Connector, Network, Requests};
use crate::store::oauth2::{Grant, Tokens, bearer};
use crate::store::raw::Signer;
use crate::store::secret::{Secret, Sent};
use crate::store::url;

/// An HTTP API that exchanges JSON.
#[derive(Debug)]
pub(crate) struct Api {
    client: HttpClient,
    requests: Requests,
    /// URL before the path of a request, without a trailing slash.
    base: String,
    authorization: Authorization,
    sent: Sent,
}

/// How the user authorizes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Not at all.
    Anonymous,
    /// With a token.
    Token(Secret),
    /// With tokens from an OAuth2 server.
    Credential(Grant),
    /// With AWS credentials, for an AWS service. The configured region is used if `region` is `None`.
    Signed { service: String, region: Option<String> },
}

/// How requests are authorized.
#[derive(Debug)]
enum Authorization {
    None,
    Bearer(HeaderValue),
    Tokens(Tokens),
    /// Signed for an AWS service.
    Signed(Signer, String),
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status code.
    pub(crate) status: u16,
    /// Body of the response.
    pub(crate) body: Vec<u8>,
    /// Where a redirect points.
    pub(crate) location: Option<String>,
}

/// Why there is no response to a request.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) why: String,
    /// Whether the same request may succeed later. It may also have taken effect already.
    pub(crate) is_transient: bool,
}

impl From<HttpError> for ApiError {
    fn from(error: HttpError) -> Self {
        Self { why: with_causes(&error), is_transient: !is_too_large(&error) }
    }
}

impl ApiError {
    fn permanent(error: impl std::fmt::Display) -> Self {
        Self { why: error.to_string(), is_transient: false }
    }
}

impl Api {
    /// Returns an API at a URL.
    ///
    /// # Errors
    ///
    /// Fails if a URL contains credentials, if the token is invalid, if AWS credentials or a region are needed but not
    /// configured, or if the runtime for requests cannot be started.
    pub(crate) fn open(base: &str, access: Access, network: &Network) -> Result<Self, StoreError> {
        let base = base.trim_end_matches('/');
        let authorization = match access {
            Access::Anonymous => Authorization::None,
            Access::Token(token) => {
                let header = bearer(token.expose()).ok_or(StoreError::Secret("a token"))?;
                let api = Self::connect(base, Authorization::Bearer(header), network)?;
                api.sent.add(token.expose());
                return Ok(api);
            }
            Access::Credential(grant) => {
                let default = || format!("{base}/v1/oauth/tokens");
                let endpoint = grant.server.clone().unwrap_or_else(default);
                if url::has_secret(&endpoint) {
                    return Err(StoreError::Secret("a URL"));
                }
                Authorization::Tokens(Tokens::new(grant, endpoint))
            }
            Access::Signed { service, region } => {
                let (signer, _) = signer(base, region, network)?;
                Authorization::Signed(signer, service)
            }
        };
        Self::connect(base, authorization, network)
    }

    /// Returns the API of an AWS service in the configured region, and the region. `AWS_ENDPOINT_URL_` followed by the
    /// name of the service replaces the service's endpoint.
    ///
    /// # Errors
    ///
    /// Fails if no region or credentials are configured, or if the runtime for requests cannot be started.
    pub(crate) fn aws(
        service: &'static str,
        network: &Network,
    ) -> Result<(Self, String), StoreError> {
        let (signer, region) = signer(&format!("the AWS service {service}"), None, network)?;
        let own = variable(&format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()));
        let endpoint = own.or_else(|| variable("AWS_ENDPOINT_URL"));
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"));
        let authorization = Authorization::Signed(signer, service.to_owned());
        Ok((Self::connect(&endpoint, authorization, network)?, region))
    }

    fn connect(
        base: &str,
        authorization: Authorization,
        network: &Network,
    ) -> Result<Self, StoreError> {
        if url::has_secret(base) || url::has_user_info(base) {
            return Err(StoreError::Secret("a URL"));
        }
        let base = base.trim_end_matches('/').to_owned();
        let requests = runtime(&base)?;
        let client = api_client::connect().map_err(|error| StoreError::Open {
            name: base.clone(),
            source: std::io::Error::other(error),
        })?;
        let client = Connector::new(network, &base).observe(client);
        Ok(Self { client, requests, base, authorization, sent: Sent::default() })
    }

    /// Returns the URL of the API.
    pub(crate) fn name(&self) -> &str {
        &self.base
    }

    /// Replaces all secrets in a message.
    pub(crate) fn hide(&self, message: &str) -> String {
        self.sent.hide(message)
    }

    /// Returns whether the API may specify another token endpoint: the user did not, and tokens are needed.
    pub(crate) fn takes_token_endpoint(&self) -> bool {
        matches!(&self.authorization, Authorization::Tokens(tokens) if !tokens.is_pinned())
    }

    /// Uses a token endpoint that the API specifies, as a URL or as a path below the API's URL.
    ///
    /// # Errors
    ///
    /// Returns the reason if no secret can be sent there. By typing an `http://` URL, the user accepts plain HTTP. An
    /// endpoint that the server specifies must be encrypted, local, or on the host that the user typed.
    pub(crate) fn use_token_endpoint(&mut self, endpoint: &str) -> Result<(), ApiError> {
        let is_url = endpoint.contains("://");
        let endpoint = if is_url {
            endpoint.to_owned()
        } else {
            format!("{}/{}", self.base, endpoint.trim_start_matches('/'))
        };
        let parsed = endpoint.parse::<Uri>().ok().filter(|_| !url::has_secret(&endpoint));
        let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let parsed = parsed.filter(is_web).ok_or_else(|| {
            ApiError::permanent("the oauth2-server-uri in its configuration is not a valid URL")
        })?;
        let own = self.base.parse::<Uri>().ok();
        let is_own = own.is_some_and(|own| {
            own.scheme() == parsed.scheme() && own.authority() == parsed.authority()
        });
        if url::is_exposed(&endpoint) && !is_own {
            let why = format!("its configuration sends the credential to {endpoint}, without TLS");
            return Err(ApiError::permanent(why));
        }
        if let Authorization::Tokens(tokens) = &mut self.authorization {
            tokens.endpoint = endpoint;
        }
        Ok(())
    }

    /// Sends a GET request without authorization.
    ///
    /// # Errors
    ///
    /// Fails if there is no response.
    pub(crate) fn get_openly(&self, path: &str) -> Result<Answer, ApiError> {
        self.requests.wait(async {
            let request = self.request(Method::GET, path, &[], &[])?;
            self.execute(request).await
        })
    }

    /// Sends a request with a JSON body and these headers. Does not retry it, except with a new token if the server
    /// refuses the token.
    ///
    /// # Errors
    ///
    /// Fails if there is no response, or no token for the request. The request may have taken effect nevertheless.
    pub(crate) fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        self.requests.wait(async {
            let request = || self.request(method.clone(), path, headers, body);
            let Authorization::Tokens(tokens) = &self.authorization else {
                return self.execute(self.authorized(request()?).await?).await;
            };
            let mut is_repeated = false;
            loop {
                let header = tokens.header(&self.client, &self.sent).await?;
                let mut request = request()?;
                request.headers_mut().insert(AUTHORIZATION, header.clone());
                let answer = self.execute(request).await?;
                // The second status is from the REST specification of Iceberg.
                if is_repeated || !matches!(answer.status, 401 | 419) {
                    return Ok(answer);
                }
                tokens.forget(&header).await;
                is_repeated = true;
            }
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<HttpRequest, ApiError> {
        let mut request = HttpRequest::new(body.to_vec().into());
        *request.method_mut() = method;
        let url = format!("{}{path}", self.base);
        *request.uri_mut() = url.parse::<Uri>().map_err(ApiError::permanent)?;
        let all = request.headers_mut();
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(ApiError::permanent)?;
            all.insert(HeaderName::from_static(name), value);
        }
        Ok(request)
    }

    /// Authorizes a request, except with tokens from a server.
    async fn authorized(&self, mut request: HttpRequest) -> Result<HttpRequest, ApiError> {
        match &self.authorization {
            Authorization::None | Authorization::Tokens(_) => {}
            Authorization::Bearer(header) => {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            Authorization::Signed(signer, service) => {
                let credential = signer.credentials.get_credential().await;
                let credential = credential
                    .map_err(|error| ApiError { why: with_causes(&error), is_transient: true })?;
                if let Some(token) = &credential.token {
                    self.sent.add(token);
                }
                AwsAuthorizer::new(&credential, service, &signer.region)
                    .try_authorize(&mut request, None)
                    .map_err(ApiError::permanent)?;
            }
        }
        Ok(request)
    }

    async fn execute(&self, request: HttpRequest) -> Result<Answer, ApiError> {
        let response = self.client.execute(request).await?;
        let status: StatusCode = response.status();
        let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let location = location.map(|url| String::from_utf8_lossy(url.as_bytes()).into_owned());
        let body = response.into_body().bytes().await?;
        Ok(Answer { status: status.as_u16(), body: body.to_vec(), location })
    }
}

/// Returns what signs requests in a region, or else in the configured region, and the region.
fn signer(
    name: &str,
    region: Option<String>,
    network: &Network,
) -> Result<(Signer, String), StoreError> {
    let refuse = |why: &str| StoreError::Endpoint { name: name.to_owned(), why: why.to_owned() };
    let option = || {
        let found = network.settings.iter().rev().find(|(key, _)| key.ends_with("region"));
        found.map(|(_, value)| value.clone())
    };
    let region = region
        .or_else(option)
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"));
    let found = network.aws.get_or_init(|| Credentials::find(region.clone()));
    let found = runtime(name)?.wait(found);
    let region = region.or(found.region.clone()).ok_or_else(|| refuse("no region is set"))?;
    let credentials =
        found.credentials.clone().ok_or_else(|| refuse("there are no credentials"))?;
    Ok((Signer { credentials, region: region.clone() }, region))
}

/// Returns the value of an environment variable, unless it is empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn runtime(name: &str) -> Result<Requests, StoreError> {
    Requests::remote().map_err(|source| StoreError::Open { name: name.to_owned(), source })
}
