//! The integration tests, compiled into one binary.
//!
//! Each module is named after the subject that it tests. Unit tests for single functions are at the end of the file
//! that contains the functions. The tests here use the public API or run the program.

// Statements for Athena follow the grammar in the AWS documentation.
mod athena;
// Structure of `src`: imports go in one direction, every file has a doc comment, and one module prints.
mod architecture;
// Batches as data: plans in JSON lines that any machine can convert, any number of times.
mod batches;
// Bloom filters exist only in the requested columns.
mod bloom;
// Memory is bounded by the decompressed text and the rejects of an object.
mod bounds;
// The command line: exit codes, messages, filters, `--json`.
mod cli;
// Lines with omitted or reordered fields are rejects, unless they are indistinguishable from valid lines.
mod chosen;
// docs/columns.md matches the schema files.
mod columns;
// Request endpoints: environment, profiles and options.
mod endpoints;
// Lines read = rows + rejects: in the summary, the files and their footers.
mod conservation;
// DDL for query engines. `scripts/engines-test` runs it in the engines.
mod ddl;
// The bytes of an object: gzip members, padding, garbage, nested gzip, plain text, byte order marks.
mod content;
// If the dataset is deleted during a run, the run fails, and later runs neither lose nor duplicate rows.
#[cfg(unix)]
mod deleted;
// The same input gives the same bytes, regardless of threads, order and the number of runs.
mod determinism;
// The fuzz targets on random inputs from a fixed seed. `scripts/fuzz` runs the targets under libFuzzer.
mod fuzz;
// Not a test: the fuzz targets, which `fuzz/` also uses.
mod fuzz_lines;
mod fuzz_objects;
mod fuzz_state;
mod fuzz_targets;
// Reruns, `verify` and `remove`, on disk, and in buckets if a server is available.
mod exactly_once;
// Names, values and messages from outside the program are escaped wherever the program prints them.
mod escapes;
// Invalid input: damaged gzip, malicious lines, misleading keys.
mod input;
// Source layouts: copies of an object are converted once, and skipped logs are reported.
mod layouts;
// Contents of the Parquet files: pages, encodings, statistics, indexes, paths.
mod layout;
// Listings from an in-memory server: unusual keys, large buckets, invalid responses, no response.
mod listing;
// Help, version, completions, manual pages.
mod help;
// A panic fails only its own batch; limits on threads and memory cause errors.
mod isolation;
// `inspect`: its text and JSON output.
mod inspect;
// The library: features, public API, and the examples that users copy.
mod library;
// Golden lines: every era, every unusual form, every reject reason.
mod lines;
// Connection and health check logs, trees with all log types, and objects with other content.
mod logs;
// `plan` and `--dry-run` predict what `convert` does and write nothing. Messages for sources without logs.
mod plan;
// Not a test: an in-memory server with one bucket.
mod memory;
// Skipped bucket directories: runs over all shards, or over all days, find every log.
mod pruning;
// Profiles: the default, datasets with files of both profiles, and the DDL for these datasets.
mod profiles;
// Not a test: a proxy that injects faults into requests.
mod proxy;
// The library's reader of single objects and streams.
mod read;
// The reasons and notes in docs/rejects.md match the program.
mod rejects_page;
// Log lines that other projects published. If the files are missing, the tests are reported as skipped.
mod real_lines;
// `--objects` lists, invalid URLs, and credentials in URLs.
mod objects;
// Not a test: rows and rejects as plain text, for comparing decoders.
mod outcome;
// Not a test: a slow reference implementation of the gzip reader.
mod reference_objects;
// `verify` also decodes a sample of objects with the reference decoder, and reports differences.
mod reference_sample;
// Redaction: what each rule keeps, and that no other personal data is left.
mod redact;
// Tests that require a disk: staged files, signals, and mounts that change inode numbers.
mod on_disk;
// If stdout or a file cannot be written, the error includes its name, the reason and a remedy.
#[cfg(unix)]
mod refusals;
// The report: its numbers and its page. `scripts/report-test` opens the page in a browser.
mod report;
// Buckets and faults, on a server that `scripts/s3-test` or `scripts/emulators-test` starts; ignored without one.
mod buckets;
// S3 features, on a server that `scripts/s3-test` starts; ignored without one.
mod s3;
// One stanza in a schema file adds a field.
mod schema;
// Runs that crash, fail, race and pause at any call to their store leave every row in the dataset exactly once.
#[allow(clippy::print_stdout)] // figures of long runs, and the calls of a seed that is replayed
mod simulation;
// Lost, restored or damaged state: nothing is converted twice, and `repair` rebuilds claims.
mod repair;
// Job arrays: the shards cover all the work, even if tasks are killed.
mod shards;
// Not a test: the server of the bucket tests.
mod server;
// Objects that are shorter or longer than listed are read again, then skipped and reported.
mod sizes;
// One test suite for all kinds of targets.
mod stores;
// Not a test: log lines, gzip, source trees, running the program, and reading datasets.
mod support;
// The decoder agrees with the reference decoder on random text.
mod random_text;
// Requests over TLS, to a server with a self-signed certificate.
mod tls;
