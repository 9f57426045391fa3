//! IAM policies, bucket policies and lifecycle configurations, as JSON.

mod publication;

use std::fmt::Write as _;

use serde_json::{Value, json};

pub(crate) use crate::catalog::policy::publication::{Database, iceberg};
use crate::logs::schema::LoadBalancerType;
use crate::store::{Kind, Place, Prefix, StoreError};

/// ID of the lifecycle rule. Incomplete uploads are invisible, but they are billed until they are aborted.
const RULE: &str = "abort-incomplete-uploads-of-alb2parquet";

/// An argument for a policy is invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// A URL is invalid.
    #[error(transparent)]
    Url(#[from] StoreError),
    /// A URL is not in S3.
    #[error("{0} is not in S3: a policy requires URLs that begin with s3://")]
    NotS3(String),
    /// A bucket name is invalid. It could act as a pattern and grant more access than intended.
    #[error(
        "\"{0}\" is not a valid bucket name: use letters, digits, dots, hyphens and underscores, and no wildcards"
    )]
    Bucket(String),
    /// An account ID is invalid. It could act as a pattern and grant more access than intended.
    #[error("\"{0}\" is not a valid account: an account ID has 12 digits")]
    Account(String),
    /// The name of an AWS partition is invalid. It could act as a pattern and grant more access than intended.
    #[error("\"{0}\" is not a valid AWS partition: use a name such as aws or aws-cn")]
    Partition(String),
    /// A key ARN is invalid. A policy identifies keys by ARN, and a wildcard would grant access to all keys.
    #[error(
        "\"{key}\" is not the ARN of a KMS key: use an ARN such as \
         arn:{aws}:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab; policies do not support \
         aliases"
    )]
    Key {
        /// The invalid ARN.
        key: String,
        /// The AWS partition of the policy.
        aws: String,
    },
}

/// Returns the ARN of a bucket.
fn bucket_arn(aws: &str, bucket: &str) -> Result<String, PolicyError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if aws.is_empty() || !aws.chars().all(word) {
        return Err(PolicyError::Partition(aws.to_owned()));
    }
    // Buckets created before 2018 can have underscores and capitals in their names.
    let good = bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        && bucket.chars().all(|c| word(c) || c == '.' || c == '_');
    if good {
        Ok(format!("arn:{aws}:s3:::{bucket}"))
    } else {
        // The text before an @ may be a secret.
        let shown =
            bucket.rsplit_once('@').map_or(bucket.to_owned(), |(_, name)| format!("…@{name}"));
        Err(PolicyError::Bucket(shown))
    }
}

/// Returns the ARN pattern that matches the objects below a prefix in a bucket.
fn objects_arn(aws: &str, bucket: &str, prefix: &str) -> Result<String, PolicyError> {
    Ok(format!("{}/{}", bucket_arn(aws, bucket)?, below(prefix)))
}

/// Returns the pattern that matches the keys below a prefix.
fn below(prefix: &str) -> String {
    if prefix.is_empty() { "*".to_owned() } else { format!("{}/*", verbatim(prefix)) }
}

/// Returns a pattern that matches only the given text, in a resource or a condition. Policy variables replace the
/// special characters (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>). They
/// require the policy language version in [`document`].
fn verbatim(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => pattern.extend(['$', '{', c, '}']),
            _ => pattern.push(c),
        }
    }
    pattern
}

