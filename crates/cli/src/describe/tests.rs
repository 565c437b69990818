use jiff::Timestamp;
use serde_json::json;

use super::{Subject, describe};

fn now() -> Timestamp {
    "2026-01-02T03:10:00Z".parse().expect("a moment")
}

fn text(object: serde_json::Value) -> String {
    describe(&Subject { object, ..Subject::default() }, false, now())
}

#[test]
fn a_pod_is_told_as_kubectl_tells_it() {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "db-0", "namespace": "shop", "labels": {"app": "db", "tier": "back"},
            "ownerReferences": [{"kind": "StatefulSet", "name": "db", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [{
            "name": "postgres", "image": "postgres:14", "command": ["sh", "-c", "a\nb"],
            "ports": [{"containerPort": 5432, "protocol": "TCP"}],
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}}, {"name": "A", "value": "1"},
                    {"name": "ME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
            "readinessProbe": {"httpGet": {"path": "/ok", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "resources": {"requests": {"cpu": "100m"}},
        }], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}],
            "startTime": "2026-01-02T03:04:05Z", "qosClass": "Burstable",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "postgres", "ready": true, "restartCount": 1, "containerID": "c://1", "imageID": "i@1",
                "state": {"running": {"startedAt": "2026-01-02T03:05:00Z"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": "2026-01-02T03:04:10Z", "finishedAt": "2026-01-02T03:04:59Z"}}}]},
    });
    let events = vec![json!({"type": "Normal", "reason": "Pulled", "message": "done ", "count": 3,
        "firstTimestamp": "2026-01-02T03:05:00Z", "lastTimestamp": "2026-01-02T03:09:50Z", "source": {"component": "kubelet"}})];
    let subject = Subject { object, events, ..Subject::default() };
    let told = describe(&subject, true, now());
    let trimmed: Vec<&str> = told.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(trimmed.join("\n"), @r#"
Name:         db-0
Namespace:    shop
Node:         n1/10.0.0.1
Start Time:   Fri, 02 Jan 2026 03:04:05 +0000
Labels:       app=db
              tier=back
Annotations:  <none>
Status:       Running
IP:           10.42.0.7
IPs:
  IP:           10.42.0.7
Controlled By:  StatefulSet/db
Containers:
  postgres:
    Container ID:  c://1
    Image:         postgres:14
    Image ID:      i@1
    Port:          5432/TCP
    Host Port:     0/TCP
    Command:
      sh
      -c
      a
      b
    State:          Running
      Started:      Fri, 02 Jan 2026 03:05:00 +0000
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
      Started:      Fri, 02 Jan 2026 03:04:10 +0000
      Finished:     Fri, 02 Jan 2026 03:04:59 +0000
    Ready:          True
    Restart Count:  1
    Requests:
      cpu:      100m
    Readiness:  http-get http://:http/ok delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment:
      PASSWORD:  <set to the key 'password' in secret 's'>  Optional: false
      A:         1
      ME:        db-0 (v1:metadata.name)
    Mounts:
      /data from data (rw)
Conditions:
  Type    Status
  Ready   True
Volumes:
  data:
    Type:        PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)
    ClaimName:   data-db-0
    ReadOnly:    false
QoS Class:       Burstable
Node-Selectors:  <none>
Tolerations:     node.kubernetes.io/not-ready:NoExecute op=Exists for 300s
Events:
  Type    Reason  Age               From     Message
  ----    ------  ----              ----     -------
  Normal  Pulled  10s (x3 over 5m)  kubelet  done
"#);
}

#[test]
fn a_set_tells_its_strategy_and_claims() {
    let told = text(json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "x"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "db"}}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast-ssd", "resources": {"requests": {"storage": "10Gi"}}}}]},
        "status": {"replicas": 2, "conditions": [
            {"type": "Available", "status": "False", "reason": "ReplicasUnavailable", "message": "2 of 3 replicas are available"},
            {"type": "Stalled", "status": "False", "reason": "NotStalled"}]},
    }));
    insta::assert_snapshot!(told, @r"
Name:               db
Namespace:          shop
CreationTimestamp:  Fri, 02 Jan 2026 03:04:05 +0000
Selector:           app=db
Labels:             <none>
Annotations:        note: x
Replicas:           3 desired | 2 total
Update Strategy:    RollingUpdate
  Partition:        1
Pods Status:        0 Running / 0 Waiting / 0 Succeeded / 0 Failed
Pod Template:
  Labels:  app=db
  Containers:
   c:
    Image:         i
    Port:          <none>
    Host Port:     <none>
    Environment:   <none>
    Mounts:        <none>
  Volumes:         <none>
  Node-Selectors:  <none>
  Tolerations:     <none>
Volume Claims:
  Name:          data
  StorageClass:  fast-ssd
  Labels:        <none>
  Annotations:   <none>
  Capacity:      10Gi
  Access Modes:  [ReadWriteOnce]
Conditions:
  Type       Status  Reason               Message
  ----       ------  ------               -------
  Available  False   ReplicasUnavailable  2 of 3 replicas are available
  Stalled    False   NotStalled
");
}

