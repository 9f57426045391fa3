//! Why a key is none: what a person is told of an object that is left aside.

use crate::key::{
    Key, Other, ROOT, SERVICE, digits, from_root, is_account, is_balancer, is_end_time, is_region,
    is_word, log_type_of, partition_of,
};

/// What a part should be, and what tells whether it is.
type Wanted = (&'static str, fn(&str) -> bool);

/// Says what about a key is not as AWS delivers it, or `None` if it is a key of a log object.
pub fn mismatch(key: &str) -> Option<String> {
    let other = Key::parse(key).err()?;
    let name = key.rsplit('/').next().unwrap_or(key);
    Some(match other {
        Other::TestFile => "it is the file that AWS writes when logging is switched on".to_owned(),
        Other::NetworkLoadBalancer => "it is the log of a Network Load Balancer".to_owned(),
        Other::ClassicLoadBalancer => "it is the log of a Classic Load Balancer".to_owned(),
        Other::Service(kind) => format!("it is what another service of AWS delivers ({kind})"),
        Other::Misplaced | Other::Unknown => {
            of_name(name).or_else(|| of_path(key)).unwrap_or_else(|| contradiction(key))
        }
    })
}

/// Finds the first part of a name that does not fit.
fn of_name(name: &str) -> Option<String> {
    let (_, rest) = log_type_of(name);
    let Some(rest) = rest.strip_suffix(".log.gz") else {
        return Some("its name does not end with .log.gz".to_owned());
    };
    let parts: [Wanted; 7] = [
        ("an account of twelve digits", is_account),
        (SERVICE, |part| part == SERVICE),
        ("a region, such as eu-west-1", is_region),
        ("a load balancer, app.<name>.<id>", is_balancer),
        ("the end of its five minutes, yyyymmddThhmmZ", is_end_time),
        ("the address of a node", |part| is_word(part, ".:-")),
        ("a random word", |part| is_word(part, "")),
    ];
    let mut found = rest.split('_');
    for (wanted, fits) in parts {
        match found.next() {
            None => return Some(format!("its name ends before {wanted}")),
            Some(part) if !fits(part) => {
                return Some(format!("its name has {part:?} in place of {wanted}"));
            }
            Some(_) => {}
        }
    }
    found.next().map(|part| format!("its name goes on with {part:?} behind the random word"))
}

/// Finds the first part of a path that does not fit.
fn of_path(key: &str) -> Option<String> {
    let Some(path) = from_root(key) else {
        return Some(format!("its path has no {ROOT}/"));
    };
    let parts: [Wanted; 6] = [
        ("an account of twelve digits", is_account),
        (SERVICE, |part| part == SERVICE),
        ("a region, such as eu-west-1", is_region),
        ("a year", |part| digits(part, 4).is_some()),
        ("a month of two digits", |part| digits(part, 2).is_some()),
        ("a day of two digits", |part| digits(part, 2).is_some()),
    ];
    let (directory, name) = path.rsplit_once('/').unwrap_or((path, ""));
    let mut found = directory.split('/').skip(1);
    for (wanted, fits) in parts {
        match found.next() {
            None => return Some(format!("its path ends before {wanted}")),
            Some(part) if !fits(part) => {
                return Some(format!("its path has {part:?} in place of {wanted}"));
            }
            Some(_) => {}
        }
    }
    if let Some(part) = found.next() {
        return Some(format!("its path goes on with {part:?} behind the day"));
    }
    let no_day = partition_of(log_type_of(name).0, path).is_none();
    no_day.then(|| "its path names a day that no calendar has".to_owned())
}

/// Each half fits, but not the other.
fn contradiction(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let (log_type, rest) = log_type_of(name);
    let of_name: Vec<&str> = rest.split('_').take(3).collect();
    match (partition_of(log_type, key), &of_name[..]) {
        (Some(path), [account, _, _]) if path.account != *account => {
            format!("its path is of account {}, its name of {account}", path.account)
        }
        (Some(path), [_, _, region]) => {
            format!("its path is of region {}, its name of {region}", path.region)
        }
        _ => "it is not as AWS writes keys".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19/012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_10.0.0.1_39xza92o.log.gz";

    #[test]
    fn every_key_that_is_none_has_a_reason() {
        assert_eq!(mismatch(KEY), None);
        let cases = [
            (KEY.replace(".log.gz", ".gz"), ".log.gz"),
            (KEY.replace("AWSLogs", "logs"), "no AWSLogs/"),
            (KEY.replace("AWSLogs/012345678901", "AWSLogs/999999999999"), "account 999999999999"),
            (KEY.replace("AWSLogs/012345678901", "AWSLogs/12"), "path has \"12\""),
            (KEY.replace("/eu-west-1/", "/us-east-1/"), "region us-east-1"),
            (KEY.replace("/07/19", "/02/30"), "calendar"),
            (KEY.replace("/07/19", "/7/19"), "month"),
            (KEY.replace("/07/19", "/07"), "ends before a day"),
            (KEY.replace("/07/19", "/07/19/20"), "behind the day"),
            (KEY.replace("T1405Z", "T14:05Z"), "yyyymmddThhmmZ"),
            (KEY.replace("app.my-lb", "app"), "app.<name>.<id>"),
            (KEY.replace("_39xza92o", ""), "ends before a random word"),
            (KEY.replace("39xza92o", "39xza92o_x"), "\"x\" behind the random word"),
            (KEY.replace("app.", "net."), "Network Load Balancer"),
            ("AWSLogs/012345678901/ELBAccessLogTestFile".to_owned(), "switched on"),
            ("AWSLogs/012345678901/vpcflowlogs/x.log.gz".to_owned(), "(vpc_flow_logs)"),
            ("x\u{1b}_y.log.gz".to_owned(), "\"x\\u{1b}\""),
            (String::new(), ".log.gz"),
        ];
        for (key, words) in cases {
            let reason = mismatch(&key).unwrap();
            assert!(reason.contains(words), "{key}: {reason}");
        }
    }
}
