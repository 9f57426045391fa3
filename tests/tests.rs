//! The integration tests, compiled into one binary.
//!
//! Each module is named after the subject that it tests. Unit tests of single functions are at the end of the file that
//! contains the functions. The tests here use the public API or run the program.

// Athena statements follow the grammar in the AWS documentation.
mod athena;
// Structure of `src`: imports go in one direction, every file has a doc comment, and only one module prints.
mod architecture;
// Batches as data: any machine can convert a plan's JSON lines, and converting them is idempotent.
mod batches;
// Only the requested columns have Bloom filters.
mod bloom;
// The memory used for an object is bounded by its decompressed text and rejects.
mod bounds;
// The command line: exit codes, messages, filters, `--json`.
mod cli;
// Lines with omitted or reordered fields are rejects, unless they are indistinguishable from valid lines.
mod chosen;
// docs/columns.md matches the schema files.
mod columns;
// Request endpoints: environment, profiles and options.
mod endpoints;
// The line count equals the row count plus the reject count in the summary, in the files, and in the file footers.
mod conservation;
// DDL for query engines. `scripts/engines-test` runs it in the engines.
mod ddl;
// The bytes in an object: gzip members, padding, garbage, nested gzip, plain text, byte order marks.
mod content;
// If the dataset is deleted during a run, the run fails, and later runs neither lose nor duplicate rows.
#[cfg(unix)]
mod deleted;
// The same input produces the same bytes, regardless of the thread count, the order of objects, and the number of runs.
mod determinism;
// The fuzz targets on random inputs from a fixed seed. `scripts/fuzz` runs the targets under libFuzzer.
mod fuzz;
// Not a test: the fuzz targets, which the crate in `fuzz/` also uses.
mod fuzz_lines;
mod fuzz_objects;
mod fuzz_state;
mod fuzz_targets;
// Reruns, `verify` and `remove`, on disk, and in buckets if a server is available.
mod exactly_once;
// Names, values and messages from outside the program are escaped wherever the program prints them.
mod escapes;
// `iceberg publish` and `convert --iceberg`.
mod iceberg;
// Not a test: an in-memory Iceberg REST catalog.
#[cfg(feature = "iceberg")]
mod iceberg_catalog;
// Access to Iceberg REST catalogs: tokens, credentials and signatures, which reach no other host and no message.
#[cfg(feature = "iceberg")]
mod iceberg_rest;
// Invalid input: damaged gzip, malicious lines, misleading keys.
mod input;
// Source layouts: an object is converted once even if there are copies, and skipped logs are reported.
mod layouts;
// Contents of the Parquet files: pages, encodings, statistics, indexes, paths.
mod layout;
// Listings from an in-memory server: unusual keys, large buckets, invalid responses, no response.
mod listing;
// Listings in the order of partitions, on random trees.
mod gathering;
// Help, version, completions, manual pages.
mod help;
// A panic fails only the batch in which it occurs; limits on threads and memory cause errors.
mod isolation;
// `inspect`: its text and JSON output.
mod inspect;
// The library: features, public API, and the examples that users copy.
mod library;
// Golden lines: every era, every unusual form, every reject reason.
mod lines;
// All logs except Application Load Balancer access logs, and trees with all log types.
mod logs;
// Overlapping runs: a batch is compared with all claims that were added since it was planned.
mod ledger;
// Objects that do not contain the log type that their name indicates.
mod other_content;
// `plan` and `--dry-run` show what `convert` would do, and write nothing. Also tests the messages for sources without
// logs.
mod plan;
// Not a test: an in-memory server with one bucket.
mod memory;
// Skipped bucket directories: together, the runs for all shards, or for all days, find every log.
mod pruning;
// Profiles: the default, datasets that mix both profiles, and the DDL for such datasets.
mod profiles;
// Not a test: a proxy that injects faults into requests.
mod proxy;
// The library's reader of single objects and streams.
mod read;
// Not a test: restores the text of decoded lines.
mod restored;
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
// Redaction: each rule keeps only the intended part of a value, and no other personal data remains.
mod redact;
// Tests that require a disk: staged files, signals, and mounts that change inode numbers.
mod on_disk;
// If stdout or a file cannot be written, the error names the stream or file, the reason and a remedy.
#[cfg(unix)]
mod refusals;
// The report: its numbers and its page. `scripts/report-test` opens the page in a browser.
mod report;
// Buckets and faults, on a server that `scripts/s3-test` or `scripts/emulators-test` starts; ignored without a server.
mod buckets;
// S3 features, on a server that `scripts/s3-test` starts; ignored without a server.
mod s3;
// The number of concurrent reads: latency, `--max-requests`, and stores that throttle requests.
mod requests;
// Adding a field requires only a stanza in a schema file.
mod schema;
// Every row ends up in the dataset exactly once, even if runs crash, fail, race or pause at any call to their store.
#[allow(clippy::print_stdout)] // statistics of long runs, and the calls of a replayed seed
mod simulation;
// `retire` deletes only source objects that can be restored, and records them first.
mod retire;
// Lost, restored or damaged state: nothing is converted twice, and `repair` rebuilds claims.
mod repair;
// `restore` restores the text of every object, and `verify --restore` reports the objects that differ.
mod restore;
// Job arrays: together, the tasks for all shards convert everything, even if some tasks are killed.
mod shards;
// Not a test: the object store server that the bucket tests use.
mod server;
// Objects that are shorter or longer than the listing states are read again, then skipped and reported.
mod sizes;
// A test suite that runs on every kind of target.
mod stores;
// Not a test: a store with a large number of objects that it generates.
mod synthetic;
// Not a test: helpers for log lines, gzip, source trees, running the program, and reading datasets.
mod support;
// The decoder agrees with the reference decoder on random text.
mod random_text;
// Requests over TLS, to a server with a self-signed certificate.
mod tls;
// `verify` compares days while later days are listed.
mod verification;
