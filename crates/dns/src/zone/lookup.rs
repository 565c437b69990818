//! Questions to answers.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::{Endpoint, Entry, Port, Service, Slice, Target, Zone};

/// Seconds for which an answer may be kept: what `CoreDNS` says by default. Programs that keep answers then keep
/// them as long as they are used to; the C libraries keep none.
const TTL: u32 = 5;

/// Seconds for which it may be kept that there is no such name (RFC 2308): not at all. A peer that is not
/// there yet is there in an instant.
const NEGATIVE_TTL: u32 = 0;

/// The version of the schema that is served.
const SCHEMA_VERSION: &str = "1.1.0";

/// How many aliases are followed from one to the next.
const MAX_ALIASES: usize = 8;

/// An answer for a name that is the cluster's.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// NXDOMAIN when there is no such name; no error and no records when it has none of the type.
    pub code: ResponseCode,
    /// The records that were asked for, aliases before what they stand for.
    pub answers: Vec<Record>,
    /// The start of authority, in answers without records.
    pub authorities: Vec<Record>,
    /// Addresses of the names in `answers`.
    pub additionals: Vec<Record>,
    /// An alias for a name that is not the cluster's, whose records belong at the end of `answers`.
    pub outside: Option<Name>,
}

/// What is at a name.
enum Found {
    /// There is no such name, and none below it.
    Nothing,
    /// The name exists, and has these records of the type asked for.
    Records(Vec<RData>),
    Alias(Name),
}

const NO_RECORDS: Found = Found::Records(Vec::new());

impl Zone {
    /// The answer to a query, or `None` when the name is not the cluster's. `turn` rotates the order of
    /// addresses: count it up to spread clients that take the first.
    pub fn answer(&self, query: &Query, turn: usize) -> Option<Answer> {
        let labels = self.labels_below(query.name());
        if labels.is_none() && query.query_type() != RecordType::PTR {
            return None;
        }
        if query.query_class() != DNSClass::IN {
            return labels.map(|_| Answer::of(ResponseCode::Refused));
        }
        let Some(labels) = labels else {
            let names = self.names_of(address_of(query.name())?);
            return (!names.is_empty()).then(|| Answer::with(query.name(), names));
        };
        if !self.complete {
            return Some(Answer::of(ResponseCode::ServFail));
        }
        let mut answer = Answer::of(ResponseCode::NoError);
        self.resolve(query.name(), labels, query.query_type(), turn, &mut answer);
        Some(answer)
    }

    fn resolve(&self, name: &Name, labels: Vec<String>, kind: RecordType, turn: usize, answer: &mut Answer) {
        let (mut name, mut labels) = (name.clone(), labels);
        for _ in 0..MAX_ALIASES {
            let below: Vec<&str> = labels.iter().map(String::as_str).collect();
            match self.find(&below, kind) {
                Found::Nothing => {
                    answer.code = ResponseCode::NXDomain;
                    answer.authorities = vec![self.authority()];
                    return;
                }
                Found::Records(mut records) if !records.is_empty() => {
                    let turn = turn % records.len();
                    records.rotate_left(turn);
                    answer.additionals = self.targets(&records);
                    answer.answers.extend(records.into_iter().map(|data| record(&name, data)));
                    return;
                }
                Found::Records(_) => {
                    answer.authorities = vec![self.authority()];
                    return;
                }
                Found::Alias(target) => {
                    answer.answers.push(record(&name, RData::CNAME(CNAME(target.clone()))));
                    if kind == RecordType::CNAME {
                        return;
                    }
                    let Some(below) = self.labels_below(&target) else {
                        answer.outside = Some(target);
                        return;
                    };
                    (name, labels) = (target, below);
                }
            }
        }
        // Aliases in a circle: there is no right answer.
        *answer = Answer::of(ResponseCode::ServFail);
    }

    /// The labels of `name` below the cluster's domain, topmost first, in lower case; `None` when it is not
    /// below.
    fn labels_below(&self, name: &Name) -> Option<Vec<String>> {
        if !self.domain.zone_of(name) {
            return None;
        }
        let below = name.iter().len().checked_sub(self.domain.iter().len())?;
        let mut labels: Vec<_> = name
            .iter()
            .take(below)
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        labels.reverse();
        Some(labels)
    }

    fn find(&self, labels: &[&str], kind: RecordType) -> Found {
        match labels {
            [] if wants(kind, RecordType::SOA) => Found::Records(vec![self.authority().data]),
            [] | ["svc" | "pod"] => NO_RECORDS,
            ["dns-version"] if wants(kind, RecordType::TXT) => {
                Found::Records(vec![RData::TXT(TXT::new(vec![SCHEMA_VERSION.into()]))])
            }
            ["dns-version"] => NO_RECORDS,
            ["pod", _] => NO_RECORDS,
            ["pod", _, dashed] => pod_address(dashed, kind),
            ["svc", namespace] if self.namespaces.contains_key(*namespace) => NO_RECORDS,
            ["svc", namespace, name, rest @ ..] => self.find_service(namespace, name, rest, kind),
            _ => Found::Nothing,
        }
    }

