//! A courier in memory that keeps what it carried and can be told what the receiver answers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt};
use nightshift_engine::courier::{Courier, CourierError, Parcel, Receipt};

/// A courier in memory. Receivers take everything unless they were told otherwise.
#[derive(Debug, Clone, Default)]
pub struct Post(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    carried: Vec<Parcel>,
    answers: VecDeque<u16>,
}

impl Post {
    /// Lets the receiver answer its next parcel with `status`.
    pub fn answer(&self, status: u16) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers.push_back(status);
    }

    /// Every parcel that was carried so far, whatever the answer.
    #[must_use]
    pub fn carried(&self) -> Vec<Parcel> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.carried.clone()
    }
}

impl Courier for Post {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<Receipt, CourierError>> {
        async move {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.carried.push(parcel.clone());
            match state.answers.pop_front().unwrap_or(200) {
                status @ 200..300 => Ok(Receipt::Taken(status)),
                410 => Ok(Receipt::Unwanted),
                status => Err(CourierError::Refused(status)),
            }
        }
        .boxed()
    }
}
