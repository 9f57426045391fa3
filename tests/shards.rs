//! Job arrays: together, the tasks for all shards convert everything, even if some tasks are killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::exactly_once::findings;
use crate::support::{Run, World, good_lines, gzip, key_of, program, run, run_command, tree};

/// Number of tasks in a job array.
const TASKS: usize = 4;

/// Returns an unconverted world with many days.
fn world() -> World {
    let world = World::new();
    for account in ["012345678901", "123456789012"] {
        for day in 1..16 {
            for number in 0..4 {
                let day = format!("2025/07/{day:02}");
                let key = key_of(account, "eu-west-1", &day, "my-lb.50dc6c495c0c9188", number);
                world.put(&key, gzip(good_lines(20 + number)));
            }
        }
    }
    world
}

/// Returns the arguments for two job arrays, except for the shard. One array converts a source, and the other converts
/// a file that contains the source's batches.
fn arrays(world: &World) -> [Vec<String>; 2] {
    let [source, out] = [world.source(), world.out()].map(|path| path.to_str().unwrap().to_owned());
    let small = ["--to", "2099-12-31", "--target-file-size", "3KB"];
    let planned = run(&[&["plan", &source, "--jsonl"], &small[..]].concat()).expect(0);
    let file = world.path("batches").to_str().unwrap().to_owned();
    fs::write(&file, planned.stdout).unwrap();
    let of_source = [&["convert", &source, "--out", &out], &small[..]].concat();
    let of_file = ["convert", "--batches", &file, "--out", &out];
    [of_source, of_file.to_vec()].map(|args| args.into_iter().map(ToOwned::to_owned).collect())
}

fn task(args: &[String], shard: usize) -> Command {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = program(&args);
    command.arg("--shard").arg(format!("{shard}/{TASKS}"));
    command
}

fn claims(out: &Path) -> usize {
    tree(&out.join("_alb2parquet/claims"))
        .keys()
        .filter(|name| name.ends_with(".claim.json"))
        .count()
}

