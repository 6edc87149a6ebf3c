//! Which replica takes a request.

use super::{Prefix, settings::Router};

/// What a router sees of a replica: whether it takes requests, and how many it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) ready: bool,
    pub(crate) outstanding: u32,
}

/// Chooses among replicas.
#[derive(Debug, Clone)]
pub(crate) struct Routing {
    router: Router,
    /// Where the next search starts, so that ties do not all go to the first replica.
    next: usize,
}

impl Routing {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, next: 0 }
    }

    /// The replica that takes a request; `None` where none is ready.
    pub(crate) fn choose(&mut self, prefix: Option<Prefix>, loads: &[Load]) -> Option<usize> {
        let chosen = match (self.router, prefix) {
            (Router::RoundRobin, _) => {
                self.around(loads).find(|(_, load)| load.ready).map(|(index, _)| index)
            }
            (Router::LeastLoaded, _) | (Router::PrefixAffine, None) => self.least_loaded(loads),
            (Router::PrefixAffine, Some(prefix)) => {
                let home = home_of(prefix.id, loads)?;
                let ready = loads.iter().filter(|load| load.ready);
                let (count, total) =
                    ready.fold((0_u32, 0_u64), |(n, sum), load| (n + 1, sum + u64::from(load.outstanding)));
                let bound = (1.25 * (total as f64 + 1.0) / f64::from(count.max(1))).ceil();
                let fits = loads.get(home).is_some_and(|load| f64::from(load.outstanding) < bound);
                if fits { Some(home) } else { self.least_loaded(loads) }
            }
        }?;
        self.next = (chosen + 1) % loads.len();
        Some(chosen)
    }

    fn around<'a>(&self, loads: &'a [Load]) -> impl Iterator<Item = (usize, &'a Load)> {
        let next = self.next;
        let after = loads.iter().enumerate().skip(next);
        after.chain(loads.iter().enumerate().take(next))
    }

    fn least_loaded(&self, loads: &[Load]) -> Option<usize> {
        let ready = self.around(loads).filter(|(_, load)| load.ready);
        ready.min_by_key(|(_, load)| load.outstanding).map(|(index, _)| index)
    }
}

/// Rendezvous hashing: the ready replica with the highest mix of prefix and replica. A replica that comes or goes moves only
/// its own prefixes.
fn home_of(prefix: u64, loads: &[Load]) -> Option<usize> {
    let ready = loads.iter().enumerate().filter(|(_, load)| load.ready);
    ready.max_by_key(|(index, _)| mix(prefix ^ mix(*index as u64 + 1))).map(|(index, _)| index)
}

/// `SplitMix64`'s finaliser (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(outstanding: &[u32]) -> Vec<Load> {
        outstanding.iter().map(|o| Load { ready: true, outstanding: *o }).collect()
    }

    #[test]
    fn round_robin_takes_turns_and_skips_the_dead() {
        let mut routing = Routing::new(Router::RoundRobin);
        let mut loads = loads(&[0, 0, 0]);
        loads[1].ready = false;
        let chosen: Vec<_> = (0..4).map(|_| routing.choose(None, &loads)).collect();
        assert_eq!(chosen, [Some(0), Some(2), Some(0), Some(2)]);
        assert_eq!(routing.choose(None, &[Load { ready: false, outstanding: 0 }]), None);
    }

    #[test]
    fn the_least_loaded_is_chosen_and_ties_go_round() {
        let mut routing = Routing::new(Router::LeastLoaded);
        assert_eq!(routing.choose(None, &loads(&[3, 1, 1])), Some(1));
        assert_eq!(routing.choose(None, &loads(&[3, 1, 1])), Some(2));
    }

    #[test]
    fn a_prefix_stays_home_unless_home_is_full() {
        let mut routing = Routing::new(Router::PrefixAffine);
        let prefix = Some(Prefix { id: 7, tokens: 100 });
        let home = routing.choose(prefix, &loads(&[1, 1, 1, 1])).unwrap();
        assert_eq!(routing.choose(prefix, &loads(&[1, 1, 1, 1])), Some(home));
        let mut full = [1; 4];
        full[home] = 20;
        assert_ne!(routing.choose(prefix, &loads(&full)), Some(home));
        let homes: std::collections::BTreeSet<_> =
            (0..64).filter_map(|id| home_of(id, &loads(&[0; 4]))).collect();
        assert_eq!(homes.len(), 4);
    }
}
