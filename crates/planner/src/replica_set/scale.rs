//! Making and deleting pods until there are as many as wanted (`manageReplicas`).

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{View, ranking, replicas};
use crate::objects::{controller_ref, delete, name};
use crate::plan::{Action, CREATED_NAME, Plan};
use crate::world::{object_ref, to_value};

/// How many pods one plan makes or deletes at most; the next plan goes on from there (`BurstReplicas`).
const BURST: usize = 500;

/// Makes what is missing, or deletes what is too much.
pub(super) fn do_plan_replicas(view: &View<'_>, plan: &mut Plan) {
    let wanted = usize::try_from(replicas(view.set)).unwrap_or(0);
    let active: Vec<&Pod> = view.active().collect();
    let about = object_ref(&**view.set);
    for _ in 0..wanted.saturating_sub(active.len()).min(BURST) {
        plan.actions.push(Action::Create(to_value(&new_pod(view))));
        let done = format!("Created pod: {CREATED_NAME}");
        plan.record_write(&about, "Create", done, "Error creating".to_owned());
    }
    let surplus = active.len().saturating_sub(wanted).min(BURST);
    if surplus == 0 {
        return;
    }
    for pod in ranking::in_order_of_deletion(view, active).into_iter().take(surplus) {
        plan.actions.push(delete(pod));
        let pod = name(&pod.metadata);
        plan.record_write(&about, "Delete", format!("Deleted pod: {pod}"), format!("Error deleting: {pod}"));
    }
}

/// A pod of the set's template; the API completes its name (`GetPodFromTemplate`).
fn new_pod(view: &View<'_>) -> Pod {
    let set = view.set;
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&set.metadata))),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_ref(&**set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
