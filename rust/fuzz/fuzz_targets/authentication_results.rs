#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| throttle_fuzz::authentication_results::check(input));
