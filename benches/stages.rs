//! Measures each stage of a conversion separately, on one thread, in decompressed bytes per second.
//! `cargo bench` runs the stages on text generated from the repository's sample logs. Every iteration checks its
//! result.

use std::hint::black_box;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use alb2parquet::internals::decode::columns::{self, Found};
use alb2parquet::internals::decode::decoder::{Decoded, Decoder};
use alb2parquet::internals::decode::gzip::{Decompressed, Segment, Stream, Whole};
use alb2parquet::internals::decode::text_buffer::Text;
use alb2parquet::internals::decode::tokenizer::{Grammar, Tile};
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::encode::{Compression, Format, TableEncoder};
use alb2parquet::internals::logs::key::Key;
use alb2parquet::internals::logs::schema::{Kind, LogType};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression as Level;
use flate2::write::GzEncoder;

/// Decompressed size in bytes of a typical object from a busy load balancer.
const TEXT: usize = 4 << 20;
const KEY: &str = "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2025/07/19/object.log.gz";

/// Returns a log type's valid sample lines in the current format, repeated until they fill an object. IDs or durations
/// differ in each repetition, so that the text is as hard to compress as real logs.
fn sample_text(log_type: LogType) -> Vec<u8> {
    let (mark, also) = match log_type {
        LogType::Access => ("\"Root=1-", " TID_"),
        LogType::Connection => (" TID_", " TLSv1"),
        LogType::HealthCheck => (" 0.00", " PASS "),
        LogType::NlbTls => (":8443 ", "tls 2.0 "),
        LogType::Classic => (":80 0.000052 0.", " HTTP/1.1\" \""),
        other => unimplemented!("lines of {other}"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/AWSLogs");
    let mut lines = Vec::new();
    let mut directories = vec![root];
    while let Some(directory) = directories.pop() {
        let mut entries: Vec<_> =
            directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                directories.push(path);
            } else if Key::parse(path.to_str().unwrap())
                .is_ok_and(|key| key.partition.log_type == log_type)
            {
                let mut text = std::fs::read(&path).unwrap();
                if path.extension().is_some_and(|ending| ending == "gz") {
                    let gzip = std::mem::take(&mut text);
                    let mut decoder = flate2::read::MultiGzDecoder::new(gzip.as_slice());
                    if decoder.read_to_end(&mut text).is_err() {
                        continue;
                    }
                }
                if text.is_ascii() {
                    lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
                }
            }
        }
    }
    let mut decoder = Decoder::new(log_type.table());
    let mut is_row = |line: &str| {
        let decoded = decoder.decode(&mut decompressed(format!("{line}\n").as_bytes()), |_| KEY);
        decoded.batch.num_rows() == 1
    };
    lines.retain(|line| line.contains(mark) && line.contains(also) && is_row(line));
    assert!(lines.len() > 30, "the sample has modern lines");
    let mut text = Vec::with_capacity(TEXT + 4096);
    let mut state = 1_u64;
    while text.len() < TEXT {
        for line in &lines {
            let (before, after) = line.split_at(line.find(mark).unwrap() + mark.len());
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (own, replaced) = match log_type {
                LogType::HealthCheck => (format!("{:07}", state >> 41), 7),
                // The first digits of a duration in milliseconds, and the last digits of a duration in seconds.
                LogType::NlbTls => (format!("{}", state >> 54), 0),
                LogType::Classic => (format!("{:04}", state >> 51), 4),
                _ => (format!("{:08x}", state >> 32), 8),
            };
            let rest = after.get(replaced..);
            writeln!(text, "{before}{own}{}", rest.unwrap_or_default()).unwrap();
        }
    }
    text
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn decompressed(text: &[u8]) -> Decompressed {
    let mut decompressed = Decompressed { text: Text::default(), segments: Vec::new() };
    decompressed.text.extend(text);
    decompressed.segments.push(whole_segment(text.len()));
    decompressed
}

fn whole_segment(length: usize) -> Segment {
    Segment { range: 0..length, bytes: length as u64, ..Segment::default() }
}

fn inflate(criterion: &mut Criterion) {
    let text = sample_text(LogType::Access);
    let gzip = gzip(&text);
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Bytes(text.len() as u64));

    let mut whole = Whole::default();
    let mut inflated = Decompressed::default();
    group.bench_function("inflate whole", |bencher| {
        bencher.iter(|| {
            inflated.text.truncate(0);
            inflated.segments.clear();
            assert!(whole.inflate(0, &gzip, &mut inflated));
            assert_eq!(inflated.text.len(), text.len());
        });
    });

    group.bench_function("inflate stream", |bencher| {
        bencher.iter(|| {
            let reader = Box::new(Cursor::new(gzip.clone()));
            let mut stream = Stream::new(0, gzip.len() as u64, reader).unwrap();
            let mut length = 0;
            while let Some(decompressed) = stream.next(Text::default()).unwrap() {
                length += decompressed.text.len();
            }
            assert_eq!(length, text.len());
        });
    });

    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let text = sample_text(LogType::Access);
    let lines = memchr::memchr_iter(b'\n', &text).count();
    let table = LogType::Access.table();
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Bytes(text.len() as u64));

    let mut input = decompressed(&text);
    let mut tile = Tile::default();
    let grammar = Grammar::of(table);
    group.bench_function("fields", |bencher| {
        bencher.iter(|| {
            let (mut at, mut read) = (0, 0);
            while at < text.len() {
                at = tile.read(&mut input.text, at, text.len(), grammar, |_| false);
                input.text.truncate(text.len());
                read += tile.line_count();
            }
            assert_eq!(read, lines);
        });
    });

    let is_text = |kind: Kind| kind == Kind::String;
    for (name, wanted) in [("fields and values", false), ("fields and text", true)] {
        let columns = table.columns().filter(|(_, column)| is_text(column.kind) == wanted);
        let mut builders: Vec<_> = columns
            .map(|(field, column)| (field, columns::builder(&table.fields[field], column)))
            .collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut at = 0;
                let mut found = Found::default();
                while at < text.len() {
                    at = tile.read(&mut input.text, at, text.len(), grammar, |_| false);
                    for (field, builder) in &mut builders {
                        builder.append(&input.text, tile.spans(*field), &mut found);
                    }
                    input.text.truncate(text.len());
                }
                assert!(found.rejected.is_empty() && found.unusual.is_empty());
                for (_, builder) in &mut builders {
                    assert_eq!(builder.finish().len(), lines);
                }
            });
        });
    }

    let mut decoder = Decoder::new(table);
    group.bench_function("fields and columns", |bencher| {
        bencher.iter(|| {
            let Decoded { batch, .. } = decoder.decode(&mut input, |_| KEY);
            assert_eq!(batch.num_rows(), lines);
            black_box(batch);
        });
    });

    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let text = sample_text(LogType::Access);
    let table = LogType::Access.table();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Bytes(text.len() as u64));

    let mut decoder = Decoder::new(table);
    let batch = decoder.decode(&mut decompressed(&text), |_| KEY).batch;
    for (name, profile, compression) in [
        ("encode, zstd", Profile::Portable, Compression::Zstd),
        ("encode", Profile::Portable, Compression::None),
        ("encode compact, zstd", Profile::Compact, Compression::Zstd),
        ("encode compact", Profile::Compact, Compression::None),
    ] {
        let format = Format { profile, compression };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                pool.install(|| {
                    let mut encoder = TableEncoder::new(table, format, Vec::new()).unwrap();
                    encoder.write(&batch).unwrap();
                    let file = encoder.finish(&[]).unwrap();
                    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
                });
            });
        });
    }

    group.finish();
}

/// Measures all stages together for each log type.
fn all(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut group = criterion.benchmark_group("all");
    for log_type in LogType::ALL {
        let text = sample_text(log_type);
        let lines = memchr::memchr_iter(b'\n', &text).count();
        let (gzip, table) = (gzip(&text), log_type.table());
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut decoder = Decoder::new(table);
        let mut whole = Whole::default();
        let mut inflated = Decompressed::default();
        group.bench_function(log_type.as_str(), |bencher| {
            bencher.iter(|| {
                pool.install(|| {
                    inflated.text.truncate(0);
                    inflated.segments.clear();
                    assert!(whole.inflate(0, &gzip, &mut inflated));
                    let batch = decoder.decode(&mut inflated, |_| KEY).batch;
                    let format =
                        Format { profile: Profile::Portable, compression: Compression::Zstd };
                    let mut encoder = TableEncoder::new(table, format, Vec::new()).unwrap();
                    encoder.write(&batch).unwrap();
                    assert_eq!(batch.num_rows(), lines);
                    encoder.finish(&[]).unwrap()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, inflate, decode, encode, all);
criterion_main!(benches);
