//! How a REST catalog is accessed. Secrets are environment variables, not flags, so that they appear in no process list.

use std::env::{self, VarError};

use anyhow::bail;

use crate::cli::terminal::warning;
use crate::store::{Access, Grant, Secret, aws_service, is_exposed, is_token};

const TOKEN: &str = "ALB2PARQUET_ICEBERG_TOKEN";
const CREDENTIAL: &str = "ALB2PARQUET_ICEBERG_CREDENTIAL";
const SCOPE: &str = "ALB2PARQUET_ICEBERG_SCOPE";
const SERVER: &str = "ALB2PARQUET_ICEBERG_OAUTH2_SERVER_URI";
const SIGNING_NAME: &str = "ALB2PARQUET_ICEBERG_SIGNING_NAME";
const SIGNING_REGION: &str = "ALB2PARQUET_ICEBERG_SIGNING_REGION";

/// The scope that other Iceberg clients request by default.
const DEFAULT_SCOPE: &str = "catalog";

/// The values of the environment variables.
#[derive(Debug, Default)]
pub(super) struct Settings {
    token: Option<Secret>,
    credential: Option<Secret>,
    scope: Option<String>,
    server: Option<String>,
    signing_name: Option<String>,
    signing_region: Option<String>,
}

impl Settings {
    /// Reads the environment variables. Empty variables are treated as unset.
    ///
    /// # Errors
    ///
    /// Fails if a variable is malformed.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let token = variable(TOKEN)?;
        if token.as_deref().is_some_and(|token| !is_token(token)) {
            bail!(
                "{TOKEN} is not a token: it contains a space, a line break or another invalid character"
            );
        }
        let credential = variable(CREDENTIAL)?;
        if credential.as_deref().is_some_and(|text| text.contains(char::is_control)) {
            bail!(
                "{CREDENTIAL} is not a credential: it contains a line break or another control character"
            );
        }
        let server = variable(SERVER)?;
        if server
            .as_deref()
            .is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://"))
        {
            bail!("{SERVER} must be a URL that begins with https:// or http://");
        }
        Ok(Self {
            token: token.map(Secret::new),
            credential: credential.map(Secret::new),
            scope: variable(SCOPE)?,
            server,
            signing_name: variable(SIGNING_NAME)?,
            signing_region: variable(SIGNING_REGION)?,
        })
    }

    /// Returns how to access the catalog at a URL.
    ///
    /// # Errors
    ///
    /// Fails if the variables contradict each other, or if no tables can refer to the files of a dataset there.
    pub(super) fn access(self, url: &str, warehouse: Option<&str>) -> anyhow::Result<Access> {
        let signing = self.signing(url)?;
        if let Some((service, _)) = &signing {
            check_aws(service, warehouse)?;
        }
        let ways = [
            self.token.as_ref().map(|_| TOKEN),
            self.credential.as_ref().map(|_| CREDENTIAL),
            signing.as_ref().map(|_| "a signature with AWS credentials"),
        ];
        let ways: Vec<&str> = ways.into_iter().flatten().collect();
        if let [first, second, ..] = ways[..] {
            bail!(
                "{url} can be accessed with {first} or with {second}, but not with both: unset one of them"
            );
        }
        if self.credential.is_none() {
            for (name, value) in [(SCOPE, &self.scope), (SERVER, &self.server)] {
                if value.is_some() {
                    bail!("{name} has no effect without {CREDENTIAL}: set both, or unset it");
                }
            }
        }
        let server = self.server;
        let access = if let Some(token) = self.token {
            Access::Token(token)
        } else if let Some(credential) = self.credential {
            let scope = self.scope.unwrap_or_else(|| DEFAULT_SCOPE.to_owned());
            Access::Credential(Grant { credential, scope, server: server.clone() })
        } else if let Some((service, region)) = signing {
            Access::Signed { service, region }
        } else {
            return Ok(Access::Anonymous);
        };
        for url in
            [Some(url), server.as_deref()].into_iter().flatten().filter(|url| is_exposed(url))
        {
            warning(&format!(
                "others on the network can read the secrets in requests to {url}: use https://"
            ));
        }
        Ok(access)
    }

    /// Returns the name of the AWS service for which requests are signed, and the region.
    fn signing(&self, url: &str) -> anyhow::Result<Option<(String, Option<String>)>> {
        let of_host =
            aws_service(url).filter(|(service, _)| matches!(&**service, "glue" | "s3tables"));
        let region = self.signing_region.clone();
        Ok(match (self.signing_name.clone(), of_host) {
            (Some(name), of_host) => Some((name, region.or(of_host.map(|(_, region)| region)))),
            (None, Some((name, of_host))) => Some((name, Some(region.unwrap_or(of_host)))),
            (None, None) if region.is_some() => {
                bail!(
                    "{SIGNING_REGION} has no effect without {SIGNING_NAME}: set both, or unset it"
                )
            }
            (None, None) => None,
        })
    }
}

