//! Every kernel against the f64 definition of its operation, on the adapter that `POLYMIX_DEVICE` names.

mod check;
mod ctc;
mod map;
mod reduce;
