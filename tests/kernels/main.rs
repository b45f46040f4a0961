//! Every kernel against the f64 definition of its operation, on the adapter that `POLYMIX_DEVICE` names.

mod check;
mod conv;
mod map;
mod mask;
mod random;
mod reduce;
