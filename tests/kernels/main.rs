//! Every kernel against the f64 definition of its operation, on the adapter that `POLYMIX_DEVICE` names.

#[path = "../adapter/mod.rs"]
mod adapter;
mod attention;
mod check;
mod conv;
mod ctc;
mod f16;
mod layout;
mod loss;
mod map;
mod mask;
mod matmul;
mod norm;
mod optimizer;
mod pom;
mod quantizer;
mod random;
mod reduce;
mod scan;
mod tiles;
