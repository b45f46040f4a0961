//! Memory planning: an assignment of values to slots by their lifetimes.

use std::cmp::Reverse;

use crate::rng::Rng;

/// Memory that is live from one dispatch to another.
#[derive(Debug, Clone, Default)]
pub(super) struct Lifetime {
    /// Its size.
    pub bytes: u64,
    /// The dispatches that bind it, ascending, and whether they write it: it is live from the first to the last.
    pub uses: Vec<(usize, bool)>,
    /// Whether it is filled before the first dispatch.
    pub input: bool,
    /// Whether it is read after the last one.
    pub read: bool,
}

impl Lifetime {
    /// Notes that `dispatch`, the last so far, binds it.
    pub fn bind(&mut self, dispatch: usize, write: bool) {
        match self.uses.last_mut().filter(|(last, _)| *last == dispatch) {
            Some((_, written)) => *written |= write,
            None => self.uses.push((dispatch, write)),
        }
    }

    fn first(&self) -> usize {
        if self.input { 0 } else { self.uses.first().map_or(0, |(dispatch, _)| *dispatch) }
    }

    fn last(&self) -> usize {
        if self.read { usize::MAX } else { self.uses.last().map_or(0, |(dispatch, _)| *dispatch) }
    }

    /// Whether it is live at `dispatch`.
    pub fn covers(&self, dispatch: usize) -> bool {
        self.first() <= dispatch && dispatch <= self.last()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }

    /// Whether some dispatch reads the one and writes the other.
    fn repels(&self, other: &Self) -> bool {
        let (few, many) = if self.uses.len() < other.uses.len() { (self, other) } else { (other, self) };
        few.uses.iter().any(|(dispatch, write)| {
            let met = many.uses.binary_search_by_key(dispatch, |(other, _)| *other);
            met.is_ok_and(|at| many.uses[at].1 != *write)
        })
    }
}

/// The slot and the first byte in it of each lifetime.
type Places = Vec<(usize, u64)>;

/// Where every lifetime lies.
#[derive(Debug)]
pub(super) struct Packing {
    /// Bytes of every slot.
    pub slots: Vec<u64>,
    /// Where in them each lifetime lies.
    pub places: Places,
    /// The largest sum of bytes live at once, a lower bound of any assignment.
    pub bound: u64,
    /// The dispatch where it is.
    pub peak: usize,
}

/// Places start at multiples of this many bytes, the largest alignment that WebGPU asks for.
const ALIGNMENT: u64 = 256;

/// The best of several assignments, each of which places the values one after the other.
///
/// The first places the largest values first. If it takes over 5 % more than the lower bound, two more orders are tried: by
/// bytes times dispatches, and by lifetime with the values that are live at the peak first. Then the three with first fits
/// in place of best fits, and then orders by sizes multiplied by random factors. Values of the same size and the same uses,
/// as layers repeat them, have the same factor.
pub(super) fn pack(lifetimes: &[Lifetime]) -> Packing {
    let (bound, peak) = bound(lifetimes);
    let span = |one: &Lifetime| (one.last() - one.first()) as u64;
    let drawn = |round: usize, one: &Lifetime| {
        let words = [round as u32, one.bytes as u32, span(one) as u32, one.uses.len() as u32];
        (one.bytes as f64 * 4_f64.powf(f64::from(Rng::new(&words).unit()))) as u64
    };
    let mut best: Option<(u64, Vec<u64>, Places)> = None;
    for round in 0..MOST_ROUNDS {
        let first = |one: &Lifetime| match round {
            0 | 3 => (false, 0),
            1 | 4 => (false, span(one).saturating_mul(one.bytes)),
            2 | 5 => (one.covers(peak), span(one)),
            _ => (false, drawn(round, one)),
        };
        let mut order: Vec<usize> = (0..lifetimes.len()).collect();
        order.sort_by_cached_key(|&index| {
            let one = &lifetimes[index];
            (Reverse(first(one)), Reverse(one.bytes), one.first())
        });
        let fit = match round {
            0..3 => Fit::Best,
            3..6 => Fit::First,
            _ => [Fit::Best, Fit::First][round % 2],
        };
        let (slots, places) = place_all(lifetimes, &order, fit);
        let bytes = slots.iter().sum();
        if best.as_ref().is_none_or(|(least, ..)| bytes < *least) {
            best = Some((bytes, slots, places));
        }
        // The first order that is good is kept, though a later one may be a little better: plans of other shapes, which
        // share the slots, have them in like proportions only if they are packed alike.
        let long = round >= 5 && (round + 1) * lifetimes.len() > ROUNDS_OF_ALL;
        if long || best.as_ref().is_some_and(|(least, ..)| *least <= bound + bound / 20) {
            break;
        }
    }
    let (_, slots, places) = best.unwrap_or_default();
    Packing { slots, places, bound, peak }
}

const MOST_ROUNDS: usize = 64;
/// Lifetimes that all rounds together give places, but for those that are not drawn.
const ROUNDS_OF_ALL: usize = 60_000;

/// Which of the slots that grow least a value takes.
#[derive(Clone, Copy, PartialEq)]
enum Fit {
    /// That with the tightest gap.
    Best,
    /// The first one, which has the largest values where they come first.
    First,
}

