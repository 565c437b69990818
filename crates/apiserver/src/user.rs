//! Who asks.

use std::collections::BTreeMap;

use registry::rbac::{self, Subject};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

pub(crate) use registry::rbac::SYSTEM_MASTERS;
/// The user whom nobody vouches for.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// The group of everybody whom somebody vouches for.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of the others.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Who makes a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The user's name: the CN of the client certificate, or `system:serviceaccount:NAMESPACE:NAME`.
    pub name: String,
    /// The uid, of those who have one.
    pub uid: String,
    /// The groups: the O entries of the client certificate, or those of the service account.
    pub groups: Vec<String>,
    /// What else is known: the pod that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A part of stead itself, for instance `system:kube-scheduler`, in the groups that upstream's is in. What it may
    /// do, the default roles say.
    pub fn component(name: &str) -> Self {
        match rbac::split_service_account(name) {
            Some((namespace, account)) => Self::service_account(namespace, account),
            None if name.starts_with(rbac::NODE_PREFIX) => Self::new(name, &[rbac::NODES, AUTHENTICATED]),
            None => Self::new(name, &[AUTHENTICATED]),
        }
    }

    /// Somebody in this process who may do everything.
    pub fn internal(name: &str) -> Self {
        Self::new(name, &[SYSTEM_MASTERS])
    }

    /// Somebody in these groups.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Somebody without a certificate and without a token.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// The user that a service account is.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = rbac::service_account_groups(namespace).into_iter().chain([AUTHENTICATED.to_owned()]);
        Self {
            name: rbac::service_account_user(namespace, name),
            groups: groups.collect(),
            ..Self::default()
        }
    }

    /// The user that a client certificate (DER), already verified, names: CN is the name, O the groups
    /// (upstream: `x509.CommonNameUserConversion`). `None` when it names nobody.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject
            .iter_organization()
            .filter_map(|o| o.as_str().ok())
            .map(str::to_owned)
            .chain([AUTHENTICATED.to_owned()])
            .collect();
        (!name.is_empty()).then_some(Self { name, groups, ..Self::default() })
    }

    /// The user whom the spec of a SubjectAccessReview asks about.
    pub(crate) fn from_review(spec: &Value) -> Self {
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let texts = |list: &Value| -> Vec<String> {
            let all = list.as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let extra = spec["extra"].as_object().into_iter().flatten();
        Self {
            name: text("user"),
            uid: text("uid"),
            groups: texts(&spec["groups"]),
            extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
        }
    }

    /// As `authentication.k8s.io/v1.UserInfo`.
    pub(crate) fn to_json(&self) -> Value {
        let mut user = json!({"username": self.name});
        if !self.uid.is_empty() {
            user["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            user["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            user["extra"] = json!(self.extra);
        }
        user
    }

    /// The user as rules look at it.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { name: &self.name, groups: &self.groups }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    pub(crate) fn is_master(&self) -> bool {
        self.subject().is_master()
    }
}
