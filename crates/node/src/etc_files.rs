//! The files under /etc that a pod gets from its node: hosts, hostname, resolv.conf
//! (`pkg/kubelet/kubelet_pods.go`, `pkg/kubelet/network/dns`). Pure.

use k8s_openapi::api::core::v1::Pod;

/// How many search domains and nameservers a resolver takes (`MaxDNSSearchPaths`, `MaxDNSNameservers`).
const MAX_SEARCHES: usize = 32;
const MAX_NAMESERVERS: usize = 3;

/// What `hostname` says in the pod: `spec.hostname`, else its name, cut to 63 bytes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let given = spec.and_then(|s| s.hostname.clone()).filter(|h| !h.is_empty());
    let mut name = given.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(63);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// `/etc/hosts`: the pod's own names, and `hostAliases`.
pub(crate) fn hosts(pod: &Pod, ip: &str, cluster_domain: &str) -> String {
    let mut out = String::from(
        "# Managed by stead.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let spec = pod.spec.as_ref();
    let name = hostname(pod);
    let subdomain = spec.and_then(|s| s.subdomain.as_deref()).filter(|s| !s.is_empty());
    match subdomain {
        Some(subdomain) => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            out += &format!("{ip}\t{name}.{subdomain}.{namespace}.svc.{cluster_domain}\t{name}\n");
        }
        None => out += &format!("{ip}\t{name}\n"),
    }
    for alias in spec.iter().flat_map(|s| s.host_aliases.iter().flatten()) {
        out += &format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
    }
    out
}

/// `/etc/resolv.conf` by the pod's `dnsPolicy` and `dnsConfig`; `host` is the host's own.
pub(crate) fn resolv_conf(pod: &Pod, cluster_dns: &str, cluster_domain: &str, host: &str) -> String {
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let host_network = spec.and_then(|s| s.host_network).unwrap_or(false);
    let policy = spec.and_then(|s| s.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let from_host = |word: &str| -> Vec<String> {
        let lines = host.lines().filter_map(|l| l.trim().strip_prefix(word));
        lines.flat_map(|rest| rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let (mut servers, mut searches, mut options) = match policy {
        "None" => Default::default(),
        "Default" => (from_host("nameserver"), from_host("search"), from_host("options")),
        "ClusterFirst" if host_network => {
            (from_host("nameserver"), from_host("search"), from_host("options"))
        }
        _ => {
            let mut searches = vec![
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ];
            searches.extend(from_host("search"));
            (vec![cluster_dns.to_owned()], searches, vec!["ndots:5".to_owned()])
        }
    };
    if let Some(config) = spec.and_then(|s| s.dns_config.as_ref()) {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            options.retain(|held| held.split(':').next() != Some(name));
            options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
        }
    }
    let mut out = String::new();
    let mut seen = Vec::new();
    searches.retain(|s| {
        !seen.contains(s) && {
            seen.push(s.clone());
            true
        }
    });
    searches.truncate(MAX_SEARCHES);
    if !searches.is_empty() {
        out += &format!("search {}\n", searches.join(" "));
    }
    for server in servers.iter().take(MAX_NAMESERVERS) {
        out += &format!("nameserver {server}\n");
    }
    if !options.is_empty() {
        out += &format!("options {}\n", options.join(" "));
    }
    out
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "db-0", "namespace": "d"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_set_s_pod_knows_its_full_name() {
        let pod = pod(json!({"containers": [], "hostname": "db-0", "subdomain": "database",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
        let hosts = hosts(&pod, "10.42.0.7", "cluster.local");
        assert!(hosts.contains("10.42.0.7\tdb-0.database.d.svc.cluster.local\tdb-0\n"), "{hosts}");
        assert!(hosts.ends_with("1.2.3.4\ta\tb\n"), "{hosts}");
    }

    #[test]
    fn cluster_first_searches_the_namespace_before_the_host_s_domains() {
        let host = "nameserver 9.9.9.9\nsearch example.org\noptions edns0\n";
        let conf = |spec| resolv_conf(&pod(spec), "10.42.0.1", "cluster.local", host);
        assert_eq!(
            conf(json!({"containers": []})),
            "search d.svc.cluster.local svc.cluster.local cluster.local example.org\n\
             nameserver 10.42.0.1\noptions ndots:5\n"
        );
        assert_eq!(
            conf(json!({"containers": [], "dnsPolicy": "Default"})),
            "search example.org\nnameserver 9.9.9.9\noptions edns0\n"
        );
        let config = json!({"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]});
        assert_eq!(
            conf(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config})),
            "nameserver 1.1.1.1\noptions ndots:2\n"
        );
    }
}
