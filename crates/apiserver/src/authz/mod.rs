//! Whether who asks may: members of `system:masters` always, everybody else as Roles and bindings say
//! (`registry::rbac`), in upstream's words (`apiserver/pkg/endpoints/handlers/responsewriters/errors.go`).

mod policy;
mod request_info;

use apimachinery::status::Status;
use registry::rbac::{Attributes, Decision};

use crate::api::ApiServer;
use crate::ownership::Author;
use crate::route::Target;
use crate::user::UserInfo;

pub(crate) use policy::PolicyCache;
pub(crate) use request_info::RequestInfo;

/// Lets the user do what is asked, or says who may not do what, and where.
///
/// # Errors
/// 403.
pub(crate) async fn authorize(
    api: &ApiServer,
    user: &UserInfo,
    asked: &Attributes<'_>,
) -> Result<(), Status> {
    let decision = decide(api, user, asked).await?;
    if decision.allowed { Ok(()) } else { Err(refuse(user, asked, &decision.reason)) }
}

/// Lets who writes make what a put or a patch did not find: that takes the right to make it, too.
///
/// # Errors
/// 403.
pub(crate) async fn authorize_creation(
    api: &ApiServer,
    author: &Author,
    target: &Target,
) -> Result<(), Status> {
    let Some(user) = author.user() else { return Ok(()) };
    let asked = Attributes {
        verb: "create",
        group: target.kind.group,
        resource: target.kind.plural,
        namespace: &target.namespace,
        name: &target.name,
        ..Attributes::default()
    };
    authorize(api, user, &asked).await
}

/// What the rules say.
///
/// # Errors
/// When the store fails.
pub(crate) async fn decide(
    api: &ApiServer,
    user: &UserInfo,
    asked: &Attributes<'_>,
) -> Result<Decision, Status> {
    if user.is_master() {
        return Ok(Decision { allowed: true, reason: String::new() });
    }
    Ok(api.policy().await?.decide(user.subject(), asked))
}

fn refuse(user: &UserInfo, asked: &Attributes<'_>, reason: &str) -> Status {
    let (who, verb) = (&user.name, asked.verb);
    let mut why = if let Some(path) = asked.path {
        format!("User {who:?} cannot {verb} path {path:?}")
    } else {
        let part = if asked.subresource.is_empty() { "" } else { "/" };
        let place = match asked.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!(
            "User {who:?} cannot {verb} resource \"{}{part}{}\" in API group {:?} {place}",
            asked.resource, asked.subresource, asked.group
        )
    };
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    let resource = match asked.group {
        "" => asked.resource.to_owned(),
        group => format!("{}.{group}", asked.resource),
    };
    let mut status = Status::forbidden(&resource, asked.name, &why);
    if asked.path.is_some() {
        status.message = format!("forbidden: {why}");
    } else if asked.name.is_empty() {
        status.message = format!("{resource} is forbidden: {why}");
    }
    status
}
