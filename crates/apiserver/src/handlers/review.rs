//! POST of what is answered and not stored: reviews of tokens and of access.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::{Method, StatusCode};
use registry::nodes;
use registry::reviews::{self, Question};
use serde_json::{Value, json};

use crate::api::{ApiServer, Request};
use crate::authn;
use crate::authz;
use crate::content;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::user::UserInfo;

pub(crate) async fn review(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    question: Question,
) -> Result<Answer, Status> {
    if request.method != Method::POST || !target.name.is_empty() {
        return Err(Status::method_not_allowed());
    }
    let options = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let mut review = content::decode_kind(request, target.kind, options.field_validation, &mut warnings)?;
    crate::storage::check_namespace(target, &review)?;
    reviews::check(target.kind, question, &review, &target.namespace)?;
    review["status"] = answer(api, request, question, &review["spec"]).await?;
    if !target.namespace.is_empty() {
        review.meta_mut().insert("namespace".to_owned(), target.namespace.clone().into());
    }
    Ok(respond::warn(respond::json_value(StatusCode::CREATED, &review), &warnings))
}

async fn answer(
    api: &ApiServer,
    request: &Request,
    question: Question,
    spec: &Value,
) -> Result<Value, Status> {
    match question {
        Question::WhoAmI => Ok(json!({"userInfo": request.user.to_json()})),
        Question::Token => token(api, spec).await,
        Question::MayI => {
            let decision = authz::decide(api, &request.user, &reviews::attributes(spec)).await?;
            Ok(reviews::decided(&decision))
        }
        Question::MayThey => {
            let user = UserInfo::from_review(spec);
            Ok(reviews::decided(&authz::decide(api, &user, &reviews::attributes(spec)).await?))
        }
        Question::WhatMayI => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            let policy = api.policy().await?;
            let mut resolved = policy.rules_for(request.user.subject(), namespace);
            if nodes::identify(request.user.subject()).is_some() {
                resolved.errors.insert(0, nodes::UNRESOLVED.to_owned());
                resolved.incomplete = true;
            }
            Ok(reviews::resolved(&resolved))
        }
    }
}

async fn token(api: &ApiServer, spec: &Value) -> Result<Value, Status> {
    let mut audiences: Vec<&str> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if audiences.is_empty() {
        audiences.push(authn::ISSUER);
    }
    let token = spec["token"].as_str().unwrap_or_default();
    Ok(match authn::verify(api, token, &audiences).await? {
        Ok(verified) => {
            json!({"authenticated": true, "user": verified.user.to_json(), "audiences": verified.audiences})
        }
        Err(why) => json!({"user": {}, "error": why}),
    })
}
