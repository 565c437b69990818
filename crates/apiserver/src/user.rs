//! Who asks, and whether they may.

use apimachinery::status::Status;
use http::Method;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::route::{Route, Target};

/// The group whose members may do everything (upstream: `user.SystemPrivilegedGroup`).
pub(crate) const SYSTEM_MASTERS: &str = "system:masters";
/// The user whom nobody vouches for.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The user's name: the CN of the client certificate.
    pub name: String,
    /// The groups: the O entries of the client certificate.
    pub groups: Vec<String>,
}

impl UserInfo {
    /// A part of stead itself, for instance `system:kube-controller-manager`; may do everything.
    pub fn internal(name: &str) -> Self {
        Self { name: name.to_owned(), groups: vec![SYSTEM_MASTERS.to_owned()] }
    }

    /// Somebody without a certificate.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
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
            .chain(["system:authenticated".to_owned()])
            .collect();
        (!name.is_empty()).then_some(Self { name, groups })
    }

    fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == SYSTEM_MASTERS)
    }
}

/// Whether the user may do what the request asks for. There are no roles: members of `system:masters` may do
/// everything, everybody may ask for health and version, authenticated users for discovery.
pub(crate) fn authorize(
    user: &UserInfo,
    method: &Method,
    path: &str,
    route: Option<&Route>,
) -> Result<(), Status> {
    if user.is_master() || matches!(route, Some(Route::Health | Route::Version)) {
        return Ok(());
    }
    if user.is_anonymous() {
        let mut status = Status::unauthorized();
        status.message = format!(
            "Unauthorized: {} {path} needs a client certificate; use the kubeconfig that stead wrote",
            method.as_str()
        );
        return Err(status);
    }
    match route {
        Some(Route::Resource(target)) => Err(refuse_resource(user, method, target)),
        _ => Ok(()),
    }
}

fn refuse_resource(user: &UserInfo, method: &Method, target: &Target) -> Status {
    let verb = match *method {
        Method::GET if target.name.is_empty() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if target.name.is_empty() => "deletecollection",
        _ => "delete",
    };
    let place = match target.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {verb} resource {:?} in API group {:?} {place}: only members of the group \
         {SYSTEM_MASTERS:?} may",
        user.name, target.kind.plural, target.kind.group
    );
    let mut status = Status::forbidden(&target.kind.resource(), &target.name, &why);
    if target.name.is_empty() {
        status.message = format!("{} is forbidden: {why}", target.kind.resource());
    }
    status
}