/// Returns the bucket policy that lets the load balancers of the given accounts deliver logs below a prefix. `aws` is
/// the AWS partition: `aws`, `aws-cn` or `aws-us-gov`.
///
/// Application and Classic Load Balancers share a service principal for log delivery. In older regions, the principal
/// can also be one of AWS's account IDs, but this policy does not use them. Network Load Balancers deliver logs as the
/// CloudWatch Logs service principal, which also reads the bucket's access control list. Sources:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html>,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/enable-access-logs.html> and
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/enable-access-logs.html>.
///
/// # Errors
///
/// Fails if an argument is invalid: the policy could otherwise grant more access than intended.
pub(crate) fn log_delivery(
    aws: &str,
    bucket: &str,
    prefix: &str,
    accounts: &[String],
    load_balancers: &[LoadBalancerType],
) -> Result<Value, PolicyError> {
    let of_bucket = bucket_arn(aws, bucket)?;
    let path = in_s3(&format!("s3://{bucket}/{prefix}"))?.map(|Prefix { path, .. }| path);
    let path = path.unwrap_or_default();
    let logs = |account: &String| {
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PolicyError::Account(account.clone()));
        }
        objects_arn(aws, bucket, path.clone().join("AWSLogs").join(account.as_str()).as_ref())
    };
    let resources = accounts.iter().map(logs).collect::<Result<Vec<String>, _>>()?;
    let mut statements = Vec::new();
    if load_balancers.iter().any(|each| *each != LoadBalancerType::Network) {
        statements.push(json!({
            "Sid": "LoadBalancersDeliverLogs",
            "Effect": "Allow",
            "Principal": { "Service": "logdelivery.elasticloadbalancing.amazonaws.com" },
            "Action": "s3:PutObject",
            "Resource": &resources,
        }));
    }
    if load_balancers.contains(&LoadBalancerType::Network) {
        // Without these conditions, other accounts could make the service write to the bucket.
        let sources = accounts.iter().map(|account| format!("arn:{aws}:logs:*:{account}:*"));
        let sources = json!({ "aws:SourceArn": sources.collect::<Vec<_>>() });
        let principal = json!({ "Service": "delivery.logs.amazonaws.com" });
        statements.push(json!({
            "Sid": "NetworkLoadBalancersReadBucketAcl",
            "Effect": "Allow",
            "Principal": &principal,
            "Action": "s3:GetBucketAcl",
            "Resource": of_bucket,
            "Condition": {
                "StringEquals": { "aws:SourceAccount": accounts },
                "ArnLike": &sources,
            },
        }));
        statements.push(json!({
            "Sid": "NetworkLoadBalancersDeliverLogs",
            "Effect": "Allow",
            "Principal": &principal,
            "Action": "s3:PutObject",
            "Resource": &resources,
            "Condition": {
                "StringEquals": {
                    "s3:x-amz-acl": "bucket-owner-full-control",
                    "aws:SourceAccount": accounts,
                },
                "ArnLike": &sources,
            },
        }));
    }
    Ok(document(statements))
}

/// Returns the minimal IAM policy for converting sources to a dataset. Local sources and datasets need no permissions.
/// `keys` are the ARNs of the KMS keys that encrypt the objects.
///
/// # Errors
///
/// Fails if a URL is not in S3, or if an argument is invalid: the policy could otherwise grant more access than
/// intended.
pub(crate) fn convert(
    aws: &str,
    sources: &[String],
    out: Option<&str>,
    keys: &[String],
) -> Result<Value, PolicyError> {
    Ok(document(conversion(aws, sources, out, keys)?))
}

/// Returns the minimal IAM policy for retiring source objects that were converted to the dataset.
///
/// Only conditional deletions are allowed
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-delete-enforce.html>). They also require permission
/// to read the objects.
///
/// # Errors
///
/// Fails like [`convert`].
pub(crate) fn retire(
    aws: &str,
    sources: &[String],
    out: Option<&str>,
    keys: &[String],
) -> Result<Value, PolicyError> {
    let mut statements = conversion(aws, sources, out, keys)?;
    for source in sources {
        let Some(Prefix { bucket, path, .. }) = in_s3(source)? else { continue };
        // Without permission to list the bucket, S3 denies access to a missing object instead of reporting that it does
        // not exist. This permission must have no condition on the prefix.
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn(aws, &bucket)?,
        }));
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:DeleteObject",
            "Resource": objects_arn(aws, &bucket, path.as_ref())?,
            "Condition": { "Null": { "s3:if-match": "false" } },
        }));
    }
    Ok(document(statements))
}

