//! Counts store requests by billing category.

use std::ops::{Add, AddAssign, Mul};

use serde::Serialize;

/// The number of requests in each category. A local disk needs no requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Requests that list objects.
    pub list: u64,
    /// Requests that read an object, a range or metadata.
    pub get: u64,
    /// Requests that write an object or a part, or that start or complete a multipart upload.
    pub put: u64,
    /// Requests that delete an object or abort an upload. These requests are free of charge.
    pub delete: u64,
}

impl Calls {
    /// No requests.
    pub const NONE: Self = Self { list: 0, get: 0, put: 0, delete: 0 };

    /// Returns the total number of requests.
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
