#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fcsp_fuzz::cgroups::run(data));
