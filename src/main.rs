//! The `alb2parquet` program; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    alb2parquet::internals::main()
}
