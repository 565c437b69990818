//! Who asks: a client certificate says it, else a bearer token, else nobody (upstream:
//! `pkg/kubeapiserver/authenticator`); then, whom that user wants to be taken for.

mod bearer;
mod impersonation;
mod key;

use std::sync::Arc;

use apimachinery::status::Status;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::api::ApiServer;
use crate::respond::{self, Answer};
use crate::user::UserInfo;

pub(crate) use bearer::verify;
pub use key::{KeyError, TokenKey};

/// Who signs tokens, and the audience of those that are for this API (kubeadm's default).
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Who asks, as the connection and the headers have it.
///
/// # Errors
/// 401 for a token that is no good, 403 for who may not be taken for the user that they name.
pub(crate) async fn authenticate(
    api: &ApiServer,
    connection: &Arc<UserInfo>,
    headers: &HeaderMap,
) -> Result<Arc<UserInfo>, Status> {
    let mut user = Arc::clone(connection);
    if connection.is_anonymous()
        && let Some(token) = bearer_token(headers)
    {
        let verified = verify(api, token, &[ISSUER]).await?.map_err(|why| {
            tracing::debug!("a bearer token is refused: {why}");
            Status::unauthorized()
        })?;
        user = Arc::new(verified.user);
    }
    match impersonation::wanted(headers)? {
        None => Ok(user),
        Some(wanted) => impersonation::impersonate(api, &user, wanted).await.map(Arc::new),
    }
}

/// The token in `Authorization: Bearer …`; other schemes are nobody's business here.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The OpenID provider's metadata: where whoever is shown a token finds the keys.
pub(crate) fn configuration() -> Answer {
    respond::json_value(
        StatusCode::OK,
        &json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
    )
}

/// The public keys.
pub(crate) fn key_set(key: &TokenKey) -> Answer {
    let bytes = key.key_set().to_string();
    respond::typed(StatusCode::OK, "application/jwk-set+json", bytes)
}
