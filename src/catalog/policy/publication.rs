//! The IAM policy for publishing a dataset as Iceberg tables.

use serde_json::{Value, json};

use crate::catalog::policy::{PolicyError, bucket_arn, document, in_s3, objects_arn, of_keys};
use crate::store::Prefix;

/// A database in the Glue Data Catalog.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Database<'a> {
    /// Account ID.
    pub account: &'a str,
    /// Region, such as `eu-west-1`.
    pub region: &'a str,
    /// Name of the database.
    pub name: &'a str,
}

/// Returns the minimal IAM policy for publishing a dataset. Metadata is written to `warehouse` or, by default, to the
/// dataset. `keys` are the ARNs of the KMS keys that encrypt the objects.
///
/// # Errors
///
/// Fails if a URL is not in S3, or if an argument is invalid.
pub(crate) fn iceberg(
    aws: &str,
    out: &str,
    warehouse: Option<&str>,
    database: Option<Database>,
    keys: &[String],
) -> Result<Value, PolicyError> {
    let not_s3 = |url: &str| PolicyError::NotS3(url.to_owned());
    let Prefix { bucket, path, .. } = in_s3(out)?.ok_or_else(|| not_s3(out))?;
    let path = path.as_ref();
    let metadata = if let Some(url) = warehouse {
        let Prefix { bucket, path, .. } = in_s3(url)?.ok_or_else(|| not_s3(url))?;
        objects_arn(aws, &bucket, path.as_ref())?
    } else {
        let below = format!("{path}/_alb2parquet/iceberg");
        objects_arn(aws, &bucket, below.trim_start_matches('/'))?
    };
    let mut statements = vec![
        // Without permission to list the bucket, S3 denies access to a missing object instead of reporting that it does
        // not exist.
        json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn(aws, &bucket)? }),
        json!({
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": objects_arn(aws, &bucket, path)?,
        }),
        json!({
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": metadata,
        }),
    ];
    if let Some(Database { account, region, name }) = database {
        let arn = |rest: &str| format!("arn:{aws}:glue:{region}:{account}:{rest}");
        statements.push(json!({
            "Effect": "Allow",
            // Only Glue's REST endpoint needs GetCatalog.
            "Action": [
                "glue:CreateDatabase",
                "glue:CreateTable",
                "glue:GetCatalog",
                "glue:GetTable",
                "glue:UpdateTable",
            ],
            "Resource": [
                arn("catalog"),
                arn(&format!("database/{name}")),
                arn(&format!("table/{name}/*")),
            ],
        }));
    }
    statements.extend(of_keys(aws, keys)?);
    Ok(document(statements))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(policy: &Value) -> Vec<Value> {
        policy["Statement"].as_array().unwrap().clone()
    }

    #[test]
    fn publishing_may_write_only_metadata() {
        let policy = iceberg("aws", "s3://lake/alb", None, None, &[]).unwrap();
        let writing: Vec<Value> = statements(&policy)
            .into_iter()
            .filter(|each| each["Action"].to_string().contains("Put"))
            .collect();
        assert_eq!(writing.len(), 1);
        assert_eq!(writing[0]["Resource"], "arn:aws:s3:::lake/alb/_alb2parquet/iceberg/*");
        assert!(!policy.to_string().contains("Delete"), "{policy}");
        let policy = iceberg("aws", "s3://lake", None, None, &[]).unwrap();
        let resource = &statements(&policy)[2]["Resource"];
        assert_eq!(*resource, "arn:aws:s3:::lake/_alb2parquet/iceberg/*");
        let policy = iceberg("aws", "s3://lake", Some("s3://meta/w"), None, &[]).unwrap();
        assert_eq!(statements(&policy)[2]["Resource"], "arn:aws:s3:::meta/w/*");
        assert!(iceberg("aws", "lake", None, None, &[]).is_err());
        assert!(iceberg("aws", "s3://lake", Some("meta"), None, &[]).is_err());
    }

    #[test]
    fn publishing_may_change_the_tables_of_one_database() {
        let database = Database { account: "012345678901", region: "eu-west-1", name: "logs" };
        let policy = iceberg("aws-cn", "s3://lake", None, Some(database), &[]).unwrap();
        let glue = &statements(&policy)[3];
        assert!(glue["Action"].to_string().contains("glue:GetCatalog"), "for the REST endpoint");
        assert_eq!(glue["Resource"][2], "arn:aws-cn:glue:eu-west-1:012345678901:table/logs/*");
    }
}
