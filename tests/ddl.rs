//! DDL for query engines: the files in `schemas/`, both layouts, and datasets with various contents.

use std::path::Path;
use std::{env, fs};

use alb2parquet::internals::catalog::ddl::{Dialect, External};
use alb2parquet::internals::logs::schema::LogType;
use serde_json::Value;

use crate::support::{
    Line, World, convert, files, good_lines, gzip, key, key_of, key_on, run, text_of,
};

/// Returns every table with the name of its file in `schemas/`.
fn tables() -> Vec<(String, External)> {
    let all = LogType::ALL.into_iter();
    let rows = all.map(|log_type| (log_type.to_string(), External::rows(log_type.table())));
    rows.chain([("rejects".to_owned(), External::rejects())]).collect()
}

#[test]
fn the_ddl_files_match_the_schemas() {
    for (name, mut table) in tables() {
        table.location = format!("s3://my-lake/alb/{}", table.location);
        let fresh = table.create(Dialect::Athena).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.sql"));
        if env::var_os("UPDATE_DDL").is_some() {
            fs::write(&path, &fresh).unwrap();
        } else {
            let current = fs::read_to_string(&path).unwrap_or_default();
            let stale = "is stale; run: UPDATE_DDL=1 cargo test --test integration ddl";
            assert!(current == fresh, "schemas/{name}.sql {stale}");
        }
    }
}

const LOCATION: [&str; 3] = ["ddl", "--location", "s3://lake/alb"];

/// Returns the output of `ddl` for an S3 location.
fn ddl(args: &[&str]) -> String {
    run(&[&LOCATION[..], args].concat()).expect(0).stdout
}

/// Returns the key of a Classic Load Balancer object.
fn classic_key() -> String {
    "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2014/07/19/012345678901_elasticloadbalancing_eu-west-1_\
     old_20140719T1200Z_192.0.2.9_abcdefgh.log"
        .to_owned()
}

/// A log line from a Classic Load Balancer's TCP listener.
const CLASSIC_LINE: &str = "2014-07-19T11:59:59.000001Z old 192.0.2.1:4000 10.0.0.1:80 0.000010 0.000020 0.000030 - - \
     100 200 \"- - - \"\n";

const KNOWN: [&str; 6] =
    ["--account", "012345678901", "--account", "123456789012", "--region", "eu-west-1"];

#[test]
fn athena_computes_the_partitions_of_both_layouts() {
    let hive = ddl(&KNOWN);
    for property in [
        "'projection.enabled' = 'true'",
        "'projection.account.type' = 'enum'",
        "'projection.account.values' = '012345678901,123456789012'",
        "'projection.region.type' = 'enum'",
        "'projection.region.values' = 'eu-west-1'",
        "'projection.year.type' = 'date'",
        "'projection.year.format' = 'yyyy'",
        "'projection.year.range' = '2016,NOW'",
        "'projection.year.interval' = '1'",
        "'projection.year.interval.unit' = 'YEARS'",
        "'projection.month.type' = 'integer'",
        "'projection.month.range' = '1,12'",
        "'projection.month.digits' = '2'",
        "'projection.day.type' = 'integer'",
        "'projection.day.range' = '1,31'",
        "'projection.day.digits' = '2'",
    ] {
        assert!(hive.contains(property), "{property} is missing in {hive}");
    }
    let place = "s3://lake/alb/alb_access_logs/";
    assert!(hive.contains(&format!("\nLOCATION '{place}'\n")));
    let template = |text: &str| {
        let line = text.lines().find(|line| line.contains("location.template")).unwrap();
        line.split('\'').nth(3).unwrap().to_owned()
    };
    let directory = "account=${account}/region=${region}/year=${year}/month=${month}/day=${day}/";
    assert_eq!(template(&hive), format!("{place}{directory}"));
    let plain = ddl(&[&KNOWN[..], &["--layout", "plain"]].concat());
    assert_eq!(
        template(&plain),
        format!("{place}${{account}}/${{region}}/${{year}}/${{month}}/${{day}}/")
    );
    assert_eq!(hive.replace(&template(&hive), &template(&plain)), plain);
}

#[test]
fn queries_must_specify_unknown_partition_values() {
    let printed = run(&LOCATION).expect(0);
    printed.says(&["every query must specify account and region", "--from-dataset"]);
    assert_eq!(printed.stdout.matches("'injected'").count(), 2);
    let printed = run(&[&LOCATION[..], &KNOWN].concat()).expect(0);
    assert!(!printed.stdout.contains("injected") && printed.stderr.is_empty(), "{printed:#?}");
    run(&[&LOCATION[..], &["--compat-view"]].concat())
        .expect(3)
        .says(&["--compat-view", "--account"]);
}

