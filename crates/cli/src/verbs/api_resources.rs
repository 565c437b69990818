//! `api-resources`: the kinds that the server has.

use crate::error::Error;
use crate::output::{Format, table};
use crate::resource;
use crate::session::Session;

/// Flags of `api-resources`.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiResources {
    /// Only kinds that live in namespaces, or (false) only those that do not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    namespaced: Option<bool>,
    /// Only kinds of this group; "" is core
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
    /// The form of output: wide, name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl ApiResources {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let mut all = resource::discover(&session.api).await?;
        all.retain(|resource| {
            self.namespaced.is_none_or(|wanted| wanted == resource.namespaced)
                && self.api_group.as_ref().is_none_or(|group| *group == resource.group)
        });
        all.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
        let wide = match &self.output {
            Some(Format::Name) => {
                return all.iter().try_for_each(|resource| session.say(resource.plural_name()));
            }
            Some(Format::Data(_)) => {
                return Err(Error::plain("api-resources prints wide and name: see get --raw /apis for data"));
            }
            wide => wide.is_some(),
        };
        let mut rows = Vec::new();
        if !self.no_headers {
            let headings = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
            rows.push(headings.into_iter().chain(wide.then_some("CATEGORIES")).map(str::to_owned).collect());
        }
        for resource in all {
            let mut row = vec![
                resource.plural.clone(),
                resource.short_names.join(","),
                resource.api_version(),
                resource.namespaced.to_string(),
                resource.kind.clone(),
            ];
            if wide {
                row.push(resource.categories.join(","));
            }
            rows.push(row);
        }
        session.print(table::align(&rows))
    }
}
