//! Claims: no volume yet, none any more, or not gone yet.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{Cause, Walk, flag, held_by_others};
use crate::Planner;
use crate::objects::{annotation, is_terminating, name, namespace};
use crate::pods::claim_names;
use crate::scheduler::SELECTED_NODE;
use crate::stateful_set::parent_and_ordinal;
use crate::volume_binder::matching::{class_name, volume_name};
use crate::volume_binder::provisioner::PROVISIONER;
use crate::volume_binder::{VolumeBinder, reasons};
use crate::world::Key;

/// The provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

impl Walk<'_> {
    pub(super) fn claim(&mut self, ns: &str, claim_name: &str) -> Cause {
        let world = self.world;
        let Some(claim) = world.claims.get(ns, claim_name) else {
            return self.missing_claim(ns, claim_name);
        };
        let plan = VolumeBinder.plan(self.world, &Key::new(ns, claim_name), self.now);
        let Some(waiting) = plan.waiting_on.into_iter().next() else {
            if let Some(held) = held_by_others(&claim.metadata) {
                return Cause::new(format!("claim/{claim_name} is being deleted")).because([held]);
            }
            return match volume_name(claim) {
                Some(volume) => Cause::well(format!("claim/{claim_name} is bound to volume {volume}")),
                None => Cause::new(format!("claim/{claim_name} is about to be bound")),
            };
        };
        let message = waiting.message.trim_end_matches('.');
        let cause = Cause::new(format!("claim/{claim_name} has no volume: {message}"));
        let class = class_name(claim).unwrap_or_default();
        match waiting.reason {
            reasons::STORAGE_CLASS_MISSING => cause.fix(format!(
                "create StorageClass {class} with provisioner {PROVISIONER}, or name one that exists: {}",
                self.storage_classes()
            )),
            reasons::NO_MATCHING_VOLUME => cause.because(self.misfits(claim, None)).fix(self.give_volume()),
            reasons::WAIT_FOR_FIRST_CONSUMER => {
                let text = format!(
                    "claim/{claim_name} has no volume yet: class {class} gives one when a pod that mounts it has a \
                     node (WaitForFirstConsumer)"
                );
                let users = self.users(ns, claim_name);
                Cause::new(text).because(users)
            }
            reasons::PROVISIONING => self.provisioning(claim, class),
            reasons::PROVISIONING_FAILED => {
                cause.fix("neither the spec nor a class's parameters can be changed: delete what is wrong and create it anew")
            }
            reasons::CLAIM_IN_USE => {
                let (pod, flag) = (waiting.on.name, flag(ns));
                let is_going = self.world.pods.get(ns, &pod).is_some_and(|pod| is_terminating(&pod.metadata));
                let cause = Cause::new(waiting.message).because([self.object("Pod", ns, &pod)]);
                let cause = cause.because(held_by_others(&claim.metadata));
                if is_going {
                    return cause;
                }
                cause.fix(format!("to let it go: stead delete pod {pod}{flag}"))
            }
            reasons::GROWING => {
                let failed = ["VolumeResizeFailed", "FileSystemResizeFailed"];
                let failed = self.event("PersistentVolumeClaim", ns, claim_name, &failed);
                let failed = failed.map(|event| {
                    let said = event.message.as_deref().unwrap_or_default();
                    Cause::new("it has failed to so far").words(said)
                });
                Cause::new(message).because(failed)
            }
            reasons::CLAIM_LOST => Cause::new(format!("claim/{claim_name} is Lost: {}", waiting.message))
                .fix("bring the PersistentVolume back, or delete the claim to begin anew without the data"),
            reasons::VOLUME_MISSING | reasons::VOLUME_TAKEN => {
                let owner = volume_name(claim).and_then(|volume| self.volume_owner(volume));
                cause
                    .because(owner)
                    .fix("delete the claim and create it with another spec.volumeName, or without one")
            }
            _ => cause,
        }
    }

    /// How a claim gets a volume that none of those that exist is.
    pub(super) fn give_volume(&self) -> String {
        let classes = self.world.storage_classes.iter().filter(|class| class.provisioner != NO_PROVISIONER);
        let names: Vec<&str> = classes.map(|class| name(&class.metadata)).collect();
        let which = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        format!("create a PersistentVolume that fits, or name a storageClassName that makes volumes{which}")
    }

    fn storage_classes(&self) -> String {
        let names: Vec<&str> = self.world.storage_classes.iter().map(|class| name(&class.metadata)).collect();
        if names.is_empty() { "there is none".to_owned() } else { names.join(", ") }
    }

    /// The pods that mount the claim, and why they are not placed.
    fn users(&mut self, ns: &str, claim: &str) -> Vec<Cause> {
        let pods = self.world.pods.in_namespace(ns);
        let users: Vec<String> = pods
            .filter(|pod| namespace(&pod.metadata) == ns && claim_names(pod).any(|used| used == claim))
            .map(|pod| name(&pod.metadata).to_owned())
            .collect();
        if users.is_empty() {
            return vec![Cause::new("no pod mounts it yet: it gets its volume when one does")];
        }
        users.iter().map(|pod| self.object("Pod", ns, pod)).collect()
    }

    fn provisioning(&self, claim: &PersistentVolumeClaim, class: &str) -> Cause {
        let (ns, claim_name) = (namespace(&claim.metadata), name(&claim.metadata));
        let provisioner = self.world.storage_classes.get("", class).map_or("", |class| &class.provisioner);
        let on = match annotation(&claim.metadata, SELECTED_NODE) {
            Some(node) => format!(" on node {node}"),
            None => String::new(),
        };
        let text = format!("claim/{claim_name} waits until {provisioner} has made its volume{on}");
        let failed = self.event("PersistentVolumeClaim", ns, claim_name, &["ProvisioningFailed"]);
        if let Some(event) = failed {
            let said = event.message.as_deref().unwrap_or_default();
            return Cause::new(text).because([Cause::new("it has failed to so far").words(said)]);
        }
        if provisioner == PROVISIONER {
            return Cause::new(text);
        }
        Cause::new(text)
            .fix(format!("install {provisioner} if it is not there, or use a class of {PROVISIONER}"))
    }

    /// A claim that is not there: one that its set makes together with a pod leads to the set.
    fn missing_claim(&mut self, ns: &str, claim_name: &str) -> Cause {
        let cause = Cause::new(format!("claim/{claim_name} does not exist"));
        let pod = self.world.stateful_sets.in_namespace(ns).find_map(|set| {
            let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
            let prefixes = templates.map(|template| format!("{}-", name(&template.metadata)));
            let pods = prefixes.filter_map(|prefix| claim_name.strip_prefix(&prefix));
            let mut mine = pods.filter(|pod| {
                parent_and_ordinal(pod).is_some_and(|(parent, _)| parent == name(&set.metadata))
            });
            mine.next().map(str::to_owned)
        });
        match pod {
            Some(pod) if self.world.pods.get(ns, &pod).is_none() => {
                let because = self.object("Pod", ns, &pod);
                cause.because([because])
            }
            _ => cause.fix("create it, or check the name that the pod mounts"),
        }
    }
}
