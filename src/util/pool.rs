//! Things that are costly to make and are used again.

use std::sync::Mutex;

/// Holds what is not in use.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    idle: Mutex<Vec<T>>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { idle: Mutex::default() }
    }
}

impl<T> Pool<T> {
    /// Takes one out of the pool, or makes it.
    pub(crate) fn take(&self, make: impl FnOnce() -> T) -> T {
        let idle = self.idle.lock().expect("no holder panics").pop();
        idle.unwrap_or_else(make)
    }

    /// Returns an item to the pool, unless the pool already has `max` items.
    pub(crate) fn put_within(&self, max: usize, item: T) {
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < max {
            idle.push(item);
        }
    }

    /// Puts one back.
    pub(crate) fn put(&self, item: T) {
        self.idle.lock().expect("no holder panics").push(item);
    }
}
