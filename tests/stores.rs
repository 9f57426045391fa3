//! A test suite that runs on every kind of target, and tests of stores that are not safe for datasets.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alb2parquet::internals::dataset::layout::{Dataset, DatasetError, Layout, Opening, STAGING};
use alb2parquet::internals::dataset::publish::end;
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::maintain::clean::clean;
use alb2parquet::internals::redact::Agreement;
use alb2parquet::internals::store::{
    Bucket, Completed, Created, Disk, FileKey, Kind, Owner, Patience, Staged, StagedFile, Target,
    TargetError, Writing, create_confirmed,
};
use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use tempfile::TempDir;

use crate::memory::{Memory, Reply};
use crate::server::Server;

/// Returns a target for a prefix in an in-memory bucket.
fn bucket() -> Arc<dyn Target> {
    let store = Arc::new(InMemory::new());
    let root = Path::from("some/prefix");
    Arc::new(Bucket::new(store.clone(), store, root, "memory://some/prefix", STAGING))
}

/// Returns an in-memory bucket that cannot abort uploads.
fn blocks() -> Arc<dyn Target> {
    let store = Arc::new(InMemory::new());
    let uploads = Arc::new(Blocks { store: Arc::clone(&store), blocks: Mutex::default() });
    Arc::new(Bucket::new(store, uploads, Path::default(), BLOCKS, STAGING).without_abort())
}

/// The URL of the bucket that cannot abort uploads.
const BLOCKS: &str = "blocks://bucket";

/// Emulates uploads to Azure: no request starts or aborts an upload, and a blob is created from a list of uncommitted
/// blocks. Writing a blob deletes all uncommitted blocks under the same key.
struct Blocks {
    store: Arc<InMemory>,
    /// Uncommitted blocks by key and ID.
    blocks: Mutex<BTreeMap<(Path, String), PutPayload>>,
}

#[async_trait]
impl MultipartStore for Blocks {
    async fn create_multipart(&self, _: &Path) -> Result<MultipartId> {
        Ok(String::new())
    }

    async fn put_part(
        &self,
        path: &Path,
        _: &MultipartId,
        _: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let mut blocks = self.blocks.lock().unwrap();
        let content_id = format!("block {}", blocks.len());
        blocks.insert((path.clone(), content_id.clone()), data);
        Ok(PartId { content_id })
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        _: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let bytes = {
            let mut all = self.blocks.lock().unwrap();
            if self.store.head(path).now_or_never().unwrap().is_ok() {
                all.retain(|(of, _), _| of != path);
            }
            let blocks = parts.into_iter().map(|part| all.remove(&(path.clone(), part.content_id)));
            let Some(blocks) = blocks.collect::<Option<Vec<_>>>() else {
                let source = "400: <Error><Code>InvalidBlockList</Code></Error>".into();
                return Err(Error::Generic { store: "Blocks", source });
            };
            blocks.iter().flatten().cloned().collect::<PutPayload>()
        };
        self.store.put(path, bytes).await
    }

    async fn abort_multipart(&self, path: &Path, _: &MultipartId) -> Result<()> {
        panic!("the upload of {path} cannot be aborted")
    }
}

/// Runs a test on every kind of target, including a bucket on another server if one is available.
fn on_each(test: fn(&Arc<dyn Target>)) {
    let dir = TempDir::new().unwrap();
    let disk: Arc<dyn Target> = Arc::new(Disk::new(dir.path().join("not/there"), STAGING, "run"));
    test(&disk);
    test(&bucket());
    test(&blocks());
    let memory = Memory::start([], |_| Reply::Usual);
    let server = Server { kind: Kind::S3, address: memory.address.clone() };
    let remote: Arc<dyn Target> = Arc::new(server.target("s3://lake"));
    test(&remote);
    if let Some(server) = Server::known() {
        let bucket: Arc<dyn Target> = Arc::new(server.target(&server.new_bucket()));
        test(&bucket);
    }
}

fn stage(target: &Arc<dyn Target>, key: &str, bytes: &[u8]) -> StagedFile {
    let mut writing = Writing::begin(target, FileKey::parse(key).unwrap()).unwrap();
    writing.write_all(bytes).unwrap();
    let file = writing.seal().unwrap();
    writing.keep();
    file
}

fn keys(target: &Arc<dyn Target>, directory: &str) -> Vec<String> {
    let mut keys: Vec<String> =
        target.list(directory).unwrap().into_iter().map(|stored| stored.key).collect();
    keys.sort();
    keys
}

