//! What AWS must be told for this program to work, as JSON to paste.

use serde_json::{Value, json};

use crate::store::{Kind, Place, Prefix, StoreError};

/// What the program stages under a prefix is invisible, and is paid for until it is removed.
const RULE: &str = "abort-incomplete-uploads-of-alb2parquet";

/// A policy that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A URL makes no sense.
    #[error(transparent)]
    Url(#[from] StoreError),
    /// A URL names no bucket of S3.
    #[error("{0} is not in S3: a policy is for URLs that begin with s3://")]
    NotS3(String),
}

/// Where the objects of a bucket are, as ARNs say it.
fn arn(aws: &str, bucket: &str, prefix: &str) -> String {
    let prefix = prefix.trim_matches('/');
    let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    format!("arn:{aws}:s3:::{bucket}/{below}*")
}

/// Returns the bucket policy that lets load balancers of some accounts deliver logs below a prefix.
/// `aws` is the partition of AWS: `aws`, `aws-cn` or `aws-us-gov`.
pub fn log_delivery(aws: &str, bucket: &str, prefix: &str, accounts: &[String]) -> Value {
    let logs = |account: &String| {
        arn(aws, bucket, &format!("{}/AWSLogs/{account}", prefix.trim_matches('/')))
    };
    let resources: Vec<String> = accounts.iter().map(logs).collect();
    document(vec![json!({
        "Sid": "LoadBalancersDeliverLogs",
        "Effect": "Allow",
        "Principal": { "Service": "logdelivery.elasticloadbalancing.amazonaws.com" },
        "Action": "s3:PutObject",
        "Resource": resources,
    })])
}

/// Returns the least that a role must be allowed to convert sources to a dataset. Places that are local
/// need nothing. Keys are the ARNs of the KMS keys that objects are encrypted with.
///
/// # Errors
///
/// Fails when a URL is of another store, or makes no sense.
pub fn convert(
    aws: &str,
    sources: &[String],
    out: Option<&str>,
    keys: &[String],
) -> Result<Value, PolicyError> {
    let mut statements = Vec::new();
    for source in sources {
        let Some(Prefix { bucket, path, .. }) = in_s3(source)? else { continue };
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": format!("arn:{aws}:s3:::{bucket}"),
            "Condition": { "StringLike": { "s3:prefix": below(path.as_ref()) } },
        }));
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": arn(aws, &bucket, path.as_ref()),
        }));
    }
    if let Some(Prefix { bucket, path, .. }) = out.map(in_s3).transpose()?.flatten() {
        // Without a condition: only who may list a bucket is told that an object is not there, and
        // that request has no prefix that a condition could look at.
        statements.push(json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": format!("arn:{aws}:s3:::{bucket}"),
        }));
        statements.push(json!({
            "Effect": "Allow",
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:PutObject",
            ],
            "Resource": arn(aws, &bucket, path.as_ref()),
        }));
    }
    if !keys.is_empty() {
        statements.push(json!({
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": keys,
        }));
    }
    Ok(document(statements))
}

/// Returns the lifecycle rule that ends uploads that nobody completed, some days after they began.
///
/// # Errors
///
/// Fails when the dataset is not in S3, or its URL makes no sense.
pub fn lifecycle(out: &str, days: u16) -> Result<Value, PolicyError> {
    let prefix = in_s3(out)?.ok_or_else(|| PolicyError::NotS3(out.to_owned()))?.path;
    let prefix = prefix.as_ref();
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(json!({ "Rules": [{
        "ID": RULE,
        "Status": "Enabled",
        "Filter": { "Prefix": prefix },
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": days },
    }] }))
}

#[allow(clippy::needless_pass_by_value)] // as `json!` is called
fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Returns bucket and prefix of a URL; `None` when it is local.
fn in_s3(url: &str) -> Result<Option<Prefix>, PolicyError> {
    match Place::parse(url)? {
        Place::Local(_) => Ok(None),
        Place::Bucket(prefix) if prefix.kind == Kind::S3 => {
            Ok(Some(Prefix { bucket: prefix.name().to_owned(), ..prefix }))
        }
        Place::Bucket(_) => Err(PolicyError::NotS3(url.to_owned())),
    }
}

/// Returns the prefixes that a listing below a path asks for.
fn below(path: &str) -> Vec<String> {
    if path.is_empty() { vec!["*".to_owned()] } else { vec![format!("{path}/*")] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_delivered_below_a_prefix() {
        let account = "012345678901".to_owned();
        let resource = |prefix: &str| {
            let policy = log_delivery("aws-cn", "b", prefix, std::slice::from_ref(&account));
            policy["Statement"][0]["Resource"][0].as_str().unwrap().to_owned()
        };
        assert_eq!(resource(""), "arn:aws-cn:s3:::b/AWSLogs/012345678901/*");
        assert_eq!(resource("/p/q/"), "arn:aws-cn:s3:::b/p/q/AWSLogs/012345678901/*");
    }

    #[test]
    fn a_conversion_needs_little() {
        let sources = ["s3://logs/p".to_owned(), "/local".to_owned()];
        let policy = convert("aws", &sources, Some("s3://lake/alb"), &[]).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 4);
        assert_eq!(statements[0]["Condition"]["StringLike"]["s3:prefix"][0], "p/*");
        assert_eq!(statements[1]["Resource"], "arn:aws:s3:::logs/p/*");
        assert_eq!(statements[3]["Resource"], "arn:aws:s3:::lake/alb/*");
        assert!(convert("aws", &sources, Some("gs://lake"), &[]).is_err());
        let policy = convert("aws", &sources, Some("lake"), &["arn:k".to_owned()]).unwrap();
        assert_eq!(policy["Statement"][2]["Resource"][0], "arn:k");
    }

    #[test]
    fn uploads_end_after_some_days() {
        let rule = &lifecycle("s3://lake/alb/", 7).unwrap()["Rules"][0];
        assert_eq!(rule["Filter"]["Prefix"], "alb/");
        assert_eq!(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 7);
        assert!(lifecycle("lake", 7).is_err());
    }
}
