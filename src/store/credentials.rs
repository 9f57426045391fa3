//! AWS credentials, from the same sources that the AWS CLI uses: environment, profiles, single sign-on,
//! `credential_process`, assumed roles, web identity, containers and instances.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_types::service_config::ServiceConfigKey;
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Error, Result};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::store::endpoint::{Flags, Style};

/// Credentials are renewed this long before they expire. This margin exceeds the total retry time of a request, so
/// credentials do not expire during retries.
const MARGIN: Duration = Duration::from_mins(5);
/// Credentials without an expiry time are renewed after this time.
const UNDATED: Duration = Duration::from_hours(1);
/// Timeout for resolving credentials. Resolution may take several requests, because roles can be chained.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a failed renewal, valid credentials are used without another attempt for this long.
const PAUSE: Duration = Duration::from_secs(10);

/// Credentials that are resolved on demand, cached, and renewed before they expire.
pub(super) struct Credentials {
    provider: SharedCredentialsProvider,
    /// Locked while credentials are resolved, so that all requests wait for the same resolution.
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    kept: Option<Kept>,
    /// When the last resolution ended, if it failed, and the error.
    failed: Option<(Instant, String)>,
}

struct Kept {
    credential: Arc<AwsCredential>,
    renew: SystemTime,
    expires: Option<SystemTime>,
}

/// The user's and the machine's AWS configuration.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) region: Option<String>,
    /// The configured S3 endpoint. `None` if configured endpoints are ignored.
    pub(super) endpoint: Option<String>,
    /// Whether access points outside the configured region are refused.
    pub(super) own_region_only: bool,
    /// The settings that affect the endpoint, or the name of a setting with an invalid value.
    pub(super) flags: Result<Flags, String>,
}

/// The settings of a profile, and the environment variables that override them.
struct Settings<'a>(&'a SdkConfig);

impl Settings<'_> {
    /// Returns the value of the first non-empty variable, or else the setting in the profile. In the profile, the S3
    /// section takes precedence.
    fn get(&self, variables: &[&str], key: &str) -> Option<String> {
        let given = variables.iter().filter_map(|name| env::var(name).ok());
        given.chain(self.of_profile(key)).find(|value| !value.is_empty())
    }

    fn of_profile(&self, key: &str) -> Option<String> {
        // No environment variable exists for this setting.
        let key = ServiceConfigKey::builder().service_id("s3").env("=").profile(key).build();
        self.0.service_config()?.load_config(key.ok()?)
    }

    /// Returns a setting from the `s3 =` section of the profile.
    fn of_s3(&self, key: &str) -> Option<String> {
        let section = self.of_profile("s3")?;
        let mut lines = section.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    }

    fn flags(&self) -> Result<Flags, String> {
        let truth = |name: &str, value: Option<String>| match value {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(format!("{name} is \"{}\": write true or false", value.trim())),
        };
        let flag = |variable: &str, key: &str| truth(variable, self.get(&[variable], key));
        let dual_stack = flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")?;
        let of_s3 = |key: &str| truth(&format!("{key} of the profile"), self.of_s3(key));
        Ok(Flags {
            fips: flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")?,
            dual_stack: dual_stack || of_s3("use_dualstack_endpoint")?,
            accelerate: of_s3("use_accelerate_endpoint")?,
            style: match self.of_s3("addressing_style").as_deref() {
                None | Some("auto") => Style::Auto,
                Some("path") => Style::Path,
                Some("virtual") => Style::Virtual,
                Some(other) => {
                    return Err(format!(
                        "addressing_style of the profile is \"{other}\": write auto, path or virtual"
                    ));
                }
            },
        })
    }

    fn endpoint(&self) -> Option<String> {
        let ignored =
            self.get(&["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"], "ignore_configured_endpoint_urls");
        if ignored.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        // The last name is from the object_store crate.
        self.get(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"], "endpoint_url")
    }
}

