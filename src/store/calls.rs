//! Requests to stores, counted by what is charged for them.

use std::ops::{Add, AddAssign, Mul};

use serde::Serialize;

/// So many requests. A local disk takes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Those that list.
    pub list: u64,
    /// Those that read an object, a part of one, or what is known of it.
    pub get: u64,
    /// Those that write, or begin or complete what is written in parts.
    pub put: u64,
    /// Those that delete or abort, which cost nothing.
    pub delete: u64,
}

impl Calls {
    /// No requests.
    pub const NONE: Self = Self { list: 0, get: 0, put: 0, delete: 0 };

    /// Returns the number of all requests.
    pub fn sum(self) -> u64 {
        self.list + self.get + self.put + self.delete
    }
}

impl Add for Calls {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            list: self.list + other.list,
            get: self.get + other.get,
            put: self.put + other.put,
            delete: self.delete + other.delete,
        }
    }
}

impl AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Calls {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        let Self { list, get, put, delete } = self;
        Self { list: list * times, get: get * times, put: put * times, delete: delete * times }
    }
}
