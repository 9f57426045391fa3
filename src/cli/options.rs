//! Arguments that several subcommands share, and the parsers for their values.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{Days, NaiveDate, Utc};
use clap::{Args, ValueEnum};

use crate::dataset::shard::{Shard, ShardError};
use crate::logs::key::is_real_region;
use crate::plan::Balancer;

/// Flags that select partitions.
#[derive(Debug, Args)]
pub(super) struct Partitions {
    /// Type of the logs (repeatable) [default: all]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(super) log_type: Vec<LogType>,

    /// First day (UTC): YYYY-MM-DD, or 7d for seven days ago
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(super) from: Option<NaiveDate>,

    /// Account ID (repeatable) [default: all]
    #[arg(long, value_name = "ID", value_parser = account)]
    pub(super) account: Vec<String>,

    /// Region (repeatable) [default: all]
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub(super) region: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogType {
    /// Requests to Application Load Balancers: the table alb_access_logs
    Access,
    /// Connections to Application Load Balancers: the table alb_connection_logs
    Connection,
    /// Health checks by Application Load Balancers: the table alb_health_check_logs
    #[value(name = "health_check", alias = "health-check")]
    HealthCheck,
    /// TLS connections to Network Load Balancers: the table nlb_tls_logs
    #[value(name = "nlb_tls", alias = "nlb-tls")]
    NlbTls,
    /// Requests to Classic Load Balancers: the table clb_access_logs
    Classic,
}

/// Flags that select objects and divide them into files and shards.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    #[command(flatten)]
    pub(super) partitions: Partitions,

    /// Last day (UTC): YYYY-MM-DD, or 1d for yesterday [default: yesterday]
    ///
    /// By default, today is excluded, because its logs are still being delivered.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(super) to: Option<NaiveDate>,

    /// Load balancer: its name, app/name/id, net/name/id or ARN (repeatable) [default: all]
    #[arg(long, value_name = "NAME", value_parser = Balancer::parse)]
    pub(super) balancer: Vec<Balancer>,

    /// Read object keys from a list (path, URL or -) instead of listing SOURCE
    ///
    /// The list is one of these: keys, URLs or paths, one per line; the output of aws s3 ls --recursive,
    /// aws s3api list-objects-v2, s5cmd ls or find; CSV with a header; the manifest.json of an S3 Inventory in CSV or
    /// Parquet. It can be compressed with gzip or zstd. Use - for stdin. See docs/object-lists.md.
    #[arg(long, value_name = "FILE")]
    pub(super) objects: Option<String>,

    /// Maximum compressed size of the objects in one Parquet file
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(super) target_file_size: u64,

    /// Process shard I of N (0-based); auto or auto/N in a job array
    ///
    /// auto reads I from AWS_BATCH_JOB_ARRAY_INDEX (AWS Batch) or JOB_COMPLETION_INDEX (Kubernetes), and N from
    /// AWS_BATCH_JOB_ARRAY_SIZE. Kubernetes has no variable for N: use auto/N. A hash of account, region and day
    /// assigns each day to a shard.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(super) shard: Option<Shard>,
}

/// Flags for commands that work on partitions of an existing dataset.
#[derive(Debug, Args)]
pub(super) struct Held {
    /// Directory or URL of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Last day (UTC): YYYY-MM-DD, or 1d for yesterday
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(super) to: Option<NaiveDate>,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags that configure object stores.
#[derive(Debug, Args)]
pub(super) struct Stores {
    /// Setting of the object stores, such as region=eu-west-1 (repeatable)
    ///
    /// The keys are those of the crate object_store. Further examples are endpoint=http://localhost:9000,
    /// request_payer=true, aws_server_side_encryption=aws:kms, aws_sse_kms_key_id=ID and checksum_algorithm=sha256.
    /// Settings take precedence over the environment.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) option: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// account=…/region=…/year=…/month=…/day=…, which engines discover automatically
    Hive,
    /// ACCOUNT/REGION/yyyy/mm/dd, as in the source
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// PLAIN and dictionary encodings, no page index; every engine reads these files
    Portable,
    /// Delta encodings and a page index; 1 % smaller, but some engines fail or lose rows
    Compact,
}

pub(super) fn account(text: &str) -> Result<String, String> {
    let good = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err("an account ID has 12 digits".to_owned()) }
}

