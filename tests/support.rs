//! Shared helpers: log lines, gzip, source trees, running the program, and reading datasets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use alb2parquet::internals::dataset::layout::{Dataset, Layout, Opening, STAGING};
use alb2parquet::internals::decode::decoder::Decoder;
use alb2parquet::internals::decode::gzip::{Decompressed, Segment, Stream, Whole};
use alb2parquet::internals::decode::text_buffer::Text;
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::logs::schema::{LogType, Table};
use alb2parquet::internals::redact::Agreement;
use alb2parquet::internals::store::{Network, Patience, Place};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::outcome::{OBJECT, Outcome, Row, rows_of};
use crate::restored::restore;
use crate::server::{Mirror, Server};

/// Name of the access log table.
pub(crate) const ROWS: &str = "alb_access_logs";
/// Name of the reject table.
pub(crate) const REJECTS: &str = "elb_rejects";
/// Directory of the originals files.
pub(crate) const ORIGINALS: &str = "_alb2parquet/originals";
/// Directory of the partition that contains [`key`], in the hive layout.
pub(crate) const PARTITION: &str =
    "account=012345678901/region=eu-west-1/year=2025/month=07/day=19";

// ---- lines

/// The 36 fields of a line in the current format.
pub(crate) const FIELDS: [&str; 36] = [
    "https",
    "2025-07-19T14:03:21.123456Z",
    "app/my-lb/50dc6c495c0c9188",
    "192.0.2.17:50718",
    "198.51.100.9:8443",
    "0.001",
    "0.086",
    "0.000",
    "200",
    "201",
    "588",
    "10429",
    "\"GET https://www.example.com:443/a?b=c HTTP/2.0\"",
    "\"curl/8.5.0 (x86_64)\"",
    "TLS_AES_128_GCM_SHA256",
    "TLSv1.3",
    "arn:aws:elasticloadbalancing:eu-west-1:012345678901:targetgroup/web/0123456789abcdef",
    "\"Root=1-687ba5a9-000000000000000000000001\"",
    "\"www.example.com\"",
    "\"arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001\"",
    "7",
    "2025-07-19T14:03:21.036000Z",
    "\"waf,forward\"",
    "\"https://example.com:443/new place\"",
    "\"LambdaUnhandled\"",
    "\"198.51.100.9:8443\"",
    "\"201\"",
    "\"Acceptable\"",
    "\"SpaceInUri\"",
    "TID_0123456789abcdef0123456789abcdef",
    "\"internal.example.com\"",
    "\"/new/a\"",
    "\"TransformSuccess\"",
    "203.0.113.5",
    "0x7",
    "0x8",
];

/// The fields of a line. There may be more than 36.
#[derive(Clone)]
pub(crate) struct Line(pub(crate) Vec<String>);

impl Line {
    /// Returns a line with the first `count` fields. Fields after the 36th are `extra37`, `extra38`, …
    pub(crate) fn of(count: usize) -> Self {
        let known = FIELDS.iter().map(ToString::to_string);
        let extra = (37..).map(|number| format!("extra{number}"));
        Self(known.chain(extra).take(count).collect())
    }

    /// Replaces the field with the given number, counted from 1 as in the AWS documentation.
    pub(crate) fn with(mut self, number: usize, value: &str) -> Self {
        value.clone_into(&mut self.0[number - 1]);
        self
    }

    /// Returns the text of the line, without a line ending.
    pub(crate) fn text(&self) -> String {
        self.0.join(" ")
    }
}

/// Returns the text of the given lines, with a newline after each line.
pub(crate) fn text_of<T: AsRef<[u8]>>(lines: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line.as_ref());
        text.push(b'\n');
    }
    text
}

/// Returns the text of `count` different valid lines.
pub(crate) fn good_lines(count: usize) -> Vec<u8> {
    text_of((0..count).map(|number| {
        Line::of(30)
            .with(4, &format!("192.0.2.{}:{}", number % 256, 1024 + number % 60_000))
            .with(18, &format!("\"Root=1-687ba5a9-{number:024x}\""))
            .text()
    }))
}

// ---- gzip

/// Returns a gzip member.
pub(crate) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    gzip_at(text, Compression::fast())
}

