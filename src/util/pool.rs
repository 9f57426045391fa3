//! A pool of reusable items.

use std::sync::Mutex;

/// A pool of items that are expensive to create, such as buffers.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    idle: Mutex<Vec<T>>,
    max: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self::bounded(usize::MAX)
    }
}

impl<T> Pool<T> {
    /// Returns an empty pool that keeps at most `max` items.
    pub(crate) fn bounded(max: usize) -> Self {
        Self { idle: Mutex::default(), max }
    }

    /// Takes an item out of the pool, or calls `make` if the pool is empty.
    pub(crate) fn take(&self, make: impl FnOnce() -> T) -> T {
        let idle = self.idle.lock().expect("no holder panics").pop();
        idle.unwrap_or_else(make)
    }

    /// Returns an item to the pool, or drops it if the pool is full.
    pub(crate) fn put(&self, item: T) {
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < self.max {
            idle.push(item);
        }
    }
}
