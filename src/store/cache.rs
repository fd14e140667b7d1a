//! A small least-recently-used cache with a weight limit.

use std::{collections::HashMap, hash::Hash};

struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

/// Keeps the most recently used values, at most `limit` of weight together (one value may exceed it alone).
pub(super) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    limit: usize,
    weight: usize,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit, weight: 0, clock: 0 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// Puts `value` in, and the least recently used ones out until the limit holds.
    pub(super) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.clock += 1;
        let entry = Entry { value, weight, used: self.clock };
        self.weight += weight;
        if let Some(replaced) = self.entries.insert(key, entry) {
            self.weight -= replaced.weight;
        }
        while self.weight > self.limit && self.entries.len() > 1 {
            // Linear: the caches hold few values, and eviction comes with I/O that dwarfs it.
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
            else {
                return;
            };
            if let Some(evicted) = self.entries.remove(&oldest) {
                self.weight -= evicted.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_limit_holds() {
        let mut cache = Cache::new(3);
        cache.insert("a", 1, 1);
        cache.insert("b", 2, 1);
        cache.insert("c", 3, 1);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.insert("d", 4, 1);
        assert_eq!(
            [cache.get(&"a"), cache.get(&"b"), cache.get(&"c"), cache.get(&"d")],
            [Some(1), None, Some(3), Some(4)]
        );
        cache.insert("a", 5, 2);
        assert_eq!((cache.get(&"a"), cache.get(&"d"), cache.get(&"c")), (Some(5), Some(4), None));
        cache.insert("huge", 6, 100);
        assert_eq!((cache.entries.len(), cache.weight, cache.get(&"huge")), (1, 100, Some(6)));
    }
}
