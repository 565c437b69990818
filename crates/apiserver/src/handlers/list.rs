//! GET of a collection: all of it, or page by page, as of one revision
//! (rules of `resourceVersion`: upstream's "Kubernetes API Concepts").

use apimachinery::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::{Error, Revision};

use crate::api::{ApiServer, Request};
use crate::codec::Stored;
use crate::query::Query;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::selection::Selection;
use crate::storage;
use crate::table::ListMeta;

/// How many objects are looked at in one step when a selector leaves some out of a page.
const SCAN_STEP: usize = 500;
/// The version of the tokens (upstream: `storage.encodeContinueV1`).
const TOKEN_VERSION: &str = "meta.k8s.io/v1";

pub(crate) async fn list(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let selection = Selection::from_query(target.kind, &request.query)?;
    let (items, meta) = select(api, &request.query, target, &selection).await?;
    Ok(respond::json_bytes(StatusCode::OK, super::renderer(request, target).list(&items, &meta)?))
}

/// Where a list goes on.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// The revision that all pages show.
    rv: Revision,
    /// The last key of the page before, without the collection's prefix.
    start: String,
}

/// What part of the collection is asked for.
struct Range {
    after: Option<String>,
    revision: Option<Revision>,
    limit: usize,
    is_continued: bool,
}

/// The objects that a list answers with.
pub(crate) async fn select(
    api: &ApiServer,
    query: &Query,
    target: &Target,
    selection: &Selection,
) -> Result<(Vec<Stored>, ListMeta), Status> {
    let range = range(api, query, target)?;
    let refused = |error: Error| match error {
        Error::Compacted { .. } if range.is_continued => Status::expired(
            "The provided continue parameter is too old to display a consistent list result. \
             You must start a new list without the continue parameter",
        ),
        other => storage::refused(target, other),
    };
    let has_place = !target.namespace.is_empty() || target.kind.scope == registry::Scope::Cluster;
    if let Some(name) = selection.name()
        && range.revision.is_none()
        && has_place
    {
        return select_one(api, target, selection, name).await;
    }
    let prefix = target.prefix();
    let step = match range.limit {
        0 => 0,
        limit if selection.is_everything() => limit,
        limit => limit.max(SCAN_STEP),
    };
    let mut items: Vec<Stored> = Vec::new();
    let (mut after, mut revision) = (range.after.clone(), range.revision);
    loop {
        let page = api.store().list(&prefix, after.as_deref(), step, revision).await.map_err(refused)?;
        revision = Some(page.revision);
        let mut unseen = page.items.len() as u64 + page.remaining;
        for item in page.items {
            unseen -= 1;
            let key = item.key.clone();
            if selection.matches(&item.value)? {
                items.push(item.into());
            }
            if range.limit > 0 && items.len() == range.limit && unseen > 0 {
                let start = key[prefix.len()..].to_owned();
                let token = Token { v: TOKEN_VERSION.to_owned(), rv: page.revision, start };
                let remaining = selection.is_everything().then_some(unseen);
                let meta =
                    ListMeta { revision: page.revision, continue_token: Some(token.encode()), remaining };
                return Ok((items, meta));
            }
            after = Some(key.to_string());
        }
        if unseen == 0 || step == 0 {
            return Ok((items, ListMeta { revision: page.revision, ..ListMeta::default() }));
        }
    }
}

async fn select_one(
    api: &ApiServer,
    target: &Target,
    selection: &Selection,
    name: &str,
) -> Result<(Vec<Stored>, ListMeta), Status> {
    let key = registry::key(target.kind, &target.namespace, name);
    let (found, revision) = api.store().get(&key).await.map_err(|e| storage::refused(target, e))?;
    let mut items = Vec::new();
    if let Some(found) = found
        && selection.matches(&found.value)?
    {
        items.push(found.into());
    }
    Ok((items, ListMeta { revision, ..ListMeta::default() }))
}

fn range(api: &ApiServer, query: &Query, target: &Target) -> Result<Range, Status> {
    let limit = query.number::<u32>("limit")?.unwrap_or_default() as usize;
    let version = query.number::<Revision>("resourceVersion")?;
    let matching = query.get("resourceVersionMatch");
    if let Some(token) = query.get("continue") {
        if version.is_some_and(|v| v > 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        if matching.is_some() {
            return Err(Status::bad_request("resourceVersionMatch is forbidden when continue is provided"));
        }
        let token = Token::decode(token)?;
        let after = Some(format!("{}{}", target.prefix(), token.start));
        return Ok(Range { after, revision: Some(token.rv), limit, is_continued: true });
    }
    let newest = api.store().revision();
    let revision = match (version, matching) {
        (None, Some(_)) => {
            return Err(Status::bad_request(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        (Some(0), Some("Exact")) => {
            return Err(Status::bad_request(
                "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        (Some(asked), _) if asked > newest => return Err(storage::too_large_version(asked, newest)),
        (Some(asked), Some("Exact")) => Some(asked),
        // A page of a list at a revision means that revision (upstream's legacy rule).
        (Some(asked), None) if limit > 0 && asked > 0 => Some(asked),
        (_, None | Some("NotOlderThan")) => None,
        (_, Some(other)) => {
            return Err(Status::bad_request(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            )));
        }
    };
    Ok(Range { after: None, revision, limit, is_continued: false })
}

impl Token {
    fn encode(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).expect("a token can be written"))
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let refuse = || {
            Status::bad_request(format!("continue key is not valid: {text:?}: take it from the page before"))
        };
        let bytes = BASE64.decode(text.trim_end_matches('=')).map_err(|_| refuse())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
        if token.v == TOKEN_VERSION { Ok(token) } else { Err(refuse()) }
    }
}
