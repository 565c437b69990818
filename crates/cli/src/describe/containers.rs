//! Containers and volumes, of pods and of pod templates.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::parts::{Lines, at, items, joined, map, moment, or, shown};

/// The lists of containers and their headings.
const LISTS: [(&str, &str); 3] = [
    ("initContainers", "Init Containers"),
    ("containers", "Containers"),
    ("ephemeralContainers", "Ephemeral Containers"),
];

/// A pod template, as sets and revisions hold it.
pub(crate) fn pod_template(lines: &mut Lines, template: &Value) {
    lines.line(0, "Pod Template:");
    lines.labels(1, "Labels", template.meta_map("labels"));
    if template.meta_map("annotations").is_some_and(|a| !a.is_empty()) {
        lines.annotations(1, template);
    }
    lines.optional(1, "Service Account", at(template, "/spec/serviceAccountName"));
    let spec = &template["spec"];
    all(lines, 1, spec, None);
    volumes(lines, 1, spec);
    lines.optional(1, "Priority Class Name", at(spec, "/priorityClassName"));
    lines.labels(1, "Node-Selectors", map(spec, "/nodeSelector"));
    tolerations(lines, 1, spec);
}

/// Names inside a template stand one space deeper than a level, what is told of them at the usual one.
fn name_line(name: &str, level: usize) -> String {
    format!("{}{name}:", if level > 0 { " " } else { "" })
}

/// All containers of a pod spec, with their statuses when there are any.
pub(super) fn all(lines: &mut Lines, level: usize, spec: &Value, pod: Option<&Value>) {
    for (list, heading) in LISTS {
        let containers = items(spec, &format!("/{list}"));
        if containers.is_empty() {
            continue;
        }
        lines.line(level, format!("{heading}:"));
        let statuses =
            pod.map(|pod| items(pod, &format!("/status/{}Statuses", singular(list)))).unwrap_or_default();
        for container in containers {
            let status = statuses.iter().find(|status| status["name"] == container["name"]);
            lines.line(1, name_line(&at(container, "/name"), level));
            one(lines, 2, container, status, pod);
        }
    }
}

fn singular(list: &str) -> &str {
    list.strip_suffix('s').unwrap_or(list)
}

fn one(lines: &mut Lines, level: usize, container: &Value, status: Option<&Value>, pod: Option<&Value>) {
    if let Some(status) = status {
        lines.field(level, "Container ID", at(status, "/containerID"));
    }
    lines.field(level, "Image", at(container, "/image"));
    if let Some(status) = status {
        lines.field(level, "Image ID", at(status, "/imageID"));
    }
    for (title, field) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let ports = items(container, "/ports");
        let shown: Vec<String> = ports
            .iter()
            .map(|port| format!("{}/{}", port[field].as_i64().unwrap_or_default(), at(port, "/protocol")))
            .collect();
        let title = if shown.len() > 1 { format!("{title}s") } else { title.to_owned() };
        lines.field(level, &title, or(shown.join(", "), "<none>"));
    }
    for (title, field) in [("Command", "/command"), ("Args", "/args")] {
        let words = items(container, field);
        if !words.is_empty() {
            lines.line(level, format!("{title}:"));
            words
                .iter()
                .for_each(|word| shown(word).split('\n').for_each(|line| lines.line(level + 1, line)));
        }
    }
    if let Some(status) = status {
        state(lines, level, "State", &status["state"]);
        if status["lastState"]["terminated"].is_object() {
            state(lines, level, "Last State", &status["lastState"]);
        }
        lines.field(level, "Ready", if status["ready"] == true { "True" } else { "False" });
        lines.field(level, "Restart Count", at(status, "/restartCount"));
    }
    for (title, field) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        if let Some(quantities) = map(container, field).filter(|map| !map.is_empty()) {
            lines.line(level, format!("{title}:"));
            quantities.iter().for_each(|(name, quantity)| lines.field(level + 1, name, shown(quantity)));
        }
    }
    for (title, field) in
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if container[field].is_object() {
            lines.field(level, title, probe(&container[field]));
        }
    }
    environment(lines, level, container, pod);
    mounts(lines, level, container);
}

