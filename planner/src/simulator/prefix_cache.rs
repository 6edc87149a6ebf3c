//! Which shared prefixes a replica still holds: least recently used out first.

use std::collections::{BTreeMap, HashMap};

use super::Prefix;

/// A cache of so many tokens.
#[derive(Debug, Clone)]
pub(crate) struct PrefixCache {
    capacity: u64,
    held: u64,
    clock: u64,
    entries: HashMap<u64, Entry>,
    by_use: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tokens: u32,
    used: u64,
}

impl PrefixCache {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, held: 0, clock: 0, entries: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Tokens of `prefix` that need not be computed.
    pub(crate) fn find(&mut self, prefix: Prefix) -> u32 {
        let Some(entry) = self.entries.get_mut(&prefix.id) else { return 0 };
        self.clock += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.clock;
        self.by_use.insert(self.clock, prefix.id);
        entry.tokens.min(prefix.tokens)
    }

    /// Keeps a prefix that was just computed, as far as there is room.
    pub(crate) fn keep(&mut self, prefix: Prefix) {
        if u64::from(prefix.tokens) > self.capacity {
            return;
        }
        self.clock += 1;
        let mut tokens = prefix.tokens;
        if let Some(old) = self.entries.remove(&prefix.id) {
            self.by_use.remove(&old.used);
            self.held -= u64::from(old.tokens);
            tokens = tokens.max(old.tokens);
        }
        self.entries.insert(prefix.id, Entry { tokens, used: self.clock });
        self.by_use.insert(self.clock, prefix.id);
        self.held += u64::from(tokens);
        while self.held > self.capacity {
            let Some((_, id)) = self.by_use.pop_first() else { break };
            if let Some(out) = self.entries.remove(&id) {
                self.held -= u64::from(out.tokens);
            }
        }
    }

    /// Forgets everything: the replica went down.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.by_use.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_first() {
        let prefix = |id, tokens| Prefix { id, tokens };
        let mut cache = PrefixCache::new(100);
        cache.keep(prefix(1, 60));
        cache.keep(prefix(2, 40));
        assert_eq!(cache.find(prefix(1, 80)), 60, "only what was computed");
        cache.keep(prefix(3, 30));
        assert_eq!(
            (cache.find(prefix(2, 40)), cache.find(prefix(1, 60)), cache.find(prefix(3, 30))),
            (0, 60, 30)
        );
        cache.keep(prefix(4, 101));
        assert_eq!(cache.find(prefix(4, 101)), 0, "larger than the cache");
        assert_eq!(cache.held, 90);
    }
}