impl Credentials {
    /// Reads the configuration. Credentials are resolved when they are first needed. Roles are assumed in `region` or,
    /// if it is `None`, in the configured region.
    pub(super) async fn find(region: Option<String>) -> Found {
        // The machine's region is not queried, because the bucket may be in another region.
        let known = region.map(Region::new);
        let region = known.or(ProfileFileRegionProvider::new().region().await);
        let fallback = Region::from_static("us-east-1");
        let tls = Provider::Rustls(CryptoMode::Ring);
        let http_client = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client)
            .region(region.clone().unwrap_or(fallback))
            .load()
            .await;
        let settings = Settings(&config);
        let credentials =
            config.credentials_provider().map(|provider| Arc::new(Self::of(provider)));
        Found {
            credentials,
            region: region.map(|region| region.to_string()),
            endpoint: settings.endpoint(),
            own_region_only: settings
                .get(&["AWS_S3_USE_ARN_REGION"], "s3_use_arn_region")
                .or(settings.of_s3("use_arn_region"))
                .is_some_and(|value| value.eq_ignore_ascii_case("false")),
            flags: settings.flags(),
        }
    }

    fn of(provider: SharedCredentialsProvider) -> Self {
        Self { provider, cache: Mutex::default() }
    }

    /// Drops the cached credentials if they were used to sign the request with this `Authorization` header.
    pub(super) async fn forget(&self, authorization: &str) {
        let kept = &mut self.cache.lock().await.kept;
        if kept.as_ref().is_some_and(|kept| authorization.contains(&kept.credential.key_id)) {
            *kept = None;
        }
    }

    async fn fetch(&self) -> Result<Kept, String> {
        let found = timeout(PATIENCE, self.provider.provide_credentials()).await;
        let found = found
            .map_err(|_| format!("no response within {} s", PATIENCE.as_secs()))?
            .map_err(|error| whole(&error))?;
        let now = SystemTime::now();
        let life = match found.expiry() {
            Some(expires) => expires.duration_since(now).unwrap_or_default(),
            None => UNDATED + MARGIN,
        };
        // Without `max`, credentials that expire within the margin would be resolved again for every request.
        let renew = now + life.saturating_sub(MARGIN).max(life / 2);
        let credential = AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(ToOwned::to_owned),
        };
        Ok(Kept { credential: Arc::new(credential), renew, expires: found.expiry() })
    }
}

/// Returns an error's message, followed by the messages of all its causes. None of them contains a secret.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let arrived = Instant::now();
        let mut cache = self.cache.lock().await;
        let now = SystemTime::now();
        if let Some(kept) = cache.kept.as_ref().filter(|kept| now < kept.renew) {
            return Ok(Arc::clone(&kept.credential));
        }
        // If a renewal fails, the cached credentials are used until they expire.
        let is_valid = |kept: &&Kept| kept.expires.is_none_or(|expires| now < expires);
        let valid = cache.kept.as_ref().filter(is_valid).map(|kept| Arc::clone(&kept.credential));
        let error = match &cache.failed {
            // This request waited for the failed resolution.
            Some((ended, error)) if *ended > arrived => error.clone(),
            Some((ended, error)) if valid.is_some() && ended.elapsed() < PAUSE => error.clone(),
            _ => match self.fetch().await {
                Ok(fetched) => {
                    let credential = Arc::clone(&fetched.credential);
                    *cache = Cache { kept: Some(fetched), failed: None };
                    return Ok(credential);
                }
                Err(error) => {
                    cache.failed = Some((Instant::now(), error.clone()));
                    error
                }
            },
        };
        valid.ok_or_else(|| Error::Unauthenticated { path: "AWS".to_owned(), source: error.into() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future;
    use futures::future::join_all;

    use super::*;

    /// A provider that is down. Counts its calls.
    #[derive(Debug, Default)]
    struct Down(Arc<AtomicUsize>);

    impl ProvideCredentials for Down {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, Ordering::Relaxed);
            future::ProvideCredentials::new(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(CredentialsError::not_loaded("the provider is down"))
            })
        }
    }

    #[test]
    fn concurrent_requests_share_a_failed_renewal() {
        let calls = Arc::new(AtomicUsize::new(0));
        let provider = SharedCredentialsProvider::new(Down(Arc::clone(&calls)));
        let credentials = Credentials::of(provider);
        // Returns the number of requests that get credentials, and the number of calls.
        let request = async || {
            let before = calls.load(Ordering::Relaxed);
            let results = join_all((0..50).map(|_| credentials.get_credential())).await;
            let found = results.iter().filter(|result| result.is_ok()).count();
            (found, calls.load(Ordering::Relaxed) - before)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert_eq!([request().await, request().await], [(0, 1), (0, 1)]);
            let now = SystemTime::now();
            let credential = AwsCredential {
                key_id: "key".to_owned(),
                secret_key: "secret".to_owned(),
                token: None,
            };
            let expires = Some(now + Duration::from_hours(1));
            let kept = Kept { credential: Arc::new(credential), renew: now, expires };
            *credentials.cache.lock().await = Cache { kept: Some(kept), failed: None };
            // The second time, no renewal is attempted, because one has just failed.
            assert_eq!([request().await, request().await], [(50, 1), (50, 0)]);
        });
    }
}
