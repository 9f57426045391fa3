//! Tests streams with segments of only a few bytes, so that cuts occur at every position.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::decode::gzip::{Decompressed, Stream, Whole};
use crate::decode::text_buffer::Text;
use crate::logs::reject::Reason;

/// Lines of text with their offsets; `None` for a line that is longer than a segment.
type Lines = Vec<(u64, Option<Vec<u8>>)>;

/// Returns the lines that a stream should return: all lines of `text` except the blank lines at the end.
fn expected(text: &[u8], segment: usize) -> Lines {
    let mut lines: Lines = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let held = line.len() <= segment;
        lines.push((offset, held.then(|| [line.trim_ascii_end(), b"\n"].concat())));
        offset += line.len() as u64;
    }
    while lines.last().is_some_and(|(_, line)| line.as_deref() == Some(b"\n")) {
        lines.pop();
    }
    lines
}

/// Appends decompressed lines to `lines`. `offset` is the position of the text in the object.
fn add(decompressed: &Decompressed, lines: &mut Lines, offset: &mut u64) {
    for segment in &decompressed.segments {
        let mut at = *offset;
        for line in decompressed.text[segment.range.clone()].split_inclusive(|&byte| byte == b'\n')
        {
            lines.push((at, Some([line.trim_ascii_end(), b"\n"].concat())));
            at += line.len() as u64;
        }
        if let Some(reject) = &segment.reject {
            assert_eq!(reject.reason, Reason::LineTooLong);
            lines.push((at, None));
        }
        *offset += segment.bytes;
    }
}

fn streamed(mut stream: Stream, segment: usize) -> (Lines, u64, Option<u32>) {
    stream.segment_size = segment;
    let (mut lines, mut offset, mut crc32) = (Vec::new(), 0, None);
    while let Some(decompressed) = stream.next(Text::default()).unwrap() {
        assert!(decompressed.text.len() <= segment + 1, "memory is bounded");
        assert_eq!(crc32, None, "only the last segment has a checksum");
        crc32 = decompressed.segments.last().unwrap().crc32;
        add(&decompressed, &mut lines, &mut offset);
    }
    (lines, offset, crc32)
}

fn check(text: &[u8], segment: usize) {
    let all = expected(text, segment);
    let crc32 = Some(libdeflater::crc32(text));
    let whole = (all, text.len() as u64, crc32);
    let of_text = Stream::of_text(0, Box::new(Cursor::new(text.to_vec())));
    assert_eq!(streamed(of_text, segment), whole, "as text");
    let mut packed = vec![0; text.len() * 2 + 100];
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let length = compressor.gzip_compress(text, &mut packed).unwrap();
    packed.truncate(length);
    let stream = Stream::new(0, length as u64, Box::new(Cursor::new(packed.clone()))).unwrap();
    assert_eq!(streamed(stream, segment), whole, "as gzip");
    let mut decompressed = Decompressed::default();
    if Whole::default().inflate(0, &packed, &mut decompressed) {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        add(&decompressed, &mut lines, &mut bytes);
        let crc32 = decompressed.segments.last().unwrap().crc32;
        assert_eq!((lines, bytes, crc32), (expected(text, text.len()), whole.1, whole.2), "whole");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segment_cuts_do_not_change_the_lines(
        lines in vec(select(&["\n", "\n", "\n\n\n\n\n\n\n\n", "\r\n", "a\n", "bcd\r\n", "efghijklmnopqrs\n"]), 0..60),
        end in select(&["", "\r", "x", "xyz\r", "\n\n\n"]),
        segment in 8_usize..40,
    ) {
        check(format!("{}{end}", lines.concat()).as_bytes(), segment);
    }
}

/// The number of blank lines held back depends only on the text, not on where it is cut.
#[test]
fn only_the_last_1024_runs_of_blank_lines_are_ignored() {
    let text = ["a\n", &"\n\r\n".repeat(700)].concat();
    for segment in [10, 100, 4000] {
        let stream = Stream::of_text(0, Box::new(Cursor::new(text.clone().into_bytes())));
        let (lines, bytes, _) = streamed(stream, segment);
        assert_eq!((lines.len(), bytes), (1 + 1400 - 1024, text.len() as u64), "{segment}");
    }
}

/// Line feeds at the end take no memory, however many there are. They count as lines only if another line follows.
#[test]
fn trailing_line_feeds_take_no_memory() {
    const COUNT: usize = 9_000_000;
    for (end, expected) in [(&b""[..], 1), (b"b\n", COUNT + 2)] {
        let feeds = std::io::Read::take(std::io::repeat(b'\n'), COUNT as u64);
        let text = std::io::Read::chain(Cursor::new(b"a\n"), feeds);
        let mut stream = Stream::of_text(0, Box::new(std::io::Read::chain(text, end)));
        let (mut lines, mut bytes) = (0, 0);
        let mut text = Text::default();
        while let Some(decompressed) = stream.next(text).unwrap() {
            lines += memchr::memchr_iter(b'\n', &decompressed.text).count();
            bytes += decompressed.segments.iter().map(|segment| segment.bytes).sum::<u64>();
            text = decompressed.text;
            assert!(text.capacity() <= 8 << 20, "{}", text.capacity());
        }
        assert_eq!((lines, bytes), (expected, (2 + COUNT + end.len()) as u64));
    }
}
