//! Detects the format of a list from its first lines.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Cursor, Read};

use crate::plan::inventory::entry::{self, Odd};
use crate::plan::inventory::table::{self, Columns};
use crate::plan::inventory::{List, MAX_LINE, ObjectsError, Place};

/// Number of lines to read when detecting the format of a list.
const FIRST_LINES: usize = 3;

const ORC_FILE: &str =
    "inventories in ORC cannot be read: configure the inventory as Parquet or CSV; ";

const ONLY_COMMENTS: &str = "the first 65,536 bytes are blank lines and comments; ";

/// A list format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListFormat {
    /// Keys, URLs, ARNs or paths, separated by any of these bytes.
    Keys(&'static [u8]),
    /// The output of `aws s3 ls`.
    AwsLs,
    /// The output of `s5cmd ls`.
    S5cmdLs,
    /// The output of `aws s3api … --output text`.
    Tagged,
    /// Fields separated by tabs, one of which is the key.
    Fields,
    /// CSV with a header.
    Csv(char, Columns),
    /// CSV from an S3 Inventory.
    Inventory(Columns),
    Json,
    Parquet,
}

impl<E: From<ObjectsError>> List<'_, E> {
    /// Detects the format of a list from its first lines. Returns `None` if the list is empty.
    pub(super) fn recognize(
        &self,
        mut input: Box<dyn BufRead>,
    ) -> Result<(Option<ListFormat>, Box<dyn BufRead>), ObjectsError> {
        // A pipe may return only part of a line at a time, so this loop reads until the first non-empty lines are
        // complete.
        let (mut head, mut counted, mut lines, mut is_over) = (Vec::new(), 0, 0, false);
        while head.len() < MAX_LINE && lines < FIRST_LINES && !is_over {
            let more = input.fill_buf().map_err(|source| self.failed(source))?;
            let count = more.len();
            is_over = count == 0;
            head.extend_from_slice(more);
            input.consume(count);
            let new = counted.max(head.len() - count)..head.len();
            for end in new.filter(|&place| matches!(head[place], b'\n' | 0)).collect::<Vec<_>>() {
                let line = String::from_utf8_lossy(&head[counted..end]);
                lines += usize::from(!entry::is_nothing(&line));
                counted = end + 1;
            }
        }
        let is_text = !head.iter().any(|b| b.is_ascii_control() && !b"\t\n\r\0".contains(b));
        let (binary, why) = match head.as_slice() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                (None, "the file is UTF-16, but must be UTF-8; ")
            }
            [b'P', b'A', b'R', b'1', ..] if !is_text => (Some(ListFormat::Parquet), ""),
            [b'O', b'R', b'C', ..] if !is_text => (None, ORC_FILE),
            _ => (None, ""),
        };
        if !why.is_empty() {
            return Err(self.no_list(1, &String::from_utf8_lossy(&head), why));
        }
        if head.starts_with(b"\xef\xbb\xbf") {
            head.drain(..3);
        }
        let format = if binary.is_some() { binary } else { self.format_of(&head)? };
        if format.is_none() && !is_over {
            return Err(self.no_list(1, &String::from_utf8_lossy(&head), ONLY_COMMENTS));
        }
        Ok((format, Box::new(BufReader::new(Cursor::new(head).chain(input)))))
    }

    fn format_of(&self, head: &[u8]) -> Result<Option<ListFormat>, ObjectsError> {
        let is_nul = head.iter().find(|byte| matches!(byte, b'\n' | 0)) == Some(&0);
        let separators: &[u8] = if is_nul { b"\0" } else { b"\n" };
        let raw = head.split(|byte| separators.contains(byte));
        let texts = raw.map(|raw| (raw, String::from_utf8_lossy(raw)));
        let mut texts =
            (1..).zip(texts).filter(|(_, (_, text))| !entry::is_nothing(text)).take(FIRST_LINES);
        let Some((number, (raw, first))) = texts.next() else { return Ok(None) };
        // The last character may be truncated.
        let is_cut = raw.len() == head.len() && head.len() >= MAX_LINE;
        if !is_cut && std::str::from_utf8(raw).is_err() {
            return Err(self.no_list(number, &first, "the line is not UTF-8; "));
        }
        let others: Vec<Cow<'_, str>> = texts.map(|(_, (_, text))| text).collect();
        if is_nul {
            return Ok(Some(ListFormat::Keys(b"\0")));
        }
        let begun = first.trim_start();
        if begun.starts_with(['{', '[']) {
            let next = begun[1..].trim_start().chars().next();
            if next.is_none_or(|next| "\"{[]}".contains(next)) {
                return Ok(Some(ListFormat::Json));
            }
        }
        let is_string = begun.starts_with('"') && serde_json::from_str::<String>(begun).is_ok();
        let format = if is_string {
            ListFormat::Json
        } else if table::is_inventory(&first) {
            ListFormat::Inventory(Columns::FIRST)
        } else if let Some((delimiter, columns)) = table::header(&first) {
            ListFormat::Csv(delimiter, columns)
        } else if entry::aws_ls(&first).is_some() || entry::is_summary(&first) {
            ListFormat::AwsLs
        } else if entry::s5cmd_ls(&first).is_some() {
            ListFormat::S5cmdLs
        } else if entry::is_tagged(&first) || others.iter().any(|text| entry::is_tagged(text)) {
            ListFormat::Tagged
        } else if first.contains('\t') && !self.are_keys(&first) {
            if entry::fields(first.trim_end_matches('\r')).is_none() {
                return Err(self.no_list(number, &first, ""));
            }
            ListFormat::Fields
        } else {
            let one = first.split('\t').next().unwrap_or_default();
            let is_directory = begun.starts_with("PRE ");
            let why = if is_directory { "aws s3 ls was run without --recursive; " } else { "" };
            let text = if one == "None" { Ok(one) } else { entry::key(one, self.home.prefix()) };
            match text {
                Ok(text) if text == "None" || entry::can_be_first(text) => {}
                Err(Odd::Because(why)) => {
                    return Err(self.bad(Place::Line(number), &first, why));
                }
                _ => return Err(self.no_list(number, &first, why)),
            }
            ListFormat::Keys(if first.contains('\t') { b"\n\t" } else { b"\n" })
        };
        Ok(Some(format))
    }

    /// Returns whether all fields in a line could be keys.
    fn are_keys(&self, line: &str) -> bool {
        let mut fields = line.trim_end_matches('\r').split('\t').collect::<Vec<_>>();
        if line.len() >= MAX_LINE {
            // The last field may be truncated.
            fields.pop();
        }
        let is_key = |field: &&str| {
            let key = entry::key(field, self.home.prefix());
            key.is_ok_and(entry::can_be_first) && entry::fields(field).is_some()
        };
        fields.iter().all(is_key)
    }
}