    fn find_service(&self, namespace: &str, name: &str, rest: &[&str], kind: RecordType) -> Found {
        let entry = self.namespaces.get(namespace).and_then(|services| services.get(name));
        let Some((entry, service)) = entry.and_then(|entry| Some((entry, entry.service.as_ref()?))) else {
            return Found::Nothing;
        };
        let here = Here { zone: self, namespace, name, entry, service };
        match (rest, &service.target) {
            ([], Target::External(target)) => match Name::from_ascii(target) {
                Ok(mut target) if target.num_labels() > 0 => {
                    target.set_fqdn(true);
                    Found::Alias(target)
                }
                _ => NO_RECORDS,
            },
            (_, Target::External(_)) => Found::Nothing,
            ([], _) => here.service(kind),
            ([protocol, port @ ..], _) if protocol.starts_with('_') => here.port(protocol, port, kind),
            ([hostname], _) => here.endpoint(hostname, kind),
            _ => Found::Nothing,
        }
    }

    /// The names that an address stands for: a Service's for its cluster address, else those of its endpoints,
    /// where one that the pod has by its hostname goes before one made from the address.
    fn names_of(&self, address: IpAddr) -> Vec<RData> {
        let (mut services, mut hostnames, mut dashed) = (Vec::new(), Vec::new(), Vec::new());
        for (namespace, entries) in &self.namespaces {
            for (name, entry) in entries {
                let Some(service) = &entry.service else { continue };
                if matches!(&service.target, Target::ClusterIps(ips) if ips.contains(&address)) {
                    services.extend(self.name(&[name, namespace, "svc"]));
                }
                for (_, endpoint) in entry.ready().filter(|(_, at)| at.addresses.contains(&address)) {
                    let label = label(endpoint, address);
                    let list = if endpoint.hostname.is_some() { &mut hostnames } else { &mut dashed };
                    list.extend(self.name(&[&label, name, namespace, "svc"]));
                }
            }
        }
        let mut names = [services, hostnames, dashed].into_iter().find(|names| !names.is_empty());
        let names = names.as_mut().map(std::mem::take).unwrap_or_default();
        unique(names.into_iter().map(|name| RData::PTR(PTR(name))))
    }

    /// The addresses of the names that SRV records point to.
    fn targets(&self, records: &[RData]) -> Vec<Record> {
        let mut names: Vec<&Name> = Vec::new();
        for record in records {
            if let RData::SRV(service) = record
                && !names.contains(&&service.target)
            {
                names.push(&service.target);
            }
        }
        let addresses = names.into_iter().flat_map(|name| {
            let labels = self.labels_below(name).unwrap_or_default();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let found = [RecordType::A, RecordType::AAAA].map(|kind| match self.find(&labels, kind) {
                Found::Records(records) => records,
                Found::Nothing | Found::Alias(_) => Vec::new(),
            });
            found.into_iter().flatten().map(|data| record(name, data))
        });
        addresses.collect()
    }

    /// The name with these labels, lowest first, below the cluster's domain.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?.append_domain(&self.domain).ok()
    }

    fn authority(&self) -> Record {
        let server = self.name(&["ns", "dns"]).unwrap_or_default();
        let admin = self.name(&["hostmaster"]).unwrap_or_default();
        let soa = SOA::new(server, admin, 1, 7200, 1800, 86400, NEGATIVE_TTL);
        Record::from_rdata(self.domain.clone(), NEGATIVE_TTL, RData::SOA(soa))
    }
}

/// A Service, in its place.
struct Here<'a> {
    zone: &'a Zone,
    namespace: &'a str,
    name: &'a str,
    entry: &'a Entry,
    service: &'a Service,
}

