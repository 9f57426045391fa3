//! Replaces the column orders in the footer, which define how readers compare the values of each column.
//!
//! The `parquet` crate writes IEEE_754_TOTAL_ORDER for doubles and has no option for another order. Many readers, such
//! as pyarrow up to 26 and parquet-java 1.13, do not support that order and ignore the statistics of columns that use
//! it. All readers support TYPE_ORDER, and the statistics that this program writes are correct in both orders
//! ([`Plain::least`](crate::encode::statistics::Plain::least)).

use std::io::{self, Write};

use parquet::errors::{ParquetError, Result};

/// Header of the `column_orders` field in `FileMetaData`: a list whose field number is one higher than the preceding
/// field's.
const LIST_FIELD: u8 = 0x19;
/// Element type of the list, in the lower half of the list's header.
const STRUCTS: u8 = 0x0c;
/// Upper half of a list's header if the length of the list follows as a varint.
const LONG: u8 = 0xf0;
/// A union whose first field is an empty struct: TYPE_ORDER.
const TYPE_ORDER: [u8; 3] = [0x1c, 0, 0];
/// A union whose second field is an empty struct: IEEE_754_TOTAL_ORDER.
const TOTAL_ORDER: [u8; 3] = [0x2c, 0, 0];
/// Number of bytes after the orders: the end of `FileMetaData`, its length and the magic bytes.
const END: usize = 1 + 4 + 4;

/// A writer that replaces the column order of every column in a Parquet file with TYPE_ORDER.
///
/// The orders are the last field of the last structure in the file
/// (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>). The writer holds back the
/// last bytes written, and [`TypeOrdered::finish`] replaces the orders in them. Both orders have three bytes, so no
/// offset changes.
pub(super) struct TypeOrdered<W> {
    out: W,
    /// The last bytes written: the orders and the bytes after them.
    held: Vec<u8>,
    /// The orders to write.
    orders: Vec<u8>,
}

impl<W: Write> TypeOrdered<W> {
    /// Returns a writer for a file with `columns` columns.
    pub(super) fn new(out: W, columns: usize) -> Self {
        let mut orders = vec![LIST_FIELD];
        if columns < 15 {
            orders.push((columns as u8) << 4 | STRUCTS);
        } else {
            orders.push(LONG | STRUCTS);
            let mut rest = columns;
            while rest > 0x7f {
                orders.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            orders.push(rest as u8);
        }
        orders.extend(TYPE_ORDER.repeat(columns));
        Self { out, held: Vec::new(), orders }
    }

    /// Writes the end of the file, and returns the inner writer.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written, or does not end with one order for each column.
    pub(super) fn finish(mut self) -> Result<W> {
        let Some((found, end)) = self.held.split_at_mut_checked(self.orders.len()) else {
            return Err(unexpected());
        };
        for order in found.as_rchunks_mut().1 {
            if *order == TOTAL_ORDER {
                *order = TYPE_ORDER;
            }
        }
        if *found != *self.orders || end.len() != END {
            return Err(unexpected());
        }
        self.out.write_all(&self.held)?;
        Ok(self.out)
    }
}

fn unexpected() -> ParquetError {
    ParquetError::General("the footer does not end with the column orders".to_owned())
}

impl<W: Write> Write for TypeOrdered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.orders.len() + END;
        let (now, later) = bytes.split_at(bytes.len().saturating_sub(room));
        let surplus = (self.held.len() + later.len()).saturating_sub(room);
        self.out.write_all(&self.held[..surplus])?;
        self.out.write_all(now)?;
        self.held.drain(..surplus);
        self.held.extend_from_slice(later);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `before` arbitrary bytes, followed by the end of a file with the given orders.
    fn file(before: usize, header: &[u8], orders: &[[u8; 3]]) -> Vec<u8> {
        let before = (0..before).map(|at| at as u8).collect();
        [before, header.to_vec(), orders.concat(), b"\0\x01\x02\x03\x04PAR1".to_vec()].concat()
    }

    #[test]
    fn orders_are_replaced_for_all_sizes_of_writes() {
        let cases: [(usize, &[u8]); 4] = [
            (1, &[0x19, 0x1c]),
            (14, &[0x19, 0xec]),
            (15, &[0x19, 0xfc, 15]),
            (200, &[0x19, 0xfc, 0xc8, 1]),
        ];
        for (columns, header) in cases {
            let mixed: Vec<_> =
                (0..columns).map(|at| if at % 3 == 0 { TOTAL_ORDER } else { TYPE_ORDER }).collect();
            let expected = file(1000, header, &vec![TYPE_ORDER; columns]);
            for size in [1, 2, 7, 40, 100, 999, 10_000] {
                let mut writer = TypeOrdered::new(Vec::new(), columns);
                for bytes in file(1000, header, &mixed).chunks(size) {
                    writer.write_all(bytes).unwrap();
                }
                assert!(
                    writer.finish().unwrap() == expected,
                    "{columns} columns, writes of {size}"
                );
            }
        }
    }

    #[test]
    fn a_file_with_another_end_is_an_error() {
        let other_union = [0x3c, 0, 0];
        let cases = [
            Vec::new(),
            b"PAR1".to_vec(),
            file(9, &[0x19, 0x2c], &[TYPE_ORDER, other_union]),
            file(9, &[0x29, 0x2c], &[TYPE_ORDER; 2]),
            file(9, &[0x19, 0x3c], &[TYPE_ORDER; 3]),
            file(9, &[0x19, 0x1c], &[TYPE_ORDER]),
        ];
        for case in cases {
            let mut writer = TypeOrdered::new(Vec::new(), 2);
            writer.write_all(&case).unwrap();
            assert!(writer.finish().is_err(), "{case:?}");
        }
    }
}