/// Returns a gzip member with the given compression level.
pub(crate) fn gzip_at(text: impl AsRef<[u8]>, level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

// ---- decoding without the program

/// Decodes access log text.
pub(crate) fn decode(text: impl AsRef<[u8]>) -> Outcome {
    decode_as(LogType::Access.table(), text)
}

/// Decodes text with the given table's schema, via the code path for ordinary objects. This code path does not support
/// empty objects, so the outcome for empty text is empty.
pub(crate) fn decode_as(table: &Table, text: impl AsRef<[u8]>) -> Outcome {
    let mut decompressed = Decompressed::default();
    let whole = Whole::default().inflate(0, &gzip(text.as_ref()), &mut decompressed);
    assert_eq!(whole, !text.as_ref().is_empty());
    let mut outcome = Outcome::default();
    let (mut decoder, mut bytes) = (Decoder::new(table), 0);
    let mut restored = Vec::new();
    while !decompressed.segments.is_empty() {
        let decoded = decoder.decode(&mut decompressed, |_| OBJECT);
        restore(table, &decoded, &mut restored);
        outcome.add(decoded, &mut bytes);
    }
    let text = text.as_ref().strip_prefix(b"\xef\xbb\xbf").unwrap_or(text.as_ref());
    assert!(restored == text, "restored: {}", restored.escape_ascii());
    outcome
}

/// Decodes an object via the streaming code path.
pub(crate) fn decode_streamed(size: usize, reader: impl Read + Send + 'static) -> Outcome {
    let mut decoder = Decoder::new(LogType::Access.table());
    let mut outcome = Outcome::default();
    let mut bytes = 0;
    let mut stream = Stream::new(0, size as u64, Box::new(reader)).unwrap();
    let mut text = Text::default();
    while let Some(mut decompressed) = stream.next(text).unwrap() {
        while !decompressed.segments.is_empty() {
            outcome.add(decoder.decode(&mut decompressed, |_| OBJECT), &mut bytes);
        }
        text = decompressed.text;
    }
    outcome
}

/// Returns decompressed text with the given segments of whole lines, which all belong to object 0.
pub(crate) fn segments_of(segments: &[&[u8]]) -> Decompressed {
    let mut decompressed = Decompressed::default();
    for segment in segments {
        let start = decompressed.text.len();
        decompressed.text.extend(segment);
        decompressed.segments.push(Segment {
            range: start..decompressed.text.len(),
            bytes: segment.len() as u64,
            ..Segment::default()
        });
    }
    decompressed
}

// ---- keys and trees

/// Returns the key of an object from the given day, such as `2025/07/19`. The number makes the key unique.
pub(crate) fn key_on(day: &str, number: usize) -> String {
    key_of("012345678901", "eu-west-1", day, "my-lb.50dc6c495c0c9188", number)
}

/// Returns the key of an object from 2025-07-19.
pub(crate) fn key(number: usize) -> String {
    key_on("2025/07/19", number)
}

/// Returns the key of an object, given its account, region, day and load balancer (`name.id`).
pub(crate) fn key_of(
    account: &str,
    region: &str,
    day: &str,
    balancer: &str,
    number: usize,
) -> String {
    let date = day.replace('/', "");
    format!(
        "AWSLogs/{account}/elasticloadbalancing/{region}/{day}/{account}_elasticloadbalancing_{region}_app.{balancer}_{date}T1405Z_192.0.2.1_{number:08x}.log.gz"
    )
}

/// Returns the delivered key of an object from 2025-07-19, given its log type.
pub(crate) fn key_of_log(log_type: LogType, number: usize) -> String {
    let key = key(number);
    let (folder, name) = key.rsplit_once('/').unwrap();
    match log_type {
        LogType::NlbTls => key.replace("_app.", "_net.").replace("_192.0.2.1_", "_"),
        LogType::Classic => {
            key.replace("_app.my-lb.50dc6c495c0c9188_", "_my-lb_").replace(".log.gz", ".log")
        }
        _ => format!("{folder}/{}{name}", log_type.table().object_prefixes[0]),
    }
}

/// A temporary directory with a source and a dataset.
pub(crate) struct World {
    dir: TempDir,
    /// The buckets of the source and the dataset. If set, the directories are only local copies.
    buckets: Option<[Mirror; 2]>,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { dir: TempDir::new().unwrap(), buckets: None };
        fs::create_dir(world.source()).unwrap();
        world
    }

    /// Returns a world in buckets if a server is available, and on disk otherwise. In both cases, tests can read and
    /// change the directories.
    pub(crate) fn anywhere() -> Self {
        let mut world = Self::new();
        if let Some(server) = Server::known() {
            world.buckets =
                Some([world.source(), world.out()].map(|copy| Mirror::new(&server, copy)));
        }
        world
    }

    /// Returns a world with one source object.
    pub(crate) fn with(object: impl AsRef<[u8]>) -> Self {
        let world = Self::new();
        world.put(&key(1), object);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Returns the dataset's directory, or `None` if the dataset is in a bucket.
    pub(crate) fn local_out(&self) -> Option<String> {
        self.buckets.is_none().then(|| self.out().to_str().unwrap().to_owned())
    }

    /// Writes an object to the source.
    pub(crate) fn put(&self, key: &str, object: impl AsRef<[u8]>) -> PathBuf {
        put(&self.source(), key, object)
    }

    /// Converts the source to the dataset.
    pub(crate) fn convert(&self) -> Run {
        self.convert_with(&[])
    }

    /// Converts the source to the dataset with additional arguments.
    pub(crate) fn convert_with(&self, args: &[&str]) -> Run {
        self.run("convert", true, &with_day(args))
    }

    /// Runs a subcommand on the dataset, and on the source if the subcommand takes one.
    pub(crate) fn run(&self, name: &str, takes_source: bool, args: &[&str]) -> Run {
        let [source, out] =
            [self.source(), self.out()].map(|path| path.to_str().unwrap().to_owned());
        let [source, out] = match &self.buckets {
            Some(buckets) => buckets.each_ref().map(|mirror| mirror.url.clone()),
            None => [source, out],
        };
        let source = takes_source.then_some(source.as_str());
        let fixed = [&[name][..], source.as_slice(), &["--out", &out]].concat();
        let args = [&fixed[..], args].concat();
        let Some(buckets) = &self.buckets else { return run(&args) };
        buckets.iter().for_each(Mirror::push);
        let run = run_command(&mut buckets[1].command(&args));
        buckets[1].pull();
        run
    }

    /// Returns the rows in the dataset, file by file.
    pub(crate) fn rows(&self) -> Vec<Row> {
        read(&self.out(), ROWS)
    }

    /// Returns the rejects in the dataset, file by file.
    pub(crate) fn rejects(&self) -> Vec<Row> {
        read(&self.out(), REJECTS)
    }
}

/// Reports that a test cannot run here. `scripts/test` reads this line. It is written to stderr directly, because the
/// test harness captures the output of macros.
pub(crate) fn report_skipped(test: &str, reason: &str) {
    io::stderr().write_all(format!("{test}: SKIPPED, {reason}\n").as_bytes()).unwrap();
}

/// Opens a dataset on disk, for a run that reads it.
pub(crate) fn open_dataset(out: &Path) -> Dataset {
    let opening = Opening {
        layout: Layout::Hive,
        run: "verify".to_owned(),
        single_writer: false,
        patience: Patience::default(),
        redaction: Agreement::default(),
        profile: Profile::Portable,
    };
    let place = Place::parse(out.to_str().unwrap()).unwrap();
    let target = place.target(STAGING, &opening.run, &Network::default()).unwrap();
    Dataset::open(target, opening).unwrap()
}

/// Converts objects with two threads. Returns the run and its peak memory use in bytes, without that of a small
/// conversion: most of the latter is the program's code, whose size depends on the build.
pub(crate) fn convert_measured(world: &World, args: &[&str]) -> (Run, u64) {
    static SMALL: OnceLock<u64> = OnceLock::new();
    let measured = |world: &World, args: &[&str]| {
        let [source, out] = [world.source(), world.out()];
        let fixed = ["convert", source.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let args = with_day(&[&["--json", "--threads", "2"], args].concat());
        let mut command = program(&[&fixed[..], &args].concat());
        // glibc raises this threshold after large buffers are freed. Later buffers then fragment its heap, so that the
        // peak memory use of equal runs differs by 20 MiB.
        let run = run_command(command.env("MALLOC_MMAP_THRESHOLD_", "1048576"));
        let peak = run.count("/metrics/peak_memory_bytes");
        (run, peak)
    };
    let small = SMALL.get_or_init(|| {
        let world = World::with(gzip(text_of([Line::of(30).text()])));
        measured(&world, &[]).1
    });
    let (run, peak) = measured(world, args);
    (run, peak.saturating_sub(*small))
}

/// Writes an object to a path in a directory.
pub(crate) fn put(dir: &Path, key: &str, object: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, object).unwrap();
    path
}

// ---- the program

/// The exit code and the output of a run of the program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
        let run = Self {
            code: output.status.code().expect("the program was not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        run
    }

    /// Asserts the exit code, and returns the run.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self:#?}");
        self
    }

    /// Parses the output of `--json`, which is a single JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Returns a count from the output of `--json`, given its JSON pointer, such as `/objects/failed`.
    #[track_caller]
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        let json = self.json();
        let value =
            json.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing in {json:#}"));
        value.as_u64().unwrap_or_else(|| panic!("{pointer} is not a count in {json:#}"))
    }

    /// Returns the rejects from the output of `--json` as `reason=count …`.
    #[track_caller]
    pub(crate) fn rejects(&self) -> String {
        let json = self.json();
        let rejects = json["rejects"].as_object().expect("rejects are an object");
        let counts = rejects.iter().map(|(reason, count)| format!("{reason}={count}"));
        counts.collect::<Vec<_>>().join(" ")
    }

    /// Asserts that stderr contains all of the given strings.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in {self:#?}");
        }
    }
}

