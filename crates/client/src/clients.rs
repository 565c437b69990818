//! The API as each part of stead reaches it.

use std::sync::Arc;

use kube::Client;

/// Clients by the user that they ask as. Inside the process every part is a user of its own, so that the API's roles
/// bind it and refusals say who; elsewhere all parts are whoever the kubeconfig says. Cheap to clone.
#[derive(Clone)]
pub struct Clients(Arc<dyn Fn(&str) -> Client + Send + Sync>);

impl Clients {
    /// Clients that `make` makes for each user.
    pub fn new(make: impl Fn(&str) -> Client + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// One client, whoever asks.
    pub fn one(client: Client) -> Self {
        Self::new(move |_| client.clone())
    }

    /// The client of one user.
    pub fn of(&self, user: &str) -> Client {
        (self.0)(user)
    }
}