impl Here<'_> {
    /// `<service>.<namespace>.svc`
    fn service(&self, kind: RecordType) -> Found {
        let addresses: Vec<IpAddr> = match &self.service.target {
            Target::ClusterIps(addresses) => addresses.clone(),
            _ => self.entry.ready().flat_map(|(_, endpoint)| endpoint.addresses.iter().copied()).collect(),
        };
        if addresses.is_empty() && self.service.target == Target::Headless {
            // What the specification asks for, section 2.4.1.
            return Found::Nothing;
        }
        let mut records = addresses_of(addresses, kind);
        if wants(kind, RecordType::SRV) {
            records.extend(self.ports(|_| true));
        }
        Found::Records(records)
    }

    /// `<hostname>.<service>.<namespace>.svc`
    fn endpoint(&self, hostname: &str, kind: RecordType) -> Found {
        let mut addresses = Vec::new();
        let mut records = Vec::new();
        for (slice, endpoint) in self.entry.ready() {
            let found = endpoint.addresses.iter().filter(|address| label(endpoint, **address) == hostname);
            let before = addresses.len();
            addresses.extend(found.copied());
            if addresses.len() > before && wants(kind, RecordType::SRV) {
                records.extend(slice.ports.iter().filter_map(|port| self.srv(Some(hostname), port, 1)));
            }
        }
        if addresses.is_empty() {
            return Found::Nothing;
        }
        records.extend(addresses_of(addresses, kind));
        Found::Records(unique(records))
    }

    /// `_<port>._<protocol>.<service>.<namespace>.svc`, and the name above it, which has no records.
    fn port(&self, protocol: &str, port: &[&str], kind: RecordType) -> Found {
        let protocol = &protocol[1..];
        let name = match port {
            [] => None,
            [port] => match port.strip_prefix('_') {
                Some(name) if !name.is_empty() => Some(name),
                _ => return Found::Nothing,
            },
            _ => return Found::Nothing,
        };
        let matching = |port: &Port| {
            port.protocol == protocol && !port.name.is_empty() && name.is_none_or(|name| port.name == name)
        };
        let records = self.ports(matching);
        match (records.is_empty(), name) {
            (true, _) => Found::Nothing,
            (false, Some(_)) if wants(kind, RecordType::SRV) => Found::Records(records),
            _ => NO_RECORDS,
        }
    }

    /// The SRV records of the ports that match: the Service's own, or one an endpoint if it is headless.
    fn ports(&self, matching: impl Fn(&Port) -> bool) -> Vec<RData> {
        if self.service.target != Target::Headless {
            let ports: Vec<_> = self.service.ports.iter().filter(|port| matching(port)).collect();
            let count = ports.len();
            return ports.into_iter().filter_map(|port| self.srv(None, port, count)).collect();
        }
        let mut found = Vec::new();
        for (slice, endpoint) in self.entry.ready() {
            for port in slice.ports.iter().filter(|port| matching(port)) {
                found.extend(endpoint.addresses.iter().map(|address| (label(endpoint, *address), port)));
            }
        }
        let count = found.len();
        unique(found.iter().filter_map(|(label, port)| self.srv(Some(label), port, count)))
    }

    /// Priority and weight as `CoreDNS` has them: a hundredth is the least that is divided.
    fn srv(&self, hostname: Option<&str>, port: &Port, count: usize) -> Option<RData> {
        let labels: Vec<&str> = hostname.into_iter().chain([self.name, self.namespace, "svc"]).collect();
        let weight = u16::try_from(100 / count.max(1)).unwrap_or(100).max(1);
        Some(RData::SRV(SRV::new(0, weight, port.number, self.zone.name(&labels)?)))
    }
}

impl Entry {
    fn ready(&self) -> impl Iterator<Item = (&Slice, &Endpoint)> {
        let all = self.slices.values().flat_map(|slice| slice.endpoints.iter().map(move |at| (slice, at)));
        all.filter(|(_, endpoint)| endpoint.ready)
    }
}

impl Answer {
    pub(crate) fn of(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new(), outside: None }
    }

    fn with(name: &Name, records: Vec<RData>) -> Self {
        let answers = records.into_iter().map(|data| record(name, data)).collect();
        Self { answers, ..Self::of(ResponseCode::NoError) }
    }
}

/// An endpoint's label below its Service: its hostname, or its address as `CoreDNS` writes it.
fn label(endpoint: &Endpoint, address: IpAddr) -> String {
    endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace(['.', ':'], "-"))
}

/// `1-2-3-4.<namespace>.pod`, for any address: `CoreDNS`'s `pods insecure`, as kubeadm sets it up.
fn pod_address(dashed: &str, kind: RecordType) -> Found {
    let address = match dashed.replace('-', ".").parse::<Ipv4Addr>() {
        Ok(address) => IpAddr::V4(address),
        Err(_) => match dashed.replace('-', ":").parse() {
            Ok(address) => IpAddr::V6(address),
            Err(_) => return Found::Nothing,
        },
    };
    Found::Records(addresses_of(vec![address], kind))
}

fn wants(asked: RecordType, kind: RecordType) -> bool {
    asked == kind || asked == RecordType::ANY
}

fn addresses_of(addresses: Vec<IpAddr>, kind: RecordType) -> Vec<RData> {
    unique(addresses.into_iter().filter_map(|address| match address {
        IpAddr::V4(address) => wants(kind, RecordType::A).then_some(RData::A(A(address))),
        IpAddr::V6(address) => wants(kind, RecordType::AAAA).then_some(RData::AAAA(AAAA(address))),
    }))
}

/// Each record once, in the order given: an endpoint may be in two slices while it moves between them.
fn unique(records: impl IntoIterator<Item = RData>) -> Vec<RData> {
    let mut seen = std::collections::HashSet::new();
    records.into_iter().filter(|record| seen.insert(record.clone())).collect()
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

/// The address in a name below `in-addr.arpa` or `ip6.arpa`, when it is a whole one.
fn address_of(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then_some(network.addr())
}
