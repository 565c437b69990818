//! Images made up here, imported and pulled for real. Needs root: layers have owners, devices and marks that
//! only root may set. Pulls go to Debian's docker-registry on loopback.

mod import;
mod pull;
mod registry;
mod support;
mod unpack;
mod user;
