//! The annotations by which users ask of stead what stock fields cannot say.

/// What all of them begin with.
pub const PREFIX: &str = "stead.dev/";

/// On a StatefulSet: ordinals that it must not use, for instance `1,4-6` ([`crate::ordinals`]). The count of
/// replicas stays what it is.
pub const RESERVE_ORDINALS: &str = "stead.dev/reserve-ordinals";

/// On a StatefulSet: `true` while no pod is to be replaced because of its revision.
pub const PAUSED: &str = "stead.dev/paused";