#[test]
fn a_file_is_created_once() {
    on_each(|target| {
        assert_eq!(target.get("a/b/1.json").unwrap(), None);
        assert_eq!(target.create("a/b/1.json", b"one").unwrap(), Created::Now);
        assert_eq!(target.create("a/b/1.json", b"two").unwrap(), Created::Before);
        assert_eq!(target.create_non_durable("a/b/1.json", b"two").unwrap(), Created::Before);
        assert_eq!(target.get("a/b/1.json").unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(target.size("a/b/1.json").unwrap(), Some(3));
        assert_eq!(&target.get_range("a/b/1.json", 1..3).unwrap()[..], b"ne");
        assert!(target.get_range("a/b/2.json", 1..3).is_err());
        target.sync("a/b/1.json").unwrap();
        assert_eq!(keys(target, STAGING), [""; 0], "no staged file is left");
        let surely = |bytes| create_confirmed(&**target, "a/b/1.json", bytes, Patience::default());
        assert_eq!(surely(b"one").unwrap(), Owner::Ours, "created by an earlier attempt");
        assert_eq!(surely(b"two").unwrap(), Owner::Theirs(b"one".to_vec()));
    });
}

#[test]
fn a_listing_contains_only_files_below_its_directory() {
    on_each(|target| {
        assert_eq!(keys(target, "a"), [""; 0]);
        for key in ["a/1", "a/b/c/2", "ab/3", "b/4"] {
            target.create(key, key.as_bytes()).unwrap();
        }
        assert_eq!(keys(target, "a"), ["a/1", "a/b/c/2"]);
        assert_eq!(target.list("b").unwrap()[0].size, 3);
        target.delete("a/1").unwrap();
        target.delete("a/1").unwrap();
        assert_eq!(keys(target, "a"), ["a/b/c/2"]);
    });
}

#[test]
fn completing_a_staged_file_is_idempotent() {
    on_each(|target| {
        // Large enough for an upload with more than two parts.
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
        let file = stage(target, "table/day=1/x.parquet", &bytes);
        assert_eq!(file.size, bytes.len() as u64);
        assert_eq!(keys(target, "table"), [""; 0], "the file is not visible");
        assert_eq!(target.staged().unwrap().len(), 1);
        for _ in 0..3 {
            assert_eq!(complete(target, &file), Completed::Visible);
        }
        assert!(target.get("table/day=1/x.parquet").unwrap().unwrap() == bytes);
        abort(target, &file.staged);
        target.forget(&file.staged);
        target.wait();
        assert_eq!(target.staged().unwrap().len(), 0);
        assert_eq!(target.size("table/day=1/x.parquet").unwrap(), Some(file.size));
        // Once its file has been deleted, a completed upload cannot be completed again.
        target.delete("table/day=1/x.parquet").unwrap();
        assert_eq!(complete(target, &file), Completed::Lost);
        assert_eq!(keys(target, "table"), [""; 0]);
    });
}

#[test]
fn an_aborted_file_never_appears() {
    on_each(|target| {
        let file = stage(target, "table/x.parquet", b"x");
        if !aborts(target) {
            return abort(target, &file.staged);
        }
        abort(target, &file.staged);
        abort(target, &file.staged);
        assert_eq!(complete(target, &file), Completed::Lost);
        assert_eq!(keys(target, "table"), [""; 0]);
        // A file that is dropped while it is being written is aborted.
        let mut writing =
            Writing::begin(target, FileKey::parse("table/y.parquet").unwrap()).unwrap();
        writing.write_all(b"y").unwrap();
        let file = writing.seal().unwrap();
        drop(writing);
        assert_eq!(complete(target, &file), Completed::Lost);
    });
}

#[test]
fn a_file_that_was_ended_and_deleted_never_appears() {
    on_each(|target| {
        let file = stage(target, "table/x.parquet", b"x");
        end(&**target, &file).unwrap();
        assert_eq!(keys(target, "table").len(), usize::from(!aborts(target)));
        target.delete(&file.key).unwrap();
        for _ in 0..2 {
            assert_eq!(complete(target, &file), Completed::Lost);
            assert_eq!(keys(target, "table"), [""; 0]);
        }
    });
}

#[test]
fn unclaimed_files_leave_nothing_behind() {
    on_each(|target| {
        let dataset = open(target, "a", false).unwrap();
        let begin = |key| {
            let mut writing = Writing::begin(target, FileKey::parse(key).unwrap()).unwrap();
            writing.write_all(b"x").unwrap();
            writing
        };
        drop(begin("alb_access_logs/x.parquet"));
        target.wait();
        assert_eq!(target.staged().unwrap().len(), 0, "a dropped file leaves no note");
        let mut crashed = begin("alb_access_logs/y.parquet");
        crashed.seal().unwrap();
        crashed.keep();
        assert_eq!(target.staged().unwrap().len(), 1, "a crash leaves a staged file");
        // Some stores round modification times up to the next second.
        std::thread::sleep(Duration::from_millis(1100));
        let cleaned = clean(&dataset, Duration::ZERO).unwrap();
        assert_eq!((cleaned.removed.len(), cleaned.kept), (1, 0));
        assert!(cleaned.failures.is_empty(), "{:?}", cleaned.failures);
        target.wait();
        assert_eq!(target.staged().unwrap().len(), 0);
        assert_eq!(keys(target, "alb_access_logs"), [""; 0]);
    });
}

#[test]
fn a_foreign_file_with_the_same_key_is_an_error() {
    on_each(|target| {
        let file = stage(target, "table/x.parquet", b"ours");
        abort(target, &file.staged);
        target.create("table/x.parquet", b"something else").unwrap();
        match target.complete(&file) {
            Err(error @ TargetError::Foreign { .. }) => {
                assert!(error.to_string().contains("14 bytes instead of 4"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    });
}

/// Returns whether a target can abort uploads.
fn aborts(target: &Arc<dyn Target>) -> bool {
    !["az:", "blocks:"].iter().any(|scheme| target.name("").starts_with(scheme))
}

/// Returns whether an error is the in-memory store's error for an upload that does not exist. Other stores return
/// different errors.
fn is_gone(target: &Arc<dyn Target>, error: &TargetError) -> bool {
    let generic = matches!(error, TargetError::Store { error: Error::Generic { .. }, .. });
    generic && target.name("").starts_with("memory:")
}

#[track_caller]
fn complete(target: &Arc<dyn Target>, file: &StagedFile) -> Completed {
    match target.complete(file) {
        Err(error) if is_gone(target, &error) => Completed::Lost,
        completed => completed.unwrap(),
    }
}

#[track_caller]
fn abort(target: &Arc<dyn Target>, staged: &Staged) {
    match target.abort(staged) {
        Err(TargetError::NoAbort { .. }) => assert!(!aborts(target)),
        Ok(()) => assert!(aborts(target)),
        Err(error) if is_gone(target, &error) => {}
        Err(error) => panic!("{error}"),
    }
}

// ---- stores that let two runs create the same file

/// A store that ignores conditions, so that creates overwrite existing files.
#[derive(Debug)]
struct Unconditional(InMemory);

impl fmt::Display for Unconditional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unconditional")
    }
}

#[async_trait]
impl ObjectStore for Unconditional {
    async fn put_opts(&self, path: &Path, bytes: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.0.put_opts(path, bytes, PutMode::Overwrite.into()).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

fn open(target: &Arc<dyn Target>, run: &str, single_writer: bool) -> Result<Dataset, DatasetError> {
    let (layout, run, patience) = (Layout::Hive, run.to_owned(), Patience::default());
    let (redaction, profile) = (Agreement::default(), Profile::Portable);
    let opening = Opening { layout, run, single_writer, patience, redaction, profile };
    Dataset::open(Arc::clone(target), opening)
}

#[test]
fn a_store_that_ignores_conditions_is_detected() {
    let memory = InMemory::new();
    let (store, uploads) = (Arc::new(Unconditional(memory.clone())), Arc::new(memory));
    let target: Arc<dyn Target> =
        Arc::new(Bucket::new(store, uploads, Path::default(), "unconditional:", STAGING));
    let refused = |run| match open(&target, run, false) {
        Err(error @ DatasetError::Unconditional(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused("a").contains("does not support conditional create"));
    assert_eq!(keys(&target, "_alb2parquet"), [""; 0], "no state is created or left");
    // With --single-writer, the run continues, and the result of the check is recorded for later runs.
    let dataset = open(&target, "b", true).unwrap();
    assert_eq!(dataset.create("_alb2parquet/x", b"1").unwrap(), Owner::Ours);
    assert_eq!(dataset.create("_alb2parquet/x", b"2").unwrap(), Owner::Theirs(b"1".to_vec()));
    refused("c");
    open(&target, "d", true).unwrap();
}

#[test]
fn a_store_that_respects_conditions_is_accepted() {
    on_each(|target| {
        open(target, "a", false).unwrap();
        assert_eq!(keys(target, "_alb2parquet"), ["_alb2parquet/dataset.json"]);
        let text = target.get("_alb2parquet/dataset.json").unwrap().unwrap();
        let description: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(description["conditional_creates"], true);
        open(target, "b", false).unwrap();
        Dataset::find(Arc::clone(target), "c".to_owned()).unwrap();
    });
}

#[test]
fn no_state_is_created_where_the_dataset_was_deleted_or_replaced() {
    on_each(|target| {
        let old = open(target, "a", false).unwrap();
        old.confirm().unwrap();
        let refused = |dataset: &Dataset| match dataset.create("_alb2parquet/x", b"1") {
            Err(DatasetError::Replaced(name)) => assert!(name.ends_with("dataset.json"), "{name}"),
            other => panic!("{other:?}"),
        };
        target.delete("_alb2parquet/dataset.json").unwrap();
        refused(&old);
        assert_eq!(keys(target, "_alb2parquet"), [""; 0], "no new state is created");
        let new = open(target, "b", false).unwrap();
        refused(&old);
        assert_eq!(new.create("_alb2parquet/x", b"2").unwrap(), Owner::Ours);
    });
}
