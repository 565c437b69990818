//! YAML as Kubernetes' tools read and write it (`sigs.k8s.io/yaml`, which is YAML 1.1 where the two differ):
//! `yes` and `off` are booleans, `0644` is octal, a date is text.

mod read;
mod scalar;
mod write;

pub use read::{Duplicate, Error, Parsed, parse, parse_leniently};
pub use write::to_string;
