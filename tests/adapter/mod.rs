//! The adapter that tests run on.

use std::sync::Arc;

use polymix::gpu::{Gpu, Selection};

/// The adapter that `POLYMIX_DEVICE` names, or `None` where there is none and `GPU=required` does not ask for one.
pub fn gpu() -> Option<Arc<Gpu>> {
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
    match pollster::block_on(Gpu::new(&Selection { device, ..Default::default() })) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(error) if std::env::var("GPU").as_deref() == Ok("required") => {
            panic!("GPU=required, and: {error}")
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}
