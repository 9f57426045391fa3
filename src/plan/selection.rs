//! Which objects are wanted, and which directories may hold some.

use chrono::NaiveDate;

use crate::key::{Directory, Key, Partition};
use crate::schema::LogType;
use crate::shard::Shard;
use crate::store::Look;

/// Directories down to this depth are looked into for those of accounts.
const MAX_ABOVE: usize = 8;

/// Which objects are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Log types; all when empty.
    pub log_types: Vec<LogType>,
    /// First day of delivery.
    pub from: Option<NaiveDate>,
    /// Last day of delivery.
    pub to: Option<NaiveDate>,
    /// Accounts; all when empty.
    pub accounts: Vec<String>,
    /// Regions; all when empty.
    pub regions: Vec<String>,
    /// Load balancers by name, `app/name/id` or `app.name.id`; all when empty.
    pub balancers: Vec<String>,
    /// Only the partitions of this shard.
    pub shard: Option<Shard>,
}

impl Selection {
    /// Tells whether a partition is wanted, or some of it.
    pub fn wants_partition(&self, partition: &Partition) -> bool {
        let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|s| s == one);
        (self.log_types.is_empty() || self.log_types.contains(&partition.log_type))
            && self.from.is_none_or(|from| partition.day >= from)
            && self.to.is_none_or(|to| partition.day <= to)
            && among(&self.accounts, &partition.account)
            && among(&self.regions, &partition.region)
            && self.shard.is_none_or(|shard| {
                shard.holds(&partition.account, &partition.region, partition.day)
            })
    }

    /// Tells what a directory of a source is worth.
    pub fn look(&self, directory: &str) -> Look {
        let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|s| s == one);
        let Some(Directory { account, region, days, balancers, .. }) = Directory::parse(directory)
        else {
            // Directories are many somewhere else than above accounts.
            let depth = directory.split('/').count();
            return if depth <= MAX_ABOVE { Look::Inside } else { Look::Whole };
        };
        if !balancers
            || !among(&self.accounts, account)
            || region.is_some_and(|region| !among(&self.regions, region))
        {
            return Look::Skip;
        }
        let Some(region) = region else { return Look::Inside };
        let (first, last) = days.unwrap_or((NaiveDate::MIN, NaiveDate::MAX));
        let (from, to) = (self.from.unwrap_or(NaiveDate::MIN), self.to.unwrap_or(NaiveDate::MAX));
        if last < from || first > to {
            return Look::Skip;
        }
        match self.shard {
            Some(_) if first < last => return Look::Inside,
            Some(shard) if !shard.holds(account, region, first) => return Look::Skip,
            _ => {}
        }
        if from <= first && last <= to { Look::Whole } else { Look::Inside }
    }

    /// Tells whether an object is wanted.
    pub(super) fn wants(&self, key: &Key) -> bool {
        self.wants_partition(&key.partition)
            && (self.balancers.is_empty()
                || self.balancers.iter().any(|wanted| is_balancer(wanted, &key.balancer)))
    }
}

/// Tells whether `wanted` names the balancer `app.name.id`.
fn is_balancer(wanted: &str, balancer: &str) -> bool {
    wanted.replace('/', ".") == balancer || balancer.split('.').nth(1) == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_prune_directories() {
        let day = |day| NaiveDate::from_ymd_opt(2025, 7, day);
        let selection = Selection {
            from: day(30),
            to: NaiveDate::from_ymd_opt(2026, 1, 31),
            accounts: vec!["012345678901".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            ..Selection::default()
        };
        let cases = [
            ("", Look::Inside),
            ("AWSLogs", Look::Inside),
            ("a/b/c/AWSLogs/012345678901", Look::Inside),
            ("AWSLogs/999999999999", Look::Skip),
            ("AWSLogs/012345678901/CloudTrail", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/us-east-1", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2024", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/06", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/29", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/30", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/08", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/01", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2027", Look::Skip),
        ];
        for (directory, worth) in cases {
            assert_eq!(selection.look(directory), worth, "{directory}");
        }
    }

    #[test]
    fn balancers_have_three_names() {
        let balancer = "app.my-lb.50dc6c495c0c9188";
        for wanted in ["my-lb", "app/my-lb/50dc6c495c0c9188", balancer] {
            assert!(is_balancer(wanted, balancer), "{wanted}");
        }
        for wanted in ["my", "app", "50dc6c495c0c9188", "app/my-lb"] {
            assert!(!is_balancer(wanted, balancer), "{wanted}");
        }
    }
}
