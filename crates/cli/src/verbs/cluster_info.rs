//! `cluster-info`: where the API answers.

use crate::api::Url;
use crate::error::Error;
use crate::session::Session;

/// `cluster-info` has no flags.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterInfo {}

impl ClusterInfo {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        // Only a server that answers is told of.
        session.api.get(&Url::new("/version")).await?;
        session.say(format!("Kubernetes control plane is running at {}", session.api.server()))
    }
}
