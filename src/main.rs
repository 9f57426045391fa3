//! The `alb2parquet` program; see the library for what it does.

use std::process::ExitCode;

/// Pages are made and dropped by many threads: mimalloc keeps what they drop at hand, and gives
/// it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    alb2parquet::cli::main()
}
