//! The fuzz target `state`: parses keys, state files, lists, listing pages and URLs.

use std::collections::HashMap;
use std::io::{self, Cursor, Write};
use std::ops::Range;
use std::path::{Component, Path};
use std::sync::{Arc, LazyLock};

use alb2parquet::internals::convert::manifest::{BadLine, Description};
use alb2parquet::internals::dataset::claim::{Hints, Log, Record, embedded};
use alb2parquet::internals::dataset::file::PublishedFile;
use alb2parquet::internals::dataset::layout::Dataset;
use alb2parquet::internals::dataset::shard::Shard;
use alb2parquet::internals::logs::key::{Directory, Key, Partition, from_root, identity, mismatch};
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::plan::Scope;
use alb2parquet::internals::plan::inventory::{ObjectsError, has_credentials, read_with};
use alb2parquet::internals::redact::Rules;
use alb2parquet::internals::store::{
    self, Completed, Created, FileKey, FileName, Leftover, MAX_SIZE, Network, Place, Source, Stage,
    Staged, StagedFile, Stored, Target, TargetError, Web, decoded, has_secret, meant, parse_page,
    split,
};
use alb2parquet::internals::util::escape::{printable, printable_json};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::fuzz_targets::{Input, sample_paths};

/// Parses untrusted text. The first byte selects the parser.
pub(crate) fn state(input: &[u8]) {
    const PARSERS: [fn(&[u8]); 14] = [
        key,
        file_key,
        record,
        description,
        batch,
        list_of_bucket,
        list_of_directory,
        page,
        url,
        staged,
        log_files,
        arguments,
        embedded_claim,
        data_file,
    ];
    let mut input = Input(input);
    let parser = input.byte();
    if let Some(parse) = PARSERS.get(usize::from(parser)) {
        parse(input.0);
    }
}

/// The parsers, each with the first byte that selects it.
const KEY: u8 = 0;
const FILE_KEY: u8 = 1;
const RECORD: u8 = 2;
const DESCRIPTION: u8 = 3;
const BATCH: u8 = 4;
const LIST: [u8; 2] = [5, 6];
const PAGE: u8 = 7;
const URL: u8 = 8;
const STAGED: u8 = 9;
const LOG_FILES: u8 = 10;
const ARGUMENTS: u8 = 11;
const EMBEDDED: u8 = 12;
const DATA_FILE: u8 = 13;

/// Asserts that joining a key to a directory yields a path inside the directory.
fn assert_inside(key: &str) {
    let path = Path::new(key);
    assert!(path.components().count() > 0, "{key:?}");
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{key:?}");
    assert!(!key.contains(['\\', '\0']), "{key:?}");
    assert_eq!(path.to_str(), Some(key));
    assert!(key.len() > 1024 || FileKey::parse(key).is_ok(), "{key:?}");
}

/// Parses the key of a source object.
fn key(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let directory = text.rsplit_once('/').map_or("", |(directory, _)| directory);
    let _ = (Directory::parse(directory), from_root(text), mismatch(text), Key::of_name(text));
    assert!(text.starts_with(identity(text)));
    let Ok(key) = Key::parse(text) else { return };
    let Partition { account, region, day, .. } = &key.partition;
    let path =
        format!("AWSLogs/{account}/elasticloadbalancing/{region}/{}", day.format("%Y/%m/%d"));
    let again = Key::parse(&format!("{path}/{}", key.name)).expect("the documented key parses");
    assert_eq!((&again.partition, &again.name, again.is_moved), (&key.partition, &key.name, false));
    assert_eq!(Key::of_name(&key.name).map(|key| key.name), Some(key.name.clone()));
    for dataset in [dataset(HIVE), dataset(PLAIN)] {
        let table = key.partition.log_type.table().name.as_str();
        let directory = dataset.partition(table, &key.partition);
        assert_inside(&directory);
        assert_inside(&format!("{directory}/{}", key.name));
        let file = dataset.file(table, &key.partition, "0f.parquet");
        assert_eq!(dataset.partition_of(&file), Some(key.partition.clone()));
    }
    fixpoint::<Partition>(&serde_json::to_vec(&key.partition).unwrap());
}

