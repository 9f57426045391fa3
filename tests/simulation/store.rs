//! An in-memory object store with a seeded scheduler. The scheduler decides which run makes the next call, and whether
//! to inject a fault into the call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartId, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use alb2parquet::internals::util::hash::hex;
use sha2::{Digest, Sha256};

use crate::simulation::Object;
use crate::simulation::random::Random;

/// Number of ETags that each version of an object can have.
const STAMPS: u64 = 3;

/// The panic payload of a simulated crash.
pub(super) struct Crash;

/// The stores, the runs that use them, and the faults.
pub(super) struct Scheduler {
    state: Mutex<State>,
    turn: Condvar,
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) dataset: InMemory,
    pub(super) source: InMemory,
    pub(super) rates: Rates,
    /// The actor whose turn it is. `None` before the start and at the end.
    turn: Option<usize>,
    /// Active actors, each with the step until which it sleeps.
    actors: BTreeMap<usize, u64>,
    step: u64,
    /// Delayed writes, each with the step at which it takes effect. Each was sent by a run that then received an error
    /// or crashed.
    delayed: Vec<(u64, Write)>,
    /// An older state of the dataset, which stale listings return.
    past: InMemory,
    uploads: BTreeSet<(String, String)>,
    /// Current version and stamp of each source object, by key.
    versions: BTreeMap<String, (u64, u64)>,
    /// Keys of source objects that are stored with a different extension.
    renamed: BTreeSet<String>,
    /// Keys of objects that have had more than one name. Copies are compared by size, so the dataset may contain any
    /// version of these objects.
    ambiguous: BTreeSet<String>,
    visible: BTreeMap<String, Vec<String>>,
    /// Whether rows may disappear because of a removal.
    pub(super) removing: bool,
    /// Whether claims were lost. Rows can then be duplicated or missing, but only in partitions that the last run
    /// reports.
    pub(super) damaged: bool,
    pub(super) violation: Option<String>,
    pub(super) calls: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// The number of a call, and the fault to inject into that call.
    pub(super) fail_at: Option<(u64, Fault)>,
    /// Whether to print each call, for replaying a seed.
    pub(super) trace: bool,
}

type Write = Box<dyn FnOnce(&InMemory) + Send>;

/// Fault rates per thousand calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    pub(super) crash: u64,
    pub(super) error: u64,
    pub(super) conflict: u64,
    pub(super) not_found: u64,
    pub(super) pause: u64,
    pub(super) lag: u64,
    pub(super) lifecycle: u64,
    pub(super) source: u64,
    /// Writes that report an error but take effect later.
    pub(super) in_flight: u64,
    /// Responses that contain too few bytes of an object.
    pub(super) short: u64,
    /// Events that delete claims or restore an older state.
    pub(super) loss: u64,
}

/// The fault to inject into a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    None,
    CrashBefore,
    CrashAfter,
    CrashInFlight,
    ErrorBefore,
    ErrorAfter,
    ErrorInFlight,
    /// A conditional create stores nothing and reports a conflict, although the object does not exist.
    Conflict,
    /// A request reports that an upload does not exist, although it does.
    NotFound,
}

/// A run's view of one of the stores.
#[derive(Clone)]
pub(super) struct SimStore {
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) actor: usize,
    pub(super) dead: Arc<AtomicBool>,
    pub(super) is_source: bool,
    /// Whether the store can abort uploads.
    pub(super) aborts: bool,
}

