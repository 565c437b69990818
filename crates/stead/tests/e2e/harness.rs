//! A stead for one test, and the words to drive it.

mod followed;
mod home;
mod stead;
mod timeline;

pub(crate) use home::{Home, Objects};
pub(crate) use stead::{Client, Stead};
pub(crate) use timeline::Timeline;

/// Waits at most this long for anything, in seconds.
pub(crate) const PATIENCE: u64 = 60;
