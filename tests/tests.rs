//! The integration tests, one binary.
//!
//! A module here is named after what it proves. Unit tests of single functions stand at the foot of
//! the file they test; what is here goes through the public API or through the program.

// Athena's statements are what AWS documents; a reader of its grammar reads them.
mod athena;
// Imports go one way along the data's path; files say what they are; one module prints.
mod architecture;
// Batches as data: plans as lines of JSON, converted anywhere, any number of times.
mod batches;
// Bloom filters: where they are asked for, and nowhere else.
mod bloom;
// Memory is bounded by the text and the rejects that come out of an object.
mod bounds;
// The program's face: exit codes, messages, filters, `--json`.
mod cli;
// Lines with chosen fields are rejects, unless nobody could tell them from good ones.
mod chosen;
// docs/columns.md matches the schema files.
mod columns;
// Where requests go: endpoints by environment, profile and option.
mod endpoints;
// Lines read = rows + rejects: in the summary, the files and their footers.
mod conservation;
// What engines are told of tables; the engines themselves are asked by `scripts/engines-test`.
mod ddl;
// What the bytes of an object are: members, padding, garbage, gzip inside gzip, plain text, marks.
mod content;
// If the dataset is deleted during a run, the run fails, and later runs lose and duplicate nothing.
#[cfg(unix)]
mod deleted;
// The same input gives the same bytes, whatever the threads, the order and the number of runs.
mod determinism;
// The fuzz targets on random inputs from a fixed seed; `scripts/fuzz` runs them under libFuzzer.
mod fuzz;
// Not a test: the fuzz targets, which `fuzz/` also uses.
mod fuzz_lines;
mod fuzz_objects;
mod fuzz_state;
mod fuzz_targets;
// Reruns add what is new; `verify` and `remove`. On a disk, and in buckets where there is a server.
mod exactly_once;
// Names, values and messages from outside are escaped wherever the program prints them.
mod escapes;
// Bad input, each kind a case: damaged gzip, hostile lines, keys that lie.
mod input;
// Layouts: the same object, wherever it lies, is converted once; what is not converted is named.
mod layouts;
// What stands in the Parquet files: pages, encodings, statistics, indexes, paths.
mod layout;
// Listings: odd keys, large buckets, stores that answer nonsense or nothing, over a server in memory.
mod listing;
// What the program says of itself: help, version, completions, manual pages.
mod help;
// A panic fails only its batch; limits on threads and memory cause errors.
mod isolation;
// `inspect`: the page for people, the JSON for programs.
mod inspect;
// The library: features, public API, and the examples that users copy.
mod library;
// Golden lines: every era, every odd shape, every reason to reject.
mod lines;
// Connection and health check logs; trees of all logs; objects that hold something else.
mod logs;
// `plan` and `--dry-run` say what `convert` does, and do nothing; what a source without logs is told.
mod plan;
// Not a test: a server of one bucket in memory.
mod memory;
// Directories of buckets that a run skips: shards and runs of one day each find every log together.
mod pruning;
// Profiles: the default, datasets with files of both, and the DDL for such datasets.
mod profiles;
// Not a test: a proxy that fails requests.
mod proxy;
// The library's reader of single objects and streams.
mod read;
// The reasons and notes in docs/rejects.md are those of the program.
mod rejects_page;
// Lines that other projects published, of this and of other load balancers; skipped by name where they are not at hand.
mod real_lines;
// Lists for `--objects`, URLs that are none, and credentials that nobody may see.
mod objects;
// Not a test: rows and rejects as plain text, to compare decoders.
mod outcome;
// Not a test: a slow reference implementation of the gzip reader.
mod reference_objects;
// `verify` decodes a sample of objects with the reference decoder too, and reports differences.
mod reference_sample;
// Redaction: what each rule leaves, and that nothing else is left anywhere.
mod redact;
// What only a disk shows: staged files, signals, and a mount that numbers its files anew.
mod on_disk;
// If stdout or a file cannot be written, the error has its name, the reason and a remedy.
#[cfg(unix)]
mod refusals;
// The report: its numbers, its page; a browser looks at it in `scripts/report-test`.
mod report;
// Buckets and faults, over a server that `scripts/s3-test` or `scripts/emulators-test` starts; ignored without one.
mod buckets;
// What only S3 has, over a server that `scripts/s3-test` starts; ignored without one.
mod s3;
// A new field is one stanza in the schema file and nothing else.
mod schema;
// Runs that crash, fail, race and pause at every call to their store leave every row once.
#[allow(clippy::print_stdout)] // figures of long runs, and the calls of a seed that is replayed
mod simulation;
// State that is lost, restored or damaged: nothing is converted twice, and `repair` rebuilds claims.
mod repair;
// Job arrays: shards are all of the work, whoever is killed.
mod shards;
// Not a test: the server that buckets lie on.
mod server;
// Objects that are shorter or longer than they were listed are read again, then left out by name.
mod sizes;
// One suite for every kind of place that keeps a dataset.
mod stores;
// Not a test: log lines, gzip, source trees, the program, and datasets read back.
mod support;
mod tls;
// Random text on which the decoder must agree with the reference decoder.
mod twin;
