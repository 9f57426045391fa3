//! Restores the text of decoded lines from the record batch, the rejects and the forms of the lines.

use std::collections::VecDeque;

use alb2parquet::internals::decode::decoder::{Decoded, DecodedSegment};
use alb2parquet::internals::decode::forms::Written;
use alb2parquet::internals::logs::form::{Form, Row, Value, Writer};
use alb2parquet::internals::logs::schema::Table;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

struct BatchRow<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Row for BatchRow<'_> {
    fn value(&self, column: usize) -> Value<'_> {
        let array = self.batch.column(column);
        if array.is_null(self.row) {
            return Value::Null;
        }
        match array.data_type() {
            DataType::Dictionary(..) => {
                let array = array.as_dictionary::<Int32Type>();
                let values = array.downcast_dict::<StringArray>().unwrap();
                let index = array.keys().value(self.row) as usize;
                Value::Text(values.values().value(index).as_bytes())
            }
            DataType::Utf8 => Value::Text(array.as_string::<i32>().value(self.row).as_bytes()),
            DataType::Int32 => {
                Value::Integer(array.as_primitive::<Int32Type>().value(self.row).into())
            }
            DataType::Int64 => Value::Integer(array.as_primitive::<Int64Type>().value(self.row)),
            DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(self.row)),
            _ => Value::Time(array.as_primitive::<TimestampMicrosecondType>().value(self.row)),
        }
    }
}

/// Appends the text of all segments.
pub(crate) fn restore(table: &Table, decoded: &Decoded, text: &mut Vec<u8>) {
    let writer = Writer::new(table);
    let mut row = 0;
    for segment in &decoded.segments {
        let end = row + segment.rows as usize;
        restore_segment(&writer, segment, &decoded.batch, &mut row, end, text);
        assert_eq!(row, end, "every row is in the text");
    }
}

fn restore_segment(
    writer: &Writer,
    segment: &DecodedSegment,
    batch: &RecordBatch,
    row: &mut usize,
    end: usize,
    text: &mut Vec<u8>,
) {
    let mut rejects: VecDeque<_> = segment.rejects.iter().collect();
    let mut all: VecDeque<_> = segment.written.iter().cloned().collect();
    let mut line = 1;
    while let Some(next) = all.pop_front() {
        let form = match &next.written {
            Written::Bytes(bytes) => {
                while rejects.front().is_some_and(|reject| reject.line_number < next.line_number) {
                    text.extend(&rejects.pop_front().unwrap().raw);
                    text.push(b'\n');
                    line += 1;
                }
                assert_eq!(next.line_number, line);
                text.extend(bytes);
                line += lines_of(bytes);
                match rejects.front() {
                    Some(reject) if reject.line_number == next.line_number => {
                        rejects.pop_front();
                    }
                    // If a line continues in the next segment, its part in this segment has no row.
                    _ if bytes.ends_with(b"\n") => *row += 1,
                    _ => {}
                }
                continue;
            }
            Written::Form(form) => form.to_string(),
            Written::Usual(fields) => writer.usual_form(*fields),
        };
        let form = Form::parse(&form, writer).expect("the decoder only finds valid forms");
        for _ in 0..next.lines {
            while rejects.front().is_some_and(|reject| reject.line_number == line) {
                text.extend(&rejects.pop_front().unwrap().raw);
                text.push(b'\n');
                line += 1;
            }
            let start = text.len();
            writer.write_line(&form, &BatchRow { batch, row: *row }, text);
            line += lines_of(&text[start..]);
            *row += usize::from(form.fields() > 0);
            assert!(*row <= end, "no row of another segment is used");
        }
    }
    for reject in rejects {
        text.extend(&reject.raw);
        text.push(b'\n');
    }
    if segment.unterminated {
        assert_eq!(text.pop(), Some(b'\n'));
    }
}

fn lines_of(text: &[u8]) -> u64 {
    text.split(|byte| *byte == b'\n').count() as u64 - 1
}