pub(super) fn region(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let meant = text.trim().to_ascii_lowercase().replace(['_', ' '], "-");
    // An availability zone is a region followed by a letter.
    let zone =
        meant.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|_| !is_real_region(text));
    let meant = zone.filter(|region| is_real_region(region)).unwrap_or(&meant);
    if meant == text && !text.is_empty() && text.bytes().all(good) {
        Ok(text.to_owned())
    } else if is_real_region(meant) {
        Err(format!("did you mean {meant}?"))
    } else {
        Err("expected a region such as eu-west-1".to_owned())
    }
}

/// Parses a day, or a number of days before today (UTC).
pub(super) fn day(text: &str) -> Result<NaiveDate, String> {
    let before = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let day = match before {
        Some(days) => Utc::now().date_naive().checked_sub_days(Days::new(days)),
        None => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
    };
    day.ok_or_else(|| {
        "expected a day such as 2025-07-19, or 7d for seven days ago (UTC)".to_owned()
    })
}

pub(super) fn age(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let seconds = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "expected an age such as 7d, 36h or 90m".to_owned())
}

fn shard(text: &str) -> Result<Shard, ShardError> {
    Shard::parse(text, |name| env::var(name).ok())
}

pub(super) fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "expected a price such as 0.0004".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not between 0 and 1".to_owned()) }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let size =
        number.parse().ok().zip(factor).and_then(|(number, factor)| factor.checked_mul(number));
    size.filter(|size| *size > 0).ok_or_else(|| "expected a size such as 256MiB or 1GB".to_owned())
}

/// Returns the most similar name as a suggestion to append to an error message, or an empty string if no name is
/// similar.
pub(super) fn nearest(name: &str, names: &[&str]) -> String {
    const CLOSE: f64 = 0.8;
    let score = |other: &str| strsim::jaro_winkler(name, other);
    let best = names.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    match best.filter(|best| score(best) >= CLOSE) {
        Some(best) => format!("; did you mean {best}?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let names = ["client_ip", "client_port", "user_agent"];
        assert_eq!(nearest("clientip", &names), "; did you mean client_ip?");
        assert_eq!(nearest("useragent", &names), "; did you mean user_agent?");
        assert_eq!(nearest("zzz", &names), "");
    }

    #[test]
    fn a_misspelled_region_is_rejected_with_a_suggestion() {
        for good in ["eu-west-1", "us-gov-east-1", "local"] {
            assert_eq!(region(good), Ok(good.to_owned()));
        }
        for bad in ["EU-WEST-1", "eu_west_1", "Eu West 1", "eu-west-1a", "EU_WEST_1B", " eu-west-1"]
        {
            assert_eq!(region(bad), Err("did you mean eu-west-1?".to_owned()), "{bad}");
        }
        for bad in ["", "Ireland", "eu/west/1", "*"] {
            assert_eq!(region(bad), Err("expected a region such as eu-west-1".to_owned()), "{bad}");
        }
    }

    #[test]
    fn days_are_dates_or_ages() {
        assert_eq!(day("2025-07-19"), Ok(NaiveDate::from_ymd_opt(2025, 7, 19).unwrap()));
        let (before, days, after) = (Utc::now(), ["0d", "1d", "400d"].map(day), Utc::now());
        for (parsed, age) in days.into_iter().zip([0, 1, 400]) {
            let of = |now: chrono::DateTime<Utc>| now.date_naive() - Days::new(age);
            let parsed = parsed.unwrap();
            assert!(of(before) <= parsed && parsed <= of(after), "{age}");
        }
        for text in ["", "d", "7", "-7d", "7 days", "2025-02-30", "2025/07/19", "99999999999999d"] {
            assert!(day(text).unwrap_err().contains("or 7d"), "{text}");
        }
    }

    #[test]
    fn ages() {
        assert_eq!(age("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        for text in ["", "7", "d", "-1d", "1w", "1.5h", "99999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1 gb"), Ok(1_000_000_000));
        assert_eq!(size("4096"), Ok(4096));
        for text in
            ["", "0", "-1", "MiB", "1TiBs", "1.5GiB", "99999999999999999999", "99999999999GiB"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
