//! Links stead at a fixed address, as Go links containerd and the kubelet.
//!
//! A pod's shim is this program too, and a position-independent one begins by writing relocations: into pages that
//! are then each process's own, and before it can do anything else. Heap, stack and libraries stay where chance puts
//! them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
