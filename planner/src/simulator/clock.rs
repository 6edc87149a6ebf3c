//! Which replica is next: a tournament over the times of their next events.

/// The earliest of many times, each of which changes often. Ties go to the lower index.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    leaves: usize,
    times: Vec<f64>,
    /// Node 1 is the root; node n has the winners of 2n and 2n + 1.
    winners: Vec<u32>,
}

#[expect(clippy::indexing_slicing, reason = "the tree has 2 · leaves nodes and every index is below that")]
impl Clock {
    pub(crate) fn new(count: usize) -> Self {
        let leaves = count.next_power_of_two().max(2);
        let mut winners = vec![0; 2 * leaves];
        for leaf in 0..leaves {
            winners[leaves + leaf] = u32::try_from(leaf).unwrap_or(u32::MAX);
        }
        for node in (1..leaves).rev() {
            winners[node] = winners[2 * node];
        }
        Self { leaves, times: vec![f64::INFINITY; leaves], winners }
    }

    /// Sets the time of one.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, time: f64) {
        self.times[index] = time;
        let mut node = (self.leaves + index) >> 1;
        while node >= 1 {
            let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
            self.winners[node] =
                if self.times[right as usize] < self.times[left as usize] { right } else { left };
            node >>= 1;
        }
    }

    /// The earliest, and its time; infinity where none has one.
    #[inline]
    pub(crate) fn first(&self) -> (usize, f64) {
        let index = self.winners[1] as usize;
        (index, self.times[index])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_smallest(count in 1usize..20, sets in prop::collection::vec((0usize..20, 0u32..50), 1..80)) {
            let mut clock = Clock::new(count);
            let mut plain = vec![f64::INFINITY; count];
            for (index, time) in sets {
                let index = index % count;
                clock.set(index, f64::from(time));
                plain[index] = f64::from(time);
                let least = plain.iter().copied().fold(f64::INFINITY, f64::min);
                let at = plain.iter().position(|t| t.total_cmp(&least).is_eq()).unwrap();
                prop_assert_eq!(clock.first().0, at);
                prop_assert!(clock.first().1.total_cmp(&least).is_eq());
            }
        }
    }
}