/// Returns a command that runs the program with the given arguments.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alb2parquet"));
    command.args(args);
    command
}

/// Runs the program with the given arguments.
pub(crate) fn run(args: &[&str]) -> Run {
    Run::of(program(args).output().unwrap())
}

/// Runs a prepared command, and returns its exit code and output.
pub(crate) fn run_command(command: &mut Command) -> Run {
    Run::of(command.output().unwrap())
}

/// Converts sources to a dataset, independently of the current date.
pub(crate) fn convert(sources: &[&Path], out: &Path, args: &[&str]) -> Run {
    let mut command = program(&["convert"]);
    run_command(command.args(sources).arg("--out").arg(out).args(with_day(args)))
}

/// Adds a `--to` date far in the future, unless the arguments already contain `--to`.
fn with_day<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let day = if args.contains(&"--to") { &[][..] } else { &["--to", "2099-12-31"] };
    [args, day].concat()
}

// ---- datasets

/// Returns the bytes of every file in a directory tree, by relative path.
pub(crate) fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn visit(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                visit(&path, &format!("{name}/"), files);
            } else {
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    if dir.exists() {
        visit(dir, "", &mut files);
    }
    files
}

/// Returns the contents of a dataset's data files, by directory. Unlike the file names, the contents do not depend on
/// the run.
pub(crate) fn contents(out: &Path) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut contents = BTreeMap::<String, Vec<Vec<u8>>>::new();
    for (name, bytes) in tree(out) {
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        if !name.starts_with("_alb2parquet/") {
            contents.entry(directory.to_owned()).or_default().push(bytes);
        }
    }
    for files in contents.values_mut() {
        files.sort();
    }
    contents
}

/// Returns a table's data files, by path.
pub(crate) fn files(out: &Path, table: &str) -> Vec<PathBuf> {
    let dir = out.join(table);
    tree(&dir).keys().map(|name| dir.join(name)).collect()
}

/// Returns a table's only data file.
#[track_caller]
pub(crate) fn only_file(out: &Path, table: &str) -> PathBuf {
    let mut files = files(out, table);
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Returns the rows of a table, file by file.
pub(crate) fn read(out: &Path, table: &str) -> Vec<Row> {
    files(out, table).iter().flat_map(|path| read_file(path)).collect()
}

/// Returns the rows of a Parquet file, read with the `parquet` crate.
pub(crate) fn read_file(path: &Path) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let reader = reader.build().unwrap();
    reader.flat_map(|batch| rows_of(&batch.unwrap())).collect()
}

/// Returns a value from a row. NULL is `None`.
#[track_caller]
pub(crate) fn get<'r>(row: &'r Row, column: &str) -> Option<&'r str> {
    row.get(column).unwrap_or_else(|| panic!("column {column} is missing in {row:?}")).as_deref()
}
