//! Requests to HTTP APIs other than object stores, such as catalogs of tables.

use std::env;
use std::io;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Uri};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest};

use crate::store::StoreError;
use crate::store::client::client_options;
use crate::store::credentials::Credentials;
use crate::store::network::{Connector, Network, Requests};
use crate::store::raw::Signer;
use crate::store::url;

/// An HTTP API that exchanges JSON.
#[derive(Debug)]
pub(crate) struct Api {
    client: HttpClient,
    requests: Requests,
    /// URL before the path of a request, without a trailing slash.
    base: String,
    authorization: Authorization,
}

/// How requests are authorized.
#[derive(Debug)]
enum Authorization {
    None,
    Bearer(HeaderValue),
    /// Signed for an AWS service.
    Signed(Signer, &'static str),
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status code.
    pub(crate) status: u16,
    /// Body of the response.
    pub(crate) body: Vec<u8>,
}

impl Api {
    /// Returns an API at a URL. If there is a token, requests contain it.
    ///
    /// # Errors
    ///
    /// Fails if the URL contains credentials, or if the runtime for requests cannot be started.
    pub(crate) fn bearer(
        base: &str,
        token: Option<&str>,
        network: &Network,
    ) -> Result<Self, StoreError> {
        let authorization = match token {
            None => Authorization::None,
            Some(token) => {
                let header = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut header = header.map_err(|_| StoreError::Secret("a token"))?;
                header.set_sensitive(true);
                Authorization::Bearer(header)
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
        let name = format!("the AWS service {service}");
        let refuse = |why: &str| StoreError::Endpoint { name: name.clone(), why: why.to_owned() };
        let option = network.settings.iter().rev().find(|(key, _)| key.ends_with("region"));
        let option = option.map(|(_, value)| value.clone());
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let region =
            option.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let requests = runtime(&name)?;
        let found = network.aws.get_or_init(|| Credentials::find(region.clone()));
        let found = requests.wait(found);
        let region = region.or(found.region.clone()).ok_or_else(|| refuse("no region is set"))?;
        let credentials =
            found.credentials.clone().ok_or_else(|| refuse("there are no credentials"))?;
        let own = variable(&format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()));
        let endpoint = own.or_else(|| variable("AWS_ENDPOINT_URL"));
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"));
        let signer = Signer { credentials, region: region.clone() };
        let authorization = Authorization::Signed(signer, service);
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
        let options = client_options().with_allow_http(base.starts_with("http://"));
        let client = Connector::new(network, &base).connect(&options);
        let client = client.map_err(|error| StoreError::Reach { name: base.clone(), error })?;
        Ok(Self { client, requests, base, authorization })
    }

    /// Returns the URL of the API.
    pub(crate) fn name(&self) -> &str {
        &self.base
    }

    /// Sends a request with a JSON body and these headers. Does not retry it.
    ///
    /// # Errors
    ///
    /// Fails if there is no response. The request may have taken effect nevertheless.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, io::Error> {
        self.requests.wait(async {
            let mut request = HttpRequest::new(body.into());
            *request.method_mut() = method;
            let url = format!("{}{path}", self.base);
            *request.uri_mut() = url.parse::<Uri>().map_err(io::Error::other)?;
            let all = request.headers_mut();
            all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            for (name, value) in headers {
                let value = HeaderValue::from_str(value).map_err(io::Error::other)?;
                all.insert(HeaderName::from_static(name), value);
            }
            match &self.authorization {
                Authorization::None => {}
                Authorization::Bearer(header) => {
                    all.insert(AUTHORIZATION, header.clone());
                }
                Authorization::Signed(signer, service) => {
                    let credential =
                        signer.credentials.get_credential().await.map_err(io::Error::other)?;
                    AwsAuthorizer::new(&credential, service, &signer.region)
                        .try_authorize(&mut request, None)
                        .map_err(io::Error::other)?;
                }
            }
            let response = self.client.execute(request).await.map_err(io::Error::other)?;
            let status = response.status().as_u16();
            let body = response.into_body().bytes().await.map_err(io::Error::other)?;
            Ok(Answer { status, body: body.to_vec() })
        })
    }
}

fn runtime(name: &str) -> Result<Requests, StoreError> {
    Requests::remote().map_err(|source| StoreError::Open { name: name.to_owned(), source })
}
