//! If stdout or a dataset file cannot be written, the error names the stream or file, the reason and a remedy.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::memory::{Memory, Reply, Request};
use crate::server;
use crate::support::{Run, World, good_lines, gzip, key, key_on, program, run_command};

// ---- stdout and stderr

/// A command that prints to stdout, and additional text that its error must contain.
struct Printer {
    args: Vec<String>,
    message: &'static str,
}

/// Returns every command that prints to stdout. None of them change the source or the dataset, but some create other
/// datasets.
fn printers(world: &World) -> Vec<Printer> {
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (source, out, new) = (text(world.source()), text(world.out()), text(world.path("new")));
    let (object, batches) = (text(world.source().join(key(1))), text(world.path("batches")));
    let (complete, finished) = ("; the conversion is complete", "; the command has finished");
    [
        (complete, &["convert", &source, "--out", &new, "--json"][..]),
        (complete, &["convert", "--batches", &batches, "--out", &text(world.path("of-batches"))]),
        ("", &["convert", &source, "--out", &new, "--dry-run"]),
        ("", &["plan", &source]),
        ("", &["plan", &source, "--json", "--quiet"]),
        ("", &["plan", &source, "--jsonl", "--quiet"]),
        (finished, &["verify", &source, "--out", &out, "--json"]),
        (finished, &["clean", "--out", &out, "--json"]),
        (finished, &["remove", "--out", &out, "--json"]),
        (finished, &["repair", "--out", &out, "--json"]),
        (finished, &["accept", "--out", &out, "--json"]),
        ("", &["report", &out]),
        ("", &["report", &out, "--json"]),
        ("", &["inspect", &object]),
        ("", &["inspect", &object, "--json"]),
        ("", &["ddl", "--location", "s3://lake"]),
        ("", &["ddl", "--from-dataset", &out, "--dialect", "duckdb"]),
        ("", &["policy", "lifecycle", "--out", "s3://lake"]),
        ("", &["policy", "convert", "--source", "s3://logs"]),
        ("", &["completions", "bash"]),
        ("", &["man"]),
        ("", &["--help"]),
        ("", &["--version"]),
        ("", &["help", "convert"]),
    ]
    .into_iter()
    .map(|(message, args)| Printer {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        message,
    })
    .collect()
}

/// Returns a converted world that also contains a plan of its batches as JSON lines.
fn converted() -> World {
    let world = World::with(gzip(good_lines(4)));
    world.convert().expect(0);
    let source = world.source();
    let plan = program(&["plan", source.to_str().unwrap(), "--jsonl"]).output().unwrap();
    fs::write(world.path("batches"), plan.stdout).unwrap();
    world
}