/// Places the lifetimes in this order, each where the slots grow least: in a gap that is free all the time, at the end of a
/// slot, or in a new one. So small values lie side by side where a larger one lies at another time. Two values never share a
/// slot if a dispatch reads one and writes the other, which WebGPU does not allow. No slot is larger than the largest value,
/// so that plans of other shapes have slots in like proportions.
fn place_all(lifetimes: &[Lifetime], order: &[usize], fit: Fit) -> (Vec<u64>, Places) {
    let largest = lifetimes.iter().map(|lifetime| lifetime.bytes).max().unwrap_or(0);
    let (mut slots, mut places) = (Vec::new(), vec![(0, 0); lifetimes.len()]);
    // The lifetimes in every slot and their first bytes.
    let mut members: Vec<Vec<(u64, usize)>> = Vec::new();
    for &index in order {
        let own = &lifetimes[index];
        // A new slot; where slots grow as much, it goes before the others but for first fits.
        let mut best = (own.bytes, if fit == Fit::First { u64::MAX } else { 0 }, members.len(), 0);
        for (slot, inside) in members.iter().enumerate() {
            let size: u64 = slots[slot];
            let Some((start, room)) = place(lifetimes, own, inside, size) else { continue };
            let growth = (start + own.bytes).saturating_sub(size);
            let room = if fit == Fit::First { slot as u64 } else { room };
            if size + growth <= largest && (growth, room) < (best.0, best.1) {
                best = (growth, room, slot, start);
            }
        }
        let (growth, _, slot, start) = best;
        if slot == members.len() {
            members.push(Vec::new());
            slots.push(0);
        }
        slots[slot] += growth;
        let at = members[slot].partition_point(|&(other, _)| other < start);
        members[slot].insert(at, (start, index));
        places[index] = (slot, start);
    }
    (slots, places)
}

/// Where `own` fits best between those `inside` a slot of `size` bytes that are live at the same time, and the room
/// that it leaves there: the tightest gap, or else the end.
fn place(lifetimes: &[Lifetime], own: &Lifetime, inside: &[(u64, usize)], size: u64) -> Option<(u64, u64)> {
    let (mut best, mut end): (Option<(u64, u64)>, u64) = (None, 0);
    let mut consider = |start: u64, until: u64| {
        if let Some(room) = until.checked_sub(start + own.bytes)
            && best.is_none_or(|(_, least)| room < least)
        {
            best = Some((start, room));
        }
    };
    for &(start, index) in inside {
        let other = &lifetimes[index];
        if !own.overlaps(other) {
            continue;
        }
        if own.repels(other) {
            return None;
        }
        consider(end, start);
        end = end.max((start + other.bytes).next_multiple_of(ALIGNMENT));
    }
    consider(end, size);
    best.or(Some((end, 0)))
}

/// The largest sum of bytes live at once, and the dispatch where it is.
fn bound(lifetimes: &[Lifetime]) -> (u64, usize) {
    let mut events: Vec<(usize, bool, u64)> = Vec::with_capacity(2 * lifetimes.len());
    for lifetime in lifetimes {
        // At one dispatch, what begins comes before what ends there.
        events.push((lifetime.first(), false, lifetime.bytes));
        events.push((lifetime.last(), true, lifetime.bytes));
    }
    events.sort_unstable();
    let (mut live, mut most) = (0, (0, 0));
    for (dispatch, ends, bytes) in events {
        live = if ends { live - bytes } else { live + bytes };
        if live > most.0 {
            most = (live, dispatch);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by the first dispatch, read by the others.
    fn lifetime(bytes: u64, dispatches: &[usize]) -> Lifetime {
        let uses = dispatches.iter().enumerate().map(|(i, &dispatch)| (dispatch, i == 0)).collect();
        Lifetime { bytes, uses, ..Lifetime::default() }
    }

    #[test]
    fn dead_values_are_reused() {
        let packing = pack(&[lifetime(1000, &[0, 1]), lifetime(4000, &[1, 2]), lifetime(900, &[3])]);
        assert_eq!((packing.slots, packing.bound), (vec![4000, 1000], 5000));
        assert_eq!(packing.places, [(1, 0), (0, 0), (1, 0)]);
    }

    #[test]
    fn small_values_lie_side_by_side() {
        let apart = [lifetime(1000, &[2, 7]), lifetime(1000, &[3, 6]), lifetime(1000, &[4, 5])];
        let packing = pack(&[&[lifetime(4096, &[0, 1])], apart.as_slice()].concat());
        assert_eq!(packing.slots, [4096]);
        assert_eq!(packing.places[1..], [(0, 0), (0, 1024), (0, 2048)]);
        // Dispatch 3 reads the first and writes the second.
        let chain = [lifetime(1000, &[2, 3]), lifetime(1000, &[3, 4])];
        let packing = pack(&[&[lifetime(4096, &[0, 1])], chain.as_slice()].concat());
        assert_eq!(packing.slots, [4096, 1000]);
        assert_eq!(packing.places[1..], [(0, 0), (1, 0)]);
    }

    #[test]
    fn slots_grow_within_their_limit() {
        let long = lifetime(1000, &[0, 9]);
        let values = [long.clone(), lifetime(1000, &[1, 2]), lifetime(1500, &[4, 5])];
        assert_eq!(pack(&values).slots, [1500, 1000]);
        let kept = [Lifetime { input: true, ..long.clone() }, Lifetime { read: true, ..long }];
        let packing = pack(&kept);
        assert_eq!((packing.slots, packing.bound), (vec![1000, 1000], 2000));
    }
}
