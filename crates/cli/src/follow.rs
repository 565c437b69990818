//! Lists, then watches, and does both again as long as needed.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use crate::api::{AS_TABLE, Api, Url};
use crate::error::Error;

/// What [`follow`] shows.
pub(crate) enum Seen<'a> {
    /// Everything as it is: at the start, and again when the server has forgotten what happened since.
    List(&'a Value),
    /// What happened (`ADDED`, `MODIFIED`, `DELETED`), and to which object.
    Change(&'a str, &'a Value),
}

/// Shows the objects at `url` and all that happens to them, until `see` answers with something.
///
/// # Errors
/// When the server cannot be reached or refuses, and what `see` fails with.
pub(crate) async fn follow<T>(
    api: &Api,
    url: &Url,
    as_table: bool,
    mut see: impl FnMut(Seen<'_>) -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    loop {
        let list = if as_table { api.get_as(url, AS_TABLE).await? } else { api.get(url).await? };
        if let Some(answer) = see(Seen::List(&list))? {
            return Ok(answer);
        }
        let mut version = list.resource_version().to_owned();
        match watch_from(api, url, as_table, &mut version, &mut see).await {
            Err(error) if error.is_expired() => {}
            other => return other,
        }
    }
}

async fn watch_from<T>(
    api: &Api,
    url: &Url,
    as_table: bool,
    version: &mut String,
    see: &mut impl FnMut(Seen<'_>) -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    loop {
        let url = url.clone().with("resourceVersion", &*version).flag("allowWatchBookmarks", true);
        let mut watch = api.watch(&url, as_table).await?;
        while let Some(event) = watch.next().await? {
            let object = &event["object"];
            if let Some(newer) = version_of(object) {
                newer.clone_into(version);
            }
            let change = event["type"].as_str().unwrap_or_default();
            if change != "BOOKMARK"
                && let Some(answer) = see(Seen::Change(change, object))?
            {
                return Ok(answer);
            }
        }
    }
}

/// The version of an object, or of the one in a table's row.
fn version_of(object: &Value) -> Option<&str> {
    [object.resource_version(), object["rows"][0]["object"].resource_version()]
        .into_iter()
        .find(|v| !v.is_empty())
}
