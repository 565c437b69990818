//! `resource.k8s.io`: devices, and claims of them.

use serde_json::Value;

use super::{Stored, kind};
use crate::kind::Kind;
use crate::kind::Scope::{Cluster, Namespaced};
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_nonzero, default_to, is_empty, object_in, objects_mut, text};

const GROUP: &str = "resource.k8s.io";

pub(crate) static DEVICE_CLASS: Kind =
    kind(GROUP, "v1", ["DeviceClass", "deviceclasses", "deviceclass"], Cluster, &Stored::PLAIN)
        .with_generation();

pub(crate) static RESOURCE_CLAIM: Kind = kind(
    GROUP,
    "v1",
    ["ResourceClaim", "resourceclaims", "resourceclaim"],
    Namespaced,
    &Stored {
        defaults: default_claim,
        immutable: &["spec"],
        columns: &[NAME, column("State", "string", "Whether the claim has its devices, and is in use."), AGE],
        row: |claim, now| {
            let status = &claim["status"];
            let mut states = Vec::new();
            if !claim["metadata"]["deletionTimestamp"].is_null() {
                states.push("deleted");
            }
            match (status["allocation"].is_null(), is_empty(&status["reservedFor"])) {
                (true, _) => states.push("pending"),
                (false, true) => states.push("allocated"),
                (false, false) => states.extend(["allocated", "reserved"]),
            }
            vec![print::name(claim), states.join(",").into(), print::age(claim, now)]
        },
        ..Stored::PLAIN
    },
)
.with_status();

pub(crate) static RESOURCE_CLAIM_TEMPLATE: Kind = kind(
    GROUP,
    "v1",
    ["ResourceClaimTemplate", "resourceclaimtemplates", "resourceclaimtemplate"],
    Namespaced,
    &Stored {
        defaults: |template| {
            if let Some(claim) = template.get_mut("spec") {
                default_claim(claim);
            }
        },
        immutable: &["spec"],
        ..Stored::PLAIN
    },
);

pub(crate) static RESOURCE_SLICE: Kind = kind(
    GROUP,
    "v1",
    ["ResourceSlice", "resourceslices", "resourceslice"],
    Cluster,
    &Stored {
        selectable: &["spec.nodeName", "spec.driver"],
        required: &["spec.driver", "spec.pool.name"],
        immutable: &["spec.driver", "spec.nodeName", "spec.pool.name"],
        columns: &[
            NAME,
            column("Node", "string", "Which node has the devices."),
            column("Driver", "string", "Who manages the devices."),
            column("Pool", "string", "What pool the devices are of."),
            AGE,
        ],
        row: |slice, now| {
            let spec = &slice["spec"];
            let node = match text(&spec["nodeName"]) {
                "" => print::UNSET,
                node => node,
            };
            vec![
                print::name(slice),
                node.into(),
                text(&spec["driver"]).into(),
                text(&spec["pool"]["name"]).into(),
                print::age(slice, now),
            ]
        },
        ..Stored::PLAIN
    },
)
.with_generation();

/// Upstream: `SetDefaults_ExactDeviceRequest`, `SetDefaults_DeviceSubRequest`, `SetDefaults_DeviceToleration`.
fn default_claim(claim: &mut Value) {
    let Some(devices) = claim.pointer_mut("/spec/devices").and_then(Value::as_object_mut) else { return };
    let complete = |request: &mut serde_json::Map<String, Value>| {
        default_to(request, "allocationMode", "ExactCount");
        if request.get("allocationMode").is_some_and(|mode| mode == "ExactCount") {
            default_nonzero(request, "count", 1);
        }
        objects_mut(request, "tolerations")
            .for_each(|toleration| default_to(toleration, "operator", "Equal"));
    };
    for request in objects_mut(devices, "requests") {
        if request.get("exactly").is_some_and(Value::is_object)
            && let Some(exactly) = object_in(request, "exactly")
        {
            complete(exactly);
        }
        objects_mut(request, "firstAvailable").for_each(complete);
    }
}
