use polymix::check::{Prepared, cases::f16};
use polymix::gpu::{Capabilities, MatrixSize};

use crate::check::each;

#[test]
fn stored_in_f16() {
    each(f16::all());
}

/// Inputs and results are copied, so that all else of these plans can be in f16.
#[test]
fn kernels_read_and_write_f16() {
    let plain = Capabilities::assumed();
    let matrices = Capabilities { cooperative: Some(MatrixSize::Sixteen), ..plain.clone() };
    for capabilities in [plain, matrices] {
        for case in f16::all() {
            let what = format!("{case:?}");
            for plan in Prepared::new(case).unwrap().plans(&capabilities).unwrap() {
                let own = plan.dispatches.iter().filter(|one| !one.kernel.name.starts_with("layout/copy"));
                assert!(own.clone().any(|one| one.f16 != 0), "{what}: {}", plan.dump());
            }
        }
    }
}
