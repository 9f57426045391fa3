//! `policy`: what AWS must be told, as JSON to paste.

use clap::{Subcommand, ValueEnum};

use crate::cli::DONE;
use crate::cli::options;
use crate::cli::terminal::print_text;
use crate::policy;

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Bucket policy that lets load balancers deliver their logs
    LogDelivery {
        /// The bucket
        #[arg(long)]
        bucket: String,
        /// Prefix that was given when logging was switched on
        #[arg(long, default_value = "")]
        prefix: String,
        /// Account of the load balancers (repeatable)
        #[arg(long, required = true, value_name = "ID", value_parser = options::account)]
        account: Vec<String>,
        /// Partition of AWS
        #[arg(long, value_enum, default_value_t = Aws::Standard)]
        aws: Aws,
    },
    /// Role policy with the least that `convert`, `verify`, `remove` and `clean` need
    Convert {
        /// URL of the logs (repeatable)
        #[arg(long, required = true, value_name = "URL")]
        source: Vec<String>,
        /// URL of the dataset
        #[arg(long, value_name = "URL")]
        out: Option<String>,
        /// ARN of a KMS key that objects are encrypted with (repeatable)
        #[arg(long, value_name = "ARN")]
        kms_key: Vec<String>,
        /// Partition of AWS
        #[arg(long, value_enum, default_value_t = Aws::Standard)]
        aws: Aws,
    },
    /// Lifecycle configuration that ends the uploads that crashed runs have left
    Lifecycle {
        /// URL of the dataset
        #[arg(long, value_name = "URL")]
        out: String,
        /// Days after which an upload is ended; must be longer than any run takes
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Aws {
    /// Everywhere else
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
    /// Returns the name that ARNs have.
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
            Policy::LogDelivery { bucket, prefix, account, aws } => {
                policy::log_delivery(aws.as_str(), bucket, prefix, account)
            }
            Policy::Convert { source, out, kms_key, aws } => {
                policy::convert(aws.as_str(), source, out.as_deref(), kms_key)?
            }
            Policy::Lifecycle { out, days } => policy::lifecycle(out, *days)?,
        };
        print_text(&format!("{policy:#}\n"))?;
        Ok(DONE)
    }
}
