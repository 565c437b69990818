//! `/proxy` of pods, services and nodes: requests to what they serve.

use std::sync::PoisonError;

use apimachinery::status::Status;
use http::header::{LOCATION, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::Value;

use crate::api::{ApiServer, Request};
use crate::body::{Body, RequestBody};
use crate::codec;
use crate::proxy::{self, Name, Place};
use crate::respond::Answer;
use crate::route::Target;

pub(crate) async fn proxy(api: &ApiServer, request: Request, target: &Target) -> Result<Answer, Status> {
    let Some((prefix, path)) = split(&request.path, target) else { return Err(Status::no_such_path()) };
    let kind = target.kind.singular;
    let name = Name::parse(kind, &target.name)?;
    let object = Target { name: name.name.to_owned(), subresource: None, ..target.clone() };
    let object: Value = codec::decode(&api.read(&object).await?)?;
    let address = match kind {
        "pod" => proxy::of_pod(&object, &name)?,
        "service" => {
            let slices = endpoint_slices(api, &target.namespace).await?;
            proxy::of_service(&object, &slices, &name, api.random().next() as usize)?
        }
        _ => {
            return Err(Status::new(
                501,
                "NotImplemented",
                format!(
                    "{kind} {} serves no kubelet API: ask this API for logs, exec, attach and port-forward of its pods",
                    name.name
                ),
            ));
        }
    };
    if name.https {
        return Err(Status::new(
            501,
            "NotImplemented",
            format!(
                "the proxy speaks plain HTTP only: leave https: away, or use port-forward to reach {}",
                name.name
            ),
        ));
    }
    let asks = matches!(request.method, Method::GET | Method::HEAD);
    if path.is_empty() && asks && !request.headers.contains_key(UPGRADE) {
        return Ok(with_slash(&request));
    }
    let place = Place { host: address.to_string(), prefix: prefix.to_owned(), path: path.to_owned() };
    let connection = api
        .streams()
        .dial(address)
        .await
        .map_err(|e| proxy::unreachable(&format!("dial tcp {address}: {e}")))?;
    let shutdown = api.shutdown_token().clone();
    proxy::forward(connection, onward(request), &place, shutdown).await
}

async fn endpoint_slices(api: &ApiServer, namespace: &str) -> Result<Vec<Value>, Status> {
    match registry::by_resource("discovery.k8s.io", "v1", "endpointslices") {
        Some(kind) => api.objects(&registry::namespace_prefix(kind, namespace)).await,
        None => Ok(Vec::new()),
    }
}

/// The request as it came in, its body still to come.
fn onward(request: Request) -> http::Request<RequestBody> {
    let mut onward = http::Request::new(
        request
            .stream
            .map(|stream| stream.into_inner().unwrap_or_else(PoisonError::into_inner))
            .unwrap_or_default(),
    );
    *onward.method_mut() = request.method;
    *onward.uri_mut() = request.uri;
    *onward.headers_mut() = request.headers;
    if let Some(upgrade) = request.upgrade {
        onward.extensions_mut().insert(upgrade);
    }
    onward
}

/// The path up to `/proxy`, and what follows.
fn split<'a>(path: &'a str, target: &Target) -> Option<(&'a str, &'a str)> {
    let words = if target.namespace.is_empty() { 5 } else { 7 };
    let end = path.match_indices('/').nth(words).map_or(path.len(), |(at, _)| at);
    let (prefix, rest) = path.split_at(end);
    prefix.ends_with("/proxy").then_some((prefix, rest))
}

/// Relative links need a path that ends in a slash (upstream: `proxyRedirectsforRootPath`).
fn with_slash(request: &Request) -> Answer {
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let moved = HeaderValue::from_str(&format!("{}/{query}", request.path));
    answer.headers_mut().extend(moved.map(|moved| (LOCATION, moved)));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_proxy_is_the_pods_own_path() {
        let check = |path: &str| {
            let crate::route::Route::Resource(target) = crate::route::parse(path).ok()? else { return None };
            split(path, &target).map(|(prefix, rest)| (prefix.to_owned(), rest.to_owned()))
        };
        let pod = "/api/v1/namespaces/default/pods/http:p:80/proxy";
        let found = |prefix: &str, rest: &str| Some((prefix.to_owned(), rest.to_owned()));
        assert_eq!(check(pod), found(pod, ""));
        assert_eq!(check(&format!("{pod}/")), found(pod, "/"));
        assert_eq!(check(&format!("{pod}/a//b%2Fc/")), found(pod, "/a//b%2Fc/"));
        assert_eq!(check("/api/v1/nodes/n/proxy/stats"), found("/api/v1/nodes/n/proxy", "/stats"));
        assert_eq!(check("/api/v1//namespaces/default/pods/p/proxy/x"), None, "no path of ours");
    }
}
