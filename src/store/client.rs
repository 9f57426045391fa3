//! Clients for object stores, configured by the environment and the user's settings.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, resolve_bucket_region};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::HttpConnector as _;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use crate::store::StoreError;
use crate::store::bulk_delete::BulkDelete;
use crate::store::credentials::Credentials;
use crate::store::endpoint::{self, Style};
use crate::store::lister::Pages;
use crate::store::listing_page::Stock;
use crate::store::network::{Connector, Network, Requests};
use crate::store::place::{Kind, Prefix};
use crate::store::raw::{Raw, Signer};
use crate::store::url;

/// A request that receives no data for this long is aborted and retried. The total duration of a response is not
/// limited, because a busy worker may take a long time to read it.
pub(super) const STALL: Duration = Duration::from_mins(1);
/// Time after which an idle connection is closed. Idle connections occupy file descriptors, and every source has its
/// own connections.
pub(super) const IDLE: Duration = Duration::from_secs(15);

/// Pauses before retries: the first pause, the longest pause, and the growth factor. With the defaults of
/// `object_store`, retries may end after two seconds, before any server could have restarted.
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(200),
    max_backoff: Duration::from_secs(10),
    base: 3.0,
};
/// Time after which a failed request is no longer retried.
const RETRY_TIME: Duration = Duration::from_mins(3);

/// The interfaces to a store, and the runtime for its requests.
pub(super) struct Client {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) uploads: Arc<dyn MultipartStore>,
    pub(super) pages: Arc<dyn Pages>,
    pub(super) raw: Raw,
    pub(super) bulk_delete: Option<Arc<BulkDelete>>,
    pub(super) requests: Requests,
    /// Whether uploads can be aborted.
    pub(super) aborts: bool,
}

impl Client {
    /// Creates a client for the bucket that contains a prefix.
    pub(super) fn connect(prefix: &Prefix, network: &Network) -> Result<Self, StoreError> {
        for (name, _) in &network.settings {
            if !is_known(name) {
                return Err(StoreError::Setting(name.clone()));
            }
        }
        let open = |source| StoreError::Open { name: prefix.to_string(), source };
        let requests = Requests::remote().map_err(open)?;
        let reach = |error| StoreError::Reach { name: prefix.to_string(), error };
        Ok(match prefix.kind {
            Kind::S3 => {
                let (store, raw, bulk_delete) = requests.wait(amazon(prefix, network))?;
                let bulk_delete = Some(Arc::new(bulk_delete));
                Self { raw, bulk_delete, ..Self::over(store, requests) }
            }
            Kind::Google => {
                let store = google(prefix, network)?.build().map_err(reach)?;
                Self { raw: Raw::Unsigned, ..Self::over(store, requests) }
            }
            Kind::Azure => {
                let store = Arc::new(azure(prefix, network)?.build().map_err(reach)?);
                let pages = Arc::new(Stock { store: Arc::clone(&store) as _, is_s3: false });
                Self {
                    store: Arc::clone(&store) as _,
                    uploads: store,
                    pages,
                    raw: Raw::Never,
                    bulk_delete: None,
                    requests,
                    aborts: false,
                }
            }
        })
    }

    /// Returns a client for a store with S3-style listings.
    fn over(
        store: impl ObjectStore + MultipartStore + PaginatedListStore,
        requests: Requests,
    ) -> Self {
        let store = Arc::new(store);
        let pages = Arc::new(Stock { store: Arc::clone(&store) as _, is_s3: true });
        let uploads = Arc::clone(&store) as _;
        let (raw, bulk_delete) = (Raw::Never, None);
        Self { store, uploads, pages, raw, bulk_delete, requests, aborts: true }
    }
}

/// Returns whether any kind of store has a setting with this name.
fn is_known(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.parse::<AmazonS3ConfigKey>().is_ok()
        || name.parse::<GoogleConfigKey>().is_ok()
        || name.parse::<AzureConfigKey>().is_ok()
}

/// Returns the settings from environment variables with the prefix `variables`, followed by the user's settings, which
/// take precedence.
fn settings(network: &Network, variables: &str) -> Vec<(String, String)> {
    let from_environment = env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(variables))?;
        // An empty variable is treated as unset, as in the AWS CLI.
        let value = value.into_string().ok().filter(|value| !value.is_empty())?;
        Some((name.to_ascii_lowercase(), value))
    });
    let own = network.settings.iter();
    from_environment.chain(own.map(|(key, value)| (key.to_lowercase(), value.clone()))).collect()
}

