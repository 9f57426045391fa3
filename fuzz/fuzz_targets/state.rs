#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: alb2parquet_fuzz::write_seeds("state"), |input: &[u8]| {
    alb2parquet_fuzz::run("state", input);
});
