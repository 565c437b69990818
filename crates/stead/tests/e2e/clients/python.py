"""Drives a stead with the Python client: typed, dynamic, watches, streams. Says what it sees; a failure ends it."""

import json
import sys

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream
from kubernetes.utils import create_from_dict

NAMESPACE = sys.argv[1]
PATIENCE = 60

config.load_kube_config()
core, apps, version = client.CoreV1Api(), client.AppsV1Api(), client.VersionApi()


def labels(name):
    return {"app": name}


def stateful_set(name, replicas):
    container = client.V1Container(
        name="web",
        image="busybox",
        image_pull_policy="Never",
        command=["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"],
        readiness_probe=client.V1Probe(tcp_socket=client.V1TCPSocketAction(port=8080), period_seconds=1),
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels(name)),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=1),
    )
    return client.V1StatefulSet(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1StatefulSetSpec(
            replicas=replicas,
            service_name=name,
            selector=client.V1LabelSelector(match_labels=labels(name)),
            template=template,
        ),
    )


def is_ready(pod):
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])


def until(what, call, is_so, **query):
    """Watches until the objects of a list are as they should be."""
    for event in watch.Watch().stream(call, NAMESPACE, timeout_seconds=PATIENCE, **query):
        if is_so(event["type"], event["object"]):
            return event["object"]
    sys.exit(f"not within {PATIENCE} s: {what}")


def refused(call, *args, **options):
    try:
        call(*args, **options)
    except ApiException as error:
        return f"{error.status} {json.loads(error.body)['reason']}"
    sys.exit("this should have been refused")


print("release", version.get_code().git_version.split("+")[0])

made = apps.create_namespaced_stateful_set(NAMESPACE, stateful_set("db", 2), field_manager="py")
print("made", made.metadata.name, "with", made.spec.replicas, "replicas, by", made.metadata.managed_fields[0].manager)
print("again:", refused(apps.create_namespaced_stateful_set, NAMESPACE, stateful_set("db", 2)))
print("absent:", refused(core.read_namespaced_pod, "nobody", NAMESPACE))
wrong = stateful_set("wrong", 1)
wrong.spec.selector.match_labels = {"other": "label"}
print("wrong:", refused(apps.create_namespaced_stateful_set, NAMESPACE, wrong))

set_ready = lambda replicas: lambda _, found: (found.status.ready_replicas or 0) == replicas
until("two are ready", apps.list_namespaced_stateful_set, set_ready(2))
pods = core.list_namespaced_pod(NAMESPACE, label_selector="app=db")
print("pods", [pod.metadata.name for pod in pods.items], all(is_ready(pod) for pod in pods.items))

page = core.list_namespaced_pod(NAMESPACE, limit=1)
rest = core.list_namespaced_pod(NAMESPACE, limit=1, _continue=page.metadata._continue)
print("pages", page.items[0].metadata.name, rest.items[0].metadata.name, page.metadata.remaining_item_count)

scale = apps.read_namespaced_stateful_set_scale("db", NAMESPACE)
scale.spec.replicas = 3
apps.replace_namespaced_stateful_set_scale("db", NAMESPACE, scale)
until("three are ready", apps.list_namespaced_stateful_set, set_ready(3))

patched = apps.patch_namespaced_stateful_set("db", NAMESPACE, {"metadata": {"annotations": {"by": "python"}}})
print("patched", patched.metadata.annotations["by"])
seen = apps.patch_namespaced_stateful_set("db", NAMESPACE, {"spec": {"replicas": 5}}, dry_run="All")
print("dry run", seen.spec.replicas, apps.read_namespaced_stateful_set("db", NAMESPACE).spec.replicas)

run = lambda *words, **options: stream(
    core.connect_get_namespaced_pod_exec, "db-0", NAMESPACE, command=list(words), stdout=True, stderr=True, **options
)
print("exec", run("hostname").strip())
# It ends only when told: a line that arrives together with the end is one that this client does not give out.
script = "read line; echo got $line; read end; exit 3"
session = run("sh", "-c", script, stdin=True, _preload_content=False)
session.write_stdin("a line\n")
print("exec", session.readline_stdout(timeout=PATIENCE))
session.write_stdin("end\n")
session.run_forever(timeout=PATIENCE)
print("exit", session.returncode)

forward = portforward(core.connect_get_namespaced_pod_portforward, "db-1", NAMESPACE, ports="8080")
socket = forward.socket(8080)
socket.setblocking(True)
socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
answer = b""
while piece := socket.recv(1024):
    answer += piece
print("forwarded", answer.splitlines()[-1].decode(), forward.error(8080))

print("log", core.read_namespaced_pod_log("db-0", NAMESPACE) == "")

dynamic_client = dynamic.DynamicClient(client.ApiClient())
maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
body = lambda colour: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"colour": colour}}
maps.server_side_apply(body("red"), namespace=NAMESPACE, field_manager="first")
try:
    maps.server_side_apply(body("blue"), namespace=NAMESPACE, field_manager="second")
    sys.exit("two managers own one field")
except dynamic.exceptions.ConflictError:
    print("conflict")
forced = maps.server_side_apply(body("blue"), namespace=NAMESPACE, field_manager="second", force_conflicts=True)
print("forced", forced.data.colour)

create_from_dict(client.ApiClient(), {"apiVersion": "v1", "kind": "List", "items": [body("green") | {
    "metadata": {"name": "d"}}]}, namespace=NAMESPACE)
print("maps", [m.metadata.name for m in core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=d").items])

uid = core.read_namespaced_pod("db-2", NAMESPACE).metadata.uid
core.delete_namespaced_pod("db-2", NAMESPACE)
until(
    "db-2 is made again",
    core.list_namespaced_pod,
    lambda kind, pod: kind != "DELETED" and pod.metadata.uid != uid and is_ready(pod),
    field_selector="metadata.name=db-2",
)
apps.delete_namespaced_stateful_set("db", NAMESPACE, propagation_policy="Foreground")
until("the set is gone", apps.list_namespaced_stateful_set, lambda kind, _: kind == "DELETED")
print("left", core.list_namespaced_pod(NAMESPACE).items)
