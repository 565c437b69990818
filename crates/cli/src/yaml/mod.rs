//! YAML as kubectl reads and writes it (`sigs.k8s.io/yaml`, which is YAML 1.1 where the two differ): `yes` and
//! `off` are booleans, `0644` is octal, a date is text.

mod read;
mod scalar;
mod write;

pub(crate) use read::parse;
pub(crate) use write::to_string;
