//! Selects objects by key, and the directories that can contain selected objects.

use std::fmt;

use chrono::{NaiveDate, TimeDelta};

use crate::dataset::shard::Shard;
use crate::logs::key::{Directory, Key, Partition};
use crate::logs::schema::LogType;
use crate::plan::Scope;
use crate::store::Look;

/// Maximum depth at which directories above the account directories are listed one by one.
const MAX_ABOVE: usize = 8;
/// Maximum time between the first and the last day whose logs can be in a single day's directory.
const AROUND_A_DAY: TimeDelta = TimeDelta::days(2);

/// Selects the objects to convert.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Selected log types. All if empty.
    pub log_types: Vec<LogType>,
    /// First selected day of delivery.
    pub from: Option<NaiveDate>,
    /// Last selected day of delivery.
    pub to: Option<NaiveDate>,
    /// Selected accounts. All if empty.
    pub accounts: Vec<String>,
    /// Selected regions. All if empty.
    pub regions: Vec<String>,
    /// Selected load balancers. All if empty.
    pub balancers: Vec<Balancer>,
    /// The scope of each source. A source without a scope is selected entirely.
    #[doc(hidden)] // set when sources are opened
    pub scopes: Vec<Scope>,
    /// The shard to convert. An object belongs to the shard of its partition. If the object was moved to another day's
    /// directory, it belongs to that day's shard.
    pub shard: Option<Shard>,
}

impl Selection {
    /// Returns whether objects of a partition can be selected, regardless of the shard.
    pub(crate) fn wants_partition(&self, partition: &Partition) -> bool {
        let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|s| s == one);
        (self.log_types.is_empty() || self.log_types.contains(&partition.log_type))
            && self.from.is_none_or(|from| partition.day >= from)
            && self.to.is_none_or(|to| partition.day <= to)
            && among(&self.accounts, &partition.account)
            && among(&self.regions, &partition.region)
    }

    /// Returns the scope of a source.
    pub(crate) fn scope(&self, source: usize) -> &Scope {
        self.scopes.get(source).unwrap_or(&Scope::All)
    }

    /// Returns whether to list a source's directory as a whole, list its subdirectories one by one, or skip it.
    pub(crate) fn look(&self, directory: &str) -> Look {
        let Some(Directory { account, region, days, service }) = Directory::parse(directory) else {
            // With many levels above the accounts, there can be too many directories to list one by one.
            let depth = directory.split('/').count();
            return if depth <= MAX_ABOVE { Look::Inside } else { Look::Whole };
        };
        let among = |all: &[String], one: Option<&str>| {
            one.is_none_or(|one| all.is_empty() || all.iter().any(|wanted| wanted == one))
        };
        let is_of_balancer = |balancer: &Balancer| balancer.may_be_in(account, region);
        if service.is_some()
            || !among(&self.accounts, account)
            || !among(&self.regions, region)
            || !self.balancers.is_empty() && !self.balancers.iter().any(is_of_balancer)
        {
            return Look::Skip;
        }
        if region.is_none() && days.is_none() {
            return Look::Inside;
        }
        let (first, last) = days.unwrap_or((NaiveDate::MIN, NaiveDate::MAX));
        let (from, to) = (self.from.unwrap_or(NaiveDate::MIN), self.to.unwrap_or(NaiveDate::MAX));
        if last < from || first > to {
            return Look::Skip;
        }
        let is_whole = from <= first && last <= to;
        let Some(shard) = self.shard else {
            return if is_whole { Look::Whole } else { Look::Inside };
        };
        match account.zip(region) {
            Some((account, region)) if last - first <= AROUND_A_DAY => {
                let days = || first.iter_days().take_while(|day| *day <= last);
                let holds = |day| shard.holds(account, region, day);
                if is_whole && days().all(holds) {
                    Look::Whole
                } else if days().any(holds) {
                    Look::Inside
                } else {
                    Look::Skip
                }
            }
            _ => Look::Inside,
        }
    }

    /// Returns whether an object is selected.
    pub(super) fn wants(&self, key: &Key) -> bool {
        self.wants_without_balancer(key)
            && (self.balancers.is_empty() || self.balancers.iter().any(|wanted| wanted.is(key)))
    }

    /// Returns whether an object is selected, provided that its load balancer is selected.
    pub(super) fn wants_without_balancer(&self, key: &Key) -> bool {
        let Partition { account, region, .. } = &key.partition;
        self.wants_partition(&key.partition)
            && self.shard.is_none_or(|shard| shard.holds(account, region, key.shard_day))
    }
}

