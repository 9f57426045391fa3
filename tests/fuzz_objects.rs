//! The fuzz target `objects`: decompresses an object with both inflaters.

use std::path::Path;

use crate::fuzz_lines::expanded;
use crate::fuzz_targets::{Input, sample_objects};
use crate::reference_objects::{Header, content, packed, streamed, whole};

/// Builds an object from gzip members, padding, garbage and nested gzip. Compares the results of the whole-buffer path,
/// the streaming path and the reference reader.
pub(crate) fn objects(input: &[u8]) {
    let mut input = Input(input);
    let mode = input.byte();
    let lengths = [usize::from(mode & 0x3f) + 1, 7, 4096];
    let object = if mode & 0x40 == 0 { built(&mut input) } else { input.0.to_vec() };
    let expected = content(&object);
    assert_eq!(streamed(&object, lengths.to_vec()), expected);
    if let Some(whole) = whole(&object) {
        assert_eq!(whole, expected);
    }
    let lines = expected.outcome.rows.len() + expected.outcome.rejects.len();
    assert_eq!(expected.outcome.lines, lines as u64);
}

/// Maximum size of a built object in bytes. The reference reader determines an object's kind from its first 64 KiB.
const MAX_OBJECT: usize = 60_000;

fn built(input: &mut Input) -> Vec<u8> {
    let mut object = Vec::new();
    while !input.0.is_empty() && object.len() < MAX_OBJECT {
        let action = input.byte();
        match action & 7 {
            0 | 1 => object.extend(stored(&text(input))),
            2 => {
                let flags = input.byte();
                let header = Header {
                    extra: (flags & 1 != 0).then(|| input.counted().to_vec()),
                    name: flags & 2 != 0,
                    checksum: (flags & 4 != 0).then_some(flags & 8 == 0),
                };
                object.extend(packed(&text(input), u32::from(flags >> 4) % 10, &header));
            }
            3 => {
                let padding = [0, 0, b'\n', b'\r'][usize::from(action >> 3 & 3)];
                object.extend(vec![padding; usize::from(input.byte()) + 1]);
            }
            4 => object.extend_from_slice(input.counted()),
            5 => {
                let count = [4, 8, 12, 18][usize::from(action >> 3 & 3)];
                object.extend_from_within(object.len().saturating_sub(count)..);
            }
            6 => {
                let member = stored(&text(input));
                let end = usize::from(input.byte()) * member.len() / 256;
                object.extend_from_slice(&member[..end]);
            }
            _ if action & 8 == 0 => object = stored(&object),
            _ if !object.is_empty() => {
                let at = usize::from(input.byte()) * object.len() / 256;
                object[at] ^= 1 << (action >> 4 & 7);
            }
            _ => {}
        }
    }
    object.truncate(MAX_OBJECT);
    object
}

/// Returns text that is partly repetitive.
fn text(input: &mut Input) -> Vec<u8> {
    let times = input.byte();
    expanded(input.counted()).repeat(1 << (times & 7))
}

/// Returns a gzip member of stored blocks, which is much faster to build than a compressed one.
fn stored(text: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = text.chunks(0xffff).peekable();
    if text.is_empty() {
        member.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        member.push(u8::from(blocks.peek().is_none()));
        member.extend(length.to_le_bytes());
        member.extend((!length).to_le_bytes());
        member.extend(block);
    }
    let mut crc = flate2::Crc::new();
    crc.update(text);
    member.extend(crc.sum().to_le_bytes());
    member.extend((text.len() as u32).to_le_bytes());
    member
}

pub(crate) fn object_seeds(root: &Path) -> Vec<Vec<u8>> {
    let mut seeds = vec![
        // Members, padding, a copy of the trailer, nested gzip.
        [&[0, 0, 0, 5][..], b"bad\n\xa1", &[1, 0, 3], b"x\n-"].concat(),
        [&[0, 0, 0, 3][..], b"a\nb", &[3, 9, 0, 0, 2], b"c\n", &[13]].concat(),
        [&[0, 2, 0x67, 2, 1, 2, 7, 4][..], b"ab\n\xbb", &[7, 7, 7, 7, 7]].concat(),
        [&[0, 0, 0, 6][..], b"\xef\xbb\xbfab\n", &[15, 200, 6, 0, 2], b"a\n", &[128]].concat(),
        [&[0, 4, 30][..], b"plain text\nwithout compression"].concat(),
    ];
    seeds.extend(
        sample_objects(root)
            .iter()
            .map(|object| [&[0x7f][..], &object[..object.len().min(3000)]].concat()),
    );
    seeds
}