/// Checks that an AWS catalog can contain tables that refer to the files of a dataset.
fn check_aws(service: &str, warehouse: Option<&str>) -> anyhow::Result<()> {
    // Glue contains the catalogs of table buckets below this name.
    let is_bucket = |name: &str| name.contains("s3tablescatalog") || name.contains(":s3tables:");
    if service == "s3tables" || warehouse.is_some_and(is_bucket) {
        bail!(
            "tables in an S3 table bucket cannot refer to the files of a dataset: S3 Tables stores their data in the \
             table bucket, and replaces the files by compaction; use --catalog glue, see docs/iceberg.md#s3-tables"
        );
    }
    if service == "glue" && warehouse.is_none() {
        bail!(
            "the REST catalog of AWS Glue needs an account: append ?warehouse=ACCOUNT to its URL"
        );
    }
    Ok(())
}

/// Returns the value of a variable, unless it is empty.
fn variable(name: &str) -> anyhow::Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{name} is not valid UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLUE: &str = "https://glue.eu-west-1.amazonaws.com/iceberg";
    const OTHER: &str = "https://catalog.example.org";

    fn secret() -> Secret {
        Secret::new("topsecret")
    }

    fn refusal(settings: Settings, url: &str, warehouse: Option<&str>) -> String {
        settings.access(url, warehouse).expect_err(url).to_string()
    }

    #[test]
    fn access_follows_from_the_variables_and_the_host() {
        let access = |settings: Settings, url| settings.access(url, Some("123456789012")).unwrap();
        assert_eq!(access(Settings::default(), OTHER), Access::Anonymous);
        let token = Settings { token: Some(secret()), ..Settings::default() };
        assert_eq!(access(token, OTHER), Access::Token(Secret::new("topsecret")));
        let grant = |scope: &str, server: Option<&str>| {
            let (scope, server) = (scope.to_owned(), server.map(ToOwned::to_owned));
            Access::Credential(Grant { credential: Secret::new("topsecret"), scope, server })
        };
        let credential = || Settings { credential: Some(secret()), ..Settings::default() };
        assert_eq!(access(credential(), OTHER), grant("catalog", None));
        let server = "https://login.example.org/token";
        let all = Settings {
            scope: Some("a b".to_owned()),
            server: Some(server.to_owned()),
            ..credential()
        };
        assert_eq!(access(all, OTHER), grant("a b", Some(server)));
        let signed = |service: &str, region: Option<&str>| Access::Signed {
            service: service.to_owned(),
            region: region.map(ToOwned::to_owned),
        };
        assert_eq!(access(Settings::default(), GLUE), signed("glue", Some("eu-west-1")));
        let name =
            || Settings { signing_name: Some("execute-api".to_owned()), ..Settings::default() };
        assert_eq!(access(name(), OTHER), signed("execute-api", None));
        let region = Settings { signing_region: Some("eu-west-2".to_owned()), ..name() };
        assert_eq!(access(region, OTHER), signed("execute-api", Some("eu-west-2")));
        let ec2 = "https://ec2.eu-west-1.amazonaws.com";
        assert_eq!(access(Settings::default(), ec2), Access::Anonymous);
    }

    #[test]
    fn contradictory_variables_are_refused_without_their_values() {
        let both =
            Settings { token: Some(secret()), credential: Some(secret()), ..Settings::default() };
        let why = refusal(both, OTHER, None);
        assert!(why.contains(TOKEN) && why.contains(CREDENTIAL) && !why.contains("topsecret"));
        for settings in [
            Settings { token: Some(secret()), ..Settings::default() },
            Settings { credential: Some(secret()), ..Settings::default() },
        ] {
            let why = refusal(settings, GLUE, Some("123456789012"));
            assert!(why.contains("AWS credentials") && !why.contains("topsecret"), "{why}");
        }
        let scope =
            Settings { scope: Some("a".to_owned()), token: Some(secret()), ..Settings::default() };
        assert!(refusal(scope, OTHER, None).contains(SCOPE));
        let server = Settings { server: Some(OTHER.to_owned()), ..Settings::default() };
        assert!(refusal(server, OTHER, None).contains(SERVER));
        let region = Settings { signing_region: Some("a".to_owned()), ..Settings::default() };
        assert!(refusal(region, OTHER, None).contains(SIGNING_REGION));
    }

    #[test]
    fn table_buckets_are_refused() {
        let buckets = [
            ("https://s3tables.eu-west-1.amazonaws.com/iceberg", None),
            ("https://s3tables.us-east-1.api.aws/iceberg", Some("a")),
            (GLUE, Some("123456789012:s3tablescatalog/lake")),
            (GLUE, Some("arn:aws:s3tables:eu-west-1:123456789012:bucket/lake")),
        ];
        for (url, warehouse) in buckets {
            assert!(refusal(Settings::default(), url, warehouse).contains("table bucket"), "{url}");
        }
        let name = Settings { signing_name: Some("s3tables".to_owned()), ..Settings::default() };
        assert!(refusal(name, OTHER, None).contains("table bucket"));
        assert!(refusal(Settings::default(), GLUE, None).contains("?warehouse=ACCOUNT"));
    }
}
