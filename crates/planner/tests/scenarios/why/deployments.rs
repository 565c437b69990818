//! Deployments lead to their ReplicaSets, and those to the pods that they wait for.

use serde_json::json;

use super::{container, why, with_service};
use crate::sim::Sim;

#[test]
fn a_deployment_leads_to_the_pod_that_is_not_ready() {
    let mut sim = with_service();
    sim.make(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}, "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "web", "image": "shop:1"}]}}}}));
    sim.settle();
    let pod = sim.names("Pod")[0].clone();
    container(
        &mut sim,
        &pod,
        &json!({"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such table"}}}),
    );
    let (set, _) = pod.rsplit_once('-').expect("a set's name");
    let hash = set.strip_prefix("shop-").expect("a hash").to_owned();
    let told = |sim: &Sim, about: &str| why(sim, about).replace(&hash, "HASH");
    insta::assert_snapshot!(told(&sim, "deploy/shop"), @r#"
    deployment/shop: 0 of 1 pods of replicaset/shop-HASH are available
    └ replicaset/shop-HASH: shop-HASH-1 is not available yet
      └ pod/shop-HASH-1 is not Ready
        └ container web is in CrashLoopBackOff (2 restarts)
          └ container web ended with exit code 1 (Error)
              no such table
          → read what it said: stead logs shop-HASH-1 -c web --previous
    "#);
    insta::assert_snapshot!(told(&sim, &format!("rs/{set}")), @r#"
    replicaset/shop-HASH: shop-HASH-1 is not available yet
    └ pod/shop-HASH-1 is not Ready
      └ container web is in CrashLoopBackOff (2 restarts)
        └ container web ended with exit code 1 (Error)
            no such table
        → read what it said: stead logs shop-HASH-1 -c web --previous
    "#);
    let waiting = json!({"reason": "ErrImagePull", "message": "has no such image"});
    container(&mut sim, &pod, &json!({"image": "shop:1", "state": {"waiting": waiting}}));
    insta::assert_snapshot!(told(&sim, &format!("pod/{pod}")), @r#"
    pod/shop-HASH-1 is not Ready
    └ container web has no image (ErrImagePull)
        has no such image
      → check the name and the tag shop:1; name another: stead set image deploy/shop web=IMAGE; or bring it: stead image import FILE
    "#);
}
