//! The fuzz target `lines`: decodes text as one of the log types.

use std::cell::RefCell;
use std::path::Path;

use alb2parquet::internals::decode::decoder::Decoder;
use alb2parquet::internals::decode::gzip::{Decompressed, Segment};
use alb2parquet::internals::decode::{locate, sniff};
use alb2parquet::internals::logs::schema::LogType;
use arrow::array::Array;

use crate::fuzz_targets::{Input, sample_texts};
use crate::outcome::{OBJECT, Outcome, reference_as};
use crate::restored::restore;

/// Values that a single input byte can represent, so that a short input can encode a line with many fields.
const VALUES: [&[u8]; 70] = [
    b"https ",
    b"2025-07-19T14:03:21.123456Z ",
    b"app/my-lb/50dc6c495c0c9188 ",
    b"192.0.2.17:50718 ",
    b"198.51.100.9:8443 ",
    b"0.001 ",
    b"-1 ",
    b"200 ",
    b"10429 ",
    b"\"GET https://www.example.com:443/a?b=c HTTP/2.0\" ",
    b"\"curl/8.5.0 (x86_64)\" ",
    b"TLS_AES_128_GCM_SHA256 ",
    b"TLSv1.3 ",
    b"arn:aws:elasticloadbalancing:eu-west-1:012345678901:targetgroup/web/0123456789abcdef ",
    b"\"Root=1-687ba5a9-000000000000000000000001\" ",
    b"\"www.example.com\" ",
    b"\"arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001\" ",
    b"7 ",
    b"\"waf,forward\" ",
    b"\"https://example.com:443/new place\" ",
    b"\"LambdaUnhandled\" ",
    b"\"198.51.100.9:8443 192.0.2.1:1\" ",
    b"\"201 -\" ",
    b"\"Acceptable\" ",
    b"\"SpaceInUri\" ",
    b"TID_0123456789abcdef0123456789abcdef ",
    b"\"/new/a\" ",
    b"\"TransformSuccess\" ",
    b"203.0.113.5 ",
    b"0x7 ",
    b"- ",
    b"\"-\" ",
    b"\"\" ",
    b"- - - - - - - - ",
    b"\"",
    b" \"",
    b"\" ",
    b"\"GET ",
    b"\"- http://h:80- \" ",
    b"\"- - -\" ",
    b"[2001:db8::1]:443 ",
    b"2001:db8::1:443 ",
    b"-:80 ",
    b"192.0.2.1:- ",
    b"2024-02-29T00:00:00.000001Z ",
    b"2023-02-29T00:00:00.000001Z ",
    b"0.1234567890123456789 ",
    b"999999999999999999999 ",
    b"2147483648 ",
    b"-9223372036854775808 ",
    b"1e400 ",
    b"1e-400 ",
    b"-0.0 ",
    b"\xc3\xa9",
    b"\xf0\x9f\xa6\x80",
    b"\xff",
    b"\x80",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\n",
    b"\n\n\n\n\n\n\n\n",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"PASS ",
    b"HEALTHY ",
    b"tls ",
    b"2018-12-20T02:59:40 ",
    b"net/my-lb/50dc6c495c0c9188 ",
    b"\"h2\",\"http/1.1\" ",
    b"tlsv13 ",
    b"\"- - - \" ",
];

/// Replaces each byte from 0x80 to 0xc5 with the value that it represents.
pub(crate) fn expanded(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() * 8);
    for byte in bytes {
        match byte.checked_sub(0x80).and_then(|index| VALUES.get(usize::from(index))) {
            Some(value) => text.extend_from_slice(value),
            None => text.push(*byte),
        }
    }
    text
}