/// Parses JSON, prints it, and parses it again.
fn fixpoint<T: serde::de::DeserializeOwned + serde::Serialize>(text: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(text).ok()?;
    let printed = serde_json::to_string(&value).expect("it prints");
    let again: T = serde_json::from_str(&printed).expect("what was printed parses");
    assert_eq!(serde_json::to_string(&again).expect("it prints"), printed);
    Some(value)
}

/// Parses the key or the name of a dataset file.
fn file_key(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(key) = FileKey::parse(text) {
        assert_eq!(&*key, text);
        assert_inside(&key);
        fixpoint::<FileKey>(&serde_json::to_vec(&key).unwrap()).expect("a key parses");
    }
    if let Ok(name) = FileName::parse(text) {
        assert_eq!(Path::new(&*name).components().count(), 1);
        assert_inside(&name);
    }
}

/// An in-memory dataset that contains the given files.
#[derive(Debug, Default)]
struct Forged(HashMap<String, Vec<u8>>);

const HIVE: &[u8] = br#"{"format_version":4,"layout":"hive","conditional_creates":true}"#;
const PLAIN: &[u8] = br#"{"format_version":4,"layout":"plain","conditional_creates":true}"#;

impl Forged {
    fn file(&self, key: &str) -> Result<&[u8], TargetError> {
        self.0.get(key).map(Vec::as_slice).ok_or_else(|| read_only(key))
    }
}

fn read_only(key: &str) -> TargetError {
    TargetError::Io { name: key.to_owned(), source: io::ErrorKind::ReadOnlyFilesystem.into() }
}

