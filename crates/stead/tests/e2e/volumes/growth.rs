//! A set whose claims grow.

use crate::harness::Stead;

const TEMPLATE: &str = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";

fn ask(size: &str) -> String {
    format!(
        "patch sts db --type json -p '[{{\"op\": \"replace\", \"path\": \"{TEMPLATE}\", \"value\": \"{size}\"}}]'"
    )
}

#[test]
fn the_claims_of_a_set_grow_under_its_pods_the_highest_ordinal_first() {
    let mut stead = Stead::start("volumes-growth", &["busybox"]);
    stead.apply(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: image}, provisioner: stead.dev/local, \
         parameters: {backing: image, fsType: xfs}, allowVolumeExpansion: true}\n---\n\
         {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {replicas: 3, serviceName: db, \
         podManagementPolicy: Parallel, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, \
         spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: busybox, \
         command: [sleep, infinity], volumeMounts: [{name: data, mountPath: /data}]}]}}, \
         volumeClaimTemplates: [{metadata: {name: data}, spec: {storageClassName: image, \
         accessModes: [ReadWriteOnce], resources: {requests: {storage: 300Mi}}}}]}}\n",
    );
    stead.wait("condition=Available", "sts/db");
    // Who manages the pods may change under them.
    stead.kill();
    stead.up();
    let room = |pod: &str| stead.shell(pod, "df -k /data | tail -1");
    let before = room("db-0");
    let refusal = stead.fails(&ask("8Mi"));
    assert!(
        refusal.contains(
            "spec.volumeClaimTemplates[0].spec.resources.requests.storage: Invalid value: \"8Mi\": volumes do not \
             shrink: ask for 300Mi or more"
        ),
        "{refusal}"
    );
    let grown = stead.events("sts/db", "SuccessfulGrow");
    stead.run(&ask("400Mi"));
    for ordinal in [2, 1, 0] {
        assert_eq!(grown.line(), format!("grow Claim data-db-{ordinal} to 400Mi successful"));
    }
    stead.wait("jsonpath={.status.capacity.storage}=400Mi", "pvc/data-db-0");
    stead.wait("'jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}=Complete'", "sts/db");
    for ordinal in 0..3 {
        assert_eq!(stead.field(&format!("pvc data-db-{ordinal}"), ".status.capacity.storage"), "400Mi");
        let pod = format!("db-{ordinal}");
        assert_ne!(room(&pod), before);
        assert_eq!(stead.field(&format!("pod {pod}"), ".status.containerStatuses[0].restartCount"), "0");
    }
    // A pod that comes later has what the others have.
    stead.run("scale sts db --replicas=4");
    stead.wait("jsonpath={.status.capacity.storage}=400Mi", "pvc/data-db-3");
}
