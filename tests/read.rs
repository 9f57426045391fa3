//! The library's reader returns the same rows and rejects no matter how a stream delivers its bytes, and its counts are
//! consistent.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use alb2parquet::internals::decode::reader::{Counts, Reader};
use alb2parquet::internals::logs::reject::MAX_RAW;
use alb2parquet::internals::logs::schema::LogType;

use crate::support::{
    Line, OBJECT, Outcome, decode, decode_streamed, good_lines, gzip, rows_of, text_of, tree,
};

/// Reads all batches of a reader.
fn read(mut reader: Reader) -> (Outcome, Counts) {
    let mut outcome = Outcome::default();
    for batch in &mut reader {
        outcome.rows.extend(rows_of(&batch.unwrap()));
    }
    assert!(reader.next().is_none(), "the iterator is fused");
    outcome.rejects.extend(reader.take_rejects().into_iter().map(Into::into));
    assert_eq!(reader.take_rejects(), [], "rejects are returned once");
    let counts = reader.counts();
    outcome.lines = counts.lines;
    assert_eq!(counts.lines, counts.rows + counts.rejects);
    assert_eq!(counts.rows, outcome.rows.len() as u64);
    assert_eq!(counts.rejects, outcome.rejects.len() as u64);
    (outcome, counts)
}

fn access(object: impl Read + Send + 'static) -> (Outcome, Counts) {
    read(Reader::new(LogType::Access, OBJECT, object).unwrap())
}

/// A stream that returns one byte at a time, like a slow pipe.
struct ByteByByte<R>(R);

impl<R: Read> Read for ByteByByte<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// Returns inputs with different line endings and last lines. Some inputs are longer than a segment.
fn texts() -> Vec<Vec<u8>> {
    let bad = Line::of(30).with(9, "five").text();
    let good = Line::of(30).text();
    let crlf = format!("{good}\r\n{bad}\r\n{good}\r\n").into_bytes();
    let mut large = good_lines(20_000);
    large.extend(text_of([&bad, &good]));
    let mut long = good_lines(2);
    long.extend(vec![b'x'; 5 << 20]);
    long.extend(b"\n");
    long.extend(good_lines(2));
    let unended = format!("{good}\n{bad}\n{good}").into_bytes();
    vec![b"\n".to_vec(), b"x".to_vec(), crlf, unended, large, long]
}

#[test]
fn every_stream_gives_the_same_rows_and_rejects() {
    for text in texts() {
        let packed = gzip(&text);
        let expected = decode(&text);
        let (outcome, counts) = access(Cursor::new(packed.clone()));
        assert!(outcome == expected, "{} bytes of text", text.len());
        let lengths = (counts.bytes_in, counts.bytes_decompressed, counts.members);
        assert_eq!(lengths, (packed.len() as u64, text.len() as u64, 1));
        assert!(access(ByteByByte(Cursor::new(packed))) == (expected, counts));
        let plain = Reader::of_text(LogType::Access, OBJECT, Cursor::new(text.clone()));
        let (same, counts) = read(plain);
        assert!(same == outcome, "{} bytes of uncompressed text", text.len());
        let lengths = (counts.bytes_in, counts.bytes_decompressed, counts.members);
        assert_eq!(lengths, (text.len() as u64, text.len() as u64, 0));
        let slow = ByteByByte(Cursor::new(text));
        assert!(read(Reader::of_text(LogType::Access, OBJECT, slow)).0 == outcome);
    }
}

#[test]
fn the_reader_reads_the_samples_like_the_program() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut rows = 0;
    for (name, bytes) in tree(&data) {
        let object = name.rsplit('/').next().unwrap();
        if !name.ends_with(".log.gz") || object.starts_with("conn") || object.starts_with("health")
        {
            continue;
        }
        let expected = decode_streamed(bytes.len(), Cursor::new(bytes.clone()));
        let (outcome, _) = access(File::open(data.join(&name)).unwrap());
        assert!(outcome == expected, "{name}");
        rows += outcome.rows.len();
    }
    assert!(rows > 1000, "only {rows} rows: does this test still find the samples?");
}

#[test]
fn members_are_counted_and_empty_streams_have_no_lines() {
    let twice = [gzip(good_lines(2)), gzip(good_lines(3))].concat();
    let (outcome, counts) = access(Cursor::new(twice));
    assert_eq!((outcome.rows.len(), counts.members), (5, 2));
    let header_only = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for empty in [&[][..], &header_only, &gzip("")] {
        let (outcome, counts) = access(Cursor::new(empty.to_vec()));
        assert_eq!((outcome, counts.lines), (Outcome::default(), 0), "{empty:?}");
    }
}

#[test]
fn damage_is_a_reject_after_the_readable_lines() {
    let whole = gzip(good_lines(5000));
    let (outcome, _) = access(Cursor::new(whole[..whole.len() / 2].to_vec()));
    let reject = outcome.rejects.last().unwrap();
    assert_eq!(reject.reason, "truncated_gzip");
    assert_eq!(reject.line_number, outcome.rows.len() as u64 + 1);
    assert!(outcome.rows.len() > 1000, "{}", outcome.rows.len());
}

#[test]
fn content_that_is_not_gzip_is_a_reject_of_its_length() {
    for length in [2, MAX_RAW - 1, MAX_RAW, MAX_RAW + 1, 3 * MAX_RAW] {
        for first in [b'{', 0x1f] {
            let mut object = vec![0; length];
            object[0] = first;
            let (outcome, counts) = access(ByteByByte(Cursor::new(object.clone())));
            let reject = outcome.reject();
            assert_eq!((reject.reason.as_str(), reject.raw_length), ("not_gzip", length as u64));
            assert_eq!(reject.raw, object[..length.min(MAX_RAW)]);
            assert_eq!(counts.bytes_in, length as u64);
        }
    }
}

#[test]
fn a_failing_stream_ends_with_its_error() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the connection was closed"))
        }
    }
    assert!(Reader::new(LogType::Access, OBJECT, Fails).is_err());
    let text = Cursor::new(good_lines(40_000)).chain(Fails);
    let mut reader = Reader::of_text(LogType::Access, OBJECT, text);
    let mut items: Vec<_> = (&mut reader).collect();
    let error = items.pop().unwrap().unwrap_err();
    assert!(error.to_string().contains("the connection was closed"), "{error}");
    assert!(!items.is_empty() && items.iter().all(Result::is_ok));
    assert!(reader.next().is_none(), "nothing comes after an error");
}
