//! Requests to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::error::{Error, Result};

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Asks the run under way, or the next one, to stop: as soon as it can, with a checkpoint if it has begun its steps.
pub fn interrupt() {
    STOP.store(true, Ordering::Relaxed);
}

/// Whether [`interrupt`] was called, and no run has stopped for it yet.
pub fn interrupted() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// What a signal sets instead of calling [`interrupt`].
pub fn stop_flag() -> Arc<AtomicBool> {
    STOP.clone()
}

/// # Errors
/// [`Error::Interrupted`] when a stop was asked for.
pub(super) fn check() -> Result<()> {
    if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// A request is answered once a run has stopped for it.
pub(super) fn answered<T>(result: Result<T>) -> Result<T> {
    if matches!(result, Err(Error::Interrupted)) {
        STOP.store(false, Ordering::Relaxed);
    }
    result
}