impl Target for Forged {
    fn name(&self, key: &str) -> String {
        key.to_owned()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, TargetError> {
        Ok(self.0.get(key).cloned())
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<bytes::Bytes, TargetError> {
        let file = self.file(key)?;
        let part = file.get(range.start as usize..range.end as usize);
        part.map(bytes::Bytes::copy_from_slice).ok_or_else(|| read_only(key))
    }

    fn size(&self, key: &str) -> Result<Option<u64>, TargetError> {
        Ok(self.0.get(key).map(|file| file.len() as u64))
    }

    fn list(&self, directory: &str) -> Result<Vec<Stored>, TargetError> {
        let files = self.0.iter().filter(|(key, _)| key.starts_with(directory));
        Ok(files.map(|(key, file)| Stored { key: key.clone(), size: file.len() as u64 }).collect())
    }

    fn create(&self, key: &str, _: &[u8]) -> Result<Created, TargetError> {
        Err(read_only(key))
    }

    fn sync(&self, key: &str) -> Result<(), TargetError> {
        Err(read_only(key))
    }

    fn delete(&self, key: &str) -> Result<(), TargetError> {
        Err(read_only(key))
    }

    fn stage(&self, key: &FileKey) -> Result<Box<dyn Stage>, TargetError> {
        Err(read_only(key))
    }

    fn complete(&self, file: &StagedFile) -> Result<Completed, TargetError> {
        Err(read_only(&file.key))
    }

    fn abort(&self, _: &Staged) -> Result<(), TargetError> {
        Err(read_only(""))
    }

    fn staged(&self) -> Result<Vec<Leftover>, TargetError> {
        Ok(Vec::new())
    }

    fn forget(&self, _: &Staged) {}
}

fn dataset(description: &[u8]) -> Dataset {
    holding(description, HashMap::new()).expect("the description is valid")
}

fn holding(
    description: &[u8],
    mut files: HashMap<String, Vec<u8>>,
) -> Result<Dataset, alb2parquet::internals::dataset::layout::DatasetError> {
    files.insert("_alb2parquet/dataset.json".to_owned(), description.to_vec());
    Dataset::find(Arc::new(Forged(files)), "run".to_owned())
}

const LOG: &str = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-19";

fn partition() -> Partition {
    let day = chrono::NaiveDate::from_ymd_opt(2025, 7, 19).unwrap();
    Partition::new(LogType::Access, "012345678901", "eu-west-1", day).unwrap()
}

/// Parses the entries of a partition's log, which are separated by zero bytes in the input.
fn record(text: &[u8]) {
    let entries = text.split(|byte| *byte == 0).take(3);
    let mut files: HashMap<_, _> = (1..)
        .zip(entries)
        .map(|(number, text)| (format!("{LOG}/{number}.claim.json"), text.to_vec()))
        .collect();
    files.insert(format!("{LOG}/1.done.json"), Vec::new());
    let dataset = holding(HIVE, files).unwrap();
    let partition = partition();
    let hints = Hints::of(&dataset, &partition).unwrap();
    let _ = Log::salvage(&dataset, &partition, &hints);
    let Ok(log) = Log::read(&dataset, &partition, &hints) else { return };
    let amendments = log.amendments();
    for (number, entry) in (1..).zip(log.entries()) {
        let printed = serde_json::to_vec(&entry.record).expect("it prints");
        fixpoint::<Record>(&printed).expect("what was printed parses");
        let Some(claim) = entry.record.claim() else { continue };
        for output in &claim.outputs {
            assert_inside(&output.file.key);
            assert_eq!(dataset.partition_of(&output.file.key).map(|p| p.day), Some(partition.day));
            match &output.file.staged {
                Staged::File(name) => assert!(!name.contains('/')),
                Staged::Upload { key, .. } => assert_eq!(*key, output.file.key),
            }
        }
        let _ = (claim.contradiction(), claim.shares_objects_with(claim));
        for object in &claim.objects {
            let _ = (object.rows(), object.is_incomplete(), object.outcome(), claim.url(object));
            let _ = (amendments.e_tag(number, object), amendments.is_accepted(number, object));
        }
        let encoded = embedded::encode(claim, claim.objects.iter().map(|object| &*object.name));
        embedded::decode(&encoded).expect("an encoded claim can be decoded");
    }
}

/// Parses `dataset.json`.
fn description(text: &[u8]) {
    if let Ok(dataset) = holding(text, HashMap::new()) {
        let _ = (dataset.layout(), dataset.redaction().is_empty());
        let directory = dataset.partition("alb_access_logs", &partition());
        assert_inside(&directory);
    }
}

/// Parses a line of a batch file. First corrects the line's hash and sum, because they are almost never valid in random
/// input.
fn batch(line: &[u8]) {
    let mut line = line.to_vec();
    for _ in 0..2 {
        let Err(BadLine::Changed { what, found, .. }) = Description::parse(&line) else { break };
        let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(&line) else { break };
        json[what] =
            if what == "bytes" { found.parse::<u64>().unwrap().into() } else { found.into() };
        line = serde_json::to_vec(&json).unwrap();
    }
    let Ok(description) = Description::parse(&line) else { return };
    let printed = serde_json::to_vec(&description).unwrap();
    assert_eq!(Description::parse(&printed).expect("what was printed parses"), description);
    for group in &description.groups {
        let _ = Place::parse(&group.source);
        for object in &group.objects {
            let key = Key::parse(&format!("{}{}", group.prefix, object.name)).unwrap();
            assert_eq!(key.partition, description.partition);
        }
    }
}

fn list_of_bucket(text: &[u8]) {
    static SOURCE: LazyLock<Source> = LazyLock::new(|| {
        let settings = [("aws_region", "eu-west-1"), ("aws_skip_signature", "true")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Source::open_unlisted("s3://logs/some/prefix", &Network::new(settings.to_vec()), from_root)
            .unwrap()
    });
    for named in list(text, &SOURCE) {
        assert!(!named.is_empty() && named.len() <= 1024, "{named:?}");
    }
}

fn list_of_directory(text: &[u8]) {
    static SOURCE: LazyLock<Source> = LazyLock::new(|| {
        Source::over(Arc::new(object_store::memory::InMemory::new()), "/data/logs")
    });
    list(text, &SOURCE);
}

/// Parses an `--objects` list. If it is a manifest, the bytes after the first zero byte are the content of the files
/// that the manifest lists.
fn list(text: &[u8], source: &Source) -> Vec<String> {
    let (list, file) = match text.iter().position(|byte| *byte == 0) {
        Some(end) if text.starts_with(b"{") => (&text[..end], &text[end + 1..]),
        _ => (text, &[][..]),
    };
    let open = |name: &str| {
        let bytes = if name == "list" { list } else { file };
        let raw = Box::new(Cursor::new(bytes.to_vec()));
        let failed = |source| ObjectsError::Read { name: name.to_owned(), source };
        store::decompressed(raw).map_err(failed)
    };
    let mut keys = Vec::new();
    let read = read_with("list", source, open, |named| {
        assert!(!has_secret(&named.key), "{:?}", named.key);
        assert!(named.size.is_none_or(|size| size <= MAX_SIZE));
        keys.push(named.key);
        Ok::<(), ObjectsError>(())
    });
    if let Err(error) = read {
        let shown = format!("{error}");
        assert!(shown.len() < 8192, "{} bytes", shown.len());
    }
    keys
}

/// Parses a page of a listing.
fn page(body: &[u8]) {
    let Some((entries, prefixes, token)) = parse_page(body) else { return };
    let escaped = |text: &str| {
        let special = |c: char| c.is_control() && c != '\0' || "&<>\"'".contains(c);
        text.chars()
            .map(|c| if special(c) { format!("&#{};", c as u32) } else { c.to_string() })
            .collect::<String>()
    };
    let contents = entries.iter().map(|(key, size)| {
        format!("<Contents><Key>{}</Key><Size>{size}</Size></Contents>", escaped(key))
    });
    let directories = prefixes.iter().map(|prefix| {
        format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(prefix))
    });
    let next = token
        .iter()
        .map(|token| format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(token)));
    let elements: String = contents.chain(directories).chain(next).collect();
    let again = format!("<ListBucketResult>{elements}</ListBucketResult>");
    assert_eq!(parse_page(again.as_bytes()), Some((entries, prefixes, token)), "{again}");
}

/// Parses a path or URL.
fn url(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let _ = (Web::parse(text), Web::beside(text, "logs"), decoded(text), split(text));
    let _ = (has_credentials(text), Scope::split(text));
    match Place::parse(text) {
        Ok(Place::Bucket(prefix)) => {
            assert!(!has_secret(text));
            let printed = prefix.to_string();
            let Ok(Place::Bucket(again)) = Place::parse(&printed) else { panic!("{printed:?}") };
            assert_eq!(again.to_string(), printed);
            assert!(Place::Bucket(prefix).holds(&Place::Bucket(again)));
        }
        Ok(Place::Local(_)) => assert!(!has_secret(text)),
        Err(error) => {
            let shown = error.to_string();
            assert!(!has_secret(text) || !shown.contains(text), "{shown}");
        }
    }
    let _ = meant(text).map(|meant| Place::parse(&meant).is_ok());
    let shown = printable(text);
    assert!(!shown.chars().any(char::is_control));
    let json = serde_json::to_string(text).unwrap();
    assert_eq!(serde_json::from_str::<String>(&printable_json(&json)).unwrap(), text);
}

/// Parses the file that describes an upload or a staged file.
fn staged(text: &[u8]) {
    match fixpoint::<Staged>(text) {
        Some(Staged::File(name)) => assert_inside(&name),
        Some(Staged::Upload { key, .. }) => assert_inside(&key),
        None => {}
    }
    if let Some(file) = fixpoint::<StagedFile>(text) {
        assert_inside(&file.key);
    }
}

/// Parses keys of files in claim logs, one key per line.
fn log_files(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let files = text.lines().map(|name| (format!("_alb2parquet/claims/{name}"), Vec::new()));
    let dataset = holding(HIVE, files.collect()).unwrap();
    let hints = Hints::list(&dataset).unwrap();
    assert!(hints.open_entries() as u64 <= hints.files());
    for partition in hints.partitions() {
        let table = partition.log_type.table().name.as_str();
        let directory = dataset.partition(table, partition);
        assert_inside(&directory);
        assert_eq!(dataset.partition_of(&format!("{directory}/x")), Some(partition.clone()));
        let _ = Log::read(&dataset, partition, &hints);
    }
}

/// Parses option values.
fn arguments(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(shard) = Shard::parse(text, |_| Some(text.to_owned())) {
        shard.holds("012345678901", "eu-west-1", partition().day);
    }
    if let Ok(rules) = Rules::parse(&text.split(' ').collect::<Vec<_>>()) {
        let again = rules.to_string();
        assert!(!again.is_empty() || rules.is_empty());
    }
    if let Some(partition) = fixpoint::<Partition>(text.as_bytes()) {
        assert_inside(&dataset(HIVE).partition("alb_access_logs", &partition));
    }
}

/// Parses the claim that a data file contains.
fn embedded_claim(bytes: &[u8]) {
    let _ = embedded::decode(bytes);
}

/// Reads an untrusted data file.
fn data_file(bytes: &[u8]) {
    let key = FileKey::parse("alb_access_logs/x.parquet").unwrap();
    let files = HashMap::from([(key.to_string(), bytes.to_vec())]);
    let dataset = holding(HIVE, files).unwrap();
    let file = PublishedFile::of(&dataset, key, bytes.len() as u64);
    if let Ok(footer) = file.footer() {
        let _ = file.embedded(&footer);
    }
}

pub(crate) fn state_seeds(root: &Path) -> Vec<Vec<u8>> {
    let name = "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_192.0.2.1_00000001.log.gz";
    let path = "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19";
    let directory =
        "alb_access_logs/account=012345678901/region=eu-west-1/year=2025/month=07/day=19";
    let claim = format!(
        r#"{{"action":"add","run":"r","version":"1","settings":"s","seconds":1.5,"lines":2,"rows":1,"rejects":{{"too_few_fields":1}},"outputs":[{{"table":"alb_access_logs","rows":1,"key":"{directory}/r-0.parquet","size":9,"sha256":"00","staged":{{"file":"r-0.parquet"}}}}],"directories":["s3://b/{path}/"],"objects":[{{"directory":0,"name":"{name}","size":9,"e_tag":"\"1\"","crc32":"0000000f","uncompressed_size":9,"notes":["padding"],"lines":2,"rejects":{{"too_few_fields":1}}}}]}}"#
    );
    let amend = format!(
        r#"{{"action":"amend","run":"r","objects":[{{"claim":1,"name":"{name}","e_tag":"2","accepted":true}}]}}"#
    );
    let remove = r#"{"action":"remove","run":"r","id":"1"}"#;
    let batch = format!(
        r#"{{"batch":"x","log_type":"access","account":"012345678901","region":"eu-west-1","day":"2025-07-19","bytes":9,"groups":[{{"source":"s3://b","prefix":"{path}/","objects":[{{"name":"{name}","size":9,"e_tag":"1"}}]}}]}}"#
    );
    let manifest = r#"{"sourceBucket":"logs","destinationBucket":"arn:aws:s3:::dest","version":"2016-11-30","fileFormat":"CSV","fileSchema":"Bucket, Key, Size","files":[{"key":"a/0.csv.gz","size":9,"MD5checksum":"0"}]}"#;
    let lists = [
        format!("# a comment\n{path}/{name}\n"),
        format!("s3://logs/{path}/{name}\n"),
        format!(
            "2025-07-19 14:05:01        123 {path}/{name}\n\nTotal Objects: 1\n   Total Size: 123\n"
        ),
        format!("2025/07/19 14:05:01        123  {path}/{name}\n"),
        format!("CONTENTS\t\"1\"\t{path}/{name}\t2025-07-19T14:05:01+00:00\t123\tSTANDARD\n"),
        format!("{path}/{name}\t123\t\"1\"\n"),
        format!("Bucket,Key,Size,ETag,StorageClass\nlogs,{path}/{name},1,x,STANDARD\n"),
        format!("\"logs\",\"{path}/{name}\",\"1\"\n"),
        format!(
            r#"{{"Contents":[{{"Key":"{path}/{name}","Size":1,"ETag":"\"1\"","StorageClass":"GLACIER"}}]}}"#
        ),
        format!("[\"{path}/{name}\", \"s3://logs/x\"]"),
        format!("{{\"key\":\"s3://logs/{name}\",\"type\":\"file\",\"size\":1}}\n"),
        format!("{manifest}\0\"logs\",\"a%2Fb+c\",\"1\"\n"),
        manifest.replace("CSV", "Parquet"),
        format!("/data/logs/{path}/{name}\0./x\0"),
        format!("https://logs.s3.eu-west-1.amazonaws.com/{path}/{name}\narn:aws:s3:::logs/x\n"),
    ];
    let of = |parser: u8, text: &str| [&[parser][..], text.as_bytes()].concat();
    let mut seeds = vec![
        of(KEY, &format!("{path}/{name}")),
        of(KEY, &format!("{path}/conn_log_{name}")),
        of(KEY, &format!("a/year=2025/month=07/day=19/health_check_log_{name}")),
        of(FILE_KEY, &format!("{directory}/r-0.parquet")),
        of(FILE_KEY, "../x"),
        of(RECORD, &claim),
        of(RECORD, &format!("{claim}\0{amend}\0{remove}")),
        of(DESCRIPTION, std::str::from_utf8(PLAIN).unwrap()),
        of(
            DESCRIPTION,
            r#"{"format_version":5,"layout":"hive","conditional_creates":false,"redaction":{"columns":{"client_ip":"hash"},"key_fingerprint":"0f"}}"#,
        ),
        of(BATCH, &batch),
        of(
            PAGE,
            &format!(
                "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>{name}&#x1;&lt;</Key><ETag>&quot;1&quot;</ETag><Size>7</Size></Contents><CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
            ),
        ),
        of(URL, "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/logs/p"),
        of(URL, "abfss://c@a.dfs.core.windows.net/p"),
        of(URL, "https://logs.s3.eu-west-1.amazonaws.com/a%20b?X-Amz-Signature=x"),
        of(URL, "s3://key:secret@logs/**/*.gz"),
        of(STAGED, &format!(r#"{{"upload":{{"key":"{directory}/a","id":"i","parts":["p"]}}}}"#)),
        of(STAGED, r#"{"file":"r-0.parquet"}"#),
        of(
            LOG_FILES,
            "access/012345678901/eu-west-1/2025-07-19/1.claim.json\naccess/012345678901/eu-west-1/2025-07-19/1.done.json",
        ),
        of(ARGUMENTS, "auto/7"),
        of(ARGUMENTS, "client_ip=truncate user_agent=hash"),
        of(
            ARGUMENTS,
            r#"{"log_type":"access","account":"012345678901","region":"eu-west-1","day":"2025-07-19"}"#,
        ),
    ];
    for (list, parser) in lists.iter().flat_map(|list| LIST.map(|parser| (list, parser))) {
        seeds.push(of(parser, list));
    }
    let claim: alb2parquet::internals::dataset::claim::Claim =
        serde_json::from_str(&claim).unwrap();
    let encoded = embedded::encode(&claim, [format!("{path}/{name}")].iter().map(String::as_str));
    seeds.push([&[EMBEDDED][..], &encoded].concat());
    seeds.push([&[DATA_FILE][..], &parquet_file(&encoded)].concat());
    for parser in LIST {
        seeds.push([&[parser][..], &parquet_file(&encoded)].concat());
        let mut gzip = flate2::write::GzEncoder::new(vec![parser], flate2::Compression::fast());
        gzip.write_all(lists[0].as_bytes()).unwrap();
        seeds.push(gzip.finish().unwrap());
    }
    for path in sample_paths(&root.join("tests/data")) {
        seeds.push(of(KEY, &path));
    }
    seeds
}

/// Returns an inventory in Parquet. The file's metadata also contains the location of an embedded claim.
fn parquet_file(claim: &[u8]) -> Vec<u8> {
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let columns = [
        ("bucket", text(["logs", "logs"])),
        ("key", text(["a/b", "c"])),
        ("size", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let place = KeyValue::new(embedded::KEY.to_owned(), format!("4+{}", claim.len()));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![place])).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}
