//! `metadata.managedFields` through the API: who a request writes as, and what becomes of the list.

use std::sync::Arc;

use apimachinery::apply::{self, Writer};
use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::schema::Schema;
use apimachinery::status::Status;
use http::header::USER_AGENT;
use jiff::Timestamp;
use registry::{Kind, Subresource};
use serde_json::Value;

use crate::api::Request;
use crate::life::Part;
use crate::route::{self, Target};
use crate::user::UserInfo;

/// The longest name of a manager, in bytes (upstream: `FieldManagerMaxLength`).
const MAX_MANAGER: usize = 128;
const FIELD: &str = "managedFields";

/// Who a write is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The server itself: nobody comes to own anything.
    Server,
    /// A client: what it changes becomes its own.
    Client {
        /// What it calls itself.
        manager: String,
        /// Who it is.
        user: Arc<UserInfo>,
    },
    /// A client that applied a configuration: the object says already who owns what.
    Applied {
        /// Who it is.
        user: Arc<UserInfo>,
    },
}

impl Author {
    /// The client that sends the request: what it calls itself in `fieldManager`, else the program in its
    /// `User-Agent` (upstream: `managerOrUserAgent`), else, for who calls from inside the process, the program that
    /// does its job upstream.
    pub(crate) fn of(request: &Request) -> Result<Self, Status> {
        if let Some(manager) = request.query.get("fieldManager") {
            check_manager(manager)?;
            return Ok(Self::Client { manager: manager.to_owned(), user: Arc::clone(&request.user) });
        }
        let program = request.headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let name = match &program {
            Some(agent) => agent.split('/').next().unwrap_or_default(),
            None => program_of(&request.user.name),
        };
        let mut bytes = 0;
        let fits = |c: &char| {
            bytes += c.len_utf8();
            bytes <= MAX_MANAGER
        };
        let manager = name.chars().filter(|c| !c.is_control()).take_while(fits).collect();
        Ok(Self::Client { manager, user: Arc::clone(&request.user) })
    }

    /// The user whose rights count; `None` for the server itself.
    pub(crate) fn user(&self) -> Option<&UserInfo> {
        match self {
            Self::Server => None,
            Self::Client { user, .. } | Self::Applied { user } => Some(user),
        }
    }
}

/// The program that such a user is upstream, by the name of the user.
fn program_of(user: &str) -> &str {
    match user.trim_start_matches("system:").split_once(':') {
        Some(("serviceaccount", _)) => "kube-controller-manager",
        Some(("node", _)) => "kubelet",
        _ => user.trim_start_matches("system:"),
    }
}

/// The name that a request to apply must give.
pub(crate) fn applier(request: &Request) -> Result<&str, Status> {
    let Some(manager) = request.query.get("fieldManager") else {
        let path = Path::new("fieldManager");
        return Err(refuse(FieldError::required(&path, "is required for apply patch")));
    };
    check_manager(manager)?;
    Ok(manager)
}

/// Upstream: `ValidateFieldManager`.
fn check_manager(manager: &str) -> Result<(), Status> {
    let path = Path::new("fieldManager");
    if manager.len() > MAX_MANAGER {
        return Err(refuse(FieldError::too_long(&path, MAX_MANAGER)));
    }
    if manager.chars().any(char::is_control) {
        let why = "invalid character; should only contain printable characters";
        return Err(refuse(FieldError::invalid(&path, manager, why)));
    }
    Ok(())
}

/// A `force` that says nothing is a slip (upstream: `ValidatePatchOptions`).
pub(crate) fn refuse_force(request: &Request) -> Result<(), Status> {
    match request.query.get("force") {
        None => Ok(()),
        Some(_) => {
            let path = Path::new("force");
            Err(refuse(FieldError::forbidden(&path, "may not be specified for non-apply patch")))
        }
    }
}

fn refuse(error: FieldError) -> Status {
    Status::invalid("PatchOptions.meta.k8s.io", "", &[error])
}

/// Who writes to the target, and when.
pub(crate) fn writer<'a>(
    target: &Target,
    api_version: &'a str,
    manager: &'a str,
    now: Timestamp,
) -> Option<Writer<'a>> {
    let type_id = Schema::builtin().gvk(api_version, target.kind.kind)?;
    let subresource = target.subresource.map(route::path_word).unwrap_or_default();
    Some(Writer { manager, subresource, api_version, type_id, now })
}

/// Takes from an object what it says of its owners, before the server completes it.
pub(crate) fn take(object: &mut Value) -> Value {
    object.meta_mut().remove(FIELD).unwrap_or_default()
}

/// Says in a completed object who owns what. `sent` is what [`take`] took; `old` is `None` for a new object.
pub(crate) fn keep(
    target: &Target,
    part: Part,
    author: &Author,
    sent: Value,
    new: &mut Value,
    old: Option<&Value>,
    now: Timestamp,
) {
    let kept = old.map(|old| &old["metadata"][FIELD]);
    let list = match author {
        Author::Applied { .. } => sent,
        Author::Client { manager, .. } if is_kept(target.kind, part, kept) => {
            set(new, sent);
            let api_version = target.kind.api_version();
            if let Some(writer) = writer(target, &api_version, manager, now) {
                apply::update(old, new, &writer);
            }
            return;
        }
        Author::Client { .. } | Author::Server => kept.cloned().unwrap_or_default(),
    };
    set(new, list);
}

/// A change that only says that it was made is none (upstream: `IgnoreManagedFieldsTimestampsTransformer`).
pub(crate) fn forget_mere_times(new: &mut Value, old: &Value) {
    let before = &old["metadata"][FIELD];
    if new["metadata"][FIELD] == *before || !apply::same_but_for_times(&new["metadata"][FIELD], before) {
        return;
    }
    let after = take(new);
    set(new, before.clone());
    if new != old {
        set(new, after);
    }
}

/// Whether it is kept who owns what. Not in events and leases, and not in the statuses that stead itself tells most
/// often, unless somebody else says something in them: those would cost most, and nobody asks whose they are.
fn is_kept(kind: &Kind, part: Part, kept: Option<&Value>) -> bool {
    let others_tell = || {
        let mut entries = kept.and_then(Value::as_array).into_iter().flatten();
        entries.any(|entry| entry["subresource"] == route::path_word(Subresource::Status))
    };
    !kind.ephemeral && (part != Part::Status || !kind.late_status || others_tell())
}

fn set(object: &mut Value, list: Value) {
    if list.is_null() {
        object.meta_mut().remove(FIELD);
    } else {
        object.meta_mut().insert(FIELD.to_owned(), list);
    }
}
