//! Claims: no volume yet, none any more, or not gone yet.

use super::{Cause, Walk};
use crate::Planner;
use crate::objects::{is_terminating, name, namespace};
use crate::pods::claim_names;
use crate::volume_binder::matching::{class_name, volume_name};
use crate::volume_binder::provisioner::PROVISIONER;
use crate::volume_binder::{VolumeBinder, reasons};
use crate::world::Key;

impl Walk<'_> {
    pub(super) fn claim(&mut self, ns: &str, claim_name: &str) -> Cause {
        let Some(claim) = self.world.claims.get(ns, claim_name) else {
            return Cause::new(format!("claim/{claim_name} does not exist"))
                .fix("create it, or check the name that the pod mounts");
        };
        let plan = VolumeBinder.plan(self.world, &Key::new(ns, claim_name), self.now);
        let Some(waiting) = plan.waiting_on.into_iter().next() else {
            let finalizers = claim.metadata.finalizers.clone().unwrap_or_default();
            if is_terminating(&claim.metadata) && !finalizers.is_empty() {
                return Cause::new(format!("claim/{claim_name} is being deleted"))
                    .because([Cause::new(format!("finalizers hold it: {}", finalizers.join(", ")))
                        .fix("whoever set them must take them off")]);
            }
            return match volume_name(claim) {
                Some(volume) => Cause::new(format!("claim/{claim_name} is bound to volume {volume}")),
                None => Cause::new(format!("claim/{claim_name} is about to be bound")),
            };
        };
        let cause = Cause::new(format!("claim/{claim_name} has no volume: {}", waiting.message));
        let class = class_name(claim).unwrap_or_default();
        match waiting.reason {
            reasons::STORAGE_CLASS_MISSING => cause.fix(format!(
                "create StorageClass {class} with provisioner {PROVISIONER}, or name one that exists: {}",
                self.storage_classes()
            )),
            reasons::NO_MATCHING_VOLUME => cause
                .fix("create a PersistentVolume that fits, or name a storageClassName that makes volumes"),
            reasons::WAIT_FOR_FIRST_CONSUMER => {
                let users = self.users(ns, claim_name);
                cause.because(users)
            }
            reasons::PROVISIONING => self.provisioning(cause, ns, claim_name, class),
            reasons::CLAIM_IN_USE => {
                let pod = self.object("Pod", &waiting.on.namespace, &waiting.on.name);
                Cause::new(waiting.message).because([pod])
            }
            reasons::CLAIM_LOST => Cause::new(format!("claim/{claim_name} is Lost: {}", waiting.message))
                .fix("bring the PersistentVolume back, or delete the claim to begin anew without the data"),
            reasons::VOLUME_MISSING | reasons::VOLUME_TAKEN => {
                cause.fix("name another volume in spec.volumeName, or leave it out")
            }
            _ => cause,
        }
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

    fn provisioning(&self, cause: Cause, ns: &str, claim: &str, class: &str) -> Cause {
        let provisioner = self.world.storage_classes.get("", class).map_or("", |class| &class.provisioner);
        let failed = self.event("PersistentVolumeClaim", ns, claim, &["ProvisioningFailed"]);
        if let Some(event) = failed {
            let said = event.message.as_deref().unwrap_or_default();
            return cause.because([Cause::new("its provisioner failed").words(said)]);
        }
        if provisioner == PROVISIONER {
            return cause;
        }
        cause.fix(format!("install the provisioner {provisioner}, or use a class of {PROVISIONER}"))
    }
}