#[test]
fn a_claim_that_waits_has_no_capacity_yet() {
    let told = text(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-db-0", "namespace": "shop", "finalizers": ["kubernetes.io/pvc-protection"]},
        "spec": {"storageClassName": "fast-ssd", "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}));
    assert!(told.contains("Status:        Pending\n"), "{told}");
    assert!(told.contains("Finalizers:    [kubernetes.io/pvc-protection]\n"), "{told}");
    assert!(told.contains("Used By:       <none>\n"), "{told}");
}

#[test]
fn a_service_tells_the_endpoints_that_are_ready() {
    let subject = Subject {
        object: json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "selector": {"app": "web"}, "sessionAffinity": "None",
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}}),
        endpoint_slices: vec![json!({"ports": [{"name": "http", "port": 8080}], "endpoints": [
            {"addresses": ["10.42.0.1"], "conditions": {"ready": true}}, {"addresses": ["10.42.0.2"], "conditions": {"ready": false}}]})],
        ..Subject::default()
    };
    let told = describe(&subject, true, now());
    assert!(told.contains("Endpoints:         10.42.0.1:8080\n"), "{told}");
    assert!(told.contains("Port:              http  80/TCP\n"), "{told}");
    assert!(told.ends_with("Events:            <none>\n"), "{told}");
}

#[test]
fn other_kinds_tell_all_their_fields_in_words() {
    let told = text(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n1", "namespace": "kube-node-lease", "resourceVersion": "5"},
        "spec": {"holderIdentity": "n1", "leaseDurationSeconds": 40, "list": [1, {"aField": true}]}}));
    insta::assert_snapshot!(told, @r"
Name:         n1
Namespace:    kube-node-lease
Labels:       <none>
Annotations:  <none>
API Version:  coordination.k8s.io/v1
Kind:         Lease
Metadata:
  Resource Version:  5
Spec:
  Holder Identity:         n1
  Lease Duration Seconds:  40
  List:
    1
    A Field:  true
");
}

#[test]
fn a_secret_tells_sizes_only() {
    let told = text(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "czNjcmV0"}}),
    );
    assert!(told.contains("password:  6 bytes"), "{told}");
    assert!(!told.contains("czNjcmV0"), "{told}");
}

#[test]
fn a_node_tells_what_its_pods_were_promised() {
    let subject = Subject {
        object: json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}, "addresses": [{"type": "Hostname", "address": "n1"}]}}),
        pods: vec![
            json!({"metadata": {"name": "a", "namespace": "shop", "creationTimestamp": "2026-01-02T03:09:00Z"},
            "spec": {"containers": [{"resources": {"requests": {"cpu": "500m", "memory": "256Mi"}}}]}, "status": {"phase": "Running"}}),
        ],
        ..Subject::default()
    };
    let told = describe(&subject, false, now());
    assert!(told.contains("Roles:              control-plane\n"), "{told}");
    assert!(told.contains("500m (25%)"), "{told}");
    assert!(told.contains("256Mi (25%)"), "{told}");
    assert!(told.contains("  Hostname:  n1\n"), "{told}");
}
