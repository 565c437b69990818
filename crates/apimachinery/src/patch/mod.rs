//! The three ways to say a change, and how to find one: JSON patch ([`json`], RFC 6902), JSON merge patch
//! ([`merge`], RFC 7396), strategic merge patch ([`strategic`], upstream's own), and the three-way patches of a
//! client-side apply ([`three_way`]).

pub mod json;
pub mod merge;
mod place;
pub mod strategic;
pub mod three_way;
