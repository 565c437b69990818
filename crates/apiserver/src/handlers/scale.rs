//! `/scale`: how many, as `autoscaling/v1.Scale`.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::apply;
use super::update::check_name;
use crate::api::{ApiServer, Request};
use crate::codec::{self, Stored};
use crate::content;
use crate::life::Part;
use crate::options::WriteOptions;
use crate::ownership::Author;
use crate::patching::{self, Patch};
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::storage::Update;

const API_VERSION: &str = "autoscaling/v1";

pub(crate) async fn scale(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let mut warnings = Vec::new();
    let stored = match request.method {
        Method::GET => api.read(target).await?,
        Method::PUT => put(api, request, target, &mut warnings).await?,
        Method::PATCH if patching::is_apply(request) => {
            apply::apply_scale(api, request, target, &mut warnings).await?
        }
        Method::PATCH => patch(api, request, target, &mut warnings).await?,
        _ => return Err(Status::method_not_allowed()),
    };
    let scale = show(target, &codec::decode(&stored)?)?;
    Ok(respond::warn(respond::json_value(StatusCode::OK, &scale), &warnings))
}

async fn put(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    warnings: &mut Vec<String>,
) -> Result<Stored, Status> {
    let options = WriteOptions::from_request(request)?;
    let sent = content::decode(request, API_VERSION, "Scale", options.field_validation, warnings)?;
    check_name(target, &sent)?;
    let author = &Author::of(request)?;
    let update = Update { target, part: Part::Main, dry_run: options.dry_run, author, warnings };
    Ok(api.update(update, |old, _| write_back(target, old, &sent)).await?.into_stored())
}

async fn patch(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    warnings: &mut Vec<String>,
) -> Result<Stored, Status> {
    let options = WriteOptions::from_request(request)?;
    let patch = Patch::from_request(request)?;
    let author = &Author::of(request)?;
    let update = Update { target, part: Part::Main, dry_run: options.dry_run, author, warnings };
    let change = |old: &Value, warnings: &mut Vec<String>| {
        let mut sent = patch.apply(&show(target, old)?)?;
        content::check_shape(&mut sent, options.field_validation, Vec::new(), warnings)?;
        write_back(target, old, &sent)
    };
    Ok(api.update(update, change).await?.into_stored())
}

fn show(target: &Target, object: &Value) -> Result<Value, Status> {
    let scale = target.kind.strategy.scale(object).ok_or_else(Status::no_such_path)?;
    let mut status = json!({"replicas": scale.status_replicas});
    if !scale.selector.is_empty() {
        status["selector"] = scale.selector.into();
    }
    let mut metadata = json!({"name": object.name(), "namespace": object.namespace()});
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = object["metadata"][field].clone();
    }
    Ok(json!({"kind": "Scale", "apiVersion": API_VERSION, "metadata": metadata,
        "spec": {"replicas": scale.spec_replicas}, "status": status}))
}

/// The object with the replicas that the scale asks for.
fn write_back(target: &Target, old: &Value, scale: &Value) -> Result<Value, Status> {
    // Absent means none, as in Go.
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
    if replicas < 0 {
        let path = Path::new("spec").child("replicas");
        let error = FieldError::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(Status::invalid("Scale.autoscaling", &target.name, &[error]));
    }
    let mut new = old.clone();
    // What the scale says of itself must hold of the object; what it leaves out need not.
    for field in ["resourceVersion", "uid"] {
        new["metadata"][field] = scale["metadata"][field].clone();
    }
    target.kind.strategy.set_replicas(&mut new, replicas);
    Ok(new)
}
