//! Pods and containers as people name them: `web-0`, `sts/web`, a selector, a default container.

use apimachinery::labels::Selector;
use apimachinery::meta::ObjectExt;
use serde_json::Value;

use crate::error::Error;
use crate::selection::{self, Filters, Pick};
use crate::session::Session;

/// Says which container is meant when nobody does.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The lists of a pod's containers, in the order that they run.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The pods of a name: the pod itself, or the pods that `sts/web`, `svc/web` selects, those that can be expected to
/// answer first.
///
/// # Errors
/// When there are none, or what is named selects no pods.
pub(crate) async fn of(session: &Session, word: &str) -> Result<Vec<Value>, Error> {
    let (kind, name) = word.split_once('/').unwrap_or(("pod", word));
    let resource = session.resource(kind).await?;
    let pick = Pick::named(resource, &session.namespace, name);
    let object = session.api.get(&pick.url(&Filters::default())).await?;
    if pick.resource.kind == "Pod" {
        return Ok(vec![object]);
    }
    let selector = selector_of(&object).ok_or_else(|| {
        Error::plain(format!("{word} selects no pods: name a pod, or something with spec.selector"))
    })?;
    let mut pods = matching(session, |pod| selector.matches(&pod.meta_map("labels"))).await?;
    pods.sort_by_key(|pod| (!is_ready(pod), pod.name().to_owned()));
    if pods.is_empty() {
        return Err(Error::plain(format!("{word} has no pods: see describe {word}")));
    }
    Ok(pods)
}

async fn matching(session: &Session, keep: impl Fn(&Value) -> bool) -> Result<Vec<Value>, Error> {
    let pick =
        Pick { resource: session.resource("pods").await?, namespace: session.namespace.clone(), name: None };
    let found = selection::fetch(session, &pick, &Filters::default()).await?;
    Ok(found.into_iter().map(|f| f.object).filter(keep).collect())
}

/// What `spec.selector` of a workload (a `LabelSelector`) or of a service (labels) selects.
pub(crate) fn selector_of(object: &Value) -> Option<Selector> {
    let selector = &object["spec"]["selector"];
    let fields = selector.as_object().filter(|fields| !fields.is_empty())?;
    if fields.contains_key("matchLabels") || fields.contains_key("matchExpressions") {
        return Selector::from_label_selector(selector).ok();
    }
    Some(Selector::from_set(fields.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The names of all containers of a pod, with a note on those that are not plain ones.
fn containers(pod: &Value) -> Vec<(String, &'static str)> {
    let notes = [" (init)", "", " (ephem)"];
    let lists = CONTAINER_LISTS.iter().zip(notes);
    lists
        .flat_map(|(list, note)| {
            let items = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().filter_map(move |c| Some((c["name"].as_str()?.to_owned(), note)))
        })
        .collect()
}

/// What the pod's spec says of a container.
pub(crate) fn spec_of<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let lists = CONTAINER_LISTS.iter().filter_map(|list| pod["spec"][list].as_array());
    lists.flatten().find(|container| container["name"] == name)
}

/// The names of all containers of a pod, in the order that they run.
pub(crate) fn all_containers(pod: &Value) -> Vec<String> {
    containers(pod).into_iter().map(|(name, _)| name).collect()
}

/// The container that is meant: `wanted`, the one that an annotation names, or the first. The second value is what to
/// say when the choice was not the user's.
///
/// # Errors
/// When the pod has no such container.
pub(crate) fn container(pod: &Value, wanted: Option<&str>) -> Result<(String, Option<String>), Error> {
    let all = containers(pod);
    let listed: Vec<String> = all.iter().map(|(name, note)| format!("{name}{note}")).collect();
    let listed = listed.join(", ");
    let known = |name: &str| all.iter().any(|(known, _)| known == name);
    if let Some(wanted) = wanted {
        return if known(wanted) {
            Ok((wanted.to_owned(), None))
        } else {
            Err(Error::plain(format!("container {wanted} not found in pod {}; it has: {listed}", pod.name())))
        };
    }
    if let Some(name) = pod.annotation(DEFAULT_CONTAINER).filter(|name| known(name)) {
        return Ok((name.to_owned(), None));
    }
    let plain = all.iter().find(|(_, note)| note.is_empty());
    let (first, _) = plain.ok_or_else(|| Error::plain(format!("pod {} has no containers", pod.name())))?;
    let said = (all.len() > 1).then(|| format!("Defaulted container {first:?} out of: {listed}"));
    Ok((first.clone(), said))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_with_many_containers_says_which_one_it_took() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        let chosen = container(&pod, None).expect("a container");
        assert_eq!(
            chosen,
            ("a".to_owned(), Some("Defaulted container \"a\" out of: i (init), a, b".to_owned()))
        );
        assert_eq!(container(&pod, Some("i")).expect("a container"), ("i".to_owned(), None));
        let refused = container(&pod, Some("x")).expect_err("no such container").to_string();
        assert_eq!(refused, "error: container x not found in pod p; it has: i (init), a, b");
        assert_eq!(all_containers(&pod), ["i", "a", "b"]);
    }

    #[test]
    fn an_annotation_says_which_container_is_the_main_one() {
        let pod = json!({"metadata": {"name": "p", "annotations": {DEFAULT_CONTAINER: "b"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(container(&pod, None).expect("a container"), ("b".to_owned(), None));
    }

    #[test]
    fn workloads_and_services_select_by_labels() {
        let labels = json!({"app": "web"});
        let labels = labels.as_object();
        let set = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}});
        let service = json!({"spec": {"selector": {"app": "web"}}});
        assert!(selector_of(&set).is_some_and(|s| s.matches(&labels)));
        assert!(selector_of(&service).is_some_and(|s| s.matches(&labels)));
        assert!(selector_of(&json!({"spec": {"selector": {}}})).is_none());
    }
}
