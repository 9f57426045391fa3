//! Memory use is bounded, regardless of how many rejects an object has and how large its text is when decompressed.

use alb2parquet::internals::decode::decoder::{Decoder, MAX_REJECTS};
use alb2parquet::internals::decode::tokenizer::MAX_LINE;
use alb2parquet::internals::logs::reject::MAX_RAW;
use alb2parquet::internals::logs::schema::LogType;
use flate2::Compression;

use crate::support::{
    Line, OBJECT, Outcome, World, convert_measured, gzip, gzip_at, key, key_on, segments_of,
    text_of,
};

/// Number of lines in a tile. The decoder never stops in the middle of a tile, so it can exceed its limits by one tile.
const TILE: usize = 64;

/// Decodes an object's segments, and checks the number of rejects after each call. Returns the outcome and the number
/// of calls.
fn decode_bounded(segments: &[&[u8]]) -> (Outcome, usize) {
    let mut decoder = Decoder::new(LogType::Access.table());
    let mut decompressed = segments_of(segments);
    let (mut outcome, mut bytes, mut calls) = (Outcome::default(), 0, 0);
    while !decompressed.segments.is_empty() {
        let decoded = decoder.decode(&mut decompressed, |_| OBJECT);
        let rejects = || decoded.segments.iter().flat_map(|segment| &segment.rejects);
        assert!(rejects().count() <= MAX_REJECTS + TILE);
        let raw: usize = rejects().map(|reject| reject.raw.len()).sum();
        assert!(raw <= (4 << 20) + TILE * MAX_RAW, "{raw} bytes");
        let rows: u64 = decoded.segments.iter().map(|segment| segment.rows).sum();
        assert_eq!(decoded.batch.num_rows() as u64, rows);
        outcome.add(decoded, &mut bytes);
        calls += 1;
    }
    assert_eq!(bytes, segments.iter().map(|segment| segment.len() as u64).sum::<u64>());
    (outcome, calls)
}

#[test]
fn many_rejects_are_decoded_in_several_calls() {
    let good = Line::of(33).text();
    let lines: Vec<String> = (0..3 * MAX_REJECTS)
        .map(|number| if number % 1000 == 7 { good.clone() } else { number.to_string() })
        .collect();
    let text = text_of(&lines);
    let half = text_of(&lines[..lines.len() / 2]).len();
    for segments in [vec![&text[..]], vec![&text[..half], &text[half..]]] {
        let (outcome, calls) = decode_bounded(&segments);
        assert_eq!(calls, 3);
        assert_eq!(outcome.lines, lines.len() as u64);
        let rows = lines.iter().filter(|line| **line == good).count();
        assert_eq!((outcome.rows.len(), outcome.rejects.len()), (rows, lines.len() - rows));
        let mut rejects = outcome.rejects.iter();
        let mut offset = 0;
        for (number, line) in (1..).zip(&lines) {
            if *line != good {
                let reject = rejects.next().unwrap();
                assert_eq!((reject.line_number, reject.byte_offset), (number, offset));
                assert_eq!(reject.raw, line.as_bytes());
            }
            offset += line.len() as u64 + 1;
        }
    }
}

#[test]
fn long_rejects_are_decoded_in_several_calls() {
    let lines = vec!["x".repeat(MAX_RAW + 1); 300];
    let text = text_of(&lines);
    let (outcome, calls) = decode_bounded(&[&text]);
    assert!(calls > 1);
    assert_eq!((outcome.lines, outcome.rejects.len()), (300, 300));
    assert!(outcome.rejects.iter().all(|r| (r.raw_length, r.raw.len()) == (65_537, MAX_RAW)));
}

/// File contents depend on where record batches end, so a typical number of rejects must not end a batch early.
#[test]
fn few_rejects_are_decoded_in_one_call() {
    let lines: Vec<String> = (0..MAX_REJECTS - 1).map(|number| number.to_string()).collect();
    let text = text_of(&lines);
    let (outcome, calls) = decode_bounded(&[&text, &text_of([Line::of(33).text()])]);
    assert_eq!((outcome.rejects.len(), outcome.rows.len(), calls), (lines.len(), 1, 1));
}

/// Converts objects with two threads. Returns the line and reject counts, and the peak memory use in MiB, without that of
/// a small conversion.
fn converted(world: &World) -> (u64, u64, u64) {
    let (run, peak) = convert_measured(world, &["--max-rejects", "1"]);
    let run = run.expect(0);
    let rejects = run.json()["rejects"].as_object().unwrap().clone();
    let rejects = rejects.values().map(|count| count.as_u64().unwrap()).sum();
    (run.count("/lines"), rejects, peak >> 20)
}

#[test]
#[cfg(target_os = "linux")]
fn a_million_short_invalid_lines_take_little_memory() {
    let count = 1_000_000;
    let object = gzip_at("x\n".repeat(count), Compression::best());
    assert!(object.len() < 16 << 10);
    let world = World::with(object);
    let (lines, rejects, peak) = converted(&world);
    assert_eq!((lines, rejects), (count as u64, count as u64));
    assert!(peak < 160, "{peak} MiB");
}

#[test]
#[cfg(target_os = "linux")]
fn highly_compressed_objects_are_not_decompressed_at_once() {
    let world = World::new();
    let object = gzip("0".repeat(16 << 20 >> 1) + "\n" + &"1".repeat(MAX_LINE * 7) + "\n");
    for number in 0..16 {
        world.put(&key(number), &object);
    }
    let (lines, rejects, peak) = converted(&world);
    assert_eq!((lines, rejects), (32, 32));
    assert!(peak < 160, "{peak} MiB");
}

/// Each partition is a separate batch, so many batches are converted concurrently.
#[test]
#[cfg(target_os = "linux")]
fn batches_of_many_partitions_share_a_memory_limit() {
    let mut state = 1_u32;
    let noise: String = (0..30_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        })
        .collect();
    // gzip compresses the repeated noise well, but no two values on the same column page share a prefix.
    let line = |number| {
        Line::of(30).with(13, &format!("\"GET https://h:443/{number}{noise} HTTP/1.1\"")).text()
    };
    let object = gzip_at(text_of((0..500).map(line)), Compression::best());
    let world = World::new();
    for day in 1..=16 {
        for number in 0..2 {
            world.put(&key_on(&format!("2025/07/{day:02}"), number), &object);
        }
    }
    let (lines, rejects, peak) = converted(&world);
    assert_eq!((lines, rejects), (16 * 2 * 500, 0));
    assert!(peak < 360, "{peak} MiB");
}
