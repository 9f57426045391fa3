//! Writes the rows of an object to stdout as an Arrow IPC stream, for engines that read Arrow.
//!
//! `arrow_query.py` queries the stream with DuckDB, without converting the object:
//!
//! ```sh
//! cargo run --example arrow_stream -- OBJECT |
//!     python3 examples/arrow_query.py "SELECT elb_status_code, count(*) FROM logs GROUP BY 1 ORDER BY 1"
//! ```

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter};

use alb2parquet::arrow::array::RecordBatchReader;
use alb2parquet::{Key, Reader};
use arrow_ipc::writer::StreamWriter;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: arrow_stream OBJECT")?;
    let key = Key::parse(&path).map_err(|reason| format!("{path}: {}", reason.as_str()))?;
    let reader = Reader::new(key.partition.log_type, path.as_str(), File::open(&path)?)?;
    let out = BufWriter::new(io::stdout().lock());
    let mut writer = StreamWriter::try_new(out, &reader.schema())?;
    for batch in reader {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    Ok(())
}
