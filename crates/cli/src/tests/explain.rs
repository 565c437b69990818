//! What the server says of itself: `explain`, `api-versions`, `cluster-info`.

use super::harness::Stead;

#[tokio::test]
async fn a_field_is_explained_as_kubectl_explains_it() {
    let stead = Stead::start().await;
    let expected = "\
GROUP:      apps
KIND:       StatefulSet
VERSION:    v1

FIELD: updateStrategy <StatefulSetUpdateStrategy>


DESCRIPTION:
    updateStrategy indicates the StatefulSetUpdateStrategy that will be employed
    to update Pods in the StatefulSet when a revision is made to Template.
    StatefulSetUpdateStrategy indicates the strategy that the StatefulSet
    controller will use to perform updates. It includes any additional
    parameters necessary to perform the update for the indicated strategy.
    
FIELDS:
  rollingUpdate\t<RollingUpdateStatefulSetStrategy>
    RollingUpdate is used to communicate parameters when Type is
    RollingUpdateStatefulSetStrategyType.

  type\t<string>
    Type indicates the type of the StatefulSetUpdateStrategy. Default is
    RollingUpdate.


";
    assert_eq!(stead.ok("explain sts.spec.updateStrategy").await, expected);
    assert_eq!(stead.ok("explain statefulsets.apps.spec.updateStrategy").await, expected);
}

#[tokio::test]
async fn fields_below_are_listed_to_the_last() {
    let stead = Stead::start().await;
    let told = stead.ok("explain hpa --recursive --api-version=autoscaling/v1").await;
    let fields: Vec<&str> = told.lines().skip_while(|line| *line != "FIELDS:").skip(1).collect();
    assert!(
        fields.starts_with(&["  apiVersion\t<string>", "  kind\t<string>", "  metadata\t<ObjectMeta>"]),
        "{told}"
    );
    for line in [
        "    annotations\t<map[string]string>",
        "    creationTimestamp\t<string>",
        "      fieldsV1\t<FieldsV1>",
        "    ownerReferences\t<[]OwnerReference>",
        "      apiVersion\t<string> -required-",
        "    maxReplicas\t<integer> -required-",
    ] {
        assert!(fields.contains(&line), "{line:?} is not in:\n{told}");
    }
    assert_eq!(stead.fails("explain cm.nothing").await, "error: field \"nothing\" does not exist\n");
    let said = stead.fails("explain hpa --api-version=autoscaling/v7").await;
    assert_eq!(said, "error: the server has no autoscaling/v7: see api-versions for what it has\n");
}

#[tokio::test]
async fn versions_are_listed_and_the_server_is_told_of() {
    let stead = Stead::start().await;
    let versions = stead.ok("api-versions").await;
    let versions: Vec<&str> = versions.lines().collect();
    assert!(versions.is_sorted(), "{versions:?}");
    for version in ["apps/v1", "autoscaling/v1", "autoscaling/v2", "events.k8s.io/v1", "v1"] {
        assert!(versions.contains(&version), "{version}");
    }
    let told = stead.ok("cluster-info").await;
    assert!(told.starts_with("Kubernetes control plane is running at https://127.0.0.1:"), "{told}");
}