fn state(lines: &mut Lines, level: usize, title: &str, state: &Value) {
    let below = level + 1;
    if state["running"].is_object() {
        lines.field(level, title, "Running");
        lines.field(below, "Started", moment(state, "/running/startedAt"));
    } else if state["terminated"].is_object() {
        let ended = &state["terminated"];
        lines.field(level, title, "Terminated");
        lines.optional(below, "Reason", at(ended, "/reason"));
        lines.optional(below, "Message", at(ended, "/message").trim_end().replace('\n', "\n\t"));
        lines.field(below, "Exit Code", at(ended, "/exitCode"));
        if ended["signal"].as_i64().is_some_and(|signal| signal > 0) {
            lines.field(below, "Signal", at(ended, "/signal"));
        }
        lines.field(below, "Started", moment(ended, "/startedAt"));
        lines.field(below, "Finished", moment(ended, "/finishedAt"));
    } else {
        lines.field(level, title, "Waiting");
        lines.optional(below, "Reason", at(state, "/waiting/reason"));
    }
}

fn probe(probe: &Value) -> String {
    let number = |field: &str| probe[field].as_i64().unwrap_or_default();
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold"),
    );
    let port = |kind: &str| {
        format!("{}:{}", at(probe, &format!("/{kind}/host")), at(probe, &format!("/{kind}/port")))
    };
    if probe["exec"].is_object() {
        format!("exec [{}] {attributes}", joined(items(probe, "/exec/command"), " "))
    } else if probe["httpGet"].is_object() {
        let scheme = at(probe, "/httpGet/scheme").to_lowercase();
        format!("http-get {scheme}://{}{} {attributes}", port("httpGet"), at(probe, "/httpGet/path"))
    } else if probe["tcpSocket"].is_object() {
        format!("tcp-socket {} {attributes}", port("tcpSocket"))
    } else if probe["grpc"].is_object() {
        format!("grpc <pod>:{} {} {attributes}", at(probe, "/grpc/port"), at(probe, "/grpc/service"))
    } else {
        format!("unknown {attributes}")
    }
}

fn environment(lines: &mut Lines, level: usize, container: &Value, pod: Option<&Value>) {
    let optional = |source: &Value| source["optional"] == true;
    let sources = items(container, "/envFrom");
    if !sources.is_empty() {
        lines.line(level, "Environment Variables from:");
        for source in sources {
            let (kind, named) = if source["configMapRef"].is_object() {
                ("ConfigMap", &source["configMapRef"])
            } else {
                ("Secret", &source["secretRef"])
            };
            let prefix = at(source, "/prefix");
            let with = if prefix.is_empty() { String::new() } else { format!(" with prefix '{prefix}'") };
            lines.line(
                level + 1,
                format!("{}\t{kind}{with}\tOptional: {}", at(named, "/name"), optional(named)),
            );
        }
    }
    let variables = items(container, "/env");
    if variables.is_empty() {
        return lines.field(level, "Environment", "<none>");
    }
    lines.line(level, "Environment:");
    for variable in variables {
        let name = at(variable, "/name");
        let from = &variable["valueFrom"];
        let value = if from["fieldRef"].is_object() {
            let (version, path) = (at(from, "/fieldRef/apiVersion"), at(from, "/fieldRef/fieldPath"));
            let value = pod.map(|pod| field_of(pod, &path)).unwrap_or_default();
            format!("{value} ({version}:{path})")
        } else if from["resourceFieldRef"].is_object() {
            format!("({})", at(from, "/resourceFieldRef/resource"))
        } else if from["secretKeyRef"].is_object() {
            let source = &from["secretKeyRef"];
            let (key, secret) = (at(source, "/key"), at(source, "/name"));
            format!("<set to the key '{key}' in secret '{secret}'>\tOptional: {}", optional(source))
        } else if from["configMapKeyRef"].is_object() {
            let source = &from["configMapKeyRef"];
            let (key, map) = (at(source, "/key"), at(source, "/name"));
            format!("<set to the key '{key}' of config map '{map}'>\tOptional: {}", optional(source))
        } else {
            at(variable, "/value").replace('\n', "\n\t")
        };
        lines.field(level + 1, &name, value);
    }
}

/// `metadata.name` and the like; what has quotes or brackets is not looked up.
fn field_of(pod: &Value, path: &str) -> String {
    at(pod, &format!("/{}", path.replace('.', "/")))
}

