//! Damaged and hostile files: whatever bytes a parser is given, it ends soon, with little memory, in a value or in an
//! error of one line. A target is a parser of files from outside; its inputs are mutations of small valid ones, the same
//! in every run. `POLYMIX_FUZZ=1000000` tries as many a target; `POLYMIX_FUZZ_AT=<number>` tries that one again, as
//! in `POLYMIX_FUZZ_AT=77 cargo test --test fuzz flac`.

#![cfg(feature = "cli")]

mod allocator;
mod audio;
mod containers;
mod decoding;
mod harness;
mod manifests;
mod models;
mod mutation;
mod pieces;
mod training;
