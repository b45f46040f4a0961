//! Features kept for later epochs, in memory that is allocated once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::audio::{BANDS, Features};

/// Keeps the first features that fit. Every epoch asks for every example once, in a new order, so there is
/// nothing to gain from replacing one by another.
///
/// All memory is taken and touched when the cache is made, so that a process which has begun to train does
/// not grow any more.
#[derive(Debug)]
pub struct FeatureCache {
    contents: Mutex<Contents>,
}

#[derive(Debug)]
struct Contents {
    values: Vec<f32>,
    used: usize,
    /// Where an example's features are, and how many samples its waveform had.
    places: HashMap<usize, (Range<usize>, usize)>,
}

impl FeatureCache {
    /// Room for `frames` frames in all.
    pub fn new(frames: usize) -> Self {
        // Zeros would be pages that the system hands out only when they are written.
        let values = vec![f32::NAN; frames * BANDS];
        Self { contents: Mutex::new(Contents { values, used: 0, places: HashMap::new() }) }
    }

    /// The features of example `key` and the samples of its waveform, if they are kept.
    pub fn get(&self, key: usize) -> Option<(Features, usize)> {
        let contents = self.lock();
        let (place, samples) = contents.places.get(&key)?.clone();
        let data = contents.values[place].to_vec();
        Some((Features { frames: data.len() / BANDS, data }, samples))
    }

    /// Keeps the features of example `key`, of a waveform of `samples`, if there is room; `false` where there is none.
    pub fn offer(&self, key: usize, features: &Features, samples: usize) -> bool {
        let mut contents = self.lock();
        let place = contents.used..contents.used + features.data.len();
        if contents.places.contains_key(&key) {
            return true;
        }
        let Some(room) = contents.values.get_mut(place.clone()) else { return false };
        room.copy_from_slice(&features.data);
        contents.used = place.end;
        contents.places.insert(key, (place, samples));
        true
    }

    /// Whether `frames` more frames fit.
    pub fn has_room(&self, frames: usize) -> bool {
        let contents = self.lock();
        contents.values.len() - contents.used >= frames * BANDS
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Every change is whole before the lock is released, so a panic elsewhere leaves it sound.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let cache = FeatureCache::new(10);
        let features = |frames: usize| Features { data: vec![frames as f32; frames * BANDS], frames };
        let kept = [(1, 6), (2, 6), (3, 4), (3, 4)]
            .map(|(key, frames)| cache.offer(key, &features(frames), 160 * frames));
        assert_eq!(kept, [true, false, true, true]);
        assert_eq!(
            [1, 2, 3].map(|key| cache.get(key).map(|(f, samples)| (f.frames, f.data[0], samples))),
            [Some((6, 6.0, 960)), None, Some((4, 4.0, 640))]
        );
        assert!(cache.has_room(0) && !cache.has_room(1));
    }
}