impl Scheduler {
    pub(super) fn new(random: Random, rates: Rates) -> Self {
        let state = State {
            random,
            dataset: InMemory::new(),
            source: InMemory::new(),
            rates,
            turn: None,
            actors: BTreeMap::new(),
            step: 0,
            delayed: Vec::new(),
            past: InMemory::new(),
            uploads: BTreeSet::new(),
            versions: BTreeMap::new(),
            renamed: BTreeSet::new(),
            ambiguous: BTreeSet::new(),
            visible: BTreeMap::new(),
            removing: false,
            damaged: false,
            violation: None,
            calls: 0,
            faults: BTreeMap::new(),
            fail_at: None,
            trace: false,
        };
        Self { state: Mutex::new(state), turn: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts with the given number of actors, which all wait for their first turn.
    pub(super) fn start(&self, actors: usize) {
        let mut state = self.state();
        state.actors = (0..actors).map(|actor| (actor, 0)).collect();
        state.next_turn();
    }

    /// Waits for the first turn of an actor.
    pub(super) fn enter(&self, actor: usize) {
        drop(self.wait(self.state(), actor));
    }

    /// Removes an actor from the scheduler.
    pub(super) fn leave(&self, actor: usize) {
        let mut state = self.state();
        state.actors.remove(&actor);
        state.next_turn();
        self.turn.notify_all();
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, actor: usize) -> MutexGuard<'a, State> {
        while state.turn != Some(actor) {
            state = self.turn.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }

    /// Passes the turn to an actor, possibly to this one again, and waits for this actor's next turn.
    fn pass(&self, actor: usize) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.simulate_events();
        let rate = state.rates.pause;
        if state.random.hits(rate) {
            let until = state.step + state.random.below(300);
            state.actors.insert(actor, until);
            state.count("pause");
        }
        state.next_turn();
        if state.turn != Some(actor) {
            self.turn.notify_all();
            state = self.wait(state, actor);
        }
        state
    }

    /// Applies all delayed writes.
    pub(super) fn apply_delayed(&self) {
        let mut state = self.state();
        for (_, write) in std::mem::take(&mut state.delayed) {
            write(&state.dataset);
            state.check_visible();
        }
    }
}

impl State {
    pub(super) fn count(&mut self, fault: &'static str) {
        if self.trace {
            println!("     {fault}");
        }
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Selects the actor that makes the next call. Sleeping actors are selected only if no actor is awake.
    fn next_turn(&mut self) {
        let step = self.step;
        let awake: Vec<usize> =
            self.actors.iter().filter(|(_, until)| **until <= step).map(|(a, _)| *a).collect();
        self.turn = if awake.is_empty() {
            self.actors.iter().min_by_key(|(_, until)| **until).map(|(actor, _)| *actor)
        } else {
            Some(awake[self.random.below(awake.len() as u64) as usize])
        };
    }

    /// Simulates events that occur between calls: delayed writes, lost claims, lifecycle rules, and changes to the
    /// source.
    fn simulate_events(&mut self) {
        self.step += 1;
        self.calls += 1;
        let step = self.step;
        if let Some(at) = self.delayed.iter().position(|(due, _)| *due <= step) {
            let (_, write) = self.delayed.remove(at);
            write(&self.dataset);
            self.check_visible();
        }
        if self.random.hits(50) {
            self.past = self.dataset.fork();
        }
        let Rates { lifecycle, source, loss, .. } = self.rates;
        if self.random.hits(loss) {
            self.lose_claims();
        }
        if self.random.hits(lifecycle) && !self.uploads.is_empty() {
            let index = self.random.below(self.uploads.len() as u64) as usize;
            let (path, id) = self.uploads.iter().nth(index).expect("the index is in range").clone();
            let _ = self.dataset.abort_multipart(&Path::from(path), &id).now_or_never();
            self.count("lifecycle");
        }
        if self.random.hits(source) {
            self.change_source();
        }
    }

    /// Writes a version of an object to the source.
    pub(super) fn write_source(&mut self, object: &Object, version: u64, stamp: u64) {
        let path = self.path(object);
        let bytes = object.bytes(version, stamp);
        self.source.put(&path, bytes.into()).now_or_never().unwrap().unwrap();
        self.versions.insert(object.key.clone(), (version, stamp));
    }

    /// Returns the current path of a source object.
    fn path(&self, object: &Object) -> Path {
        let ending = if self.renamed.contains(&object.key) { ".1" } else { "" };
        Path::from(format!("{}{ending}", object.key))
    }

    /// Renames a source object as a log-copying tool might.
    fn rename(&mut self, object: &Object) {
        let Some((version, stamp)) = self.versions.get(&object.key).copied() else { return };
        let path = self.path(object);
        self.source.delete(&path).now_or_never().unwrap().unwrap();
        if !self.renamed.remove(&object.key) {
            self.renamed.insert(object.key.clone());
        }
        self.ambiguous.insert(object.key.clone());
        self.write_source(object, version, stamp);
        self.count("rename");
    }

    /// Returns whether an object has had more than one name.
    pub(super) fn is_ambiguous(&self, object: &Object) -> bool {
        self.ambiguous.contains(&object.key)
    }

    /// Deletes one claim or all claims, or restores the claims from an older state.
    fn lose_claims(&mut self) {
        let keys = |store: &InMemory| {
            let listed = list_now(store, Some(&Path::from("_alb2parquet/claims")));
            listed.into_iter().map(|meta| meta.location).collect::<Vec<_>>()
        };
        let mut lost = keys(&self.dataset);
        let (kind, restored) = match self.random.below(4) {
            0 => ("all claims lost", Vec::new()),
            1 => ("claims restored", keys(&self.past)),
            _ => {
                lost.retain(|path| path.as_ref().ends_with(".claim.json"));
                if lost.is_empty() {
                    return;
                }
                lost = vec![lost[self.random.below(lost.len() as u64) as usize].clone()];
                ("claim lost", Vec::new())
            }
        };
        if lost == restored || lost.is_empty() {
            return;
        }
        for path in lost {
            self.dataset.delete(&path).now_or_never().unwrap().unwrap();
        }
        for path in restored {
            let bytes = read_now(&self.past, &path);
            self.dataset.put(&path, bytes.into()).now_or_never().unwrap().unwrap();
        }
        self.damaged = true;
        self.count(kind);
    }

    /// Returns the version of an object in the source, or `None` if the source lacks the object.
    pub(super) fn version(&self, object: &Object) -> Option<u64> {
        self.versions.get(&object.key).map(|(version, _)| *version)
    }

    /// Changes the ETag of a source object, but not its text.
    pub(super) fn touch(&mut self, object: &Object) {
        if let Some((version, stamp)) = self.versions.get(&object.key).copied() {
            self.write_source(object, version, (stamp + 1) % STAMPS);
            self.count("touch");
        }
    }

    /// Deletes, restores, rewrites, renames or touches a source object.
    fn change_source(&mut self) {
        let objects = crate::simulation::objects();
        let object = &objects[self.random.below(objects.len() as u64) as usize];
        match self.random.below(8) {
            0 => {
                let path = self.path(object);
                let _ = self.source.delete(&path).now_or_never();
                self.versions.remove(&object.key);
                self.count("vanish");
            }
            1 => {
                let (version, stamp) = (self.random.below(3), self.random.below(STAMPS));
                self.write_source(object, version, stamp);
                self.count("rewrite");
            }
            2 | 3 => self.rename(object),
            _ => self.touch(object),
        }
    }

    /// Checks the visible files: no row may exist twice, and no file may have disappeared.
    pub(super) fn check_visible(&mut self) {
        let metas: Vec<ObjectMeta> = ["alb_access_logs", "elb_rejects"]
            .into_iter()
            .flat_map(|table| list_now(&self.dataset, Some(&Path::from(table))))
            .collect();
        let mut visible = BTreeMap::new();
        for meta in metas {
            let key = meta.location.to_string();
            let rows = self.visible.remove(&key).unwrap_or_else(|| {
                let bytes = read_now(&self.dataset, &meta.location);
                // Real Parquet files are not text. `verify` checks them instead.
                let text =
                    if bytes.starts_with(b"PAR1") { "" } else { str::from_utf8(&bytes).unwrap() };
                text.lines().map(str::to_owned).collect()
            });
            visible.insert(key, rows);
        }
        let mut rows = BTreeSet::new();
        for (file, of_file) in &visible {
            for row in of_file {
                // Rows of different versions of an object differ only in the version number.
                let (row, _) = row.split_once(' ').unwrap();
                if !rows.insert(row.to_owned()) && !self.damaged {
                    self.violation.get_or_insert(format!("row {row} exists twice, also in {file}"));
                }
            }
        }
        if !self.visible.is_empty() && !self.removing {
            let gone = self.visible.keys().next().unwrap();
            self.violation.get_or_insert(format!("{gone} was visible and has disappeared"));
        }
        self.visible = visible;
    }

    /// Returns all visible rows.
    pub(super) fn rows(&self) -> Vec<String> {
        self.visible.values().flatten().cloned().collect()
    }

    fn fault(&mut self, write: bool, create: bool, complete: bool) -> Fault {
        if let Some((call, fault)) = self.fail_at
            && call == self.calls
        {
            return fault;
        }
        let in_flight = |state: &mut Self, fault| {
            let rate = state.rates.in_flight;
            if write && state.random.hits(rate) {
                state.count("late write");
                fault
            } else {
                Fault::None
            }
        };
        if self.random.hits(self.rates.crash) {
            self.count("crash");
            return match in_flight(self, Fault::CrashInFlight) {
                Fault::None if self.random.hits(500) => Fault::CrashBefore,
                Fault::None => Fault::CrashAfter,
                fault => fault,
            };
        }
        if self.random.hits(self.rates.error) {
            self.count("error");
            return match in_flight(self, Fault::ErrorInFlight) {
                Fault::None if self.random.hits(500) => Fault::ErrorBefore,
                Fault::None => Fault::ErrorAfter,
                fault => fault,
            };
        }
        if complete && self.random.hits(self.rates.not_found) {
            self.count("upload not found though there");
            return Fault::NotFound;
        }
        if create && self.random.hits(self.rates.conflict) {
            self.count("conflict without a file");
            return Fault::Conflict;
        }
        Fault::None
    }
}

fn list_now(store: &InMemory, prefix: Option<&Path>) -> Vec<ObjectMeta> {
    let listed = store.list(prefix).collect::<Vec<_>>().now_or_never().unwrap();
    listed.into_iter().map(|meta| meta.unwrap()).collect()
}

fn read_now(store: &InMemory, path: &Path) -> Bytes {
    let read = async { store.get(path).await.unwrap().bytes().await.unwrap() };
    read.now_or_never().unwrap()
}

/// Returns the ETag of the given bytes. It is a hash, so a restored version has the same ETag as before.
fn e_tag(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// Reads a source object, on condition that its ETag is the requested one.
fn get_source(store: &InMemory, path: &Path, mut options: GetOptions) -> Result<GetResult> {
    if let Some(wanted) = options.if_match.take() {
        let whole = store.get_opts(path, GetOptions::default()).now_or_never().unwrap()?;
        if e_tag(&whole.bytes().now_or_never().unwrap()?) != wanted {
            let source = "412 precondition failed".into();
            return Err(Error::Precondition { path: path.to_string(), source });
        }
    }
    store.get_opts(path, options).now_or_never().unwrap()
}

/// Truncates a response. In some cases, the response still reports the full size of the object.
fn shortened(answer: GetResult, random: &mut Random) -> GetResult {
    let (mut meta, range) = (answer.meta.clone(), answer.range.clone());
    let attributes = answer.attributes.clone();
    let bytes = answer.bytes().now_or_never().unwrap().unwrap();
    let cut = bytes.slice(..random.below(bytes.len().max(1) as u64) as usize);
    if random.hits(500) {
        meta.size = cut.len() as u64;
    }
    let payload = GetResultPayload::Stream(stream::iter([Ok(cut)]).boxed());
    GetResult { payload, meta, range, attributes, extensions: Extensions::default() }
}

fn failed(what: &'static str) -> Error {
    Error::Generic { store: "Simulation", source: what.into() }
}

impl SimStore {
    /// Waits for the run's turn and makes one call, with the fault that the scheduler selects.
    pub(super) fn call<T, F>(&self, what: &str, write: bool, create: bool, call: F) -> Result<T>
    where
        F: FnOnce(&InMemory) -> Result<T> + Send + 'static,
    {
        // After a simulated crash, destructors still run, but their calls must have no effect.
        if self.dead.load(Ordering::Relaxed) {
            return Err(failed("the run is dead"));
        }
        let mut state = self.scheduler.pass(self.actor);
        let store = if self.is_source { state.source.clone() } else { state.dataset.clone() };
        if state.trace {
            println!("{:4} run {}: {what}", state.step, self.actor);
        }
        let fault = state.fault(write, create, what.starts_with("complete"));
        if state.trace && fault != Fault::None {
            println!("     {fault:?}");
        }
        let mut made = None;
        match fault {
            Fault::CrashInFlight | Fault::ErrorInFlight => {
                let due = state.step + state.random.below(150);
                state.delayed.push((due, Box::new(move |store| drop(call(store)))));
            }
            Fault::CrashBefore | Fault::ErrorBefore | Fault::Conflict | Fault::NotFound => {}
            _ => {
                made = Some(call(&store));
                if write {
                    state.check_visible();
                }
            }
        }
        drop(state);
        match fault {
            Fault::CrashBefore | Fault::CrashAfter | Fault::CrashInFlight => {
                self.dead.store(true, Ordering::Relaxed);
                resume_unwind(Box::new(Crash));
            }
            Fault::Conflict => {
                let source = "409 conflict".into();
                Err(Error::AlreadyExists { path: String::new(), source })
            }
            Fault::NotFound => {
                let source = "404 no such upload".into();
                Err(Error::NotFound { path: String::new(), source })
            }
            Fault::ErrorBefore | Fault::ErrorAfter | Fault::ErrorInFlight => {
                Err(failed("500 internal error"))
            }
            Fault::None => made.expect("the call was made"),
        }
    }
}

/// Converts the error for a missing upload to "not found", which real stores return. Stores that cannot abort uploads,
/// such as Azure, report an invalid list of parts instead.
fn map_missing_upload<T>(result: Result<T>, path: &Path, aborts: bool) -> Result<T> {
    result.map_err(|error| match error {
        Error::Generic { source, .. } if aborts => {
            Error::NotFound { path: path.to_string(), source }
        }
        Error::Generic { .. } => failed("400 <Code>InvalidBlockList</Code>"),
        other => other,
    })
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore")
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore")
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = matches!(opts.mode, PutMode::Create);
        let path = location.clone();
        self.call(&format!("put {path}"), true, create, move |store| {
            store.put_opts(&path, payload, opts).now_or_never().unwrap()
        })
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("uploads are made part by part")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (path, is_source) = (location.clone(), self.is_source);
        let answer = self.call(&format!("get {path}"), false, false, move |store| {
            if is_source {
                return get_source(store, &path, options);
            }
            store.get_opts(&path, options).now_or_never().unwrap()
        })?;
        let mut state = self.scheduler.state();
        let rate = state.rates.short;
        if is_source && state.random.hits(rate) {
            state.count("short read");
            return Ok(shortened(answer, &mut state.random));
        }
        Ok(answer)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (path, ranges) = (location.clone(), ranges.to_vec());
        self.call(&format!("get {path}"), false, false, move |store| {
            store.get_ranges(&path, &ranges).now_or_never().unwrap()
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let path = location?;
            store.call(&format!("delete {path}"), true, false, move |store| {
                store.delete(&path).now_or_never().unwrap().map(|()| path)
            })
        };
        locations.map(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let lag = !self.is_source && !self.dead.load(Ordering::Relaxed) && {
            let mut state = self.scheduler.state();
            let rate = state.rates.lag;
            let lags = state.random.hits(rate);
            if lags {
                state.count("lagging list");
            }
            lags
        };
        let past = self.scheduler.state().past.clone();
        let (prefix, is_source) = (prefix.cloned(), self.is_source);
        let listed = self.call("list", false, false, move |store| {
            let mut listed = list_now(if lag { &past } else { store }, prefix.as_ref());
            if is_source {
                for meta in &mut listed {
                    meta.e_tag = Some(e_tag(&read_now(store, &meta.location)));
                }
            }
            Ok(listed)
        });
        match listed {
            // A stale listing would lack only new files. Omitting random files is more general.
            Ok(mut listed) if lag => {
                let mut state = self.scheduler.state();
                let missing = state.random.below(500);
                listed.retain(|_| !state.random.hits(missing));
                stream::iter(listed.into_iter().map(Ok)).boxed()
            }
            Ok(listed) => stream::iter(listed.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unreachable!("no listing uses a delimiter")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is copied")
    }
}

#[async_trait]
impl MultipartStore for SimStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let at = path.clone();
        let id = self.call(&format!("upload {at}"), true, false, move |store| {
            store.create_multipart(&at).now_or_never().unwrap()
        })?;
        self.scheduler.state().uploads.insert((path.to_string(), id.clone()));
        Ok(id)
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        number: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let (path, id, aborts) = (path.clone(), id.clone(), self.aborts);
        self.call(&format!("put_part {path} {id}"), true, false, move |store| {
            map_missing_upload(
                store.put_part(&path, &id, number, data).now_or_never().unwrap(),
                &path,
                aborts,
            )
        })
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let (path, id, aborts) = (path.clone(), id.clone(), self.aborts);
        self.call(&format!("complete_multipart {path} {id}"), true, false, move |store| {
            map_missing_upload(
                store.complete_multipart(&path, &id, parts).now_or_never().unwrap(),
                &path,
                aborts,
            )
        })
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let (path, id, aborts) = (path.clone(), id.clone(), self.aborts);
        assert!(aborts, "the store cannot abort uploads");
        self.call(&format!("abort_multipart {path} {id}"), true, false, move |store| {
            map_missing_upload(
                store.abort_multipart(&path, &id).now_or_never().unwrap(),
                &path,
                aborts,
            )
        })
    }
}
