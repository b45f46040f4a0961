//! The order in which the tokens of a frame are visited.
//!
//! It is that of pyctcdecode, whose results are the ones that others compare with: that of a Python set of the ids, an
//! open hash table of whole numbers. It decides only between equal scores, and with sub-words which beam a token that
//! ends in `▁` parts.

/// Neighbors that CPython looks at before it jumps.
const NEIGHBORS: usize = 9;
const EMPTY: u32 = u32::MAX;

/// A Python set of whole numbers that only grows.
#[derive(Debug, Default)]
pub(super) struct Order {
    table: Vec<u32>,
    used: usize,
}

impl Order {
    /// Puts `ids`, ascending, into the order of `set(ids) | {best}`.
    pub fn sort(&mut self, ids: &mut Vec<u32>, best: u32) {
        self.clear(8);
        for &id in &*ids {
            self.add(id);
        }
        // The union is a copy, which is made for twice as many, and then takes the other set.
        let (table, used) = (std::mem::take(&mut self.table), self.used);
        self.clear(8);
        if used * 5 >= (self.table.len() - 1) * 3 {
            self.clear(size(used * 2));
        }
        if self.table.len() == table.len() {
            self.table.copy_from_slice(&table);
            self.used = used;
        } else {
            table.iter().filter(|&&id| id != EMPTY).for_each(|&id| self.place(id));
        }
        if (self.used + 1) * 5 >= (self.table.len() - 1) * 3 {
            self.resize((self.used + 1) * 2);
        }
        self.add(best);
        ids.clear();
        ids.extend(self.table.iter().copied().filter(|&id| id != EMPTY));
    }

    fn clear(&mut self, size: usize) {
        self.table.clear();
        self.table.resize(size, EMPTY);
        self.used = 0;
    }

    /// Puts `id` where it belongs, if it is not there; whether it was new.
    fn insert(&mut self, id: u32) -> bool {
        let mask = self.table.len() - 1;
        let (mut at, mut perturb) = (id as usize & mask, id as usize);
        loop {
            let last = if at + NEIGHBORS <= mask { at + NEIGHBORS } else { at };
            for place in &mut self.table[at..=last] {
                if *place == EMPTY {
                    *place = id;
                    return true;
                }
                if *place == id {
                    return false;
                }
            }
            perturb >>= 5;
            at = (at * 5 + 1 + perturb) & mask;
        }
    }

    fn place(&mut self, id: u32) {
        self.insert(id);
        self.used += 1;
    }

    fn add(&mut self, id: u32) {
        if self.insert(id) {
            self.used += 1;
            if self.used * 5 >= (self.table.len() - 1) * 3 {
                self.resize(if self.used > 50_000 { self.used * 2 } else { self.used * 4 });
            }
        }
    }

    fn resize(&mut self, least: usize) {
        let table = std::mem::take(&mut self.table);
        self.clear(size(least));
        table.iter().filter(|&&id| id != EMPTY).for_each(|&id| self.place(id));
    }
}

/// The smallest size of a table of more than `least` places.
fn size(least: usize) -> usize {
    (least + 1).next_power_of_two().max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids, the best one, and the order in CPython 3.11.
    const ORDERS: [(&[u32], u32, &[u32]); 7] = [
        (&[19], 19, &[19]),
        (&[11, 23, 25], 25, &[25, 11, 23]),
        (&[7, 13, 63, 119], 13, &[7, 119, 13, 63]),
        (&[28, 63, 95, 97, 120], 120, &[97, 120, 28, 95, 63]),
        (&[3, 26, 40, 46, 55, 63, 71, 99, 104], 26, &[3, 99, 71, 40, 104, 46, 55, 26, 63]),
        (
            &[14, 43, 1037, 1083, 1136, 1358, 1363, 1629, 1715, 1765, 2369, 2569, 3644, 4417],
            2369,
            &[2369, 4417, 1765, 2569, 43, 1037, 14, 1358, 1136, 1363, 1715, 1083, 3644, 1629],
        ),
        (
            &[
                1, 11, 33, 74, 84, 93, 100, 104, 135, 152, 154, 158, 169, 173, 184, 196, 212, 300, 305, 308,
                320, 347, 353, 362, 418, 457, 479, 481, 494, 495,
            ],
            158,
            &[
                320, 1, 196, 135, 457, 74, 11, 84, 212, 152, 154, 347, 93, 158, 479, 33, 418, 353, 481, 100,
                104, 169, 362, 300, 173, 494, 495, 305, 308, 184,
            ],
        ),
    ];

    #[test]
    fn ids_come_in_the_order_of_a_python_set() {
        let mut order = Order::default();
        for (ids, best, expected) in ORDERS {
            let mut sorted = ids.to_vec();
            order.sort(&mut sorted, best);
            assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn all_ids_stay() {
        let mut order = Order::default();
        for count in 1..400 {
            let ids: Vec<u32> = (0..count).map(|i| i * 7 + i * i % 5).collect();
            let mut sorted = ids.clone();
            order.sort(&mut sorted, ids[count as usize / 2]);
            sorted.sort_unstable();
            assert_eq!(sorted, ids);
        }
    }
}