#[test]
fn glue_input_matches_the_athena_ddl() {
    let glue: Value =
        serde_json::from_str(&ddl(&[&KNOWN[..], &["--dialect", "glue"]].concat())).unwrap();
    let athena = ddl(&KNOWN);
    let parameters = glue["Parameters"].as_object().unwrap();
    for (name, value) in parameters.iter().filter(|(name, _)| *name != "EXTERNAL") {
        let property = format!("  '{name}' = '{}'", value.as_str().unwrap());
        assert!(athena.contains(&property), "{property} is missing in {athena}");
    }
    let (_, properties) = athena.split_once("TBLPROPERTIES").unwrap();
    assert_eq!(properties.matches("' = '").count() + 1, parameters.len());
    let columns = glue["StorageDescriptor"]["Columns"].as_array().unwrap();
    let keys = glue["PartitionKeys"].as_array().unwrap();
    for column in columns.iter().chain(keys) {
        let text = |key: &str| column[key].as_str().unwrap();
        // Glue limits the length of a comment.
        assert!(text("Comment").len() <= 255);
        let comment = text("Comment").replace('\'', "\\'");
        let line = format!("  `{}` {} COMMENT '{comment}'", text("Name"), text("Type"));
        assert!(athena.contains(&line), "{line} is missing in {athena}");
    }
    assert_eq!(columns.len() + keys.len(), athena.matches("` ").count() - 1);
}

#[test]
fn table_names_and_locations_can_be_chosen() {
    let text = ddl(&["--name", "logs.requests", "--dialect", "trino"]);
    assert!(text.starts_with("CREATE TABLE IF NOT EXISTS \"logs\".\"requests\" ("), "{text}");
    assert!(text.contains("external_location = 's3://lake/alb/alb_access_logs/'"));
    let text = ddl(&["--log-type", "rejects", "--no-projection"]);
    assert!(text.starts_with("CREATE EXTERNAL TABLE IF NOT EXISTS `elb_rejects` ("), "{text}");
    assert!(
        text.contains("`raw_line` binary") && text.ends_with("MSCK REPAIR TABLE `elb_rejects`;\n")
    );
    run(&[&LOCATION[..], &["--name", "a`b"]].concat()).expect(3).says(&["a`b", "lower-case"]);
    run(&[&LOCATION[..], &["--log-type", "nlb"]].concat()).expect(3).says(&["nlb", "access, "]);
    run(&["ddl", "--location", "/lake"]).expect(3).says(&["/lake", "s3://"]);
    run(&["ddl"]).expect(3).says(&["--location"]);
    let text = run(&["ddl", "--location", "/lake/", "--dialect", "spark"]).expect(0).stdout;
    assert!(text.contains("\nLOCATION 'file:///lake/alb_access_logs/'\n"), "{text}");
}

#[test]
fn a_location_that_an_engine_would_misread_is_refused_with_its_character() {
    let ddl =
        |location: &str, dialect: &str| run(&["ddl", "--location", location, "--dialect", dialect]);
    for (location, dialect, what) in [
        ("s3://lake/${year}", "athena", "${"),
        ("s3://lake/${year}", "trino", "${"),
        ("s3://lake/a*", "glue", "*"),
        ("s3://lake/a?s3_endpoint=b", "duckdb", "?"),
        ("/lake/a\\b", "duckdb", "\\\\"),
    ] {
        let printed = ddl(location, dialect).expect(3);
        printed.says(&[&format!("it contains \"{what}\", ")]);
        assert!(printed.stdout.is_empty() && !printed.stderr.contains("--"), "{printed:#?}");
    }
    let view = ddl("/lake/year=1999/a*'b", "duckdb").expect(0).stdout;
    assert!(
        view.contains("FROM read_parquet('/lake/year=1999/a[*]''b/alb_access_logs/account=*/"),
        "{view}"
    );
    let text = ddl("/lake/${env:HOME}", "spark").expect(0).stdout;
    assert!(text.contains("LOCATION 'file:///lake/\\u0024{env:HOME}/alb_access_logs/'"), "{text}");
}

