//! One request, sent on to where it is meant for, and the answer back.

use apimachinery::status::Status;
use futures::StreamExt;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::body::{Body, RequestBody};
use crate::node_streams::PodConnection;
use crate::respond::Answer;

/// Headers that are about one connection only (RFC 9110, section 7.6.1), and the client's proof of who it is, which
/// is not the pod's to have.
const NOT_PASSED_ON: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::AUTHORIZATION,
];

/// Where a request came in, and where it goes.
pub(crate) struct Place {
    /// The address and port, as a `Host:` header says it.
    pub(crate) host: String,
    /// Everything of the path up to `/proxy`: what stands before the pod's own paths.
    pub(crate) prefix: String,
    /// The pod's own path; empty when there was not even a slash.
    pub(crate) path: String,
}

/// Sends a request over the connection, and hands its answer back. A client that asks to change the protocol gets the
/// connection itself, when the pod grants that.
pub(crate) async fn forward(
    connection: PodConnection,
    request: http::Request<RequestBody>,
    place: &Place,
    shutdown: CancellationToken,
) -> Result<Answer, Status> {
    let (mut parts, body) = request.into_parts();
    let client = parts.extensions.remove::<OnUpgrade>();
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = PathAndQuery::try_from(format!("/{}{query}", place.path.trim_start_matches('/')));
    parts.uri =
        target.map(Uri::from).map_err(|e| Status::bad_request(format!("the path to proxy to: {e}")))?;
    parts.version = http::Version::HTTP_11;
    let original_host = parts.headers.get(header::HOST).cloned();
    pass_on(&mut parts.headers);
    if let Some(upgrade) = &upgrade {
        parts.headers.insert(header::UPGRADE, upgrade.clone());
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    let mut say = |name: &'static str, value: Option<HeaderValue>| {
        parts.headers.extend(value.map(|value| (HeaderName::from_static(name), value)));
    };
    say("x-forwarded-host", original_host);
    say("x-forwarded-proto", Some(HeaderValue::from_static("https")));
    let uri = format!("{}/{}", place.prefix, place.path.trim_start_matches('/'));
    say("x-forwarded-uri", HeaderValue::from_str(&uri).ok());
    say("host", HeaderValue::from_str(&place.host).ok());

    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(|e| unreachable(&e))?;
    let ended = shutdown.clone();
    tokio::spawn(async move {
        // A WebSocket outlives the request; a stead that ends does not wait for it.
        tokio::select! {
            () = ended.cancelled() => {}
            _ = driver.with_upgrades() => {}
        }
    });
    let answer =
        sender.send_request(http::Request::from_parts(parts, body)).await.map_err(|e| unreachable(&e))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(switch(answer, client, shutdown));
    }
    Ok(give_back(answer, place))
}

/// The sentence of upstream's proxy for what does not answer.
pub(crate) fn unreachable(error: &dyn std::fmt::Display) -> Status {
    Status::new(503, "ServiceUnavailable", format!("error trying to reach service: {error}"))
}

fn pass_on(headers: &mut HeaderMap) {
    let listed: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|word| word.trim().to_ascii_lowercase()))
        .collect();
    for name in listed {
        headers.remove(name.as_str());
    }
    for name in NOT_PASSED_ON {
        headers.remove(name);
    }
    headers.remove(header::HOST);
}

fn give_back(answer: Response<Incoming>, place: &Place) -> Answer {
    let (mut parts, body) = answer.into_parts();
    pass_on(&mut parts.headers);
    if let Some(moved) = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok())
        && let Ok(rewritten) = HeaderValue::from_str(&location(moved, place))
    {
        parts.headers.insert(header::LOCATION, rewritten);
    }
    parts.version = http::Version::default();
    let stream = body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
    Response::from_parts(parts, Body::stream(stream.boxed()))
}

/// Where a redirect leads, as the client has to say it: what leads to the same place goes through the proxy again.
/// Nobody follows it here.
fn location(moved: &str, place: &Place) -> String {
    let Ok(uri) = moved.parse::<Uri>() else { return moved.to_owned() };
    if uri.authority().map(Authority::as_str).is_some_and(|to| to != place.host) {
        return moved.to_owned();
    }
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if uri.authority().is_none() && !path.starts_with('/') {
        return moved.to_owned();
    }
    format!("{}{path}", place.prefix)
}

/// The pod speaks another protocol now: both sides get each other's bytes.
fn switch(mut answer: Response<Incoming>, client: Option<OnUpgrade>, shutdown: CancellationToken) -> Answer {
    let pod = hyper::upgrade::on(&mut answer);
    let (parts, _) = answer.into_parts();
    tokio::spawn(async move {
        let carry = async {
            let (Some(client), pod) = (client, pod) else { return };
            let (Ok(client), Ok(pod)) = tokio::join!(client, pod) else { return };
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(pod)).await;
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = carry => {}
        }
    });
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_to_the_same_place_lead_through_the_proxy_again() {
        let prefix = "/api/v1/namespaces/default/pods/p/proxy".to_owned();
        let place = Place { host: "10.42.0.7:80".into(), prefix, path: "/a".into() };
        let same = "/api/v1/namespaces/default/pods/p/proxy/login?next=a";
        assert_eq!(location("/login?next=a", &place), same);
        assert_eq!(location("http://10.42.0.7:80/login?next=a", &place), same);
        for other in ["https://example.com/login", "login"] {
            assert_eq!(location(other, &place), other);
        }
    }

    #[test]
    fn what_is_about_one_connection_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("authorization", "Bearer secret"),
            ("te", "trailers"),
            ("cookie", "a=b"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        pass_on(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["cookie"]);
    }
}
