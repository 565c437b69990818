//! `explain`: what the fields of a kind are for, from the server's OpenAPI document.

use crate::api::Url;
use crate::error::Error;
use crate::explain::{Document, Wanted};
use crate::resource::{self, Resource};
use crate::session::Session;

/// Flags of `explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// A kind, or a field of one: sts.spec.updateStrategy
    #[arg(value_name = "KIND[.FIELD…]")]
    what: String,
    /// Show the names of all fields below, and not what they are for
    #[arg(long)]
    recursive: bool,
    /// Explain the kind as it is in this version: autoscaling/v1
    #[arg(long, value_name = "GROUP/VERSION")]
    api_version: Option<String>,
}

impl Explain {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let (resource, fields) = self.split(session).await?;
        let api_version = self.api_version.clone().unwrap_or_else(|| resource.api_version());
        let place = if api_version.contains('/') { "apis" } else { "api" };
        let found = session.api.find(&Url::new(format!("/openapi/v3/{place}/{api_version}"))).await?;
        let document = found.ok_or_else(|| {
            Error::plain(format!("the server has no {api_version}: see api-versions for what it has"))
        })?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let wanted = Wanted { group, version, kind: &resource.kind, fields: &fields };
        session.print(Document::new(&document).explain(&wanted, self.recursive)?)
    }

    /// The kind and the path below it. A word with dots may name a group too (`statefulsets.apps`): the longest that
    /// names a kind counts.
    async fn split(&self, session: &Session) -> Result<(Resource, Vec<String>), Error> {
        let all = resource::discover(&session.api).await?;
        let words: Vec<&str> = self.what.split('.').collect();
        for length in (1..=words.len()).rev() {
            let word = words[..length].join(".");
            if let Some(found) = all.iter().find(|resource| resource.answers_to(&word)) {
                return Ok((found.clone(), words[length..].iter().map(|word| (*word).to_owned()).collect()));
            }
        }
        Err(resource::unknown_word(&all, words[0]))
    }
}
