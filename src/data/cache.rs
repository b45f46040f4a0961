//! A store of decoded data, bounded in bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps the first values that fit. Every epoch asks for every value once, in a new order, so there is
/// nothing to gain from replacing one by another.
pub(super) struct Cache<T> {
    held: Mutex<Held<T>>,
}

struct Held<T> {
    values: HashMap<usize, Arc<T>>,
    bytes_left: usize,
}

impl<T> Cache<T> {
    pub fn new(bytes: usize) -> Self {
        Self { held: Mutex::new(Held { values: HashMap::new(), bytes_left: bytes }) }
    }

    pub fn get(&self, key: usize) -> Option<Arc<T>> {
        self.lock().values.get(&key).cloned()
    }

    /// Keeps `value` of `bytes` bytes under `key` if there is room.
    pub fn offer(&self, key: usize, value: &Arc<T>, bytes: usize) {
        let mut held = self.lock();
        if bytes <= held.bytes_left && !held.values.contains_key(&key) {
            held.bytes_left -= bytes;
            held.values.insert(key, Arc::clone(value));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held<T>> {
        // Every change is whole before the lock is released, so a panic elsewhere leaves it sound.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let cache = Cache::new(10);
        for (key, bytes) in [(1, 6), (2, 6), (3, 4), (3, 4)] {
            cache.offer(key, &Arc::new(key), bytes);
        }
        assert_eq!([1, 2, 3].map(|key| cache.get(key).is_some()), [true, false, true]);
    }
}
