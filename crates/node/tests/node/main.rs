//! The node agent over a real API in memory and containers that only pretend: what becomes of pods when
//! things go wrong at the worst moment. The network is a real one in a namespace of its own, so this needs
//! root.

mod admission;
mod machine;
mod restarts;
mod stops;
