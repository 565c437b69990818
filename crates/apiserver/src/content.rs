//! Bodies into objects: JSON, YAML or protobuf, of the kind that the path says, with known fields only.

use std::fmt::Display;

use apimachinery::protobuf;
use apimachinery::schema::Schema;
use apimachinery::schema::check::{self, Checked};
use apimachinery::schema::strict_json;
use apimachinery::status::Status;
use apimachinery::yaml;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use registry::Kind;
use serde_json::Value;

use crate::api::Request;
use crate::options::FieldValidation;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const ACCEPTED: &str = "the body of the request was in an unknown format - accepted media types include: \
     application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What a body says it is.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The body as an object of `api_version` and `kind`, those two filled in when it does not say them, and
/// with no unknown fields left. What was forgiven is told in `warnings`.
pub(crate) fn decode(
    request: &Request,
    api_version: &str,
    kind: &str,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let (mut object, duplicates) = parse(request, api_version, kind)?;
    if !object.is_object() {
        return Err(Status::bad_request(format!(
            "the body of the request is not an object: send a {kind} in {api_version}"
        )));
    }
    expect_type(&mut object, api_version, kind)?;
    check_shape(&mut object, validation, duplicates, warnings)?;
    Ok(object)
}

fn parse(request: &Request, api_version: &str, kind: &str) -> Result<(Value, Vec<String>), Status> {
    let body = &request.body[..];
    if body.is_empty() {
        return Err(Status::bad_request(format!(
            "the body of the request is empty: send a {kind} in {api_version}"
        )));
    }
    match media_type(&request.headers) {
        "" | "application/json" => {
            let parsed = strict_json::parse(body).map_err(|e| Status::bad_request(e.to_string()))?;
            let duplicates = parsed.messages().collect();
            Ok((parsed.value, duplicates))
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => parse_yaml(body),
        PROTOBUF => {
            let value = protobuf::decode(body, Some((api_version, kind)))
                .map_err(|e| Status::bad_request(e.to_string()))?;
            Ok((value, Vec::new()))
        }
        _ => Err(Status::unsupported_media_type(ACCEPTED)),
    }
}

fn parse_yaml(body: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let fail = |why: &dyn Display| Status::bad_request(format!("couldn't read the body as YAML: {why}"));
    let text = std::str::from_utf8(body).map_err(|error| fail(&error))?;
    let parsed = yaml::parse_leniently(text).map_err(|error| fail(&error))?;
    let duplicates = parsed.duplicates.iter().map(ToString::to_string).collect();
    let mut documents = parsed.documents.into_iter().filter(|document| !document.is_null());
    match (documents.next(), documents.next()) {
        (object, None) => Ok((object.unwrap_or_default(), duplicates)),
        (_, Some(_)) => Err(fail(&"it holds several documents: send each in a request of its own")),
    }
}

/// The configuration in the body of a request to apply: YAML, of which JSON is a part.
pub(crate) fn decode_applied(
    request: &Request,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let (object, duplicates) = parse_yaml(&request.body)?;
    if !object.is_object() {
        return Err(Status::bad_request(
            "the body of the request is not an object: send the fields to apply",
        ));
    }
    match validation {
        FieldValidation::Strict if !duplicates.is_empty() => {
            return Err(Status::bad_request(format!(
                "error strict decoding YAML: {}",
                duplicates.join(", ")
            )));
        }
        FieldValidation::Ignore => {}
        FieldValidation::Warn | FieldValidation::Strict => warnings.extend(duplicates),
    }
    Ok(object)
}

/// The options object in the body of a delete; `null` when there is none. Clients send it under any group.
pub(crate) fn decode_options(request: &Request) -> Result<Value, Status> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let (options, _) = parse(request, "v1", "DeleteOptions")?;
    if !options.is_object() {
        return Err(Status::bad_request("the body of the request is not an object: send v1 DeleteOptions"));
    }
    match options.get("kind").and_then(Value::as_str) {
        None | Some("" | "DeleteOptions") => Ok(options),
        Some(other) => Err(Status::bad_request(format!(
            "{other} cannot be handled as DeleteOptions: send v1 DeleteOptions"
        ))),
    }
}

/// Fills in or compares `apiVersion` and `kind` (upstream: apiserver/pkg/endpoints/handlers/create.go).
fn expect_type(object: &mut Value, api_version: &str, kind: &str) -> Result<(), Status> {
    let said = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (said_version, said_kind) = (said("apiVersion"), said("kind"));
    if !said_version.is_empty() && said_version != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({said_version}) does not match the expected API version ({api_version})"
        )));
    }
    if !said_kind.is_empty() && said_kind != kind {
        return Err(Status::bad_request(format!(
            "{said_kind} in version {api_version:?} cannot be handled as a {kind}: the path is for {kind} objects"
        )));
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(())
}

/// Checks the types of all fields, and refuses or drops the fields that the schema does not know.
pub(crate) fn check_shape(
    object: &mut Value,
    validation: FieldValidation,
    duplicates: Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let said = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (said("apiVersion"), said("kind"));
    let Some(type_id) = Schema::builtin().gvk(api_version, kind) else { return Ok(()) };
    let Checked { errors, unknown } = check::check(object, type_id);
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let refuse = |why: String| {
        Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        )))
    };
    if !errors.is_empty() {
        let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return refuse(words.join(", "));
    }
    let mut strange: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    strange.extend(duplicates);
    if !strange.is_empty() {
        match validation {
            FieldValidation::Strict => {
                return refuse(format!("strict decoding error: {}", strange.join(", ")));
            }
            FieldValidation::Warn => warnings.extend(strange),
            FieldValidation::Ignore => {}
        }
    }
    // Also what is null goes: it means absent.
    check::prune_unknown(object, type_id);
    Ok(())
}

/// [`decode`] for a body that is an object of the kind itself, in the version that is asked for; the object is of
/// the stored one.
pub(crate) fn decode_kind(
    request: &Request,
    kind: &Kind,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Some(version) = request.version else {
        return decode(request, &kind.api_version(), kind.kind, validation, warnings);
    };
    let mut object = decode(request, &version.served.api_version(), kind.kind, validation, warnings)?;
    version.to_stored(&mut object);
    Ok(object)
}
