//! `/portforward` of a pod: as SPDY, as SPDY inside a WebSocket, or as channels of one.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::Value;

use crate::api::{ApiServer, Request};
use crate::codec;
use crate::container;
use crate::query::Query;
use crate::respond::Answer;
use crate::route::Target;
use crate::streaming::{self, PortTarget, Protocols, Upgrade};

const PROTOCOLS: Protocols = Protocols {
    what: "port-forward",
    websocket: &["SPDY/3.1+portforward.k8s.io", "v5.channel.k8s.io", "v4.channel.k8s.io"],
    spdy: &["portforward.k8s.io"],
};
/// Channels have a number of one byte, and each port takes two.
const MAX_PORTS: usize = 127;

pub(crate) async fn port_forward(
    api: &ApiServer,
    request: Request,
    target: &Target,
) -> Result<Answer, Status> {
    let pod: Value = codec::decode(&api.read(target).await?)?;
    let pod_ref = container::on_node(container::pod_ref(&pod))?;
    if pod["status"]["phase"] != "Running" {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let ports = request.query.clone();
    let upgrade = Upgrade::from_request(request, &PROTOCOLS)?;
    let in_channels = !upgrade.is_spdy() && upgrade.protocol().ends_with("channel.k8s.io");
    let ports = if in_channels { ports_of(&ports)? } else { Vec::new() };
    let shutdown = api.shutdown_token().clone();
    let (pod, uid) = (pod.name().to_owned(), pod.uid().to_owned());
    let api = api.clone();
    let connect = move |port| -> futures::future::BoxFuture<'static, _> {
        let (api, pod_ref) = (api.clone(), pod_ref.clone());
        Box::pin(async move { api.streams().port_forward(&pod_ref, port).await })
    };
    Ok(streaming::port_forward(upgrade, ports, PortTarget { pod, uid, connect: Box::new(connect) }, shutdown))
}

/// Reads `core/v1.PodPortForwardOptions` (upstream: `portforward.NewV4Options`).
fn ports_of(query: &Query) -> Result<Vec<u16>, Status> {
    let words = query.all("ports").flat_map(|list| list.split(',')).filter(|word| !word.is_empty());
    let ports: Vec<u16> = words
        .map(|word| {
            word.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                Status::bad_request(format!("ports: Invalid value: {word:?}: must be a port, 1 to 65535"))
            })
        })
        .collect::<Result<_, _>>()?;
    if ports.is_empty() {
        return Err(Status::bad_request("query parameter \"ports\" is required"));
    }
    if ports.len() > MAX_PORTS {
        let count = ports.len();
        return Err(Status::bad_request(format!(
            "ports: Too many: {count}: must have at most {MAX_PORTS} items"
        )));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_in_lists_and_repeated() {
        let check = |query: &str| ports_of(&Query::parse(query)).map_err(|refusal| refusal.message);
        assert_eq!(check("ports=80,81&ports=5432"), Ok(vec![80, 81, 5432]));
        assert_eq!(check(""), Err("query parameter \"ports\" is required".to_owned()));
        for wrong in ["0", "65536", "http"] {
            let refusal = check(&format!("ports={wrong}")).expect_err(wrong);
            assert_eq!(refusal, format!("ports: Invalid value: {wrong:?}: must be a port, 1 to 65535"));
        }
        let many = vec!["1"; MAX_PORTS + 1].join(",");
        assert_eq!(
            check(&format!("ports={many}")),
            Err("ports: Too many: 128: must have at most 127 items".into())
        );
    }
}
