//! What the API counts of itself, and what others tell it to show: `/metrics` in OpenMetrics text, and the usage of
//! nodes and pods behind metrics.k8s.io. Names are upstream's (`apiserver/pkg/endpoints/metrics`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use registry::Scope;

use crate::query::Query;
use crate::respond::{self, Answer};
use crate::route::{Route, Target, path_word};

/// The form of the answer.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of durations, in seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What a pod or a node uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Processor time per second, in billionths of a processor.
    pub cpu_nanocores: u64,
    /// Bytes of memory that could not be taken back at once.
    pub memory: u64,
}

/// What a node, or the containers of a pod, used lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// When the window ended.
    pub at: Timestamp,
    /// How long the window was in which processor time was counted.
    pub window: Duration,
    /// By container; of a node there is one, without a name.
    pub usage: BTreeMap<String, Usage>,
}

/// Who counts besides the API.
#[async_trait]
pub trait FigureSource: Send + Sync {
    /// What is counted, in OpenMetrics text without the end mark.
    async fn text(&self) -> String;
    /// What nodes use, by name.
    async fn nodes(&self) -> BTreeMap<String, Measured>;
    /// What pods use, by namespace and name.
    async fn pods(&self) -> BTreeMap<(String, String), Measured>;
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

/// What was asked for, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    asked: Asked,
    code: Code,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Code(u16);

impl EncodeLabelValue for Code {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&u32::from(self.0), encoder)
    }
}

/// What the API counts. The labels are words of the table of kinds, so there is a bounded number of them.
pub(crate) struct Figures {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram>,
    others: OnceLock<Arc<dyn FigureSource>>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Answered, Counter>::default();
        let durations = Family::<Asked, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("apiserver_request", "Requests, by what was asked and answered", requests.clone());
        registry.register_with_unit(
            "apiserver_request_duration",
            "How long requests took until they were answered, watches left out",
            Unit::Seconds,
            durations.clone(),
        );
        Self { registry, requests, durations, others: OnceLock::new() }
    }

    /// Who else counts; the first to say so stays.
    pub(crate) fn show(&self, others: Arc<dyn FigureSource>) {
        let _ = self.others.set(others);
    }

    pub(crate) fn others(&self) -> Option<&Arc<dyn FigureSource>> {
        self.others.get()
    }

    /// Counts a request.
    pub(crate) fn note(&self, counted: &Counted, code: StatusCode, took: Duration) {
        let answered = Answered { asked: counted.0.clone(), code: Code(code.as_u16()) };
        self.requests.get_or_create(&answered).inc();
        if counted.0.verb != "WATCH" {
            self.durations.get_or_create(&counted.0).observe(took.as_secs_f64());
        }
    }

    /// All of it.
    pub(crate) async fn answer(&self) -> Answer {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        if let Some(others) = self.others.get() {
            text += &others.text().await;
        }
        let _ = encode_eof(&mut text);
        respond::typed(StatusCode::OK, OPEN_METRICS, text)
    }
}

/// What a request counts as.
pub(crate) struct Counted(Asked);

impl Counted {
    /// A request that was refused before its path was read.
    pub(crate) fn refused(method: &Method) -> Self {
        Self(Asked {
            verb: verb_of(method),
            group: "",
            version: "",
            resource: "",
            subresource: "",
            scope: "",
        })
    }

    pub(crate) fn of(route: &Route, method: &Method, query: Option<&str>) -> Self {
        let Route::Resource(target) = route else { return Self::refused(method) };
        // Upstream's `CleanScope`: what is made is one object, too.
        let is_one = !target.name.is_empty() || *method == Method::POST;
        let scope = match (target.kind.scope, is_one, target.namespace.is_empty()) {
            (_, true, _) => "resource",
            (Scope::Namespaced, false, false) => "namespace",
            _ => "cluster",
        };
        Self(Asked {
            verb: verb(target, method, query.unwrap_or_default()),
            group: target.kind.group,
            version: target.kind.version,
            resource: target.kind.plural,
            subresource: target.subresource.map(path_word).unwrap_or_default(),
            scope,
        })
    }
}

/// Upstream's words (`CanonicalVerb`, `cleanVerb`).
fn verb(target: &Target, method: &Method, query: &str) -> &'static str {
    match (verb_of(method), target.name.is_empty()) {
        ("GET", true) if Query::parse(query).flag("watch") => "WATCH",
        ("GET", true) => "LIST",
        ("DELETE", true) => "DELETECOLLECTION",
        (verb, _) => verb,
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route;

    #[test]
    fn requests_count_by_what_they_ask_for() {
        let words = |method: Method, path: &str, query: &str| {
            let Counted(asked) = Counted::of(&route::parse(path).ok().unwrap(), &method, Some(query));
            let Asked { verb, group, version, resource, subresource, scope } = asked;
            format!("{verb} {group}/{version} {resource}/{subresource} {scope}")
        };
        let pods = "/api/v1/namespaces/default/pods";
        assert_eq!(words(Method::GET, pods, ""), "LIST /v1 pods/ namespace");
        assert_eq!(words(Method::GET, "/api/v1/pods", "watch=true"), "WATCH /v1 pods/ cluster");
        assert_eq!(words(Method::GET, &format!("{pods}/a/log"), ""), "GET /v1 pods/log resource");
        assert_eq!(words(Method::DELETE, pods, ""), "DELETECOLLECTION /v1 pods/ namespace");
        let sets = "/apis/apps/v1/namespaces/default/statefulsets/db";
        assert_eq!(words(Method::PATCH, sets, ""), "PATCH apps/v1 statefulsets/ resource");
        assert_eq!(words(Method::GET, "/metrics", ""), "GET / / ");
    }
}
