//! Messages: from bytes to a question for the zone, and from its answer to bytes that fit.

use hickory_proto::op::{Edns, Message, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use crate::zone::{Answer, Zone};

/// The largest UDP answer, whatever the client would take: what crosses common links in one piece
/// (DNS Flag Day 2020).
const MAX_UDP: u16 = 1232;

/// The largest UDP answer for a client that says nothing (RFC 1035).
const PLAIN_UDP: u16 = 512;

/// The bytes of the OPT record that EDNS adds (RFC 6891), without options.
const OPT_BYTES: u16 = 11;

/// The bytes of a header (RFC 1035, section 4.1.1).
const HEADER_BYTES: usize = 12;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What to do about a packet.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing: it is no query, and to answer it could start a game of ping-pong.
    Ignore,
    Reply(Vec<u8>),
    /// Hand it on to the host's resolvers as it is.
    Forward,
    /// Ask the host's resolvers for the rest of an answer, then [`Unfinished::finish`] it.
    Complete(Box<Unfinished>),
}

/// An answer that ends in an alias for a name that is not the cluster's.
#[derive(Debug)]
pub(crate) struct Unfinished {
    response: Message,
    limit: u16,
    /// The query for what is missing.
    pub(crate) query: Message,
}

impl Unfinished {
    /// The answer, with what the resolvers said about the alias.
    pub(crate) fn finish(mut self, found: Option<&Message>) -> Vec<u8> {
        match found {
            Some(found) => {
                self.response.answers.extend(found.answers.iter().cloned());
                self.response.metadata.response_code = found.metadata.response_code;
            }
            None => {
                self.response.answers.clear();
                self.response.metadata.response_code = ResponseCode::ServFail;
            }
        }
        encode(self.response, self.limit)
    }
}

/// Decides about a packet.
pub(crate) fn handle(packet: &[u8], transport: Transport, zone: &Zone, turn: usize) -> Step {
    let is_response = packet.get(2).is_none_or(|flags| flags & 0x80 != 0);
    if packet.len() < HEADER_BYTES || is_response {
        return Step::Ignore;
    }
    let Ok(request) = Message::from_vec(packet) else {
        return Step::Reply(failure(packet, ResponseCode::FormErr));
    };
    let limit = limit(&request, transport);
    let refuse = |code| Step::Reply(encode(response(&request, Answer::of(code)), limit));
    if request.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(ResponseCode::BADVERS);
    }
    let [query] = request.queries.as_slice() else {
        return refuse(ResponseCode::FormErr);
    };
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        return refuse(ResponseCode::Refused);
    }
    let Some(mut answer) = zone.answer(query, turn) else {
        return Step::Forward;
    };
    let outside = answer.outside.take();
    let response = response(&request, answer);
    match outside {
        None => Step::Reply(encode(response, limit)),
        Some(name) => {
            let mut query = Message::query();
            query.metadata.recursion_desired = true;
            query.add_query(Query::query(name, request.queries[0].query_type()));
            Step::Complete(Box::new(Unfinished { response, limit, query }))
        }
    }
}

/// An answer that says only what went wrong, to a packet that may be anything that has a header.
pub(crate) fn failure(packet: &[u8], code: ResponseCode) -> Vec<u8> {
    let id = match packet {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let mut message = Message::error_msg(id, OpCode::Query, code);
    if let Ok(request) = Message::from_vec(packet) {
        message = response(&request, Answer::of(code));
    }
    encode(message, PLAIN_UDP)
}

fn limit(request: &Message, transport: Transport) -> u16 {
    match (transport, &request.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_UDP, MAX_UDP),
        (Transport::Udp, None) => PLAIN_UDP,
    }
}

fn response(request: &Message, answer: Answer) -> Message {
    let mut message = Message::response(request.metadata.id, request.metadata.op_code);
    message.metadata = Metadata::response_from_request(&request.metadata);
    message.metadata.authoritative = matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain);
    message.metadata.recursion_available = true;
    message.metadata.response_code = answer.code;
    message.queries.clone_from(&request.queries);
    message.answers = answer.answers;
    message.authorities = answer.authorities;
    message.additionals = answer.additionals;
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP);
        message.edns = Some(edns);
    }
    message
}

/// Encodes what fits into `limit` bytes. Additional records may be left out silently; if an answer is, the
/// message says so (RFC 2181, section 9).
fn encode(mut message: Message, limit: u16) -> Vec<u8> {
    let whole = emit(&message, u16::MAX);
    if whole.len() <= usize::from(limit) && !is_truncated(&whole) {
        return whole;
    }
    message.additionals = Vec::<Record>::new();
    let edns = message.edns.take();
    let room = if edns.is_some() { limit - OPT_BYTES } else { limit };
    let fitting = emit(&message, room);
    if let [_, _, _, _, _, _, high, low, ..] = fitting[..] {
        message.answers.truncate(usize::from(u16::from_be_bytes([high, low])));
    }
    message.metadata.truncation = is_truncated(&fitting);
    message.edns = edns;
    emit(&message, limit)
}

fn is_truncated(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// The message in at most `limit` bytes, with the TC flag when records had to be left out.
fn emit(message: &Message, limit: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    if let Err(error) = message.emit(&mut encoder) {
        tracing::debug!(%error, "an answer cannot be encoded");
        let code = ResponseCode::ServFail;
        let failed = Message::error_msg(message.metadata.id, message.metadata.op_code, code);
        return failed.to_vec().unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests;