/// A load balancer as the user specified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// The text that the user typed.
    text: String,
    /// Name of the load balancer, or its resource ID with dots instead of slashes.
    name: String,
    /// Account and region, from an ARN.
    place: Option<(String, String)>,
}

/// The specified text does not identify a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BalancerError {
    /// The text is a malformed ARN.
    #[error(
        "an ARN of a load balancer is arn:aws:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID, or net \
         instead of app, or loadbalancer/NAME for a Classic Load Balancer"
    )]
    Form,
    /// The text is the ARN of a listener or rule. Contains the ARN of its load balancer.
    #[error("this is the ARN of a listener or rule; its load balancer is {0}")]
    Listener(String),
    /// The text is the ARN of a target group.
    #[error("this is the ARN of a target group; specify the load balancer that forwards to it")]
    TargetGroup,
    /// The text is the ARN of a Gateway Load Balancer.
    #[error("this is a Gateway Load Balancer, which writes no access logs")]
    Gateway,
}

impl Balancer {
    /// Parses a name, a resource ID (`app/name/id` or `app.name.id`), or an ARN.
    ///
    /// # Errors
    ///
    /// Fails if the text is an ARN, but not the ARN of a load balancer that writes logs.
    pub fn parse(text: &str) -> Result<Self, BalancerError> {
        let balancer =
            |name: &str, place| Self { text: text.to_owned(), name: name.replace('/', "."), place };
        if !text.starts_with("arn:") {
            return Ok(balancer(text, None));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [_, partition, "elasticloadbalancing", region, account, resource] = parts[..] else {
            return Err(BalancerError::Form);
        };
        let (kind, id) = resource.split_once('/').ok_or(BalancerError::Form)?;
        let parts: Vec<&str> = id.split('/').collect();
        match (kind, &parts[..]) {
            ("loadbalancer" | "listener" | "listener-rule", ["gwy", _, ..]) => {
                Err(BalancerError::Gateway)
            }
            ("loadbalancer", ["app" | "net", _, _] | [_])
                if parts.iter().all(|part| !part.is_empty()) =>
            {
                let place = (account.to_owned(), region.to_owned());
                Ok(balancer(id, Some(place)))
            }
            ("listener" | "listener-rule", [kind @ ("app" | "net"), name, id, ..]) => {
                Err(BalancerError::Listener(format!(
                    "arn:{partition}:elasticloadbalancing:{region}:{account}:loadbalancer/{kind}/{name}/{id}"
                )))
            }
            ("targetgroup", _) => Err(BalancerError::TargetGroup),
            _ => Err(BalancerError::Form),
        }
    }

    /// Returns whether a log is from this load balancer.
    pub(super) fn is(&self, key: &Key) -> bool {
        let Key { partition, balancer, .. } = key;
        self.may_be_in(Some(&partition.account), Some(&partition.region))
            && (self.name == *balancer
                || self.place.is_none() && balancer.split('.').nth(1) == Some(&self.name))
    }

    /// Returns whether the load balancer could belong to the given account and region. `None` means unknown.
    fn may_be_in(&self, account: Option<&str>, region: Option<&str>) -> bool {
        self.place.as_ref().is_none_or(|(own_account, own_region)| {
            account.is_none_or(|account| account == own_account)
                && region.is_none_or(|region| region == own_region)
        })
    }
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/28", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/29", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/30", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/31", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/08", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/01", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/02", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/02/01", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/02/02", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/03", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2027", Look::Skip),
        ];
        for (directory, expected) in cases {
            assert_eq!(selection.look(directory), expected, "{directory}");
        }
    }

    /// Checks that a listing never skips a directory that can contain a selected log, in any layout.
    #[test]
    fn filters_prune_other_layouts() {
        let day = |day| NaiveDate::from_ymd_opt(2025, 7, day);
        let selection = Selection {
            from: day(19),
            to: day(19),
            accounts: vec!["012345678901".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            ..Selection::default()
        };
        let hive = "AWSLogs/aws-account-id=012345678901/elasticloadbalancing/region=eu-west-1/year=2025/month=07";
        let cases = [
            ("2025/07/01", Look::Inside),
            ("backup/2025/11/26", Look::Inside),
            ("AWSLogs-Partitioned/year=2024", Look::Skip),
            ("AWSLogs-Partitioned/year=2025", Look::Inside),
            ("AWSLogs-Partitioned/year=2025/month=07/day=17", Look::Skip),
            ("AWSLogs-Partitioned/year=2025/month=07/day=18", Look::Inside),
            ("AWSLogs-Partitioned/year=2025/month=07/day=20/hour=00", Look::Inside),
            ("AWSLogs-Partitioned/year=2025/month=07/day=21", Look::Skip),
            ("AWSLogs/aws-account-id=999999999999", Look::Skip),
            ("AWSLogs/o-a1b2c3d4e5", Look::Inside),
            ("AWSLogs/o-a1b2c3d4e5/999999999999", Look::Skip),
            ("AWSLogs/o-a1b2c3d4e5/012345678901", Look::Inside),
            ("AWSLogs/012345678901/own-folder", Look::Inside),
            ("012345678901/elasticloadbalancing/us-east-1", Look::Skip),
            (&format!("{hive}/day=18"), Look::Inside),
            (&format!("{hive}/day=21"), Look::Skip),
        ];
        for (directory, expected) in cases {
            assert_eq!(selection.look(directory), expected, "{directory}");
        }
    }

    proptest::proptest! {
        /// Checks that no directory above a selected object is skipped, unless the object was moved and days are
        /// selected, and that each object is selected by exactly one shard.
        #[test]
        fn no_directory_above_a_selected_log_is_skipped(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "AWSLogs", "AWSLogs-Partitioned", "o-a1b2c3d4e5", "012345678901", "aws-account-id=012345678901",
                    "elasticloadbalancing", "eu-west-1", "region=eu-west-1", "2025", "07", "18", "19", "20", "23",
                    "year=2025", "month=07", "day=18", "day=20", "day=30", "hour=14", "my-folder",
                    "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07",
                ]),
                0..7,
            ),
            from in proptest::option::of(17_u32..22), days in proptest::option::of(0_u32..4), count in 1_u32..6,
        ) {
            let directory = parts.join("/");
            let name = "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T2355Z_10.0.0.1_39xza92o.log.gz";
            let Ok(key) = Key::parse(&format!("{directory}/{name}")) else { return Ok(()) };
            let day = |day| NaiveDate::from_ymd_opt(2025, 7, day);
            let to = days.and_then(|days| day(from.unwrap_or(17) + days));
            let all = Selection { from: from.and_then(day), to, ..Selection::default() };
            let mut wanted = 0;
            for index in 0..count {
                let shard = Shard::parse(&format!("{index}/{count}"), |_| None).ok();
                let selection = Selection { shard, ..all.clone() };
                if !selection.wants(&key) {
                    continue;
                }
                wanted += 1;
                for (at, _) in format!("{directory}/").match_indices('/') {
                    let look = selection.look(&directory[..at]);
                    let is_excused = key.is_moved && (all.from.is_some() || all.to.is_some());
                    proptest::prop_assert!(look != Look::Skip || is_excused, "{}", &directory[..at]);
                }
            }
            proptest::prop_assert_eq!(wanted, u32::from(all.wants(&key)));
        }
    }

    const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:012345678901:loadbalancer/app/my-lb/50dc6c495c0c9188";

    #[test]
    fn balancers_have_four_names() {
        let key = "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_10.0.0.1_39xza92o.log.gz";
        let key = Key::parse(key).unwrap();
        let is = |text: &str| Balancer::parse(text).unwrap().is(&key);
        for wanted in ["my-lb", "app/my-lb/50dc6c495c0c9188", "app.my-lb.50dc6c495c0c9188", ARN] {
            assert!(is(wanted), "{wanted}");
        }
        for wanted in ["my", "app", "50dc6c495c0c9188", "app/my-lb"] {
            assert!(!is(wanted), "{wanted}");
        }
        assert!(!is(&ARN.replace("eu-west-1", "us-east-1")));
        assert!(!is(&ARN.replace("012345678901", "999999999999")));
        assert!(!is(&ARN.replace("/app/", "/net/")));
    }

    #[test]
    fn balancers_of_every_type_can_be_selected() {
        let key = |balancer: &str, ending: &str| {
            let key = format!(
                "012345678901_elasticloadbalancing_eu-west-1_{balancer}_20250719T1405Z_10.0.0.1_39xza92o{ending}"
            );
            Key::parse(&key).unwrap()
        };
        let network = key("net.my-lb.50dc6c495c0c9188", ".log.gz");
        let classic = key("my-lb", ".log");
        let is = |text: &str, key| Balancer::parse(text).unwrap().is(key);
        let arn = ARN.replace("/app/", "/net/");
        for wanted in ["my-lb", "net/my-lb/50dc6c495c0c9188", "net.my-lb.50dc6c495c0c9188", &arn] {
            assert!(is(wanted, &network), "{wanted}");
        }
        let arn = ARN.replace("/app/my-lb/50dc6c495c0c9188", "/my-lb");
        for wanted in ["my-lb", &arn] {
            assert!(is(wanted, &classic), "{wanted}");
        }
        assert!(!is(&arn.replace("/my-lb", "/other"), &classic));
        // Load balancers of different types can have the same name, but not the same ARN.
        assert!(!is(&arn, &network));
        let gateway = key("gwy", ".log");
        assert!(is(&arn.replace("/my-lb", "/gwy"), &gateway));
        assert!(!is("app/my-lb/50dc6c495c0c9188", &network));
    }

    #[test]
    fn arns_of_other_things_are_refused() {
        let parse = |text: &str| Balancer::parse(text).unwrap_err();
        let listener = ARN.replace("loadbalancer/app", "listener/app") + "/f2f7dc8efc522ab2";
        assert_eq!(parse(&listener), BalancerError::Listener(ARN.to_owned()));
        assert_eq!(parse(&ARN.replace("/app/", "/gwy/")), BalancerError::Gateway);
        let group = ARN.replace("loadbalancer/app/my-lb", "targetgroup/web");
        assert_eq!(parse(&group), BalancerError::TargetGroup);
        for text in ["arn:", "arn:aws:s3:::bucket", &ARN.replace("/50dc6c495c0c9188", "")] {
            assert_eq!(parse(text), BalancerError::Form, "{text}");
        }
    }

    #[test]
    fn an_arn_prunes_directories_of_other_accounts_and_regions() {
        let selection =
            Selection { balancers: vec![Balancer::parse(ARN).unwrap()], ..Selection::default() };
        for (directory, expected) in [
            ("AWSLogs/012345678901", Look::Inside),
            ("AWSLogs/999999999999", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/us-east-1", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1", Look::Whole),
        ] {
            assert_eq!(selection.look(directory), expected, "{directory}");
        }
    }
}
