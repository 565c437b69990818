//! GET of a collection: all of it, or page by page, as of one revision
//! (rules of `resourceVersion`: upstream's "Kubernetes API Concepts").

use apimachinery::status::Status;
use http::StatusCode;
use store::{Error, Revision};

use crate::api::{ApiServer, Request};
use crate::codec::Stored;
use crate::continue_token::{Continue, Token};
use crate::list_options::{ListOptions, Moment};
use crate::negotiate::Shown;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::selection::Selection;
use crate::storage;
use crate::table::ListMeta;

/// How many objects are looked at in one step when a selector leaves some out of a page.
const SCAN_STEP: usize = 500;
/// Upstream: `inconsistentContinue` in apiserver/pkg/storage/etcd3/errors.go.
const FORGOTTEN_PAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
     start a new list without the continue parameter, or use the continue token in this response to retrieve the \
     remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
     created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
/// Upstream: `expired` there.
const FORGOTTEN_LIST: &str = "The resourceVersion for the provided list is too old.";

pub(crate) async fn list(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let renderer = super::renderer(request, target, Shown::List)?;
    let options = ListOptions::from_query(&request.query)?;
    let selection = Selection::from_request(request, target)?;
    let (items, meta) = select(api, &options, target, &selection).await?;
    Ok(respond::json_bytes(StatusCode::OK, renderer.list(&items, &meta)?))
}

/// The objects that a list answers with.
pub(crate) async fn select(
    api: &ApiServer,
    options: &ListOptions,
    target: &Target,
    selection: &Selection,
) -> Result<(Vec<Stored>, ListMeta), Status> {
    let asked = revision(api, options)?;
    if let Some(name) = selection.name()
        && target.has_place()
        && asked.is_none()
        && options.continued().is_none()
    {
        return select_one(api, target, selection, name).await;
    }
    let prefix = target.prefix();
    let step = match options.limit {
        0 => 0,
        limit if selection.is_everything() => limit,
        limit => limit.max(SCAN_STEP),
    };
    let mut items: Vec<Stored> = Vec::new();
    let mut after = match &options.moment {
        Moment::Continued(token) => Some(format!("{prefix}{}", token.start)),
        Moment::Newest(_) | Moment::Exactly(_) => None,
    };
    let mut revision = asked;
    loop {
        let page = api.store().list(&prefix, after.as_deref(), step, revision).await;
        let page = page.map_err(|error| refused(target, options, error))?;
        revision = Some(page.revision);
        let mut unseen = page.items.len() as u64 + page.remaining;
        for item in page.items {
            unseen -= 1;
            let key = item.key.clone();
            if selection.matches(&item.value)? {
                items.push(item.into());
            }
            if options.limit > 0 && items.len() == options.limit && unseen > 0 {
                let start = key[prefix.len()..].to_owned();
                let token = Token { at: Continue::At(page.revision), start };
                let remaining = selection.is_everything().then_some(unseen);
                let continue_token = Some(token.encode());
                return Ok((items, ListMeta { revision: page.revision, continue_token, remaining }));
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

/// The revision that the store is asked for; `None`: the newest.
fn revision(api: &ApiServer, options: &ListOptions) -> Result<Option<Revision>, Status> {
    match &options.moment {
        Moment::Newest(Some(asked)) => {
            storage::check_happened(api, *asked)?;
            Ok(None)
        }
        Moment::Newest(None) => Ok(None),
        Moment::Exactly(asked) => Ok(Some(*asked)),
        Moment::Continued(Token { at: Continue::At(revision), .. }) => Ok(Some(*revision)),
        Moment::Continued(Token { at: Continue::Newest, .. }) => Ok(None),
    }
}

/// A state that is forgotten is 410. Who was in the middle of it is told how to go on without it.
fn refused(target: &Target, options: &ListOptions, error: Error) -> Status {
    match (error, &options.moment) {
        (Error::Compacted { .. }, Moment::Continued(token)) => {
            let on = Token { at: Continue::Newest, start: token.start.clone() };
            Status { continue_token: on.encode(), ..Status::expired(FORGOTTEN_PAGE) }
        }
        (Error::Compacted { .. }, _) => Status::expired(FORGOTTEN_LIST),
        (other, _) => storage::refused(target, other),
    }
}