#[test]
fn a_policy_grants_access_to_the_prefix_only() {
    let convert = |source: &str| run(&["policy", "convert", "--source", source]);
    let resources = |source: &str| -> Vec<Value> {
        let policy: Value = serde_json::from_str(&convert(source).expect(0).stdout).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        statements.iter().map(|each| each["Resource"].clone()).collect()
    };
    let of_logs = |pattern: &str| {
        ["arn:aws:s3:::logs".to_owned(), format!("arn:aws:s3:::logs/{pattern}")].map(Value::from)
    };
    assert_eq!(resources("s3://logs/a*?${aws:username}"), of_logs("a${*}${?}${$}{aws:username}/*"));
    // The comma is part of the URL.
    assert_eq!(resources("s3://logs/,a"), of_logs(",a/*"));
    convert("s3://*").expect(3).says(&["s3://* has no valid bucket name"]);
    run(&["policy", "convert", "--source", "s3://logs", "--kms-key", "*"])
        .expect(3)
        .says(&["\"*\" is not the ARN of a KMS key", "arn:aws:kms:"]);
}

/// Returns a dataset with two accounts. One of them has no rows, only a reject.
fn two_accounts(layout: &str) -> World {
    let world = World::new();
    world.put(&key(1), gzip(good_lines(2)));
    let other = key_of("123456789012", "us-east-1", "2025/07/20", "web.50dc6c495c0c9188", 1);
    world.put(&other, gzip("nonsense\n"));
    convert(&[&world.source()], &world.out(), &["--layout", layout, "--max-rejects", "1"])
        .expect(0);
    assert_eq!(files(&world.out(), "alb_access_logs").len(), 1);
    world
}

#[test]
fn the_ddl_contains_the_partitions_of_a_dataset() {
    let partition = |layout: &str| match layout {
        "hive" => "account=012345678901/region=eu-west-1/year=2025/month=07/day=19/",
        _ => "012345678901/eu-west-1/2025/07/19/",
    };
    for layout in ["hive", "plain"] {
        let world = two_accounts(layout);
        let out = world.out();
        let from = ["ddl", "--location", "s3://lake", "--from-dataset", out.to_str().unwrap()];
        let ddl = |args: &[&str]| run(&[&from[..], args].concat()).expect(0).stdout;
        let text = ddl(&[]);
        assert!(text.contains("'projection.account.values' = '012345678901'"), "{text}");
        assert!(text.contains("'projection.region.values' = 'eu-west-1'"));
        let rejects = ddl(&["--log-type", "rejects", "--partitions"]);
        assert!(
            rejects.contains("`account` = '123456789012', `region` = 'us-east-1'"),
            "{rejects}"
        );
        let place = format!("s3://lake/alb_access_logs/{}", partition(layout));
        let added = ddl(&["--partitions"]);
        let expected = format!(
            "ALTER TABLE `alb_access_logs` ADD IF NOT EXISTS\n  PARTITION (`account` = '012345678901', \
             `region` = 'eu-west-1', `year` = '2025', `month` = '07', `day` = '19') LOCATION '{place}';\n"
        );
        assert_eq!(added, expected);
        assert!(ddl(&["--no-projection"]).ends_with(&expected));
        let glue = ddl(&["--dialect", "glue", "--partitions"]);
        let inputs: Value = serde_json::from_str(&glue).unwrap();
        assert_eq!(inputs[0]["StorageDescriptor"]["Location"], *place);
        assert_eq!(inputs[0]["Values"][0], "012345678901");
        let other = if layout == "hive" { "plain" } else { "hive" };
        run(&[&from[..], &["--layout", other]].concat()).expect(3).says(&["--layout", layout]);
    }
}

#[test]
fn an_empty_or_missing_dataset_is_refused() {
    let world = World::new();
    let out = world.out();
    let args = ["ddl", "--from-dataset", out.to_str().unwrap(), "--dialect", "duckdb"];
    run(&args).expect(3).says(&["holds no dataset"]);
    world.put(&key(1), gzip("nonsense\n"));
    convert(&[&world.source()], &out, &["--max-rejects", "1"]).expect(0);
    run(&args).expect(3).says(&["contains no partition of alb_access_logs"]);
}