#[test]
fn shards_cover_all_work_without_overlap() {
    let world = world();
    let source = world.source();
    let plan = |more: &[&str]| -> Vec<String> {
        let base = ["plan", source.to_str().unwrap(), "--jsonl", "--to", "2099-12-31"];
        let run = run(&[&base[..], more].concat()).expect(0);
        run.stdout.lines().map(ToOwned::to_owned).collect()
    };
    let whole: BTreeSet<String> = plan(&[]).into_iter().collect();
    let mut shared = BTreeSet::new();
    for shard in 0..TASKS {
        let own = plan(&["--shard", &format!("{shard}/{TASKS}")]);
        assert!(!own.is_empty() && own.len() < whole.len(), "{} of {}", own.len(), whole.len());
        for line in own {
            assert!(shared.insert(line), "a batch belongs to two shards");
        }
    }
    assert_eq!(shared, whole);
    // A batch file is split into shards of about the same size.
    let [_, args] = arrays(&world);
    let mut bytes = Vec::new();
    let mut batches = BTreeSet::new();
    for shard in 0..TASKS {
        let run = run_command(&mut task(&args, shard)).expect(0);
        let outcomes: Vec<Value> =
            run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        bytes.push(outcomes.iter().map(|o| o["bytes_in"].as_u64().unwrap()).sum::<u64>());
        for outcome in outcomes {
            assert_eq!(outcome["converted_before"], 0);
            assert!(batches.insert(outcome["batch"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(batches.len(), fs::read_to_string(world.path("batches")).unwrap().lines().count());
    let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
    assert!(most - least <= 3000, "{bytes:?}");
    assert_eq!(findings(&world), [""; 0]);
}

/// Kills some of an array's tasks after the first claims, then restarts the entire array, like a scheduler that does
/// not know which tasks succeeded.
#[test]
fn killed_tasks_lose_and_duplicate_nothing() {
    for which in 0..2 {
        let (world, args) = loop {
            let world = world();
            let args = arrays(&world)[which].clone();
            if kill_some(&world, &args) > 0 {
                break (world, args);
            }
        };
        let mut tasks: Vec<Child> = (0..TASKS).map(|shard| spawn(&args, shard)).collect();
        for task in &mut tasks {
            assert!(task.wait().unwrap().success());
        }
        assert_eq!(findings(&world), [""; 0]);
        let before = tree(&world.out());
        for shard in 0..TASKS {
            run_command(&mut task(&args, shard)).expect(0);
        }
        assert_eq!(tree(&world.out()), before, "no work was left");
    }
}

fn spawn(args: &[String], shard: usize) -> Child {
    task(args, shard).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts all tasks and kills every other task. Returns how many were killed before they ended.
fn kill_some(world: &World, args: &[String]) -> usize {
    let mut tasks: Vec<Child> = (0..TASKS).map(|shard| spawn(args, shard)).collect();
    while claims(&world.out()) < 3 {
        let ended = tasks.iter_mut().filter_map(|task| task.try_wait().unwrap());
        assert!(ended.into_iter().all(|status| status.success()), "a task failed");
        thread::sleep(Duration::from_millis(5));
    }
    let mut killed = 0;
    for (shard, task) in tasks.iter_mut().enumerate() {
        if shard % 2 == 0 {
            task.kill().unwrap();
        }
        killed += usize::from(!task.wait().unwrap().success());
    }
    killed
}

#[test]
fn a_task_reads_its_shard_from_the_environment() {
    let world = world();
    let source = world.source().to_str().unwrap().to_owned();
    let plan = |shard: &str, variables: &[(&str, &str)]| -> Run {
        let args = ["plan", &source, "--jsonl", "--to", "2099-12-31", "--shard", shard];
        let mut command = program(&args);
        for name in
            ["AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", "JOB_COMPLETION_INDEX"]
        {
            command.env_remove(name);
        }
        run_command(command.envs(variables.iter().copied()))
    };
    let expected = plan("1/3", &[]).expect(0).stdout;
    let aws = [("AWS_BATCH_JOB_ARRAY_INDEX", "1"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")];
    assert_eq!(plan("auto", &aws).expect(0).stdout, expected);
    assert_eq!(plan("auto/3", &[("JOB_COMPLETION_INDEX", "1")]).expect(0).stdout, expected);
    for (shard, words) in [
        ("auto", "none of AWS_BATCH_JOB_ARRAY_INDEX, JOB_COMPLETION_INDEX is set"),
        ("3/3", "numbered from 0"),
        ("1of3", "0/16"),
    ] {
        plan(shard, &[]).expect(3).says(&[words]);
    }
    plan("auto", &[("JOB_COMPLETION_INDEX", "1")]).expect(3).says(&["AWS_BATCH_JOB_ARRAY_SIZE"]);
}

#[test]
fn batches_from_stdin_cannot_be_sharded() {
    let world = World::with(gzip(good_lines(1)));
    let out = world.out();
    let args = ["convert", "--batches", "-", "--shard", "0/2", "--out", out.to_str().unwrap()];
    run_command(program(&args).stdin(Stdio::null())).expect(3).says(&["only once"]);
}

/// Names and values of environment variables.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Each job definition in docs/scale.md contains a command that converts one shard. The test replaces the URLs with
/// paths.
#[test]
fn the_documented_job_definitions_work() {
    let page = include_str!("../docs/scale.md");
    let block = |mark: &str| {
        let (_, rest) =
            page.split_once(&format!("<!-- {mark}: run by tests/shards.rs -->")).unwrap();
        let (_, rest) = rest.split_once("```").unwrap();
        rest.split_once("```").unwrap().0.split_once('\n').unwrap().1.to_owned()
    };
    let definition: Value = serde_json::from_str(&block("job definition")).unwrap();
    let job = block("indexed job");
    let flow = job.lines().find_map(|line| line.trim().strip_prefix("command: ")).unwrap();
    let has = |line: &str| job.lines().any(|found| found.trim() == line);
    assert!(has("completions: 64") && has("completionMode: Indexed"));
    // On AWS Batch, the entry point of the image precedes the command. On Kubernetes, the command replaces it.
    assert!(
        include_str!("../Dockerfile").ends_with("ENTRYPOINT [\"/usr/local/bin/alb2parquet\"]\n")
    );
    let tasks: [(Value, &[&str], Variables); 3] = [
        (
            definition["containerProperties"]["command"].clone(),
            &[],
            &[("AWS_BATCH_JOB_ARRAY_INDEX", "3"), ("AWS_BATCH_JOB_ARRAY_SIZE", "4")],
        ),
        (
            serde_json::from_str(&block("command")).unwrap(),
            &[],
            &[("AWS_BATCH_JOB_ARRAY_INDEX", "3"), ("AWS_BATCH_JOB_ARRAY_SIZE", "4")],
        ),
        (serde_json::from_str(flow).unwrap(), &["alb2parquet"], &[("JOB_COMPLETION_INDEX", "0")]),
    ];
    for (command, program_name, variables) in tasks {
        let world = world();
        let [_, all] = arrays(&world);
        let here = |word: &Value| {
            let word = word.as_str().unwrap();
            let path = match word {
                "s3://my-log-bucket" => world.source(),
                "s3://my-lake/alb" => world.out(),
                "s3://my-lake/plans/batches.jsonl.gz" => world.path("batches"),
                other => return other.to_owned(),
            };
            path.to_str().unwrap().to_owned()
        };
        let words: Vec<String> = command.as_array().unwrap().iter().map(here).collect();
        assert!(!words.iter().any(|word| word.contains("s3://")), "{words:?}");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let words = words.strip_prefix(program_name).unwrap();
        assert_eq!(words[0], "convert");
        run_command(program(words).envs(variables.iter().copied())).expect(0);
        assert!(claims(&world.out()) > 0, "the task converted nothing");
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        run(&all).expect(0);
        assert_eq!(findings(&world), [""; 0]);
    }
}