/// Returns the statements of the policy for converting sources to a dataset.
fn conversion(
    aws: &str,
    sources: &[String],
    out: Option<&str>,
    keys: &[String],
) -> Result<Vec<Value>, PolicyError> {
    let mut statements = Vec::new();
    for source in sources {
        let Some(Prefix { bucket, path, .. }) = in_s3(source)? else { continue };
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn(aws, &bucket)?,
            "Condition": { "StringLike": { "s3:prefix": [below(path.as_ref())] } },
        }));
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": objects_arn(aws, &bucket, path.as_ref())?,
        }));
    }
    if let Some(Prefix { bucket, path, .. }) = out.map(in_s3).transpose()?.flatten() {
        // Without permission to list the bucket, S3 denies access to a missing object instead of reporting that it does
        // not exist. The statement has no condition, because a request for an object has no prefix to test.
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn(aws, &bucket)?,
        }));
        statements.push(json!({
            "Effect": "Allow",
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:PutObject",
            ],
            "Resource": objects_arn(aws, &bucket, path.as_ref())?,
        }));
    }
    statements.extend(of_keys(aws, keys)?);
    Ok(statements)
}

/// Returns the statement that allows the use of KMS keys, if there are any.
fn of_keys(aws: &str, keys: &[String]) -> Result<Option<Value>, PolicyError> {
    if let Some(key) = keys.iter().find(|key| !is_key(aws, key)) {
        return Err(PolicyError::Key { key: key.clone(), aws: aws.to_owned() });
    }
    Ok((!keys.is_empty()).then(|| {
        json!({
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": keys,
        })
    }))
}

/// Returns whether the text is the ARN of a single KMS key in the given AWS partition.
fn is_key(aws: &str, text: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "kms", region, account, key] = parts[..] else { return false };
    partition == aws
        && word(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && key.strip_prefix("key/").is_some_and(word)
}

/// Returns the lifecycle configuration that aborts incomplete uploads `days` days after they were started.
///
/// # Errors
///
/// Fails if the dataset is not in S3, or its URL is invalid.
pub(crate) fn lifecycle(out: &str, days: u16) -> Result<Value, PolicyError> {
    let Prefix { bucket, path, .. } =
        in_s3(out)?.ok_or_else(|| PolicyError::NotS3(out.to_owned()))?;
    bucket_arn("aws", &bucket)?;
    // A filter is not a pattern, so no characters are special.
    let prefix = path.as_ref();
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(json!({ "Rules": [{
        "ID": RULE,
        "Status": "Enabled",
        "Filter": { "Prefix": prefix },
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": days },
    }] }))
}

#[allow(clippy::needless_pass_by_value)] // called like `json!`, with a temporary value
fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Returns the bucket and prefix of a URL, or `None` for a local path.
fn in_s3(url: &str) -> Result<Option<Prefix>, PolicyError> {
    match Place::parse(url)? {
        Place::Local(_) => Ok(None),
        Place::Bucket(prefix) if prefix.kind == Kind::S3 => {
            let bucket = prefix.bucket.split_once("://").map_or("", |(_, bucket)| bucket);
            Ok(Some(Prefix { bucket: bucket.to_owned(), ..prefix }))
        }
        Place::Bucket(_) => Err(PolicyError::NotS3(url.to_owned())),
    }
}

