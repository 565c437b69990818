//! Services of type LoadBalancer: the host's own address stands for them, as k3s's servicelb has it
//! (`pkg/cloudprovider` there; upstream leaves it to clouds).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::json;

use super::{HostAddresses, Proxy, Purpose, Refusal};
use crate::objects::status_patch;
use crate::plan::{EventType, ObjectRef, Plan};
use crate::world::{World, object_ref};

/// The condition that says that ports of the host cannot be a service's: upstream's name for load balancers
/// (`LoadBalancerPortsError`), here for node ports too.
pub const PORTS_ERROR_CONDITION: &str = "LoadBalancerPortsError";

fn is_balancer(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
}

/// Whether the service is one that stead gives an address: those of another class are somebody else's.
fn is_ours(service: &Service) -> bool {
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
    is_balancer(service) && class.is_none_or(str::is_empty)
}

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

/// Whether the world was told of an address already.
pub(super) fn has_address(service: &Service) -> bool {
    is_balancer(service) && !ingress(service).is_empty()
}

/// The addresses of a load balancer, and whose they are; `Err`: the one that it asks for is not the host's.
pub(super) fn addresses<'s>(
    service: &'s Service,
    host: &HostAddresses,
) -> Result<(Purpose, Vec<Ipv4Addr>), &'s str> {
    if !is_balancer(service) {
        return Ok((Purpose::External, Vec::new()));
    }
    if !is_ours(service) {
        // An address that is reached another way (`ipMode: Proxy`) is none of the kernel's business.
        let virtual_ones = ingress(service).iter().filter(|at| at.ip_mode.as_deref() != Some("Proxy"));
        let addresses = virtual_ones.filter_map(|at| at.ip.as_deref()?.parse().ok()).collect();
        return Ok((Purpose::External, addresses));
    }
    let asked = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref());
    match asked.filter(|ip| !ip.is_empty()) {
        None => Ok((Purpose::Balancer, vec![host.main])),
        Some(asked) => match asked.parse() {
            Ok(ip) if host.all.contains(&ip) => Ok((Purpose::Balancer, vec![ip])),
            _ => Err(asked),
        },
    }
}

/// The statuses that services should have by now, as writes, and events for those whose ports are taken.
pub fn statuses(world: &World, proxy: &Proxy, now: Timestamp) -> Plan {
    let mut plan = Plan { independent: true, ..Plan::default() };
    let given = given(proxy);
    for service in world.services.iter().filter(|service| service.metadata.deletion_timestamp.is_none()) {
        let about = object_ref(&**service);
        let refused: Vec<&Refusal> = proxy.refusals.iter().filter(|refusal| refusal.owner == about).collect();
        let wanted = wanted_ingress(service, given.get(&about));
        let held = trouble(service);
        let (reason, message) = (refused.first().map(|r| r.reason), sentence(&refused));
        let same_trouble = held.map(|c| (c.reason.as_str(), c.message.as_str()))
            == reason.map(|reason| (reason, message.as_str()));
        let same_ingress = wanted.as_ref().is_none_or(|wanted| wanted == ingress(service));
        if same_trouble && same_ingress {
            continue;
        }
        let empty = ServiceStatus::default();
        let conditions = service.status.as_ref().unwrap_or(&empty).conditions.iter().flatten();
        let mut conditions: Vec<Condition> =
            conditions.filter(|c| c.type_ != PORTS_ERROR_CONDITION).cloned().collect();
        if let Some(reason) = reason {
            let since = held.map_or(Time(now), |held| held.last_transition_time.clone());
            conditions.push(Condition {
                type_: PORTS_ERROR_CONDITION.to_owned(),
                status: "True".to_owned(),
                reason: reason.to_owned(),
                message: message.clone(),
                last_transition_time: since,
                observed_generation: None,
            });
        }
        let mut status = json!({"conditions": (!conditions.is_empty()).then_some(conditions)});
        if let Some(wanted) = wanted {
            status["loadBalancer"]["ingress"] = json!((!wanted.is_empty()).then_some(wanted));
        }
        plan.actions.push(status_patch(&**service, &status));
        if let Some(reason) = reason.filter(|_| !same_trouble) {
            plan.record(&about, EventType::Warning, reason, message);
        }
    }
    plan
}

/// The addresses of each load balancer that has all of its ports.
fn given(proxy: &Proxy) -> BTreeMap<&ObjectRef, BTreeSet<Ipv4Addr>> {
    let mut given: BTreeMap<&ObjectRef, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for rule in proxy.rules.values().filter(|rule| rule.purpose == Purpose::Balancer) {
        given.entry(&rule.owner).or_default().extend(rule.at.address);
    }
    given
}

/// `None`: it is somebody else's to say.
fn wanted_ingress(service: &Service, given: Option<&BTreeSet<Ipv4Addr>>) -> Option<Vec<LoadBalancerIngress>> {
    if is_balancer(service) && !is_ours(service) {
        return None;
    }
    let entry = |ip: &Ipv4Addr| LoadBalancerIngress {
        ip: Some(ip.to_string()),
        ip_mode: Some("VIP".to_owned()),
        ..LoadBalancerIngress::default()
    };
    Some(given.into_iter().flatten().map(entry).collect())
}

fn sentence(refused: &[&Refusal]) -> String {
    let mut messages: Vec<&str> = refused.iter().map(|refusal| refusal.message.as_str()).collect();
    messages.dedup();
    messages.join("; ")
}

/// What keeps the host's ports from a service, as its status says.
pub(crate) fn trouble(service: &Service) -> Option<&Condition> {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().find(|c| c.type_ == PORTS_ERROR_CONDITION && c.status == "True")
}