fn command(args: &[String]) -> Command {
    program(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Opens a device on which writes fail as on a full disk.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux has /dev/full")]
fn a_full_stdout_is_an_error_that_reports_what_is_complete() {
    let world = converted();
    for Printer { args, message } in printers(&world) {
        let run = run_command(command(&args).stdout(full()));
        let expected = format!("error: stdout: No space left on device (os error 28){message}");
        let last = run.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(&expected), "{args:?}: {run:?}");
        assert_eq!(run.code, 3, "{args:?}: {run:?}");
    }
    // The conversion itself was completed.
    let (source, new) = (world.source(), world.path("new"));
    let verify = ["verify", source.to_str().unwrap(), "--out", new.to_str().unwrap()];
    run_command(program(&verify).args(["--to", "2099-12-31", "--read-data"])).expect(0);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let world = converted();
    for Printer { args, .. } in printers(&world) {
        let mut command = command(&args);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let run = Run::of(child.wait_with_output().unwrap());
        assert!(run.code == 0 && !run.stderr.contains("error"), "{args:?}: {run:?}");
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux has /dev/full")]
fn a_full_stderr_changes_no_result() {
    let world = converted();
    for Printer { args, .. } in printers(&world) {
        let usual = run_command(&mut command(&args)).expect(0);
        let full = run_command(command(&args).stderr(full()));
        assert_eq!((full.code, full.stdout.is_empty()), (0, usual.stdout.is_empty()), "{args:?}");
    }
}

// ---- files of a dataset

/// Runs conversions without privileges: as the user who runs the tests or, if that user is root, as `nobody`.
struct Unprivileged {
    world: World,
    program: PathBuf,
}

impl Unprivileged {
    const NOBODY: u32 = 65534;

    fn new() -> Self {
        let world = World::new();
        for day in ["2025/07/19", "2025/07/20"] {
            world.put(&key_on(day, 1), gzip(good_lines(2)));
        }
        // Other users may not have access to the build directory.
        let (built, program) = (env!("CARGO_BIN_EXE_alb2parquet"), world.path("program"));
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).unwrap();
        }
        fs::set_permissions(world.path(""), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(world.path("lakes")).unwrap();
        fs::set_permissions(world.path("lakes"), Permissions::from_mode(0o777)).unwrap();
        Self { world, program }
    }

    fn out(&self) -> PathBuf {
        self.world.path("lakes/lake")
    }

    fn convert(&self, args: &[&str]) -> Run {
        let mut command = Command::new(&self.program);
        command.arg("convert").arg(self.world.source()).arg("--out").arg(self.out()).args(args);
        if fs::metadata(self.world.path("")).unwrap().uid() == 0 {
            command.uid(Self::NOBODY).gid(Self::NOBODY);
        }
        run_command(&mut command)
    }

    /// Converts while a directory has the permissions in `mode`.
    fn convert_with_mode(&self, directory: &Path, mode: u32) -> Run {
        let before = fs::metadata(directory).unwrap().permissions();
        fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
        let run = self.convert(&["--quiet"]);
        fs::set_permissions(directory, before).unwrap();
        run
    }
}

/// Asserts that a run failed because a file in the given directory could not be written or read.
#[track_caller]
fn refused(run: &Run, directory: &Path, why: (&str, &str)) {
    let Run { code, stderr, .. } = run;
    assert_eq!(*code, 3, "{run:?}");
    assert!(stderr.starts_with(&format!("error: {}", directory.display())), "{run:?}");
    let (why, hint) = why;
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with(why), "{run:?}");
    assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{run:?}");
    assert!(!stderr.contains("not known"), "{run:?}");
}

#[test]
fn a_directory_without_permission_is_named_with_the_remedy() {
    let unprivileged = Unprivileged::new();
    let (lakes, out) = (unprivileged.world.path("lakes"), unprivileged.out());
    let not_writable = (" is not writable: permission denied", "change its permissions");
    refused(&unprivileged.convert_with_mode(&lakes, 0o555), &out, not_writable);
    unprivileged.convert(&["--to", "2025-07-19"]).expect(0);
    let state = out.join("_alb2parquet");
    let staging = state.join("staging");
    refused(&unprivileged.convert_with_mode(&staging, 0o555), &staging, not_writable);
    for (directory, mode) in [(&staging, 0o000), (&state, 0o000)] {
        let run = unprivileged.convert_with_mode(directory, mode);
        refused(&run, directory, ("able: permission denied", "change its permissions"));
    }
    // These directories are written last, after the files are staged.
    for below in ["_alb2parquet/claims/access/012345678901/eu-west-1", "alb_access_logs"] {
        let directory = out.join(below);
        let hidden = |path: PathBuf| fs::rename(path.join("account=012345678901"), path.join("x"));
        let is_table = below == "alb_access_logs";
        if is_table {
            hidden(directory.clone()).unwrap();
        }
        let run = unprivileged.convert_with_mode(&directory, 0o555);
        if is_table {
            fs::rename(directory.join("x"), directory.join("account=012345678901")).unwrap();
        }
        refused(&run, &directory, not_writable);
    }
    // Once permissions are restored, the next run finishes everything.
    unprivileged.convert(&[]).expect(0);
    let (source, out) = (unprivileged.world.source(), out.to_str().unwrap().to_owned());
    let verify = ["verify", source.to_str().unwrap(), "--out", &out, "--read-data", "--json"];
    let run = run_command(&mut program(&verify)).expect(0);
    assert_eq!(run.count("/rows"), 4);
}

#[test]
fn a_file_in_place_of_a_directory_is_named_with_the_remedy() {
    for place in ["", "_alb2parquet", "_alb2parquet/staging", "_alb2parquet/claims", "elb_rejects"]
    {
        let world = World::with(gzip(good_lines(2)));
        let path =
            world.out().components().chain(Path::new(place).components()).collect::<PathBuf>();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a file").unwrap();
        let run = world.convert_with(&["--quiet"]);
        let why = ("able: a part of its path is a file", "move that file, or use another --out");
        refused(&run, &world.out(), why);
    }
}

#[test]
fn a_file_size_limit_is_an_error_with_the_remedy() {
    let world = World::with(gzip(good_lines(20_000)));
    let (source, out) = (world.source(), world.out());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 16; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_alb2parquet")]);
    let args = ["convert", source.to_str().unwrap(), "--to", "2099-12-31", "--quiet", "--out"];
    refused(
        &run_command(limited.args(args).arg(&out)),
        &out.join("alb_access_logs"),
        (
            " is not writable: file too large",
            "raise the limit of the file system or of `ulimit -f`, or lower --target-file-size",
        ),
    );
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/rows"), 20_000);
}

#[test]
fn too_few_file_descriptors_are_an_error_with_the_remedy() {
    let world = World::new();
    for day in 1..29 {
        world.put(&key_on(&format!("2025/07/{day:02}"), day), gzip(good_lines(2)));
    }
    let (source, out) = (world.source(), world.out());
    let (mut failed, mut worked) = (0, 0);
    for limit in [11, 13, 16, 20, 32, 64, 128] {
        let mut limited = Command::new("sh");
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        limited.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_alb2parquet")]);
        let args = ["convert", source.to_str().unwrap(), "--quiet", "--out"];
        let run = run_command(limited.args(args).arg(&out));
        if run.code == 0 {
            worked += 1;
        } else {
            failed += 1;
            assert!([2, 3].contains(&run.code), "{limit}: {run:?}");
            run.says(&["too many open files", "raise the limit with `ulimit -n 1024`"]);
            assert!(!run.stderr.contains("not known"), "{limit}: {run:?}");
        }
    }
    assert!(failed > 0 && worked > 0, "{failed} runs failed, {worked} did not");
    let verify = ["--read-data", "--json", "--to", "2099-12-31"];
    assert_eq!(world.run("verify", true, &verify).expect(0).count("/rows"), 2 * 28);
}

#[test]
fn a_store_that_denies_writing_is_named_with_the_remedy() {
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let is_write = |request: &Request| matches!(request.method.as_str(), "PUT" | "POST");
    for part in ["", "/staging/", ".parquet", ".claim.json"] {
        let server = Memory::start([], move |request| {
            let is_denied = is_write(request) && request.key.contains(part);
            if is_denied { Reply::Other(403, denied.to_owned()) } else { Reply::Usual }
        });
        let world = World::with(gzip(good_lines(2)));
        let source = world.source();
        let args = ["convert", source.to_str().unwrap(), "--out", "s3://lake/alb", "--quiet"];
        let run = run_command(server::command(&server.address, &args).args(["--to", "2099-12-31"]));
        assert_eq!(run.code, 3, "{part:?}: {run:?}");
        let message = " is not writable: permission denied: Access Denied";
        let hint = "hint: check the credentials";
        run.says(&["error: s3://lake/alb/", part, message, hint, "`alb2parquet policy convert`"]);
        assert!(!run.stderr.contains("not known"), "{part:?}: {run:?}");
    }
}

#[test]
fn a_list_whose_objects_cannot_be_read_is_an_error_with_the_remedy() {
    let world = World::new();
    let (list, out) = (world.path("list"), world.out());
    fs::write(&list, format!("logs/{}\nlogs/{}\n", key(1), key(2))).unwrap();
    let keys = "hint: list full keys of the bucket";
    for (code, hint) in
        [(404, keys), (403, "hint: check the credentials"), (400, "400 Bad Request")]
    {
        let server = Memory::start([], move |request| {
            let is_read = ["GET", "HEAD"].contains(&request.method.as_str());
            if is_read { Reply::Other(code, String::new()) } else { Reply::Usual }
        });
        let args =
            ["convert", "s3://logs", "--quiet", "--objects", list.to_str().unwrap(), "--out"];
        let mut command = server::command(&server.address, &args);
        let run = run_command(command.arg(&out).args(["--to", "2099-12-31"]));
        assert_eq!(run.code, 3, "{code}: {run:?}");
        run.says(&["none of its 2 objects can be found", hint]);
        assert_eq!(run.stderr.contains(keys), hint == keys, "{code}: {run:?}");
    }
}
