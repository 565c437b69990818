//! Being taken for somebody else: the headers of `kubectl --as`, each checked by the rules (upstream:
//! `apiserver/pkg/endpoints/filters/impersonation`).

use std::collections::BTreeMap;

use apimachinery::status::Status;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use registry::rbac::{self, Attributes};

use crate::api::ApiServer;
use crate::authz;
use crate::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, UserInfo};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
/// The group of what is not a user, a group or an account.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom the headers ask to be taken for; `None` when they ask nothing.
///
/// # Errors
/// 400 for groups and the like without a user.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, Status> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in headers.keys() {
        if let Some(encoded) = key.as_str().strip_prefix(EXTRA) {
            let decoded = percent_decode_str(encoded).decode_utf8_lossy().to_lowercase();
            extra.insert(decoded, texts(key.as_str()));
        }
    }
    let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
    let wanted = UserInfo { name: first(USER), uid: first(UID), groups: texts(GROUP), extra };
    if wanted == UserInfo::default() {
        return Ok(None);
    }
    if wanted.name.is_empty() {
        return Err(Status::bad_request(
            "the request is to be made as a group, a uid or with extra fields without impersonating a user: name the \
             user in Impersonate-User",
        ));
    }
    Ok(Some(wanted))
}

/// `wanted`, complete, if `user` may be taken for all of it.
///
/// # Errors
/// 403 for the first that they may not.
pub(super) async fn impersonate(
    api: &ApiServer,
    user: &UserInfo,
    mut wanted: UserInfo,
) -> Result<UserInfo, Status> {
    let account = rbac::split_service_account(&wanted.name);
    let ask = |group: &'static str, resource: &'static str| Attributes {
        verb: "impersonate",
        group,
        resource,
        ..Attributes::default()
    };
    let mut asked = vec![match account {
        Some((namespace, name)) => Attributes { namespace, name, ..ask("", "serviceaccounts") },
        None => Attributes { name: &wanted.name, ..ask("", "users") },
    }];
    if !wanted.uid.is_empty() {
        asked.push(Attributes { name: &wanted.uid, ..ask(AUTHENTICATION, "uids") });
    }
    asked.extend(wanted.groups.iter().map(|name| Attributes { name, ..ask("", "groups") }));
    for (key, values) in &wanted.extra {
        let one = |name| Attributes { subresource: key, name, ..ask(AUTHENTICATION, "userextras") };
        asked.extend(values.iter().map(|value| one(value.as_str())));
    }
    for attributes in &asked {
        authz::authorize(api, user, attributes).await?;
    }
    if wanted.groups.is_empty()
        && let Some((namespace, _)) = account
    {
        wanted.groups.extend(rbac::service_account_groups(namespace));
    }
    let fixed = if wanted.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !wanted.groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
        wanted.groups.push(fixed.to_owned());
    }
    Ok(wanted)
}
