//! What a request asks for, from its method, path and query alone (upstream:
//! `apiserver/pkg/endpoints/request/requestinfo.go`): also of paths that nothing lives at, so that strangers do not
//! learn which exist.

use apimachinery::fields::Selector;
use http::Method;
use percent_encoding::percent_decode_str;
use registry::rbac::Attributes;

use crate::query::Query;

/// The parts of a namespace that are not resources within it.
const NAMESPACE_PARTS: [&str; 2] = ["finalize", "status"];

/// A request as rules look at it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    path: Option<String>,
    fields: Vec<(String, String)>,
}

impl RequestInfo {
    pub(crate) fn new(method: &Method, path: &str, query: &str) -> Self {
        let parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => Self::of_resource(method, "", rest, query),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => {
                Self::of_resource(method, group, rest, query)
            }
            _ => {
                Self { verb: method.as_str().to_lowercase(), path: Some(path.to_owned()), ..Self::default() }
            }
        }
    }

    fn of_resource(method: &Method, group: &str, mut rest: &[&str], query: &str) -> Self {
        let mut info = Self { group: group.to_owned(), ..Self::default() };
        if let ["namespaces", namespace, within @ ..] = rest {
            info.namespace = (*namespace).to_owned();
            if within.first().is_some_and(|first| !NAMESPACE_PARTS.contains(first)) {
                rest = within;
            }
        }
        let word = |index: usize| rest.get(index).map(|word| (*word).to_owned()).unwrap_or_default();
        (info.resource, info.name, info.subresource) = (word(0), word(1), word(2));
        let query = Query::parse(query);
        if info.name.is_empty() && matches!(*method, Method::GET | Method::HEAD | Method::DELETE) {
            info.fields = selected_fields(&query);
        }
        info.verb = match *method {
            Method::GET | Method::HEAD if info.name.is_empty() => {
                info.name = selected_name(&info.fields).unwrap_or_default();
                if query.flag("watch") { "watch" } else { "list" }
            }
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if info.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        }
        .to_owned();
        info
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            verb: &self.verb,
            group: &self.group,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            path: self.path.as_deref(),
            fields: &self.fields,
        }
    }
}

/// The one name that a field selector leaves: a list of it needs no more than reading it does.
fn selected_name(fields: &[(String, String)]) -> Option<String> {
    let named = fields.iter().find(|(field, value)| field == "metadata.name" && !value.is_empty());
    named.map(|(_, name)| name.clone())
}

/// What a field selector demands; nothing, when it cannot be read: the handler says why.
fn selected_fields(query: &Query) -> Vec<(String, String)> {
    let selector = query.get("fieldSelector").and_then(|text| Selector::parse(text).ok()).unwrap_or_default();
    let demanded = selector.terms().iter().filter(|term| term.equal);
    demanded.map(|term| (term.field.clone(), term.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expect: &str) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::new(method, path, query);
        let asked = info.attributes();
        let shown = match asked.path {
            Some(path) => format!("{} {path}", asked.verb),
            None => format!(
                "{} {}/{}/{} in {:?}, name {:?}",
                asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace, asked.name
            ),
        };
        assert_eq!(shown, expect, "{method} {path}");
    }

    #[test]
    fn requests_ask_for_what_upstream_takes_them_to_ask_for() {
        check(&Method::GET, "/api/v1/pods", "list /pods/ in \"\", name \"\"");
        check(&Method::GET, "/api/v1/pods?watch=true", "watch /pods/ in \"\", name \"\"");
        check(&Method::GET, "/api/v1/namespaces/a/pods/p/log", "get /pods/log in \"a\", name \"p\"");
        check(
            &Method::GET,
            "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp&watch=1",
            "watch /pods/ in \"a\", name \"p\"",
        );
        check(&Method::GET, "/api/v1/namespaces/a", "get /namespaces/ in \"a\", name \"a\"");
        check(
            &Method::PUT,
            "/api/v1/namespaces/a/finalize",
            "update /namespaces/finalize in \"a\", name \"a\"",
        );
        check(&Method::GET, "/api/v1/namespaces", "list /namespaces/ in \"\", name \"\"");
        check(
            &Method::DELETE,
            "/apis/apps/v1/namespaces/a/statefulsets",
            "deletecollection apps/statefulsets/ in \"a\", name \"\"",
        );
        check(
            &Method::POST,
            "/apis/no.such/v9/namespaces/a/things",
            "create no.such/things/ in \"a\", name \"\"",
        );
        check(&Method::GET, "/apis/apps/v1", "get /apis/apps/v1");
        check(&Method::GET, "/api", "get /api");
        check(&Method::POST, "/healthz/ping", "post /healthz/ping");
    }
}