/// Returns a policy as ASCII text. IAM rejects characters above U+00FF in a policy, but accepts JSON escapes.
pub(crate) fn text(policy: &Value) -> String {
    let mut text = String::new();
    for c in format!("{policy:#}\n").chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [LoadBalancerType; 3] =
        [LoadBalancerType::Application, LoadBalancerType::Network, LoadBalancerType::Classic];

    /// Returns the bucket policy for all load balancer types.
    fn log_delivery(
        aws: &str,
        bucket: &str,
        prefix: &str,
        accounts: &[String],
    ) -> Result<Value, PolicyError> {
        super::log_delivery(aws, bucket, prefix, accounts, &ALL)
    }

    #[test]
    fn each_type_of_load_balancer_delivers_logs_with_its_own_service_principal() {
        let accounts = ["012345678901".to_owned(), "123456789012".to_owned()];
        let services = |load_balancers: &[LoadBalancerType]| {
            let policy = super::log_delivery("aws", "b", "p", &accounts, load_balancers).unwrap();
            let statements = policy["Statement"].as_array().unwrap().clone();
            let service = |each: &Value| {
                let name = each["Principal"]["Service"].as_str().unwrap();
                format!("{} {}", name.split('.').next().unwrap(), each["Action"].as_str().unwrap())
            };
            statements.iter().map(service).collect::<Vec<_>>()
        };
        let application = "logdelivery s3:PutObject";
        let network = ["delivery s3:GetBucketAcl", "delivery s3:PutObject"];
        assert_eq!(services(&[LoadBalancerType::Application]), [application]);
        assert_eq!(services(&[LoadBalancerType::Classic]), [application]);
        assert_eq!(services(&[LoadBalancerType::Network]), network);
        assert_eq!(services(&ALL), [application, network[0], network[1]]);
        let policy = log_delivery("aws-cn", "b", "p", &accounts).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements[1]["Resource"], "arn:aws-cn:s3:::b");
        assert_eq!(statements[2]["Resource"][1], "arn:aws-cn:s3:::b/p/AWSLogs/123456789012/*");
        for statement in &statements[1..] {
            let conditions = &statement["Condition"];
            assert_eq!(conditions["StringEquals"]["aws:SourceAccount"], json!(accounts));
            let source = &conditions["ArnLike"]["aws:SourceArn"][1];
            assert_eq!(source, "arn:aws-cn:logs:*:123456789012:*");
        }
        let acl = &statements[2]["Condition"]["StringEquals"]["s3:x-amz-acl"];
        assert_eq!(acl, "bucket-owner-full-control");
    }

    #[test]
    fn logs_are_delivered_below_a_prefix() {
        let account = "012345678901".to_owned();
        let resource = |prefix: &str| {
            let accounts = std::slice::from_ref(&account);
            let policy = log_delivery("aws-cn", "b", prefix, accounts).unwrap();
            policy["Statement"][0]["Resource"][0].as_str().unwrap().to_owned()
        };
        assert_eq!(resource(""), "arn:aws-cn:s3:::b/AWSLogs/012345678901/*");
        assert_eq!(resource("/p/q/"), "arn:aws-cn:s3:::b/p/q/AWSLogs/012345678901/*");
    }

    #[test]
    fn a_conversion_gets_only_the_permissions_that_it_needs() {
        let sources = ["s3://logs/p".to_owned(), "/local".to_owned()];
        let policy = convert("aws", &sources, Some("s3://lake/alb"), &[]).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 4);
        assert_eq!(statements[0]["Condition"]["StringLike"]["s3:prefix"][0], "p/*");
        assert_eq!(statements[1]["Resource"], "arn:aws:s3:::logs/p/*");
        assert_eq!(statements[3]["Resource"], "arn:aws:s3:::lake/alb/*");
        assert!(convert("aws", &sources, Some("gs://lake"), &[]).is_err());
        let key = "arn:aws:kms:eu-west-1:012345678901:key/mrk-1234abcd".to_owned();
        let policy = convert("aws", &sources, Some("lake"), std::slice::from_ref(&key)).unwrap();
        assert_eq!(policy["Statement"][2]["Resource"][0], *key);
    }

    #[test]
    fn only_a_retirement_may_delete_source_objects_and_only_conditionally() {
        let source = ["s3://logs/p".to_owned()];
        let deletes = |policy: Value| -> Vec<Value> {
            let statements = policy["Statement"].as_array().unwrap().clone();
            let is_of_source = |each: &Value| {
                each["Resource"] == "arn:aws:s3:::logs/p/*" && each["Action"] != "s3:GetObject"
            };
            statements.into_iter().filter(is_of_source).collect()
        };
        assert!(deletes(convert("aws", &source, Some("s3://lake"), &[]).unwrap()).is_empty());
        let policy = retire("aws", &source, Some("s3://lake"), &[]).unwrap();
        let [ref delete] = deletes(policy)[..] else { panic!("one statement deletes") };
        assert_eq!(delete["Action"], "s3:DeleteObject");
        assert_eq!(delete["Condition"]["Null"]["s3:if-match"], "false");
    }

    #[test]
    fn wildcards_and_variables_in_a_prefix_are_escaped() {
        let source = ["s3://logs/a*?${aws:username}$".to_owned()];
        let policy = convert("aws", &source, None, &[]).unwrap();
        let pattern = "a${*}${?}${$}{aws:username}${$}/*";
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements[0]["Condition"]["StringLike"]["s3:prefix"][0], pattern);
        assert_eq!(statements[1]["Resource"], format!("arn:aws:s3:::logs/{pattern}"));
        assert_eq!(lifecycle("s3://lake/a*?", 7).unwrap()["Rules"][0]["Filter"]["Prefix"], "a*?/");
    }

    #[test]
    fn arguments_that_would_grant_more_than_intended_are_rejected() {
        let one = |text: &str| [text.to_owned()];
        for bucket in ["*", "lo*", "l?gs", "${aws:username}", "a b", "a:b", "a@b", "-a", "", "ä"] {
            assert!(log_delivery("aws", bucket, "", &one("012345678901")).is_err(), "{bucket}");
            let url = format!("s3://{bucket}");
            assert!(convert("aws", &one(&url), None, &[]).is_err(), "{bucket}");
            assert!(convert("aws", &[], Some(&url), &[]).is_err(), "{bucket}");
            assert!(lifecycle(&url, 7).is_err(), "{bucket}");
        }
        for account in ["*", "01234567890?", "0123456789012", ""] {
            assert!(log_delivery("aws", "b", "", &one(account)).is_err(), "{account}");
        }
        for key in [
            "*",
            "arn:aws:kms:*:012345678901:key/1",
            "arn:aws:kms:eu-west-1:012345678901:key/*",
            "arn:aws:kms:eu-west-1:*:key/1",
            "arn:aws:kms:eu-west-1:012345678901:alias/logs",
            "arn:aws-cn:kms:eu-west-1:012345678901:key/1",
            "arn:aws:kms:eu-west-1:012345678901:key/${aws:username}",
        ] {
            assert!(matches!(convert("aws", &[], None, &one(key)), Err(PolicyError::Key { .. })));
        }
        for prefix in ["a//b", "a/../b", "a\nb"] {
            assert!(log_delivery("aws", "b", prefix, &one("012345678901")).is_err(), "{prefix}");
        }
        assert!(log_delivery("*", "b", "", &one("012345678901")).is_err());
    }

    #[test]
    fn a_policy_is_printed_in_ascii() {
        let policy = convert("aws", &["s3://b/ü😀\"".to_owned()], None, &[]).unwrap();
        let printed = text(&policy);
        assert!(printed.is_ascii() && printed.contains("\\ud83d\\ude00"), "{printed}");
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), policy);
    }

    #[test]
    fn incomplete_uploads_are_aborted_after_a_number_of_days() {
        let rule = &lifecycle("s3://lake/alb/", 7).unwrap()["Rules"][0];
        assert_eq!(rule["Filter"]["Prefix"], "alb/");
        assert_eq!(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 7);
        assert!(lifecycle("lake", 7).is_err());
    }
}
