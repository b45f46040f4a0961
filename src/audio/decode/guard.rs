//! Catches panics of decoding libraries on damaged files.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::Outcome;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; its panic is the error of a damaged file, and prints nothing.
///
/// # Errors
/// The decoder's own, and its panics.
pub(super) fn guard<T>(library: &str, decode: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(decode));
    QUIET.set(before);
    outcome.unwrap_or_else(|_| Err(format!("is damaged: {library} gave up on it; fetch it again")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_message() {
        assert_eq!(guard("a library", || Ok(1)), Ok(1));
        let message = guard::<()>("a library", || panic!("out of bounds")).expect_err("a panic");
        assert!(message.contains("a library gave up"), "{message}");
    }
}
