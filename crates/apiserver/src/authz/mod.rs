//! Whether who asks may: members of `system:masters` always, nodes as far as their pods need it (`registry::nodes`),
//! and everybody as Roles and bindings say (`registry::rbac`), in upstream's words (`apiserver/pkg/endpoints/handlers/responsewriters/errors.go`).

mod follow;
mod request_info;
pub(crate) mod restriction;

use apimachinery::status::Status;
use registry::nodes::{self, Graph, Opinion};
use registry::rbac::{Attributes, Decision};

use crate::api::ApiServer;
use crate::ownership::Author;
use crate::route::Target;
use crate::user::UserInfo;

pub(crate) use follow::Cache;
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
    let mut why = String::new();
    if let Some(node) = nodes::identify(user.subject()) {
        match node_opinion(api, node, asked).await? {
            Opinion::Allow => return Ok(Decision { allowed: true, reason: String::new() }),
            Opinion::None(reason) => why = reason,
        }
    }
    let mut decision = api.policy().await?.decide(user.subject(), asked);
    if !decision.allowed && !why.is_empty() {
        let reasons = [why, decision.reason];
        decision.reason =
            reasons.into_iter().filter(|reason| !reason.is_empty()).collect::<Vec<_>>().join("\n");
    }
    Ok(decision)
}

async fn node_opinion(api: &ApiServer, node: &str, asked: &Attributes<'_>) -> Result<Opinion, Status> {
    if nodes::looks_at_pods(asked) {
        Ok(nodes::authorize(node, &*api.graph().await?, asked))
    } else {
        Ok(nodes::authorize(node, &Graph::default(), asked))
    }
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
