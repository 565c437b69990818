//! `storage.k8s.io`: what storage drivers and their attachments are described by.

use serde_json::Value;

use super::{Stored, kind, or_unset};
use crate::kind::Kind;
use crate::kind::Scope::{Cluster, Namespaced};
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_to, items, object, set, text, truth};

const GROUP: &str = "storage.k8s.io";

pub(crate) static CSI_DRIVER: Kind = kind(
    GROUP,
    "v1",
    ["CSIDriver", "csidrivers", "csidriver"],
    Cluster,
    &Stored {
        defaults: default_driver,
        immutable: &["spec.attachRequired", "spec.volumeLifecycleModes"],
        columns: &[
            NAME,
            column("AttachRequired", "boolean", "Whether volumes are attached to nodes first."),
            column("PodInfoOnMount", "boolean", "Whether the driver is told of the pod."),
            column("StorageCapacity", "boolean", "Whether the scheduler looks at what room there is."),
            column("TokenRequests", "string", "For whom the driver gets tokens of the pod's account."),
            column("RequiresRepublish", "boolean", "Whether the driver is called again and again."),
            column("Modes", "string", "Which volumes the driver makes."),
            AGE,
        ],
        row: |driver, now| {
            let spec = &driver["spec"];
            let words = |list: &Value, word: fn(&Value) -> &str| -> Vec<String> {
                items(list).iter().map(|item| word(item).to_owned()).collect()
            };
            let audiences = words(&spec["tokenRequests"], |request| text(&request["audience"])).join(",");
            let modes = words(&spec["volumeLifecycleModes"], text).join(",");
            vec![
                print::name(driver),
                spec["attachRequired"].as_bool().unwrap_or(true).into(),
                truth(&spec["podInfoOnMount"]).into(),
                truth(&spec["storageCapacity"]).into(),
                or_unset(&audiences.into()),
                truth(&spec["requiresRepublish"]).into(),
                print::or_none(&modes),
                print::age(driver, now),
            ]
        },
        ..Stored::PLAIN
    },
);

pub(crate) static CSI_NODE: Kind = kind(
    GROUP,
    "v1",
    ["CSINode", "csinodes", "csinode"],
    Cluster,
    &Stored {
        columns: &[NAME, column("Drivers", "integer", "How many drivers the node has."), AGE],
        row: |node, now| {
            let drivers = items(&node["spec"]["drivers"]).len();
            vec![print::name(node), drivers.into(), print::age(node, now)]
        },
        ..Stored::PLAIN
    },
);

pub(crate) static CSI_STORAGE_CAPACITY: Kind = kind(
    GROUP,
    "v1",
    ["CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity"],
    Namespaced,
    &Stored {
        required: &["storageClassName"],
        immutable: &["nodeTopology", "storageClassName"],
        columns: &[
            NAME,
            column("StorageClassName", "string", "Of which class the room is."),
            column("Capacity", "string", "How much room there is."),
        ],
        row: |room, _| vec![print::name(room), room["storageClassName"].clone(), or_unset(&room["capacity"])],
        ..Stored::PLAIN
    },
);

pub(crate) static VOLUME_ATTACHMENT: Kind = kind(
    GROUP,
    "v1",
    ["VolumeAttachment", "volumeattachments", "volumeattachment"],
    Cluster,
    &Stored {
        prepare: |attachment| set(attachment, "status", serde_json::json!({"attached": false})),
        required: &["spec.attacher", "spec.nodeName"],
        immutable: &["spec"],
        columns: &[
            NAME,
            column("Attacher", "string", "Which driver attaches the volume."),
            column("PV", "string", "Which volume is attached."),
            column("Node", "string", "Where it is attached."),
            column("Attached", "boolean", "Whether it is attached."),
            AGE,
        ],
        row: |attachment, now| {
            let spec = &attachment["spec"];
            vec![
                print::name(attachment),
                spec["attacher"].clone(),
                text(&spec["source"]["persistentVolumeName"]).into(),
                spec["nodeName"].clone(),
                truth(&attachment["status"]["attached"]).into(),
                print::age(attachment, now),
            ]
        },
        ..Stored::PLAIN
    },
)
.with_status();

pub(crate) static VOLUME_ATTRIBUTES_CLASS: Kind = kind(
    GROUP,
    "v1",
    ["VolumeAttributesClass", "volumeattributesclasses", "volumeattributesclass"],
    Cluster,
    &Stored {
        required: &["driverName"],
        immutable: &["driverName", "parameters"],
        columns: &[NAME, column("DriverName", "string", "Which driver knows the parameters."), AGE],
        row: |class, now| vec![print::name(class), class["driverName"].clone(), print::age(class, now)],
        ..Stored::PLAIN
    },
)
.short(&["vac"]);

/// Upstream: `SetDefaults_CSIDriver`.
fn default_driver(driver: &mut Value) {
    let Some(spec) = object(driver, "spec") else { return };
    default_to(spec, "attachRequired", true);
    for flag in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        default_to(spec, flag, false);
    }
    default_to(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec.get("volumeLifecycleModes").is_none_or(crate::value::is_empty) {
        spec.insert("volumeLifecycleModes".into(), serde_json::json!(["Persistent"]));
    }
}
