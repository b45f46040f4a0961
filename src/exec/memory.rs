//! Which values share memory: slots that are reused once their value is dead.

/// Slots of a plan: each is one buffer, taken by one live value at a time.
#[derive(Debug, Default)]
pub(super) struct Slots {
    sizes: Vec<u64>,
    free: Vec<usize>,
    live: u64,
    /// The largest sum of simultaneously live bytes: no assignment needs less.
    pub bound: u64,
}

impl Slots {
    /// A slot for `bytes`: the tightest free one, one that is grown, or a new one.
    pub fn take(&mut self, bytes: u64) -> usize {
        self.live += bytes;
        self.bound = self.bound.max(self.live);
        let size = |slot: &usize| self.sizes[*slot];
        let fits = self.free.iter().copied().filter(|s| size(s) >= bytes).min_by_key(size);
        let grows = self.free.iter().copied().filter(|s| size(s) < bytes).max_by_key(size);
        // A small value must not keep a large slot from the large value that comes next.
        let tight = fits.filter(|slot| self.sizes[*slot] / 2 <= bytes);
        let close = grows.filter(|slot| self.sizes[*slot] >= bytes / 2);
        let Some(slot) = tight.or(close).or(fits.filter(|_| bytes >= 1 << 20)) else {
            self.sizes.push(bytes);
            return self.sizes.len() - 1;
        };
        self.free.retain(|&s| s != slot);
        self.sizes[slot] = self.sizes[slot].max(bytes);
        slot
    }

    /// Gives the slot of a dead value of `bytes` back.
    pub fn give(&mut self, slot: usize, bytes: u64) {
        self.live -= bytes;
        self.free.push(slot);
    }

    /// Bytes of every slot.
    pub fn sizes(self) -> Vec<u64> {
        self.sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_values_are_reused() {
        let mut slots = Slots::default();
        let a = slots.take(1000);
        let b = slots.take(4000);
        slots.give(a, 1000);
        assert_eq!(slots.take(900), a);
        slots.give(b, 4000);
        assert_eq!(slots.take(5000), b, "the closest free slot grows");
        assert_eq!(slots.bound, 5900);
        assert_eq!(slots.sizes(), [1000, 5000]);
    }
}
