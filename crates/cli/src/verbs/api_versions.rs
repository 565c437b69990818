//! `api-versions`: the versions of groups that the server has, as `group/version`.

use serde_json::Value;

use crate::api::Url;
use crate::error::Error;
use crate::session::Session;

/// `api-versions` has no flags.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiVersions {}

impl ApiVersions {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let groups = session.api.get(&Url::new("/apis")).await?;
        let core = session.api.get(&Url::new("/api")).await?;
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut all: Vec<String> = items(&core["versions"])
            .iter()
            .filter_map(|version| version.as_str().map(str::to_owned))
            .collect();
        for group in items(&groups["groups"]) {
            let versions = items(&group["versions"]);
            all.extend(versions.iter().filter_map(|v| v["groupVersion"].as_str().map(str::to_owned)));
        }
        all.sort();
        all.iter().try_for_each(|version| session.say(version))
    }
}
