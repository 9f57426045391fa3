//! The integration tests, one binary.
//!
//! Each module is named after its subject. Unit tests of single functions are at the end of the file that they test.
//! The tests here use the public API or the program.

// Statements for Athena follow the grammar that AWS documents.
mod athena;
// Structure of `src`: imports go in one direction, every file has a doc comment, one module prints.
mod architecture;
// Batches as data: plans as lines of JSON that any machine can convert, any number of times.
mod batches;
// Bloom filters: only in the requested columns.
mod bloom;
// Memory is bounded by the decompressed text and the rejects of an object.
mod bounds;
// The command line: exit codes, messages, filters, `--json`.
mod cli;
// Lines with omitted or reordered fields are rejects, unless they are indistinguishable from valid lines.
mod chosen;
// docs/columns.md matches the schema files.
mod columns;
// Endpoints of requests: environment, profiles and options.
mod endpoints;
// Lines read = rows + rejects: in the summary, the files and their footers.
mod conservation;
// DDL for query engines. `scripts/engines-test` runs it in the engines.
mod ddl;
// The bytes of an object: gzip members, padding, garbage, nested gzip, plain text, byte order marks.
mod content;
// If the dataset is deleted during a run, the run fails, and later runs lose and duplicate nothing.
#[cfg(unix)]
mod deleted;
// The same input gives the same bytes, independent of threads, order and the number of runs.
mod determinism;
// The fuzz targets on random inputs from a fixed seed; `scripts/fuzz` runs them under libFuzzer.
mod fuzz;
// Not a test: the fuzz targets, which `fuzz/` also uses.
mod fuzz_lines;
mod fuzz_objects;
mod fuzz_state;
mod fuzz_targets;
// Reruns, `verify` and `remove`. On a disk, and in buckets if a server is available.
mod exactly_once;
// Names, values and messages from outside are escaped wherever the program prints them.
mod escapes;
// Invalid input: damaged gzip, malicious lines, misleading keys.
mod input;
// Layouts of sources: copies of an object are converted once, and skipped logs are named.
mod layouts;
// Contents of the Parquet files: pages, encodings, statistics, indexes, paths.
mod layout;
// Listings of an in-memory server: unusual keys, large buckets, invalid responses, no response.
mod listing;
// Help, version, completions, manual pages.
mod help;
// A panic fails only its batch; limits on threads and memory cause errors.
mod isolation;
// `inspect`: its text and its JSON.
mod inspect;
// The library: features, public API, and the examples that users copy.
mod library;
// Golden lines: every era, every unusual form, every reason to reject.
mod lines;
// Connection and health check logs, trees with all log types, and objects with other content.
mod logs;
// `plan` and `--dry-run` predict `convert` and write nothing. Messages for sources without logs.
mod plan;
// Not a test: an in-memory server with one bucket.
mod memory;
// Skipped directories of buckets: runs of all shards, or of all days, find every log.
mod pruning;
// Profiles: the default, datasets with files of both, and the DDL for such datasets.
mod profiles;
// Not a test: a proxy that fails requests.
mod proxy;
// The library's reader of single objects and streams.
mod read;
// The reasons and notes in docs/rejects.md match the program.
mod rejects_page;
// Log lines that other projects published. Without the files, the tests are reported as skipped.
mod real_lines;
// Lists for `--objects`, invalid URLs, and credentials in URLs.
mod objects;
// Not a test: rows and rejects as plain text, to compare decoders.
mod outcome;
// Not a test: a slow reference implementation of the gzip reader.
mod reference_objects;
// `verify` also decodes a sample of objects with the reference decoder, and reports differences.
mod reference_sample;
// Redaction: what each rule keeps, and that no other personal data is left.
mod redact;
// Only on a disk: staged files, signals, and mounts that change inode numbers.
mod on_disk;
// If stdout or a file cannot be written, the error contains its name, the reason and a remedy.
#[cfg(unix)]
mod refusals;
// The report: its numbers and its page. `scripts/report-test` opens the page in a browser.
mod report;
// Buckets and faults, over a server that `scripts/s3-test` or `scripts/emulators-test` starts; ignored without one.
mod buckets;
// Features of S3, over a server that `scripts/s3-test` starts; ignored without one.
mod s3;
// One stanza in the schema file adds a field.
mod schema;
// Runs that crash, fail, race and pause at any call to their store leave every row in the dataset once.
#[allow(clippy::print_stdout)] // figures of long runs, and the calls of a seed that is replayed
mod simulation;
// Lost, restored or damaged state: nothing is converted twice, and `repair` rebuilds claims.
mod repair;
// Job arrays: shards cover all work, even if tasks are killed.
mod shards;
// Not a test: the server of the bucket tests.
mod server;
// Objects that are shorter or longer than listed are read again, then skipped and named.
mod sizes;
// One test suite for all kinds of targets.
mod stores;
// Not a test: log lines, gzip, source trees, runs of the program, and reading datasets.
mod support;
// The decoder agrees with the reference decoder on random text.
mod random_text;
// Requests over TLS, to a server with its own certificate.
mod tls;
