//! POST of `/token`: a token for a service account, as `authentication.k8s.io/v1.TokenRequest`.

use apimachinery::status::Status;
use apimachinery::time;
use http::StatusCode;
use registry::nodes::Operation;
use registry::tokens::{self, Grant};
use registry::{Kind, Scope};
use serde_json::{Value, json};

use crate::api::{ApiServer, Request};
use crate::authn::ISSUER;
use crate::authz::restriction;
use crate::codec;
use crate::content;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::route::Target;

pub(crate) async fn token(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let options = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let mut asked = content::decode(
        request,
        "authentication.k8s.io/v1",
        "TokenRequest",
        options.field_validation,
        &mut warnings,
    )?;
    restriction::admit(api, &request.user, target, Operation::Create, &asked, &Value::Null).await?;
    let account = codec::decode(&api.read(&Target { subresource: None, ..target.clone() }).await?)?;
    tokens::set_defaults(&mut asked, &target.namespace, &target.name, ISSUER);
    tokens::check(&asked, &target.namespace, &target.name)?;
    let bound = match tokens::bound(&asked)? {
        None => None,
        Some(bound) => Some(read(api, bound.kind, &target.namespace, bound.name).await?),
    };
    if let Some(object) = &bound {
        tokens::check_bound(&asked, &target.name, object)?;
    }
    let node = match &bound {
        Some(object) => node_of(api, object).await?,
        None => None,
    };
    let (claims, renew) = tokens::claims(&Grant {
        request: &asked,
        account: &account,
        bound: bound.as_ref(),
        node: node.as_ref(),
        id: uuid::Builder::from_random_bytes(api.random().bytes()).into_uuid().to_string(),
        issuer: ISSUER,
        now: api.clock().now(),
    });
    let signed = api.token_key().sign(&claims).map_err(Status::internal)?;
    asked["status"] = json!({"token": signed, "expirationTimestamp": time::format_seconds(renew)});
    Ok(respond::warn(respond::json_value(StatusCode::CREATED, &asked), &warnings))
}

async fn read(api: &ApiServer, kind: &'static Kind, namespace: &str, name: String) -> Result<Value, Status> {
    let namespace = if kind.scope == Scope::Namespaced { namespace.to_owned() } else { String::new() };
    codec::decode(&api.read(&Target { kind, namespace, name, subresource: None }).await?)
}

/// The node that the object is bound to, if it says one that is there.
async fn node_of(api: &ApiServer, object: &Value) -> Result<Option<Value>, Status> {
    let name = object["spec"]["nodeName"].as_str().unwrap_or_default();
    let Some(kind) = registry::by_resource("", "v1", "nodes").filter(|_| !name.is_empty()) else {
        return Ok(None);
    };
    match read(api, kind, "", name.to_owned()).await {
        Err(status) if status.reason == "NotFound" => Ok(None),
        found => found.map(Some),
    }
}
