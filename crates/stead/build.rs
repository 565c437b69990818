//! Links stead at a fixed address, as Go links containerd and the kubelet.
//!
//! A pod's shim is this program too, and a position-independent one begins by writing some 40,000 addresses into
//! pages of its own: 0.85 MB and a millisecond for every pod. Heap, stack and libraries stay where chance puts
//! them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
