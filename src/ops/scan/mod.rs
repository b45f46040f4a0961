//! The selective scan of Mamba: a linear recursion whose coefficients follow from the frame.

mod selective_scan;
mod selective_scan_backward;

pub use selective_scan::{STATE, SelectiveScan};
