//! What service-account tokens say and what they are bound to (upstream: `pkg/serviceaccount/claims.go`,
//! `pkg/registry/core/serviceaccount/storage/token.go`). Signing is the API server's.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use apimachinery::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::lookup::by_resource;
use crate::rbac::service_account_user;
use crate::value::{default_to, items, number, object, text};

/// How long a token is good for when the request does not say, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// The shortest and the longest life that can be asked for, in seconds.
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// The life that admission asks for pods. Programs that read such a token once and never again are forgiven: it is
/// good for [`EXTENDED_SECONDS`], and says since when it should have been read again (`warnafter`).
pub const POD_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// What clocks may differ, and how long a token outlives what it is bound to.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// The claim with what is Kubernetes' own.
const PRIVATE: &str = "kubernetes.io";
/// The plurals of what a token can be bound to, with the claim that names it.
const BOUND: [(&str, &str, &str); 3] =
    [("Pod", "pods", "pod"), ("Secret", "secrets", "secret"), ("Node", "nodes", "node")];

/// Fills in what a TokenRequest leaves out: its audience is the API then.
pub fn set_defaults(request: &mut Value, namespace: &str, name: &str, api: &str) {
    for (field, value) in [("name", name), ("namespace", namespace)] {
        default_to(request.meta_mut(), field, value);
    }
    if let Some(spec) = object(request, "spec") {
        default_to(spec, "expirationSeconds", DEFAULT_SECONDS);
        if spec.get("audiences").is_none_or(|audiences| items(audiences).is_empty()) {
            spec.insert("audiences".to_owned(), json!([api]));
        }
    }
}

/// Refuses a TokenRequest that does not fit its path, or asks for too much.
///
/// # Errors
/// 422, in upstream's words.
pub fn check(request: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    let metadata = Path::new("metadata");
    let mut errors = Vec::new();
    for (field, said, wanted) in
        [("name", request.name(), name), ("namespace", request.namespace(), namespace)]
    {
        if !said.is_empty() && said != wanted {
            let words = format!("must match the service account {field} if specified");
            errors.push(FieldError::invalid(&metadata.child(field), said, words));
        }
    }
    let (path, seconds) =
        (Path::new("spec").child("expirationSeconds"), &request["spec"]["expirationSeconds"]);
    if number(seconds) < MIN_SECONDS {
        let words = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(&path, seconds.clone(), words));
    }
    if number(seconds) > MAX_SECONDS {
        let words = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(&path, seconds.clone(), words));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("TokenRequest.authentication.k8s.io", "", &errors))
}

/// What a token is to be bound to.
pub struct Bound {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its name.
    pub name: String,
}

/// What a TokenRequest binds its token to, if to anything.
///
/// # Errors
/// 400 for what no token is bound to.
pub fn bound(request: &Value) -> Result<Option<Bound>, Status> {
    let reference = &request["spec"]["boundObjectRef"];
    if !reference.is_object() {
        return Ok(None);
    }
    let (version, kind) = (text(&reference["apiVersion"]), text(&reference["kind"]));
    let plural = BOUND.iter().find(|(known, ..)| *known == kind && matches!(version, "" | "v1")).map(|b| b.1);
    let found = plural.and_then(|plural| by_resource("", "v1", plural));
    let found = found.ok_or_else(|| {
        Status::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}"))
    })?;
    Ok(Some(Bound { kind: found, name: text(&reference["name"]).to_owned() }))
}

/// Refuses to bind a token of `account` to what is another's, or not what was meant.
///
/// # Errors
/// 400 for a pod of another account, 409 for an object with another uid.
pub fn check_bound(request: &Value, account: &str, object: &Value) -> Result<(), Status> {
    let reference = &request["spec"]["boundObjectRef"];
    let kind = text(&reference["kind"]);
    if kind == "Pod" && text(&object["spec"]["serviceAccountName"]) != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let uid = text(&reference["uid"]);
    if !uid.is_empty() && uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return Err(Status::conflict(kind, text(&reference["name"]), &why));
    }
    Ok(())
}

/// What goes into a token.
pub struct Grant<'a> {
    /// The TokenRequest, complete.
    pub request: &'a Value,
    /// The ServiceAccount.
    pub account: &'a Value,
    /// What the token is bound to.
    pub bound: Option<&'a Value>,
    /// The node of the pod that it is bound to.
    pub node: Option<&'a Value>,
    /// The token's own id.
    pub id: String,
    /// Who signs it, which is the API's audience too.
    pub issuer: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// The claims of a token, and when whoever has it is to ask for another.
