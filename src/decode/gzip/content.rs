//! Detects whether an object is gzip, text or neither.

use memchr::{memchr, memrchr};

use crate::decode::gzip::{FHCRC, FLAGS, MEMBER};

/// Number of bytes at the start of an object that determine its content type.
pub(crate) const HEAD: usize = 64 << 10;
/// The byte order mark of UTF-8. Some Windows tools write it before text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Returns whether an object that begins with `head` is gzip. If `head` is a single byte, returns whether the object
/// could be gzip.
pub(crate) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) || head == &MAGIC[..1]
}

/// Returns whether an object is text. `head` is its first [`HEAD`] bytes, or the entire object if it is shorter.
///
/// Text contains no NUL bytes, and at least one line that ends within the head is valid UTF-8 without control
/// characters other than tabs. A blank line counts only if it is the first. One such line is enough: clients choose
/// parts of each line, so any other line may contain arbitrary bytes. The decoder checks all lines.
pub(crate) fn is_text(head: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let is_clean = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        !line.iter().any(is_control) && std::str::from_utf8(line).is_ok()
    };
    // The last line may continue after the head.
    let whole = if head.len() < HEAD { head } else { &head[..memrchr(b'\n', head).unwrap_or(0)] };
    let mut lines = whole.split(|&byte| byte == b'\n').enumerate();
    !whole.is_empty()
        && memchr(0, head).is_none()
        && lines.any(|(number, line)| (number == 0 || !line.is_empty()) && is_clean(line))
}

/// Returns whether the object consists of only a gzip header (RFC 1952, 2.3), and thus has no content.
pub(super) fn is_only_header(all: &[u8]) -> bool {
    const HEADER: usize = 10;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    if all.len() < HEADER || !all.starts_with(&MEMBER) {
        return false;
    }
    let flags = all[FLAGS];
    if flags & RESERVED != 0 {
        return false;
    }
    let mut rest = &all[HEADER..];
    if flags & FEXTRA != 0 {
        let Some((length, after)) = rest.split_first_chunk::<2>() else {
            return false;
        };
        let Some(after) = after.get(usize::from(u16::from_le_bytes(*length))..) else {
            return false;
        };
        rest = after;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let Some(end) = memchr(0, rest) else {
                return false;
            };
            rest = &rest[end + 1..];
        }
    }
    if flags & FHCRC == 0 {
        return rest.is_empty();
    }
    let (fields, checksum) = all.split_at(all.len() - rest.len());
    // The checksum is the lower half of the CRC-32 of the header (RFC 1952, 2.3.1).
    checksum == &libdeflater::crc32(fields).to_le_bytes()[..2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_distinguished_from_binary_data() {
        let long = vec![b'x'; HEAD];
        let text: [&[u8]; 10] = [
            b"h2 2025-07-19T14:03:21.123456Z\n",
            b"no line end",
            b"crlf\r\nand \xff behind it\n",
            b"\xef\xbb\xbfa byte order mark\n",
            b"\n",
            b"tab\there\n",
            b"\xe9 is Latin-1\nbut this is not\n",
            b"\x1b[2J\r\na line\r\n",
            "\u{e9}\n".as_bytes(),
            &long[1..],
        ];
        for head in text {
            assert!(is_text(head), "{}", head.escape_ascii());
        }
        let other: [&[u8]; 11] = [
            b"",
            b"PAR1\x15\x04\x15\x20\n",
            b"a line\nand a \0 behind it",
            b"\xff\xfeh\0t\0\n\0",
            b"\xe9 is Latin-1\n",
            b"\x1b[2J\n",
            b"\x7f\n",
            b"\x7f\n\n",
            b"\xe9\n\xe9",
            b"BZh91AY&SY\xd7\n",
            &long,
        ];
        for head in other {
            assert!(!is_text(head), "{}", head.escape_ascii());
        }
    }
}
