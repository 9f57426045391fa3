//! Explains, based on its key, why an object is not converted.

use crate::logs::key::name::{is_end_time, load_balancer_type, log_type, split_prefix};
use crate::logs::key::{Directory, Key, Name, SERVICE, SkipReason, is_account, is_region};

/// The description of one part of a name, and a function that returns whether that part is valid.
type Wanted = (&'static str, fn(&str) -> bool);

/// Explains, based on its key, why an object is not converted. Returns `None` for the key of a log.
pub fn mismatch(key: &str) -> Option<String> {
    let other = Key::parse(key).err()?;
    let (directory, name) = key.rsplit_once('/').unwrap_or(("", key));
    Some(match other {
        SkipReason::TestFile => {
            "it is the test file that AWS writes when logging is enabled".to_owned()
        }
        SkipReason::Service(kind) => format!("it is an object of another AWS service ({kind})"),
        SkipReason::UnsupportedEnding => match Name::split(name).map_or("", |(_, ending)| ending) {
            "" => "its name has no ending; the name of a log ends with .log.gz or .log".to_owned(),
            ending => format!(
                "its name ends with \"{ending}\"; the name of a log ends with .log.gz or .log"
            ),
        },
        SkipReason::ContradictoryPath => Name::parse(name)
            .and_then(|object| {
                Directory::parse(directory)?.contradiction(object.account, object.region)
            })
            .unwrap_or_else(|| "its path contradicts its name".to_owned()),
        SkipReason::InvalidName | SkipReason::Unknown => of_name(name),
    })
}

/// Describes the first invalid part of a name.
fn of_name(name: &str) -> String {
    let (prefix, rest) = split_prefix(name);
    let parts: [Wanted; 5] = [
        ("an account of twelve digits", is_account),
        (SERVICE, |part| part == SERVICE),
        ("a region, such as eu-west-1", is_region),
        ("a load balancer, such as app.<name>.<id>", |part| load_balancer_type(part).is_some()),
        ("the end of its window, yyyymmddThhmmZ", is_end_time),
    ];
    let mut found = rest.split('_');
    for (wanted, fits) in parts {
        match found.next() {
            None => return format!("its name ends before {wanted}"),
            Some(part) if !fits(part) => {
                return format!("its name has \"{part}\" instead of {wanted}");
            }
            Some(_) => {}
        }
    }
    let load_balancer = rest.split('_').nth(3).and_then(load_balancer_type);
    let log_type = load_balancer.and_then(|load_balancer| log_type(prefix, load_balancer));
    match Name::split(name) {
        Some((object, _)) if object.end_day().is_none() => {
            "its name has an end time that does not exist".to_owned()
        }
        None if log_type.is_none() => {
            format!(
                "its name begins with \"{prefix}\", but its load balancer is not app.<name>.<id>"
            )
        }
        _ => "its name has no random part at its end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19/012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_10.0.0.1_39xza92o.log.gz";

    #[test]
    fn every_key_that_is_not_that_of_a_log_has_a_reason() {
        assert_eq!(mismatch(KEY), None);
        let cases = [
            (KEY.replace(".log.gz", ".gz"), "ends with \".gz\""),
            (KEY.replace(".log.gz", ".log.gz.part"), "ends with \".log.gz.part\""),
            (KEY.replace(".log.gz", ""), "has no ending"),
            (KEY.replace("AWSLogs/012345678901", "AWSLogs/999999999999"), "account 999999999999"),
            (KEY.replace("/eu-west-1/", "/us-east-1/"), "region us-east-1"),
            (KEY.replace("/elasticloadbalancing/", "/CloudTrail/"), "another service (cloudtrail)"),
            (KEY.replace("T1405Z", "T14:05Z"), "yyyymmddThhmmZ"),
            (KEY.replace("_20250719T", "_20251319T"), "does not exist"),
            (KEY.replace("app.my-lb", "app"), "app.<name>.<id>"),
            (KEY.replace("app.", "gwy."), "app.<name>.<id>"),
            (
                KEY.replace("/012345678901_", "/conn_log_012345678901_").replace("_app.", "_net."),
                "begins with \"conn_log_\", but its load balancer is not app.<name>.<id>",
            ),
            (
                KEY.replace("/012345678901_", "/conn_log_012345678901_")
                    .replace("_app.my-lb.50dc6c495c0c9188_", "_my-lb_"),
                "begins with \"conn_log_\"",
            ),
            (KEY.replace("_39xza92o.log.gz", "_.log.gz"), "has no random part"),
            (KEY.replace("_app.my-lb.50dc6c495c0c9188_", "_my_lb_"), "\"lb\" instead of the end"),
            (KEY.replace("39xza92o", "39xza92o_x"), "ends with"),
            ("AWSLogs/012345678901/ELBAccessLogTestFile".to_owned(), "logging is enabled"),
            ("AWSLogs/012345678901/vpcflowlogs/x.log.gz".to_owned(), "(vpc_flow_logs)"),
            ("x\u{1b}_y.log.gz".to_owned(), "\"x\u{1b}\""),
            (String::new(), "instead of an account"),
        ];
        for (key, words) in cases {
            let reason = mismatch(&key).unwrap();
            assert!(reason.contains(words), "{key}: {reason}");
        }
    }
}