/// Quoting differs by dialect. `timestamp` is the name of a type in all of them.
#[test]
fn a_column_with_the_name_of_a_type_is_quoted_in_every_dialect() {
    for layout in ["hive", "plain"] {
        let world = World::new();
        world.put(&classic_key(), CLASSIC_LINE);
        convert(&[&world.source()], &world.out(), &["--layout", layout]).expect(0);
        let out = world.out();
        let ddl = |args: &[&str]| {
            let from = ["ddl", "--log-type", "classic", "--from-dataset", out.to_str().unwrap()];
            run(&[&from[..], &["--location", "s3://lake"], args].concat()).expect(0).stdout
        };
        for (args, column) in [
            (["--dialect", "athena"], "`timestamp` timestamp COMMENT"),
            (["--dialect", "spark"], "`timestamp` timestamp COMMENT"),
            (["--dialect", "trino"], "\"timestamp\" timestamp(3) COMMENT"),
            (["--dialect", "duckdb"], "COMMENT ON COLUMN \"clb_access_logs\".\"timestamp\" IS"),
            (["--dialect", "glue"], "\"Name\": \"timestamp\""),
        ] {
            let text = ddl(&args);
            assert!(text.contains(column), "{column} is missing in {text}");
        }
        let range = "'projection.year.range' = '2014,NOW'";
        assert!(ddl(&[]).contains(range));
        let view = ddl(&["--compat-view=elb_logs"]);
        assert!(view.contains("date_format(\"timestamp\", "), "{view}");
        // Snowflake converts unquoted names to upper case, both here and when it creates the columns.
        for (dialect, column) in [
            ("athena", "\"timestamp\""),
            ("trino", "\"timestamp\""),
            ("spark", "`timestamp`"),
            ("duckdb", "\"timestamp\""),
            ("bigquery", "`timestamp`"),
            ("redshift", "\"timestamp\""),
            ("snowflake", "timestamp"),
        ] {
            let from = ["ddl", "--log-type", "classic", "--from-dataset", out.to_str().unwrap()];
            let text = run(&[&from[..], &["--check", "--dialect", dialect]].concat()).expect(0);
            let found = text.stdout.contains(&format!("min({column}) AS "));
            assert!(found, "{dialect}: {}", text.stdout);
        }
    }
}

/// Engines silently omit rows from partitions outside the projection.
#[test]
fn computed_partitions_include_the_first_year_of_the_log_and_of_the_dataset() {
    let range = |args: &[&str]| {
        let text = ddl(args);
        let (_, rest) = text.split_once("'projection.year.range' = '").unwrap();
        rest.split_once('\'').unwrap().0.to_owned()
    };
    for (log_type, years) in [
        ("access", "2016,NOW"),
        ("nlb_tls", "2019,NOW"),
        ("classic", "2014,NOW"),
        ("rejects", "2014,NOW"),
    ] {
        assert_eq!(range(&["--log-type", log_type]), years, "{log_type}");
    }
    let world = World::new();
    world.put(&key_on("2015/12/31", 1), gzip(good_lines(1)));
    world.convert().expect(0);
    assert_eq!(range(&["--from-dataset", world.out().to_str().unwrap()]), "2015,NOW");
}

#[test]
fn the_compat_views_have_the_documented_columns() {
    let view = ddl(&[&KNOWN[..], &["--compat-view=alb", "--name", "rows"]].concat());
    assert!(view.starts_with("CREATE OR REPLACE VIEW \"alb\" AS\nSELECT\n"), "{view}");
    assert!(view.ends_with("\nFROM \"rows\";\n"));
    let columns: Vec<&str> = view.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(columns.len(), 35);
    assert_eq!(columns[4], "  \"client_port\",");
    assert_eq!(columns[5], "  coalesce(\"target_ip\", '') AS \"target_ip\",");
    assert_eq!(
        columns[11],
        "  coalesce(CAST(\"target_status_code\" AS varchar), '-') AS \"target_status_code\","
    );
    for (log_type, last, count) in [
        ("access", "conn_trace_id", 34),
        ("nlb_tls", "tls_connection_creation_time", 24),
        ("classic", "ssl_protocol", 19),
    ] {
        let view = ddl(&[&KNOWN[..], &["--log-type", log_type, "--compat-view"]].concat());
        let table = LogType::named(log_type).unwrap().table();
        let begin = format!("CREATE OR REPLACE VIEW \"{}_compat\" AS\n", table.name);
        assert!(view.starts_with(&begin) && view.contains(&format!(" AS \"{last}\",\n")), "{view}");
        assert_eq!(view.lines().filter(|line| line.starts_with("  ")).count(), count + 1);
    }
    let refused = |more: &[&str]| {
        let args = [&LOCATION[..], &KNOWN, &["--compat-view"], more].concat();
        run(&args).expect(3).says(&["access, nlb_tls and classic", "hint: omit --compat-view"]);
    };
    for log_type in ["connection", "health_check", "rejects"] {
        refused(&["--log-type", log_type]);
    }
    refused(&["--log-type", "classic", "--dialect", "spark"]);
}

/// Returns a dataset with one partition and one line per user agent.
fn with_agents(agents: &[&str]) -> World {
    let world = World::new();
    let line = |(number, agent): (usize, &&str)| {
        let client = format!("192.0.2.{number}:{}", 1024 + number);
        Line::of(30).with(4, &client).with(14, &format!("\"{agent}\"")).text()
    };
    world.put(&key(1), gzip(text_of(agents.iter().enumerate().map(line))));
    convert(&[&world.source()], &world.out(), &[]).expect(0);
    world
}

