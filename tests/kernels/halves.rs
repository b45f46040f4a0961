use polymix::check::{Prepared, cases::halves};
use polymix::gpu::{Capabilities, MatrixSize};

use crate::check::each;

#[test]
fn in_f16() {
    each(halves::all());
}

/// What is fed and what is read is copied, so that all else of these plans can be in f16.
#[test]
fn kernels_read_and_write_f16() {
    let plain = Capabilities::assumed();
    let matrices = Capabilities { cooperative: Some(MatrixSize::Sixteen), ..plain.clone() };
    for capabilities in [plain, matrices] {
        for case in halves::all() {
            let what = format!("{case:?}");
            for plan in Prepared::new(case).unwrap().plans(&capabilities).unwrap() {
                let own = plan.dispatches.iter().filter(|one| !one.kernel.name.starts_with("layout/copy"));
                assert!(own.clone().any(|one| one.halves != 0), "{what}: {}", plan.dump());
            }
        }
    }
}
