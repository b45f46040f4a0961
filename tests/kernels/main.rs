//! Every kernel against the f64 definition of its operation, on the adapter that `POLYMIX_DEVICE` names.

mod check;
mod layout;
mod loss;
mod conv;
mod ctc;
mod map;
mod matmul;
mod norm;
mod optimizer;
mod mask;
mod random;
mod pom;
mod quantizer;
mod reduce;
mod tiles;
