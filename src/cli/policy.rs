//! The `policy` command.

use clap::{Args, Subcommand, ValueEnum};

use crate::catalog::policy::{self, Database};
use crate::cli::DONE;
use crate::cli::iceberg::namespace;
use crate::cli::options;
use crate::cli::terminal::print_text;
use crate::logs::schema::LoadBalancerType;

pub(super) const AFTER: &str = "\
Exit codes:
  0  the JSON was printed
  3  the arguments are invalid

Examples:
  alb2parquet policy log-delivery --bucket my-log-bucket --account 123456789012
  alb2parquet policy convert --source s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet policy lifecycle --out s3://my-lake/alb";

const AFTER_LOG_DELIVERY: &str = "\
Exit codes:
  0  the JSON was printed
  3  the arguments are invalid

Examples:
  alb2parquet policy log-delivery --bucket my-log-bucket --account 123456789012
  alb2parquet policy log-delivery --bucket my-log-bucket --prefix prod --account 123456789012 --aws aws-cn
  alb2parquet policy log-delivery --bucket my-log-bucket --account 123456789012 --load-balancer network";

const AFTER_CONVERT: &str = "\
Exit codes:
  0  the JSON was printed
  3  the arguments are invalid

Examples:
  alb2parquet policy convert --source s3://my-log-bucket
  alb2parquet policy convert --source s3://my-log-bucket/prod --out s3://my-lake/alb";

const AFTER_RETIRE: &str = "\
Exit codes:
  0  the JSON was printed
  3  the arguments are invalid

Examples:
  alb2parquet policy retire --source s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet policy retire --source s3://my-log-bucket/prod --out s3://my-lake/alb --aws aws-cn";

const AFTER_ICEBERG: &str = "\
Exit codes:
  0  the JSON was printed
  3  the arguments are invalid

Examples:
  alb2parquet policy iceberg --out s3://my-lake/alb
  alb2parquet policy iceberg --out s3://my-lake/alb --account 123456789012 --region eu-west-1 --namespace logs";

const AFTER_LIFECYCLE: &str = "\
Exit codes:
  0  the JSON was printed
  3  the arguments are invalid

Examples:
  alb2parquet policy lifecycle --out s3://my-lake/alb
  alb2parquet policy lifecycle --out s3://my-lake/alb --days 3";

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Print the bucket policy that lets load balancers deliver their logs
    #[command(after_help = AFTER_LOG_DELIVERY)]
    LogDelivery {
        /// Name of the bucket
        #[arg(long)]
        bucket: String,
        /// Prefix in the bucket, as specified when logging was enabled
        #[arg(long, default_value = "")]
        prefix: String,
        /// Account ID of the load balancers (repeatable)
        #[arg(long, required = true, value_name = "ID", value_parser = options::account)]
        account: Vec<String>,
        /// Type of the load balancers (repeatable) [default: all types]
        #[arg(long, value_enum, value_name = "TYPE")]
        load_balancer: Vec<LoadBalancer>,
        /// AWS partition
        #[arg(long, value_enum, default_value_t = Aws::Standard)]
        aws: Aws,
    },
    /// Print the minimal IAM policy for `convert`, `verify`, `remove` and `clean`
    #[command(after_help = AFTER_CONVERT)]
    Convert(Access),
    /// Print the minimal IAM policy for `retire --delete`, which deletes source objects
    ///
    /// The policy allows deleting an object only if the request contains the ETag of the object.
    #[command(after_help = AFTER_RETIRE)]
    Retire(Access),
    /// Print the minimal IAM policy for `iceberg publish`
    #[command(after_help = AFTER_ICEBERG)]
    Iceberg {
        /// URL of the dataset
        #[arg(long, value_name = "URL")]
        out: String,
        /// URL of the directory for metadata [default: _alb2parquet/iceberg in the dataset]
        #[arg(long, value_name = "URL")]
        warehouse: Option<String>,
        /// Account ID of the Glue Data Catalog, if it is used
        #[arg(long, value_name = "ID", value_parser = options::account, requires = "region")]
        account: Option<String>,
        /// Region of the Glue Data Catalog, if it is used
        #[arg(long, value_parser = options::region, requires = "account")]
        region: Option<String>,
        /// Database in the Glue Data Catalog
        #[arg(long, value_name = "NAME", default_value = "default", value_parser = namespace)]
        namespace: String,
        /// ARN of a KMS key that encrypts objects (repeatable)
        #[arg(long, value_name = "ARN")]
        kms_key: Vec<String>,
        /// AWS partition
        #[arg(long, value_enum, default_value_t = Aws::Standard)]
        aws: Aws,
    },
    /// Print the lifecycle configuration that aborts uploads of crashed runs
    #[command(after_help = AFTER_LIFECYCLE)]
    Lifecycle {
        /// URL of the dataset
        #[arg(long, value_name = "URL")]
        out: String,
        /// Days after which an upload is aborted; must be longer than any run takes
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
    },
}

#[derive(Debug, Args)]
pub(super) struct Access {
    /// URL of the logs (repeatable)
    #[arg(long, required = true, value_name = "URL")]
    source: Vec<String>,
    /// URL of the dataset
    #[arg(long, value_name = "URL")]
    out: Option<String>,
    /// ARN of a KMS key that encrypts objects (repeatable)
    #[arg(long, value_name = "ARN")]
    kms_key: Vec<String>,
    /// AWS partition
    #[arg(long, value_enum, default_value_t = Aws::Standard)]
    aws: Aws,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LoadBalancer {
    /// Application Load Balancer
    Application,
    /// Network Load Balancer
    Network,
    /// Classic Load Balancer
    Classic,
}

impl LoadBalancer {
    fn load_balancer_type(self) -> LoadBalancerType {
        match self {
            Self::Application => LoadBalancerType::Application,
            Self::Network => LoadBalancerType::Network,
            Self::Classic => LoadBalancerType::Classic,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Aws {
    /// All other regions
    #[value(name = "aws")]
    Standard,
    /// China
    #[value(name = "aws-cn")]
    China,
    /// GovCloud (US)
    #[value(name = "aws-us-gov")]
    GovCloud,
}

impl Aws {
    /// Returns the name of the partition as used in ARNs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "aws",
            Self::China => "aws-cn",
            Self::GovCloud => "aws-us-gov",
        }
    }
}

impl Policy {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let policy = match self {
            Policy::LogDelivery { bucket, prefix, account, load_balancer, aws } => {
                let all = LoadBalancer::value_variants();
                let types = if load_balancer.is_empty() { all } else { load_balancer };
                let types: Vec<_> = types.iter().map(|each| each.load_balancer_type()).collect();
                policy::log_delivery(aws.as_str(), bucket, prefix, account, &types)?
            }
            Policy::Convert(Access { source, out, kms_key, aws }) => {
                policy::convert(aws.as_str(), source, out.as_deref(), kms_key)?
            }
            Policy::Retire(Access { source, out, kms_key, aws }) => {
                policy::retire(aws.as_str(), source, out.as_deref(), kms_key)?
            }
            Policy::Iceberg { out, warehouse, account, region, namespace, kms_key, aws } => {
                let database = account.as_deref().zip(region.as_deref());
                let database =
                    database.map(|(account, region)| Database { account, region, name: namespace });
                policy::iceberg(aws.as_str(), out, warehouse.as_deref(), database, kms_key)?
            }
            Policy::Lifecycle { out, days } => policy::lifecycle(out, *days)?,
        };
        print_text(&policy::text(&policy))?;
        Ok(DONE)
    }
}