pub fn claims(grant: &Grant<'_>) -> (Value, Timestamp) {
    let (spec, now) = (&grant.request["spec"], grant.now.as_second());
    let asked = number(&spec["expirationSeconds"]);
    let account = grant.account;
    let named = |object: &Value| json!({"name": object.name(), "uid": object.uid()});
    let mut private = json!({"namespace": account.namespace(), "serviceaccount": named(account)});
    let mut seconds = asked;
    if let Some(object) = grant.bound {
        let kind = text(&spec["boundObjectRef"]["kind"]);
        let claim = BOUND.iter().find(|(known, ..)| *known == kind).map_or("", |bound| bound.2);
        private[claim] = named(object);
        if kind == "Pod" && asked == POD_SECONDS && items(&spec["audiences"]).contains(&grant.issuer.into()) {
            private["warnafter"] = (now + asked).into();
            seconds = EXTENDED_SECONDS;
        }
        let node = text(&object["spec"]["nodeName"]);
        if kind == "Pod" && !node.is_empty() {
            private["node"] = grant.node.map_or_else(|| json!({"name": node}), named);
        }
    }
    let claims = json!({
        "aud": spec["audiences"], "exp": now + seconds, "iat": now, "iss": grant.issuer, "jti": grant.id,
        PRIVATE: private, "nbf": now, "sub": service_account_user(account.namespace(), account.name()),
    });
    let renew = grant.now.checked_add(SignedDuration::from_secs(asked)).unwrap_or(grant.now);
    (claims, renew)
}

/// An object that must still be there for a token to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// `serviceaccounts`, `pods`, `secrets` or `nodes`.
    pub plural: &'static str,
    /// Its namespace; empty for nodes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What a token that is signed by us says, at the time `now`: what it hangs on.
///
/// # Errors
/// Why the token is no good, in upstream's words.
pub fn anchors(claims: &Value, now: Timestamp) -> Result<Vec<Anchor>, String> {
    let time = |claim: &str| claims[claim].as_i64().unwrap_or_default();
    if now.as_second() > time("exp") + LEEWAY.as_secs() {
        return Err("service account token has expired".to_owned());
    }
    if now.as_second() + LEEWAY.as_secs() < time("nbf") {
        return Err("service account token is not valid yet".to_owned());
    }
    let private = &claims[PRIVATE];
    let namespace = text(&private["namespace"]);
    let anchor = |plural: &'static str, claim: &str| {
        let named = &private[claim];
        let within = if plural == "nodes" { "" } else { namespace };
        Anchor {
            plural,
            namespace: within.to_owned(),
            name: text(&named["name"]).to_owned(),
            uid: text(&named["uid"]).to_owned(),
        }
    };
    let mut anchors = vec![anchor("serviceaccounts", "serviceaccount")];
    for (_, plural, claim) in BOUND {
        // The node of a pod is told and not held to.
        let told = claim == "node" && private["pod"].is_object();
        if private[claim].is_object() && !told {
            anchors.push(anchor(plural, claim));
        }
    }
    if anchors[0].name.is_empty() || text(&claims["sub"]) != service_account_user(namespace, &anchors[0].name)
    {
        return Err(
            "service account token claims could not be validated due to unexpected private claim".to_owned()
        );
    }
    Ok(anchors)
}

impl Anchor {
    /// Whether `found` (`None`: nothing) is the object that the token hangs on.
    ///
    /// # Errors
    /// Why it is not, in upstream's words.
    pub fn check(&self, found: Option<&Value>, now: Timestamp) -> Result<(), String> {
        let is_account = self.plural == "serviceaccounts";
        let gone = || {
            if is_account {
                format!("serviceaccounts {:?} not found", self.name)
            } else {
                "service account token has been invalidated".to_owned()
            }
        };
        let object = found.ok_or_else(gone)?;
        let deleted = time::parse(object.meta_str("deletionTimestamp"));
        if deleted.is_some_and(|at| at < now - LEEWAY) {
            return Err(if is_account {
                format!("service account {}/{} has been deleted", self.namespace, self.name)
            } else {
                gone()
            });
        }
        if object.uid() == self.uid {
            return Ok(());
        }
        let (uid, claim) = (object.uid(), &self.uid);
        Err(match self.plural {
            "pods" => format!("pod UID ({uid}) does not match service account pod ref claim ({claim})"),
            "secrets" => {
                format!("secret UID ({uid}) does not match service account secret ref claim ({claim})")
            }
            "nodes" => format!("node UID ({uid}) does not match service account node ref claim ({claim})"),
            _ => format!("service account UID ({uid}) does not match claim ({claim})"),
        })
    }
}

/// What a token tells of its bearer besides name, groups and the account's uid, as a user's `extra`.
pub fn extra(claims: &Value) -> Vec<(String, String)> {
    let private = &claims[PRIVATE];
    let mut extra = Vec::new();
    let mut tell = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.push((format!("authentication.kubernetes.io/{key}"), value.to_owned()));
        }
    };
    match text(&claims["jti"]) {
        "" => {}
        id => tell("credential-id", &format!("JTI={id}")),
    }
    for claim in ["node", "pod"] {
        tell(&format!("{claim}-name"), text(&private[claim]["name"]));
        tell(&format!("{claim}-uid"), text(&private[claim]["uid"]));
    }
    extra
}
