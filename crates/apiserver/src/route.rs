//! What a path means.

use apimachinery::status::Status;
use percent_encoding::percent_decode_str;
use registry::{Kind, Scope, Subresource, VERSIONS, Version};

/// The place that a request is about.
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz` and what stands below them.
    Health,
    /// `/metrics`: what the parts of stead count.
    Metrics,
    /// `/version`.
    Version,
    /// `/`: the list of paths.
    Root,
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: the other groups.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/v1` or `/apis/<group>/<version>`: what lives there.
    Resources(String, String),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/<api/v1 or apis/group/version>`.
    OpenApi(String),
    /// `/.well-known/openid-configuration`: who signs service-account tokens.
    OpenIdConfiguration,
    /// `/openid/v1/jwks`: with which keys.
    KeySet,
    /// Objects of a kind.
    Resource(Target),
}

/// A collection of objects, one object, or a part of one.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) kind: &'static Kind,
    /// Empty for cluster-scoped kinds and for lists over all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) subresource: Option<Subresource>,
}

impl Target {
    /// The object's key in the store.
    pub(crate) fn key(&self) -> String {
        registry::key(self.kind, &self.namespace, &self.name)
    }

    /// Whether the object of a name has one key: a collection over all namespaces has many places for it.
    pub(crate) fn has_place(&self) -> bool {
        !self.namespace.is_empty() || self.kind.scope == Scope::Cluster
    }

    /// Where the collection stands in the store.
    pub(crate) fn prefix(&self) -> String {
        if self.namespace.is_empty() {
            registry::storage_prefix(self.kind)
        } else {
            registry::namespace_prefix(self.kind, &self.namespace)
        }
    }
}

/// Reads a path. 404 for paths that nothing lives at.
pub(crate) fn parse(path: &str) -> Result<Route, Status> {
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Route::Root),
        ["healthz" | "livez" | "readyz", ..] => Ok(Route::Health),
        ["metrics"] => Ok(Route::Metrics),
        ["version"] => Ok(Route::Version),
        ["api"] => Ok(Route::CoreVersions),
        ["apis"] => Ok(Route::Groups),
        ["apis", group] => Ok(Route::Group((*group).to_owned())),
        ["api", version] => Ok(Route::Resources(String::new(), (*version).to_owned())),
        ["apis", group, version] => Ok(Route::Resources((*group).to_owned(), (*version).to_owned())),
        [".well-known", "openid-configuration"] => Ok(Route::OpenIdConfiguration),
        ["openid", "v1", "jwks"] => Ok(Route::KeySet),
        ["openapi", "v2"] => Ok(Route::OpenApiV2),
        ["openapi", "v3"] => Ok(Route::OpenApiIndex),
        ["openapi", "v3", rest @ ..] => Ok(Route::OpenApi(rest.join("/"))),
        ["api", version, rest @ ..] => resource("", version, rest).map(Route::Resource),
        ["apis", group, version, rest @ ..] => resource(group, version, rest).map(Route::Resource),
        _ => Err(Status::no_such_path()),
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Result<Target, Status> {
    let (namespace, plural, rest) = match rest {
        // /namespaces/x/<plural>/…, but /namespaces/x/status is a part of the namespace itself.
        ["namespaces", namespace, plural, rest @ ..] if stored_kind(group, version, plural).is_some() => {
            (*namespace, *plural, rest)
        }
        [plural, rest @ ..] => ("", *plural, rest),
        [] => return Err(Status::no_such_path()),
    };
    let kind = stored_kind(group, version, plural).ok_or_else(Status::no_such_path)?;
    if kind.scope == Scope::Cluster && !namespace.is_empty() {
        return Err(Status::no_such_path());
    }
    let (name, subresource) = match rest {
        [] => ("", None),
        [name] => (*name, None),
        // Whatever follows is a path of somebody else.
        [name, "proxy", ..] => (*name, Some(subresource(kind, "proxy")?)),
        [name, part] => (*name, Some(subresource(kind, part)?)),
        _ => return Err(Status::no_such_path()),
    };
    if kind.scope == Scope::Namespaced && namespace.is_empty() && !name.is_empty() {
        return Err(Status::no_such_path());
    }
    Ok(Target { kind, namespace: namespace.to_owned(), name: name.to_owned(), subresource })
}

/// The kind whose objects are meant, whatever the version they are asked for in.
fn stored_kind(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    registry::by_resource(group, version, plural).or_else(|| {
        let asked = |kind: &Kind| kind.plural == plural && kind.group == group && kind.version == version;
        VERSIONS.iter().find(|version| asked(&version.served)).map(|version| version.stored)
    })
}

/// The second version that a path asks for objects of `kind` in, if it is one.
pub(crate) fn version_at(path: &str, kind: &Kind) -> Option<&'static Version> {
    VERSIONS.iter().copied().find(|version| {
        std::ptr::eq(version.stored, kind) && {
            let below = path.trim_start_matches('/').strip_prefix("apis/");
            let below = below.and_then(|path| path.strip_prefix(&*version.served.api_version()));
            below.is_some_and(|rest| rest.starts_with('/'))
        }
    })
}

fn subresource(kind: &Kind, word: &str) -> Result<Subresource, Status> {
    kind.subresources.iter().copied().find(|s| path_word(*s) == word).ok_or_else(Status::no_such_path)
}

/// The word that stands for a subresource in paths.
pub(crate) fn path_word(subresource: Subresource) -> &'static str {
    match subresource {
        Subresource::Status => "status",
        Subresource::Scale => "scale",
        Subresource::Log => "log",
        Subresource::Exec => "exec",
        Subresource::Attach => "attach",
        Subresource::PortForward => "portforward",
        Subresource::Proxy => "proxy",
        Subresource::EphemeralContainers => "ephemeralcontainers",
        Subresource::Resize => "resize",
        Subresource::Binding => "binding",
        Subresource::Eviction => "eviction",
        Subresource::Finalize => "finalize",
        Subresource::Token => "token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: &str) {
        let shown = match parse(path) {
            Ok(Route::Resource(t)) => {
                let part = t.subresource.map(path_word).unwrap_or_default();
                format!("{} ns={} name={} sub={part}", t.kind.resource(), t.namespace, t.name)
            }
            Ok(Route::Resources(group, version)) => format!("resources of {group}/{version}"),
            Ok(_) => "other".to_owned(),
            Err(status) => status.code.to_string(),
        };
        assert_eq!(shown, expect, "{path}");
    }

    #[test]
    fn paths_mean_what_upstream_means_by_them() {
        check("/api/v1/pods", "pods ns= name= sub=");
        check("/api/v1/namespaces/default/pods", "pods ns=default name= sub=");
        check("/api/v1/namespaces/default/pods/db-0/log", "pods ns=default name=db-0 sub=log");
        check("/api/v1/namespaces/default", "namespaces ns= name=default sub=");
        check("/api/v1/namespaces/default/finalize", "namespaces ns= name=default sub=finalize");
        check("/api/v1/nodes/n1/status", "nodes ns= name=n1 sub=status");
        check("/apis/apps/v1/namespaces/a/statefulsets/db/scale", "statefulsets.apps ns=a name=db sub=scale");
        check("/apis/apps/v1/", "resources of apps/v1");
        check("/api/v1/pods/db-0", "404");
        check("/api/v1/namespaces/default/nodes", "404");
        check("/api/v1/namespaces/default/pods/a/scale", "404");
        check("/api/v1/namespaces/a/pods/http:p:80/proxy/x/y", "pods ns=a name=http:p:80 sub=proxy");
        check("/api/v1/namespaces/a/configmaps/x/proxy", "404");
        check("/apis/apps/v2/statefulsets", "404");
        check("/nothing", "404");
    }
}
