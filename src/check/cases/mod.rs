//! The cases of every operation, a file a family: edges (nothing, 1, primes, a workgroup ± 1, sizes that no vector
//! divides), long sums, extreme values. `polymix check` and the kernel suite run the same ones; the suite adds random shapes.

pub mod attention;
pub mod conv;
pub mod ctc;
pub mod f16;
mod large;
pub mod layout;
pub mod loss;
pub mod map;
pub mod mask;
pub mod matmul;
pub mod norm;
pub mod optimizer;
pub mod pom;
pub mod quantizer;
pub mod random;
pub mod reduce;
pub mod scan;
#[cfg(not(target_arch = "wasm32"))]
mod subjects;

pub use large::large;
#[cfg(not(target_arch = "wasm32"))]
pub use subjects::{Make, SUBJECTS, Subject};

use super::{Arg, Case, Tolerance};

/// All cases, what models spend most time in first.
pub fn all() -> Vec<Case> {
    let families: [fn() -> Vec<Case>; 15] = [
        matmul::all,
        attention::all,
        norm::all,
        pom::all,
        conv::all,
        map::all,
        reduce::all,
        scan::all,
        loss::all,
        ctc::all,
        optimizer::all,
        random::all,
        mask::all,
        quantizer::all,
        layout::all,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

/// Normal values moved by `gap` away from 0, where what follows has a kink or a pole, and `spread` times as wide.
pub fn away_from_zero(dims: &[usize], seed: u32, spread: f64, gap: f64) -> Arg {
    let arg = Arg::normal(dims, seed);
    Arg::f32(dims, |i| spread * arg.at(i) + gap.copysign(arg.at(i)))
}
