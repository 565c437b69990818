//! Whether a token is one of ours, still good, and for whom it is meant.

use apimachinery::status::Status;
use registry::tokens::{self, Anchor};
use serde_json::Value;

use super::ISSUER;
use crate::api::ApiServer;
use crate::codec;
use crate::route::Target;
use crate::user::UserInfo;

/// A token that is good.
pub(crate) struct Verified {
    /// Whose it is.
    pub(crate) user: UserInfo,
    /// Those of the audiences asked for that it is meant for.
    pub(crate) audiences: Vec<String>,
}

/// Whose token it is, if it is meant for one of these audiences; otherwise why it is refused.
///
/// # Errors
/// When the store fails.
pub(crate) async fn verify(
    api: &ApiServer,
    token: &str,
    audiences: &[&str],
) -> Result<Result<Verified, String>, Status> {
    let Some(claims) = api.token_key().open(token).filter(|claims| claims["iss"] == ISSUER) else {
        return Ok(Err("invalid bearer token".to_owned()));
    };
    let said = |audience: &&&str| match &claims["aud"] {
        Value::Array(all) => all.iter().any(|one| one == *audience),
        one => one == *audience,
    };
    let audiences: Vec<String> = audiences.iter().filter(said).map(|a| (*a).to_owned()).collect();
    if audiences.is_empty() {
        return Ok(Err(format!("token audiences {} is invalid for the target audiences", claims["aud"])));
    }
    let now = api.clock().now();
    let anchors = match tokens::anchors(&claims, now) {
        Ok(anchors) => anchors,
        Err(why) => return Ok(Err(why)),
    };
    for anchor in &anchors {
        if let Err(why) = anchor.check(find(api, anchor).await?.as_ref(), now) {
            return Ok(Err(why));
        }
    }
    Ok(Ok(Verified { user: bearer(&anchors[0], &claims), audiences }))
}

async fn find(api: &ApiServer, anchor: &Anchor) -> Result<Option<Value>, Status> {
    let Some(kind) = registry::by_resource("", "v1", anchor.plural) else { return Ok(None) };
    let (namespace, name) = (anchor.namespace.clone(), anchor.name.clone());
    match api.read(&Target { kind, namespace, name, subresource: None }).await {
        Ok(stored) => codec::decode(&stored).map(Some),
        Err(status) if status.reason == "NotFound" => Ok(None),
        Err(status) => Err(status),
    }
}

fn bearer(account: &Anchor, claims: &Value) -> UserInfo {
    let mut user = UserInfo::service_account(&account.namespace, &account.name);
    user.uid.clone_from(&account.uid);
    for (key, value) in tokens::extra(claims) {
        user.extra.entry(key).or_default().push(value);
    }
    user
}
