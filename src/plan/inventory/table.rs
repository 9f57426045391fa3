//! Reads lists with columns: an S3 Inventory, or CSV with a header.

use std::borrow::Cow;

use crate::plan::inventory::Found;

/// Storage classes, and tiers of the class `INTELLIGENT_TIERING`, whose objects must be restored before they can be
/// read.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];
const ARCHIVE_TIERS: [&str; 4] =
    ["ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE", "DEEP_ARCHIVE_ACCESS"];

/// The indices of the known columns in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) bucket: Option<usize>,
    pub(super) key: usize,
    pub(super) size: Option<usize>,
    pub(super) e_tag: Option<usize>,
    pub(super) is_latest: Option<usize>,
    pub(super) is_delete_marker: Option<usize>,
    pub(super) storage_class: Option<usize>,
    pub(super) access_tier: Option<usize>,
}

impl Columns {
    /// The first columns of every CSV file in an inventory.
    pub(super) const FIRST: Self = Self {
        bucket: Some(0),
        key: 1,
        size: None,
        e_tag: None,
        is_latest: None,
        is_delete_marker: None,
        storage_class: None,
        access_tier: None,
    };

    /// Finds the columns by name, ignoring case and the separators between words. Returns `None` if there is no key
    /// column, or if a name is not a plausible column name.
    pub(super) fn of<S: AsRef<str>>(names: &[S]) -> Option<Self> {
        let bare = |name: &str| name.trim().replace(['_', ' ', '-'], "").to_ascii_lowercase();
        let names: Vec<String> = names.iter().map(|name| bare(name.as_ref())).collect();
        let of = |wanted: &str| names.iter().position(|name| name == wanted);
        let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(Self {
            bucket: of("bucket"),
            key: of("key").filter(|_| names.iter().all(is_name))?,
            size: of("size"),
            e_tag: of("etag"),
            is_latest: of("islatest"),
            is_delete_marker: of("isdeletemarker"),
            storage_class: of("storageclass"),
            access_tier: of("intelligenttieringaccesstier"),
        })
    }

    /// Returns the object in a row, or `None` if it is not a current object. `field` returns the row's field at an
    /// index.
    pub(super) fn read<'a>(&self, field: impl Fn(usize) -> Option<&'a str>) -> Option<Found<'a>> {
        let value = |column: Option<usize>| field(column?).filter(|text| !text.is_empty());
        let is = |column, text: &str| value(column).is_some_and(|v| v.eq_ignore_ascii_case(text));
        if is(self.is_latest, "false") || is(self.is_delete_marker, "true") {
            return None;
        }
        Some(Found {
            bucket: self.bucket.map(|column| field(column).unwrap_or_default()),
            key: Cow::Borrowed(field(self.key).unwrap_or_default()),
            size: value(self.size).and_then(|size| size.parse().ok()),
            e_tag: value(self.e_tag),
            archived: archived(value(self.storage_class), value(self.access_tier)),
        })
    }
}

/// Returns whether an object must be restored, or `None` if its storage class is unknown.
pub(super) fn archived(class: Option<&str>, tier: Option<&str>) -> Option<bool> {
    let tier = tier.unwrap_or_default();
    class.map(|class| ARCHIVES.contains(&class) || ARCHIVE_TIERS.contains(&tier))
}

/// Splits a line of CSV into its fields, which can be quoted. Returns `None` if a quote is unclosed or misplaced.
pub(super) fn split(line: &str, delimiter: char) -> Option<Vec<Cow<'_, str>>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = quoted.find('"')?;
            while quoted[end + 1..].starts_with('"') {
                end += 2 + quoted[end + 2..].find('"')?;
            }
            (Cow::Owned(quoted[..end].replace("\"\"", "\"")), &quoted[end + 1..])
        } else {
            let (field, after) = rest.split_at(rest.find(delimiter).unwrap_or(rest.len()));
            if field.contains('"') {
                return None;
            }
            (Cow::Borrowed(field), after)
        };
        fields.push(field);
        if after.is_empty() {
            return Some(fields);
        }
        rest = after.strip_prefix(delimiter)?;
    }
}

/// Returns the delimiter and the columns if the line is a header.
pub(super) fn header(line: &str) -> Option<(char, Columns)> {
    let names = |delimiter| split(line.trim_end_matches('\r'), delimiter);
    [',', ';', '\t'].into_iter().find_map(|sign| Some((sign, Columns::of(&names(sign)?)?)))
}

/// Returns whether a line is from an inventory's CSV file: it begins with a quoted bucket and a quoted key. Such files
/// have no header.
pub(super) fn is_inventory(line: &str) -> bool {
    let Some(fields) = split(line.trim_end_matches('\r'), ',') else { return false };
    let is_bucket = |name: &str| {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        (3..=63).contains(&name.len()) && name.bytes().all(allowed)
    };
    line.starts_with('"') && fields.len() >= 2 && is_bucket(&fields[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_have_any_order() {
        let columns = |names: &str| Columns::of(&names.split(',').collect::<Vec<_>>());
        let found =
            columns("Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag").unwrap();
        assert_eq!((found.key, found.size, found.e_tag), (1, Some(5), Some(6)));
        assert_eq!((found.is_latest, found.is_delete_marker), (Some(3), Some(4)));
        let parquet =
            columns("bucket,key,e_tag,storage_class,intelligent_tiering_access_tier").unwrap();
        assert_eq!(
            (parquet.e_tag, parquet.storage_class, parquet.access_tier),
            (Some(2), Some(3), Some(4))
        );
        assert_eq!(columns("Name, Size"), None);
        assert_eq!(columns("a/key,key"), None);
        assert_eq!(header("Key;Size\r").map(|(sign, _)| sign), Some(';'));
        assert_eq!(header("AWSLogs/x"), None);
    }

    proptest! {
        #[test]
        fn lines_of_csv_are_split_as_by_the_csv_crate(
            fields in prop::collection::vec("[ -~\u{e9}]{0,8}", 1..5)
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let split = split(line.trim_end_matches('\n'), ',').unwrap();
            prop_assert_eq!(split, fields);
        }

        #[test]
        fn arbitrary_lines_of_csv_do_not_panic(line in "[a,\"\u{e9};]{0,12}") {
            let _ = split(&line, ',');
        }
    }
}
