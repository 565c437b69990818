//! Which container of a pod a log or an exec is about
//! (upstream: pkg/registry/core/pod/strategy.go, `streamLocation` and `LogLocation`).

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::Value;

use crate::node_streams::ContainerRef;

/// The container `wanted`, or the only one. 400 when there is a choice or no such container.
pub(crate) fn choose(pod: &Value, wanted: Option<&str>) -> Result<ContainerRef, Status> {
    let name = pod.name();
    let (containers, init) = (names(pod, "containers"), names(pod, "initContainers"));
    let container = match (wanted, containers.as_slice()) {
        (Some(wanted), _) => {
            let ephemeral = names(pod, "ephemeralContainers");
            if ![&containers, &init, &ephemeral].iter().any(|list| list.contains(&wanted)) {
                return Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
            }
            wanted
        }
        (None, [only]) => *only,
        (None, []) => {
            return Err(Status::bad_request(format!("a container name must be specified for pod {name}")));
        }
        (None, many) => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                many.join(" ")
            );
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            return Err(Status::bad_request(message));
        }
    };
    Ok(ContainerRef { container: container.to_owned(), ..pod_ref(pod) })
}

/// The pod itself: no container.
pub(crate) fn pod_ref(pod: &Value) -> ContainerRef {
    ContainerRef {
        node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
        namespace: pod.namespace().to_owned(),
        pod: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
        container: String::new(),
    }
}

/// The same, unless the pod has no node yet.
pub(crate) fn on_node(container: ContainerRef) -> Result<ContainerRef, Status> {
    if container.node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", container.pod)));
    }
    Ok(container)
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    pod["spec"][list].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_choice_of_containers_must_be_made_by_the_client() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let refusal = |wanted| choose(&pod, wanted).expect_err("no container").message;
        assert_eq!(
            refusal(None),
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(refusal(Some("x")), "container x is not valid for pod p");
        assert_eq!(choose(&pod, Some("i")).expect("an init container").container, "i");
        let single = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(choose(&single, None).expect("the only one").container, "a");
    }
}
