//! What a list, a watch or the delete of a collection asks besides selectors: `ListOptions` of meta/v1
//! (upstream: apimachinery/pkg/apis/meta/internalversion/validation, apiserver/pkg/storage/cacher/delegator.go;
//! the rules in prose: "Kubernetes API Concepts", "Resource versions").

use apimachinery::field::{FieldError, Path};
use apimachinery::status::Status;
use registry::Kind;
use store::Revision;

use crate::continue_token::{Continue, Token};
use crate::query::Query;

const EXACT: &str = "Exact";
const NOT_OLDER_THAN: &str = "NotOlderThan";

/// The state that a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The newest; with a number, refused while that has not happened.
    Newest(Option<Revision>),
    /// This one, and no other.
    Exactly(Revision),
    /// The one that the token names, after the key that it names.
    Continued(Token),
}

/// What a list asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListOptions {
    pub(crate) moment: Moment,
    /// How many objects a page has; 0: all of them.
    pub(crate) limit: usize,
}

impl ListOptions {
    /// All of the newest state.
    pub(crate) const EVERYTHING: Self = Self { moment: Moment::Newest(None), limit: 0 };

    /// Reads the options of a list. 422 for combinations that say nothing, as upstream tells them.
    pub(crate) fn from_query(query: &Query) -> Result<Self, Status> {
        let version = query.get("resourceVersion");
        let matching = query.get("resourceVersionMatch");
        let token = query.get("continue");
        refuse(&list_errors(query, version, matching, token))?;
        // What is below zero is no limit.
        let limit = query.number::<i64>("limit")?.unwrap_or_default();
        let limit = usize::try_from(limit).unwrap_or_default();
        let moment = match (token, version) {
            (Some(_), Some(version)) if version != "0" => {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            (Some(token), _) => Moment::Continued(Token::decode(token)?),
            (None, None | Some("0")) => Moment::Newest(None),
            (None, Some(text)) => {
                let version = revision(text)
                    .map_err(|error| Status::bad_request(format!("invalid resource version: {error}")))?;
                match matching {
                    Some(EXACT) => Moment::Exactly(version),
                    // A page of a list at a revision means that revision (upstream's legacy rule).
                    None if limit > 0 => Moment::Exactly(version),
                    _ => Moment::Newest(Some(version)),
                }
            }
        };
        Ok(Self { moment, limit })
    }

    /// Where the list goes on from, when it is not its first page.
    pub(crate) fn continued(&self) -> Option<&Continue> {
        match &self.moment {
            Moment::Continued(token) => Some(&token.at),
            Moment::Newest(_) | Moment::Exactly(_) => None,
        }
    }
}

fn list_errors(
    query: &Query,
    version: Option<&str>,
    matching: Option<&str>,
    token: Option<&str>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("resourceVersionMatch");
    let mut forbid = |path: &Path, why: &str| errors.push(FieldError::forbidden(path, why));
    if let Some(matching) = matching {
        if version.is_none() {
            forbid(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if token.is_some() {
            forbid(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
        if matching == EXACT && version == Some("0") {
            forbid(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if query.get("sendInitialEvents").is_some() {
        forbid(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
    if let Some(matching) = matching.filter(|matching| !matches!(*matching, EXACT | NOT_OLDER_THAN)) {
        errors.push(FieldError::not_supported(&path, matching, &[EXACT, NOT_OLDER_THAN, ""]));
    }
    errors
}

/// Where a watch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the state as it is, told as `ADDED` events; with a number, refused while that has not happened.
    Initial(Option<Revision>),
    /// With what happens from now on.
    Now,
    /// With what happened after this revision.
    After(Revision),
}

/// What a watch asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchOptions {
    pub(crate) start: Start,
    /// Whether a bookmark tells that the initial state has been sent.
    pub(crate) tells_end: bool,
    pub(crate) bookmarks: bool,
    /// How long the watch lives, when the client says so; 0 when it asks for less than nothing.
    pub(crate) timeout_seconds: Option<u64>,
}

impl WatchOptions {
    /// Reads the options of a watch of this kind. 422 for combinations that say nothing, as upstream tells them.
    pub(crate) fn from_query(kind: &Kind, query: &Query) -> Result<Self, Status> {
        let bookmarks = query.flag("allowWatchBookmarks");
        let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let matching = query.get("resourceVersionMatch");
        refuse(&watch_errors(initial, matching, query.get("continue")))?;
        let asked = match query.get("resourceVersion") {
            None | Some("0") => None,
            Some(text) => {
                let version = revision(text);
                Some(version.map_err(|error| Status::invalid(&kind.group_kind(), "", &[error]))?)
            }
        };
        let start = match (initial, asked) {
            (Some(true), asked) => Start::Initial(asked),
            (None, None) => Start::Initial(None),
            (Some(false), None) => Start::Now,
            (Some(false) | None, Some(asked)) => Start::After(asked),
        };
        let seconds = query.number::<i64>("timeoutSeconds")?.filter(|seconds| *seconds != 0);
        let timeout_seconds = seconds.map(|seconds| u64::try_from(seconds).unwrap_or_default());
        Ok(Self { start, tells_end: initial == Some(true) && bookmarks, bookmarks, timeout_seconds })
    }
}

fn watch_errors(initial: Option<bool>, matching: Option<&str>, token: Option<&str>) -> Vec<FieldError> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if initial.is_some() && matching != Some(NOT_OLDER_THAN) {
        let why = format!("sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}");
        errors.push(FieldError::forbidden(&path, why));
    }
    let Some(matching) = matching else { return errors };
    if initial.is_none() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(&path, why));
    }
    if matching != NOT_OLDER_THAN {
        errors.push(FieldError::not_supported(&path, matching, &[NOT_OLDER_THAN]));
    }
    if token.is_some() {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        errors.push(FieldError::forbidden(&path, why));
    }
    errors
}

/// A resourceVersion as clients send it. To them it is a text without a meaning; to us it is a number.
pub(crate) fn revision(text: &str) -> Result<Revision, FieldError> {
    text.parse().map_err(|_| {
        let why = "must be a whole number: take it from the metadata of a list or an object";
        FieldError::invalid(&Path::new("resourceVersion"), text, why)
    })
}

fn refuse(errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("ListOptions.meta.k8s.io", "", errors))
}