/// Decodes text as one of the log types, and compares the result with the reference decoder's.
pub(crate) fn lines(input: &[u8]) {
    thread_local! {
        static DECODERS: RefCell<Vec<(LogType, Decoder)>> = RefCell::new(
            LogType::ALL.iter().map(|log| (*log, Decoder::new(log.table()))).collect(),
        );
        static DECOMPRESSED: RefCell<Decompressed> = RefCell::new(Decompressed::default());
    }
    let mut input = Input(input);
    let mode = input.byte();
    let mut text = if mode & 0x80 == 0 { expanded(input.0) } else { input.0.to_vec() };
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    DECODERS.with_borrow_mut(|decoders| {
        DECOMPRESSED.with_borrow_mut(|decompressed| {
            let index = usize::from(mode & 0x0f).saturating_sub(0x10 - decoders.len());
            let (log_type, decoder) = &mut decoders[index];
            decompressed.text.truncate(0);
            decompressed.text.extend(&text);
            let segment =
                Segment { range: 0..text.len(), bytes: text.len() as u64, ..Segment::default() };
            decompressed.segments.push(segment);
            let outcome = decode_all(*log_type, decoder, decompressed, &text);
            assert_eq!(outcome, reference_as(log_type.table(), &text));
        });
    });
}

/// Decodes all segments, and checks invariants that hold for any text.
fn decode_all(
    log_type: LogType,
    decoder: &mut Decoder,
    decompressed: &mut Decompressed,
    text: &[u8],
) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut bytes, mut restored) = (0, Vec::new());
    while !decompressed.segments.is_empty() {
        let decoded = decoder.decode(decompressed, |_| OBJECT);
        let rows: u64 = decoded.segments.iter().map(|segment| segment.rows).sum();
        assert_eq!(decoded.batch.num_rows() as u64, rows);
        if rows > 0 {
            for column in decoded.batch.columns() {
                column.to_data().validate_full().expect("the array is valid");
            }
        }
        for segment in &decoded.segments {
            sniff::recognize(log_type, &segment.rejects);
            for reject in &segment.rejects {
                if let Some(place) = locate::fault_range(log_type.table(), reject) {
                    assert!(place.start <= place.end && place.end <= reject.raw.len());
                }
            }
        }
        restore(log_type.table(), &decoded, &mut restored);
        outcome.add(decoded, &mut bytes);
    }
    assert!(restored == text, "restored: {}", restored.escape_ascii());
    assert_eq!(bytes, text.len() as u64, "every byte is accounted for");
    assert_eq!(outcome.lines, (outcome.rows.len() + outcome.rejects.len()) as u64);
    outcome
}

pub(crate) fn line_seeds(root: &Path) -> Vec<Vec<u8>> {
    let era = |count: u8| {
        (0..count).map(|field| {
            0x80 + [
                0, 1, 2, 3, 4, 5, 5, 5, 7, 7, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 1, 18, 19,
                20, 21, 22, 23, 24, 25, 15, 26, 27, 28, 29, 29,
            ][usize::from(field)]
        })
    };
    let mut seeds: Vec<Vec<u8>> = [17, 18, 29, 33, 36]
        .iter()
        .map(|count| [0].into_iter().chain(era(*count)).collect())
        .collect();
    // Network Load Balancer lines with 21 and 22 fields, and a Classic Load Balancer line with 15 fields.
    let network = [0xc0, 0x9e, 0xc1, 0xc2, 0x9c, 0x83, 0xa9];
    let network = [&network[..], &[0x87; 4], &[0x9e, 0x90, 0x9e, 0x8b, 0xc4, 0x8b, 0x8f]].concat();
    let network = [&network[..], &[0x9e, 0x9e, 0xc3]].concat();
    seeds.push([&[0x0e][..], &network, &[0xbb], &network, &[0xc1]].concat());
    let classic = [0x81, 0x98, 0x83, 0x84, 0x85, 0x86, 0x85, 0x87, 0x9e, 0x88, 0x88, 0x89];
    seeds.push([&[0x0f][..], &classic, &[0xbb], &classic, &[0x8a, 0x8b, 0x8c]].concat());
    seeds.push([&[0x0f][..], &classic[..11], &[0xc5, 0x9f, 0x9e, 0x9e]].concat());
    seeds.push([&[0][..], &[0xa1, 0xa1, 0x9e, 0xbb, 0xa1, 0xa1, 0xa2]].concat());
    for text in sample_texts(root) {
        for line in text.split_inclusive(|byte| *byte == b'\n').take(2) {
            // The first byte selects the log type: see `lines`.
            let modes = (0x90 - LogType::ALL.len() as u8..=0x8f).rev();
            seeds.extend(modes.map(|mode| [&[mode][..], line].concat()));
        }
    }
    seeds
}
