//! Nodes write what is theirs alone (`registry::nodes`): what must be read for that, and the question itself.

use apimachinery::status::Status;
use registry::nodes::{self, Operation, Write};
use registry::{Kind, Scope};
use serde_json::Value;

use crate::api::ApiServer;
use crate::codec;
use crate::handlers::delete::check_preconditions;
use crate::options::DeleteOptions;
use crate::route::{self, Target};
use crate::user::UserInfo;

/// Lets the user write, unless it is a node and this is none of its business.
///
/// # Errors
/// 403; 404 when it is about a pod that is not there.
pub(crate) async fn admit(
    api: &ApiServer,
    user: &UserInfo,
    target: &Target,
    operation: Operation,
    new: &Value,
    old: &Value,
) -> Result<(), Status> {
    let Some(node) = nodes::identify(user.subject()) else { return Ok(()) };
    let write = Write {
        operation,
        kind: target.kind,
        subresource: target.subresource.map(route::path_word).unwrap_or_default(),
        namespace: &target.namespace,
        name: &target.name,
        new,
        old,
    };
    let other = match nodes::other_in_question(node, &write) {
        Some((plural, name)) => read(api, plural, &target.namespace, name).await?,
        None => Value::Null,
    };
    nodes::admit(node, &write, &other)?;
    if write.subresource == "token"
        && let Some(asked) = nodes::audience(new, &other, write.namespace, write.name)
        && !super::decide(api, user, &asked).await?.allowed
    {
        let why = format!(
            "audience {:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            asked.resource, user.name
        );
        return Err(Status::forbidden(&target.kind.resource(), &target.name, &why));
    }
    Ok(())
}

/// [`admit`] for a delete or an eviction. A node that means another object than the one that is there hears that: it
/// may be late.
pub(crate) async fn admit_end(
    api: &ApiServer,
    user: &UserInfo,
    target: &Target,
    operation: Operation,
    options: &DeleteOptions,
) -> Result<(), Status> {
    if nodes::identify(user.subject()).is_none() {
        return Ok(());
    }
    let old = codec::decode(&api.read(target).await?)?;
    check_preconditions(target, &old, options)?;
    admit(api, user, target, operation, &Value::Null, &old).await
}

async fn read(api: &ApiServer, plural: &str, namespace: &str, name: String) -> Result<Value, Status> {
    let kind: &'static Kind =
        registry::by_resource("", "v1", plural).ok_or_else(|| Status::internal("no such kind"))?;
    let namespace = if kind.scope == Scope::Namespaced { namespace.to_owned() } else { String::new() };
    codec::decode(&api.read(&Target { kind, namespace, name, subresource: None }).await?)
}