/// Selects the TLS provider of all clients, because reqwest is built without one here.
pub(super) fn install_tls() {
    // An error means that a default provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns the options of all clients for object stores.
pub(super) fn client_options() -> ClientOptions {
    install_tls();
    ClientOptions::new()
        .with_timeout_disabled()
        .with_read_timeout(STALL)
        .with_pool_idle_timeout(IDLE)
}

/// Creates a builder and applies the settings for its kind of store.
macro_rules! configured {
    ($builder:ty, $network:expr, $name:expr, $variables:expr, $wanted:expr) => {
        settings($network, $variables).into_iter().fold(
            <$builder>::new()
                .with_client_options(client_options())
                .with_retry(RetryConfig {
                    backoff: BACKOFF,
                    max_retries: $network.retries,
                    retry_timeout: RETRY_TIME,
                })
                .with_http_connector(Connector::new($network, $name)),
            |builder, (key, value)| match key.parse() {
                Ok(key) if $wanted(key) => builder.with_config(key, value),
                _ => builder,
            },
        )
    };
}

async fn amazon(
    prefix: &Prefix,
    network: &Network,
) -> Result<(object_store::aws::AmazonS3, Raw, BulkDelete), StoreError> {
    let mut builder =
        configured!(AmazonS3Builder, network, &prefix.bucket, "AWS_", is_not_of_the_endpoint);
    let of = |builder: &AmazonS3Builder, key| builder.get_config_value(&key);
    let is_signed = of(&builder, AmazonS3ConfigKey::SkipSignature).as_deref() != Some("true");
    let has_key = of(&builder, AmazonS3ConfigKey::AccessKeyId).is_some();
    if of(&builder, AmazonS3ConfigKey::S3Express).is_some_and(|value| value != "false") {
        let why = "S3 Express directory buckets are not supported: remove the setting s3_express";
        return Err(StoreError::Endpoint { name: prefix.to_string(), why: why.to_owned() });
    }
    let bucket = prefix.name();
    let refuse = |why| StoreError::Endpoint { name: prefix.to_string(), why };
    let mut region = of(&builder, AmazonS3ConfigKey::Region);
    // The configuration is read once per run, for all stores.
    let found = network.aws.get_or_init(|| Credentials::find(region.clone())).await;
    if let Some(credentials) = found.credentials.as_ref().filter(|_| is_signed && !has_key) {
        builder = builder.with_credentials(Arc::clone(credentials) as _);
    }
    let typed = typed(network, |key| {
        matches!(key, AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint)
    });
    let custom = typed.or(found.endpoint.clone());
    is_plain_http(custom.as_deref())?;
    let mut flags = found.flags.clone().map_err(refuse)?;
    let is_virtual = typed_or_set(network, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", |key| {
        matches!(key, AmazonS3ConfigKey::VirtualHostedStyleRequest)
    });
    match is_virtual.as_deref() {
        None => {}
        Some("true") => flags.style = Style::Virtual,
        Some("false") => flags.style = Style::Path,
        Some(_) => {
            return Err(refuse("virtual_hosted_style_request must be true or false".to_owned()));
        }
    }
    region = region.or(found.region.clone()).filter(|region| !region.is_empty());
    if let Some(of_arn) = endpoint::region_of(bucket) {
        if found.own_region_only && region.as_deref() != Some(of_arn) {
            let why = format!("AWS_S3_USE_ARN_REGION is false, and {of_arn} is another region");
            return Err(refuse(why));
        }
        region = Some(of_arn.to_owned());
    }
    if region.is_none() && custom.is_none() {
        if flags.fips {
            let why = "FIPS endpoints need a region: set AWS_REGION";
            return Err(refuse(why.to_owned()));
        }
        // If the lookup fails, the first request returns an error that contains the correct region.
        region = resolve_bucket_region(bucket, &ClientOptions::new()).await.ok();
    }
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = endpoint::resolve(bucket, &region, custom.as_deref(), flags).map_err(refuse)?;
    builder = builder
        .with_bucket_name(bucket)
        .with_region(endpoint.region)
        .with_virtual_hosted_style_request(endpoint.virtual_hosted);
    if endpoint.url.starts_with("http://") {
        // By configuring a plain HTTP endpoint, the user accepts plain HTTP.
        builder = builder.with_allow_http(true);
    }
    let region = of(&builder, AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let reach = |error| StoreError::Reach { name: prefix.to_string(), error };
    let url = if endpoint.virtual_hosted {
        format!("{}/", endpoint.url)
    } else {
        format!("{}/{bucket}", endpoint.url)
    };
    let pays = of(&builder, AmazonS3ConfigKey::RequestPayer).as_deref() == Some("true");
    let store = builder.with_endpoint(endpoint.url).build().map_err(reach)?;
    let credentials = Arc::clone(store.credentials());
    let signer = is_signed.then_some(Signer { credentials, region });
    let options = client_options().with_allow_http(url.starts_with("http://"));
    let client = Connector::new(network, &prefix.bucket).connect(&options).map_err(reach)?;
    let bulk_delete = BulkDelete::new(client, &url, signer.clone(), pays);
    Ok((store, signer.map_or(Raw::Unsigned, Raw::Signed), bulk_delete))
}

/// Returns whether a setting does not affect the endpoint. Settings that affect it are applied by
/// [`endpoint::resolve`].
fn is_not_of_the_endpoint(key: AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey as Key;
    !matches!(key, Key::Endpoint | Key::S3Endpoint | Key::VirtualHostedStyleRequest | Key::Bucket)
}

/// Returns the value of the last `--option` with a matching key.
fn typed(network: &Network, wanted: impl Fn(&AmazonS3ConfigKey) -> bool) -> Option<String> {
    let mut last = network.settings.iter().rev();
    let found = last.find(|(key, _)| key.to_lowercase().parse().is_ok_and(|key| wanted(&key)));
    found.map(|(_, value)| value.clone())
}

/// Returns the value of the last `--option` with a matching key, or else the value of an environment variable.
fn typed_or_set(
    network: &Network,
    variable: &str,
    wanted: impl Fn(&AmazonS3ConfigKey) -> bool,
) -> Option<String> {
    let set = || env::var(variable).ok().filter(|value| !value.is_empty());
    typed(network, wanted).or_else(set).map(|value| value.to_ascii_lowercase())
}

fn google(prefix: &Prefix, network: &Network) -> Result<GoogleCloudStorageBuilder, StoreError> {
    let builder = configured!(
        GoogleCloudStorageBuilder,
        network,
        &prefix.bucket,
        "GOOGLE_",
        |_: GoogleConfigKey| true
    );
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let builder = if is_plain_http(endpoint.as_deref())? {
        builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true")
    } else {
        builder
    };
    Ok(builder.with_url(&prefix.bucket))
}

fn azure(prefix: &Prefix, network: &Network) -> Result<MicrosoftAzureBuilder, StoreError> {
    let builder = configured!(
        MicrosoftAzureBuilder,
        network,
        &prefix.bucket,
        "AZURE_",
        |_: AzureConfigKey| true
    );
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let is_plain = is_plain_http(endpoint.as_deref())?;
    let builder = if is_plain { builder.with_allow_http(true) } else { builder };
    Ok(builder.with_url(&prefix.bucket))
}

/// Returns whether an endpoint uses plain HTTP. By configuring such an endpoint, the user accepts plain HTTP.
///
/// # Errors
///
/// Fails when the endpoint contains credentials.
fn is_plain_http(endpoint: Option<&str>) -> Result<bool, StoreError> {
    if endpoint.is_some_and(url::has_user_info) {
        return Err(StoreError::Secret("an endpoint"));
    }
    Ok(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::place::Place;

    /// Returns whether the Google and Azure clients allow plain HTTP for an endpoint.
    fn allow_http(endpoint: &str) -> Result<[bool; 2], StoreError> {
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let network = Network::new(vec![
            option("google_base_url", endpoint),
            option("azure_storage_endpoint", endpoint),
        ]);
        let prefix = |url| match Place::parse(url).unwrap() {
            Place::Bucket(prefix) => prefix,
            Place::Local(path) => panic!("{} is local", path.display()),
        };
        let key = ClientConfigKey::AllowHttp;
        let google =
            google(&prefix("gs://logs"), &network)?.get_config_value(&GoogleConfigKey::Client(key));
        let azure =
            azure(&prefix("az://logs"), &network)?.get_config_value(&AzureConfigKey::Client(key));
        Ok([google, azure].map(|value| value.as_deref() == Some("true")))
    }

    #[test]
    fn only_a_plain_http_endpoint_allows_plain_http() {
        assert_eq!(allow_http("http://127.0.0.1:10000").unwrap(), [true; 2]);
        assert_eq!(allow_http("https://store.example.org").unwrap(), [false; 2]);
        for secret in ["http://user:topsecret@store.example.org", "https://user@store.example.org"]
        {
            let error = allow_http(secret).unwrap_err();
            assert!(matches!(error, StoreError::Secret(_)), "{error}");
        }
    }
}
