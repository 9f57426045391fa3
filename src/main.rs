//! The `alb2parquet` program. See the library for its documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    alb2parquet::internals::main()
}
