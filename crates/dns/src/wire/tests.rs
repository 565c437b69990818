use hickory_proto::rr::{DNSClass, Name};
use proptest::prelude::*;

use super::*;
use crate::zone::{Endpoint, Key, Service, Slice, Target};

/// `many` has so many endpoints, `mirror` is an alias for a name outside.
fn zone(endpoints: u8) -> Zone {
    let mut zone = Zone::new("cluster.local").unwrap();
    let key = |name: &str| Key { namespace: "default".into(), name: name.into() };
    zone.set_service(&key("many"), Some(Service { target: Target::Headless, ports: Vec::new() }));
    let endpoints = (0..endpoints)
        .map(|i| Endpoint { addresses: vec![[10, 42, 0, i].into()], hostname: None, ready: true })
        .collect();
    let slice = Slice { service: "many".into(), endpoints, ports: Vec::new() };
    zone.set_slice(&key("many-1"), Some(slice));
    let target = Target::External("db.example.com".into());
    zone.set_service(&key("mirror"), Some(Service { target, ports: Vec::new() }));
    zone.set_complete();
    zone
}

fn query(name: &str) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message
}

const MANY: &str = "many.default.svc.cluster.local.";

fn reply(request: &Message, transport: Transport, endpoints: u8) -> (Message, usize) {
    let packet = request.to_vec().unwrap();
    match handle(&packet, transport, &zone(endpoints), 0) {
        Step::Reply(bytes) => (Message::from_vec(&bytes).unwrap(), bytes.len()),
        other => panic!("{other:?}"),
    }
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.edns = Some(edns);
    message
}

#[test]
fn reply_repeats_the_question_and_says_what_we_are() {
    let request = query(MANY);
    let (reply, _) = reply(&request, Transport::Udp, 3);
    assert_eq!((reply.metadata.id, &reply.queries), (request.metadata.id, &request.queries));
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
    assert!(reply.metadata.recursion_desired && !reply.metadata.truncation);
    assert_eq!((reply.answers.len(), reply.edns), (3, None));
}

#[test]
fn udp_answer_is_cut_to_what_the_client_takes() {
    let (plain, length) = reply(&query(MANY), Transport::Udp, 200);
    assert!(plain.metadata.truncation && length <= 512);
    // As many are there as fit: one takes 16 bytes, with its name compressed.
    assert!(length + 16 >= 512, "{length}");

    let (large, length) = reply(&with_edns(query(MANY), 4096), Transport::Udp, 200);
    assert!(large.metadata.truncation && length <= 1232 && large.answers.len() > plain.answers.len());
    assert_eq!(large.edns.unwrap().max_payload(), 1232);

    let (small, length) = reply(&with_edns(query(MANY), 0), Transport::Udp, 200);
    assert!(small.metadata.truncation && length <= 512 && small.edns.is_some());
}

#[test]
fn tcp_answer_is_whole() {
    let (whole, _) = reply(&query(MANY), Transport::Tcp, 200);
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (200, false));
}

#[test]
fn packets_that_are_no_queries_are_ignored() {
    let mut response = query(MANY);
    response.metadata.message_type = hickory_proto::op::MessageType::Response;
    for packet in [&[][..], &[0; 11], &[0xff; 40], &response.to_vec().unwrap()] {
        assert!(matches!(handle(packet, Transport::Udp, &zone(1), 0), Step::Ignore));
    }
}

#[test]
fn malformed_queries_are_told_so() {
    let mut cut = query(MANY).to_vec().unwrap();
    cut.truncate(20);
    let Step::Reply(bytes) = handle(&cut, Transport::Udp, &zone(1), 0) else { panic!("a reply") };
    assert_eq!(bytes[..2], cut[..2]);
    assert_eq!(Message::from_vec(&bytes).unwrap().metadata.response_code, ResponseCode::FormErr);

    let mut twice = query(MANY);
    twice.add_query(twice.queries[0].clone());
    assert_eq!(reply(&twice, Transport::Udp, 1).0.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn what_we_do_not_do_is_refused() {
    let code = |request: &Message| reply(request, Transport::Tcp, 1).0.metadata.response_code;
    let mut update = query(MANY);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&update), ResponseCode::NotImp);

    let mut transfer = query("cluster.local.");
    transfer.queries[0].set_query_type(RecordType::AXFR);
    assert_eq!(code(&transfer), ResponseCode::Refused);

    let mut chaos = query(MANY);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);

    let mut future = with_edns(query(MANY), 1232);
    future.edns.as_mut().unwrap().set_version(1);
    assert_eq!(u16::from(code(&future)), 16, "BADVERS, RFC 6891");
}

#[test]
fn alias_is_completed_by_what_the_resolvers_say() {
    let request = query("mirror.default.svc.cluster.local.");
    let step = || match handle(&request.to_vec().unwrap(), Transport::Udp, &zone(0), 0) {
        Step::Complete(unfinished) => unfinished,
        other => panic!("{other:?}"),
    };
    let unfinished = step();
    assert_eq!(unfinished.query.queries[0].name().to_ascii(), "db.example.com.");
    let mut found = unfinished.query.clone();
    let address = hickory_proto::rr::RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into());
    found.answers.push(Record::from_rdata(Name::from_ascii("db.example.com.").unwrap(), 60, address));
    let whole = Message::from_vec(&unfinished.finish(Some(&found))).unwrap();
    assert_eq!(whole.queries, request.queries);
    assert_eq!(
        whole.answers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["mirror.default.svc.cluster.local. 5 IN CNAME db.example.com.", "db.example.com. 60 IN A 192.0.2.1"]
    );

    let lost = Message::from_vec(&step().finish(None)).unwrap();
    assert_eq!((lost.metadata.response_code, lost.answers.len()), (ResponseCode::ServFail, 0));
}

proptest! {
    #[test]
    fn any_packet_is_taken(packet in proptest::collection::vec(any::<u8>(), 0..600), tcp in any::<bool>()) {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        if let Step::Reply(reply) = handle(&packet, transport, &zone(2), 7) {
            prop_assert_eq!(&reply[..2], &packet[..2]);
            prop_assert!(reply[2] & 0x80 != 0);
        }
    }

    #[test]
    fn any_change_to_a_query_is_taken(at in 0usize..60, byte in any::<u8>(), cut in 0usize..60) {
        let mut packet = with_edns(query(MANY), 1232).to_vec().unwrap();
        let length = packet.len();
        packet[at % length] = byte;
        packet.truncate(length - cut.min(length - 12));
        if let Step::Reply(reply) = handle(&packet, Transport::Udp, &zone(200), 0) {
            prop_assert!(reply.len() <= 1232);
            prop_assert!(Message::from_vec(&reply).is_ok());
        }
    }
}