#[test]
fn a_check_compares_rows_columns_and_filters() {
    let agents = ["o'neil", "日本", "a\0b", "${env:HOME}", "x"];
    let world = with_agents(&agents);
    let out = world.out();
    let check = |args: &[&str]| {
        run(&[&["ddl", "--from-dataset", out.to_str().unwrap()], args].concat()).expect(0).stdout
    };
    let text = check(&["--check", "--dialect", "trino", "--name", "logs.alb"]);
    assert!(
        text.starts_with("-- Checks whether an engine reads logs.alb correctly: 5 rows in 1 part"),
        "{text}"
    );
    let statements: Vec<&str> =
        text.split("\n-- ").skip(1).filter(|part| part.contains(" of ")).collect();
    assert!(statements.len() > 4, "{text}");
    for part in [
        "FROM (SELECT count(*) AS n FROM \"logs\".\"alb\" WHERE \"account\" = '012345678901' AND \
         \"region\" = 'eu-west-1' AND \"year\" = '2025') AS s\nWHERE n <> 5;",
        "('rows of account=012345678901/region=eu-west-1/year=2025/month=07/day=19', 5, ",
        "'count(user_agent)', '5'",
        "'max(user_agent)', from_utf8(X'e697a5e69cac')",
        "'min(user_agent)', from_utf8(X'247b656e763a484f4d457d')",
        "min(\"time\") AS a",
        "filter 1: rows by ",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("日") && !text.contains("o'neil"), "{text}");
    for dialect in ["athena", "spark", "duckdb", "bigquery", "redshift", "snowflake"] {
        let other = check(&["--check", "--dialect", dialect]);
        assert_eq!(other.matches("AS seen").count(), text.matches("AS seen").count(), "{dialect}");
    }
    let of_seed = |seed: &str| {
        check(&[&format!("--check={seed}"), "--dialect", "trino", "--name", "logs.alb"])
    };
    assert_eq!(of_seed("1"), text, "the selection depends only on the seed");
    assert_ne!(of_seed("2"), text);
}

/// The table also contains rows in partitions that the statements skip, so its total row count is unknown.
#[test]
fn a_check_skips_unfinished_partitions_and_the_total() {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19"] {
        world.put(&key_on(day, 1), gzip(good_lines(3)));
    }
    world.convert().expect(0);
    let out = world.out();
    let check = || run(&["ddl", "--check", "--from-dataset", out.to_str().unwrap()]).expect(0);
    assert!(check().stdout.contains("'rows of the table'"));
    let day = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-18";
    fs::remove_file(out.join(day).join("1.done.json")).unwrap();
    let run = check();
    run.says(&["1 partitions are not checked"]);
    assert!(!run.stdout.contains("'rows of the table'"), "{run:?}");
    assert!(
        run.stdout
            .contains("rows of account=012345678901/region=eu-west-1/year=2025/month=07/day=19")
    );
    assert!(!run.stdout.contains("day=18"), "{run:?}");
}

#[test]
fn impossible_checks_are_refused() {
    let world = with_agents(&["x"]);
    let out = world.out();
    let check = |args: &[&str]| {
        run(&[&["ddl", "--check", "--from-dataset", out.to_str().unwrap()], args].concat())
    };
    run(&["ddl", "--check", "--location", "s3://lake"]).expect(3).says(&["--from-dataset"]);
    let usage = run(&["ddl", "--check"]).expect(3).stderr;
    assert!(usage.contains("--from-dataset") && !usage.contains("--location"), "{usage}");
    check(&["--dialect", "glue"]).expect(3).says(&["--dialect glue", "SQL"]);
    check(&["--name", "a-b"]).expect(3).says(&["a-b", "lower-case"]);
    check(&["--log-type", "connection"]).expect(3).says(&["alb_connection_logs has no rows"]);
    run(&["ddl", "--location", "s3://lake", "--dialect", "bigquery"]).expect(3).says(&["--check"]);
    let file = &files(&out, "alb_access_logs")[0];
    fs::remove_file(file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    check(&[]).expect(3).says(&[name, "alb2parquet verify"]);
    // An unfinished removal may already have deleted files that claims list.
    world.run("remove", false, &["--yes"]).expect(0);
    let day = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-19";
    fs::remove_file(out.join(day).join("2.done.json")).unwrap();
    check(&[]).expect(3).says(&["1 partitions are not checked", "alb_access_logs has no rows"]);
}