fn mounts(lines: &mut Lines, level: usize, container: &Value) {
    let mut mounts: Vec<&Value> = items(container, "/volumeMounts").iter().collect();
    if mounts.is_empty() {
        return lines.field(level, "Mounts", "<none>");
    }
    mounts.sort_by_key(|mount| at(mount, "/mountPath"));
    lines.line(level, "Mounts:");
    for mount in mounts {
        let access = if mount["readOnly"] == true { "ro" } else { "rw" };
        let sub_path = at(mount, "/subPath");
        let part = if sub_path.is_empty() { String::new() } else { format!(",path={sub_path:?}") };
        lines.line(
            level + 1,
            format!("{} from {} ({access}{part})", at(mount, "/mountPath"), at(mount, "/name")),
        );
    }
}

/// The volumes of a pod spec.
pub(super) fn volumes(lines: &mut Lines, level: usize, spec: &Value) {
    let volumes = items(spec, "/volumes");
    if volumes.is_empty() {
        return lines.field(level, "Volumes", "<none>");
    }
    lines.line(level, "Volumes:");
    for volume in volumes {
        lines.line(1, name_line(&at(volume, "/name"), level));
        volume_source(lines, 2, volume);
    }
}

/// Where a volume's files come from; of pods' volumes and of persistent ones.
pub(super) fn volume_source(lines: &mut Lines, level: usize, volume: &Value) {
    let optional = |source: &Value| (source["optional"] == true).to_string();
    let empty = serde_json::Map::new();
    for (kind, source) in volume.as_object().unwrap_or(&empty) {
        let (what, fields): (&str, Vec<(&str, String)>) = match kind.as_str() {
            "hostPath" => (
                "HostPath (bare host directory volume)",
                vec![("Path", at(source, "/path")), ("HostPathType", at(source, "/type"))],
            ),
            "local" => (
                "LocalVolume (a persistent volume backed by local storage on a node)",
                vec![("Path", at(source, "/path"))],
            ),
            "emptyDir" => (
                "EmptyDir (a temporary directory that shares a pod's lifetime)",
                vec![
                    ("Medium", at(source, "/medium")),
                    ("SizeLimit", or(at(source, "/sizeLimit"), "<unset>")),
                ],
            ),
            "secret" => (
                "Secret (a volume populated by a Secret)",
                vec![("SecretName", at(source, "/secretName")), ("Optional", optional(source))],
            ),
            "configMap" => (
                "ConfigMap (a volume populated by a ConfigMap)",
                vec![("Name", at(source, "/name")), ("Optional", optional(source))],
            ),
            "persistentVolumeClaim" => (
                "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
                vec![
                    ("ClaimName", at(source, "/claimName")),
                    ("ReadOnly", (source["readOnly"] == true).to_string()),
                ],
            ),
            "downwardAPI" => ("DownwardAPI (a volume populated by information about the pod)", Vec::new()),
            "projected" => {
                ("Projected (a volume that contains injected data from multiple sources)", Vec::new())
            }
            "csi" => (
                "CSI (a Container Storage Interface (CSI) volume source)",
                vec![("Driver", at(source, "/driver")), ("VolumeHandle", at(source, "/volumeHandle"))],
            ),
            "nfs" => (
                "NFS (an NFS mount that lasts the lifetime of a pod)",
                vec![("Server", at(source, "/server")), ("Path", at(source, "/path"))],
            ),
            _ => continue,
        };
        lines.field(level, "Type", what);
        fields.into_iter().for_each(|(title, value)| lines.field(level, title, value));
    }
}

/// `key=value:Effect op=Exists for 300s`, one a line.
pub(super) fn tolerations(lines: &mut Lines, level: usize, spec: &Value) {
    let shown: Vec<String> = items(spec, "/tolerations")
        .iter()
        .map(|toleration| {
            let mut text = at(toleration, "/key");
            let value = at(toleration, "/value");
            if !value.is_empty() {
                text += &format!("={value}");
            }
            let effect = at(toleration, "/effect");
            if !effect.is_empty() {
                text += &format!(":{effect}");
            }
            if toleration["operator"] == "Exists" && value.is_empty() {
                let gap = if text.is_empty() { "" } else { " " };
                text += &format!("{gap}op=Exists");
            }
            if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
                text += &format!(" for {seconds}s");
            }
            text
        })
        .collect();
    lines.multi(level, "Tolerations", &shown);
}
