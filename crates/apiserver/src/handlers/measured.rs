//! metrics.k8s.io: what nodes and pods use, as objects that are measured when somebody asks
//! (`kubernetes-sigs/metrics-server`, `pkg/api`). Labels and selectors are those of the nodes and pods.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use apimachinery::time;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::list;
use crate::api::{ApiServer, Request};
use crate::codec::{self, Stored};
use crate::figures::{FigureSource, Measured, Usage};
use crate::list_options::ListOptions;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::selection::Selection;

pub(crate) async fn measured(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    if request.method != Method::GET || request.query.flag("watch") {
        return Err(Status::method_not_allowed());
    }
    let of = registry::measured(target.kind).ok_or_else(Status::no_such_path)?;
    let source = api.figures().others().ok_or_else(|| {
        Status::new(503, "ServiceUnavailable", "nothing is measured here: this stead runs no node")
    })?;
    let measured = Target { kind: of, ..target.clone() };
    let all = Figures::take(&**source, of.plural).await;
    if !target.name.is_empty() {
        let object = codec::decode(&api.read(&measured).await?)?;
        let found = all.of(&object).map(|figures| shown(target, &object, figures));
        let found = found.ok_or_else(|| Status::not_found(&target.kind.resource(), &target.name))?;
        return Ok(respond::json_value(StatusCode::OK, &found));
    }
    let options = ListOptions::from_query(&request.query)?;
    let selection = Selection::from_request(request, &measured)?;
    let (items, _) = list::select(api, &options, &measured, &selection).await?;
    let objects = items.iter().map(|item: &Stored| codec::decode(item)).collect::<Result<Vec<_>, _>>()?;
    let items: Vec<Value> = objects
        .iter()
        .filter_map(|object| all.of(object).map(|figures| shown(target, object, figures)))
        .map(|mut item| {
            // As upstream's lists: their kind is said once.
            item.as_object_mut().map(|item| (item.remove("kind"), item.remove("apiVersion")));
            item
        })
        .collect();
    let answer = json!({"kind": target.kind.list_kind(), "apiVersion": target.kind.api_version(),
        "metadata": {}, "items": items});
    Ok(respond::json_value(StatusCode::OK, &answer))
}

/// The figures of all objects of a kind, by namespace and name.
struct Figures(std::collections::BTreeMap<(String, String), Measured>);

impl Figures {
    async fn take(source: &dyn FigureSource, plural: &str) -> Self {
        if plural == "pods" {
            return Self(source.pods().await);
        }
        let nodes = source.nodes().await.into_iter();
        Self(nodes.map(|(name, figures)| ((String::new(), name), figures)).collect())
    }

    fn of(&self, object: &Value) -> Option<&Measured> {
        self.0.get(&(object.namespace().to_owned(), object.name().to_owned()))
    }
}

fn shown(target: &Target, object: &Value, figures: &Measured) -> Value {
    let mut meta = Map::new();
    for field in ["name", "namespace", "labels"] {
        if let Some(value) = object["metadata"].get(field) {
            meta.insert(field.to_owned(), value.clone());
        }
    }
    meta.insert("creationTimestamp".to_owned(), time::format_seconds(figures.at).into());
    let mut item = json!({
        "kind": target.kind.kind, "apiVersion": target.kind.api_version(), "metadata": meta,
        "timestamp": time::format_seconds(figures.at),
        "window": format!("{:.3}s", figures.window.as_secs_f64()),
    });
    if target.kind.scope == registry::Scope::Namespaced {
        let containers = figures.usage.iter();
        let containers = containers.map(|(name, usage)| json!({"name": name, "usage": amounts(usage)}));
        item["containers"] = containers.collect();
    } else {
        item["usage"] = figures.usage.values().next().map_or(Value::Null, amounts);
    }
    item
}

fn amounts(usage: &Usage) -> Value {
    json!({"cpu": format!("{}n", usage.cpu_nanocores), "memory": format!("{}Ki", usage.memory / 1024)})
}
