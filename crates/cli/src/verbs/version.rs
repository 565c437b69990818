//! `version`: of this program and of the server.

use serde_json::json;

use crate::api::Url;
use crate::error::Error;
use crate::output::Format;
use crate::session::Session;

/// The version of this program.
const OURS: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Flags of `version`.
#[derive(Clone, Debug, clap::Args)]
pub struct Version {
    /// Only of this program; no server is asked
    #[arg(long)]
    client: bool,
    /// The form of output: json, yaml
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Version {
    /// `session` may have failed: the own version can be told without a server.
    pub(crate) async fn run(&self, session: Result<Session, Error>) -> Result<(), Error> {
        let ours = json!({"clientVersion": {"gitVersion": OURS}});
        if self.client && !matches!(self.output, Some(Format::Data(_))) {
            println!("Client Version: {OURS}");
            return Ok(());
        }
        let session = session?;
        let mut all = ours;
        if !self.client {
            all["serverVersion"] = session.api.get(&Url::new("/version")).await?;
        }
        if let Some(Format::Data(format)) = &self.output {
            return session.print(format.print(&all)?);
        }
        session.say(format!("Client Version: {OURS}"))?;
        session.say(format!(
            "Server Version: {}",
            all["serverVersion"]["gitVersion"].as_str().unwrap_or_default()
        ))
    }
}
