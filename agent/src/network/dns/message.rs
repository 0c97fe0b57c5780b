//! Messages of DNS, read and written: the only file that names the library for them.
//! It decides what is no question for us (RFC 1035, 6891), and how much of an answer fits; never what the answer is.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::seq::SliceRandom;

use super::names::{Answer, Kind, Question};

/// How long an answer may be kept: changes are to be seen everywhere within a second.
const TTL_S: u32 = 1;
/// Addresses in one answer: a random choice where there are more.
pub(super) const ADDRESSES_MAX: usize = 2_048;
/// Largest datagram that passes any path in one piece; what we tell others that we take.
pub(super) const DATAGRAM_MAX: u16 = 1_232;
/// What takes datagrams without saying how large takes this.
const DATAGRAM_MIN: u16 = 512;
/// Largest message on a connection.
pub(super) const MESSAGE_MAX: usize = 65_535;
/// The part of a message before its question.
const HEADER: usize = 12;
/// One address in an answer takes this, its name and itself: type, class, TTL, length.
const RECORD: usize = 10;
/// A name that is in the message already.
const POINTER: usize = 2;
/// Names that the library writes as pointers; it writes all that follow in full.
const POINTERS_MAX: usize = 100;

/// How a message came, and goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// UDP.
    Datagram,
    /// TCP.
    Stream,
}

/// What a message is to us.
#[derive(Debug)]
pub(super) enum Read {
    /// A question.
    Asked(Box<Asked>),
    /// None; this is to be sent back.
    Wrong(Vec<u8>),
    /// Nothing that may be answered.
    Ignored,
}

/// A question, with all that its answer must repeat.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// What the answer may take at most, in bytes.
    pub(super) limit: usize,
    /// The same for the answer of another, who was told it.
    pub(super) relayed_max: usize,
    query: Query,
    metadata: Metadata,
    edns: Option<Edns>,
}

/// Reads what came.
pub(super) fn read(bytes: &[u8], way: Way) -> Read {
    // An answer to an answer could go round for ever.
    let is_query = bytes.get(2).is_some_and(|flags| flags & 0x80 == 0);
    if bytes.len() < HEADER || !is_query {
        return Read::Ignored;
    }
    let read = Message::from_vec(bytes)
        .ok()
        .filter(|message| message.queries.is_empty() || question_bytes(bytes).is_some());
    let Some(mut message) = read else {
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        return Read::Wrong(bytes_of(&Message::error_msg(
            id,
            OpCode::Query,
            ResponseCode::FormErr,
        )));
    };
    let wrong = wrong(&message);
    let query = message.queries.pop().unwrap_or_default();
    let payload = message.max_payload();
    let (limit, relayed_max) = match way {
        Way::Datagram => (payload.clamp(DATAGRAM_MIN, DATAGRAM_MAX).into(), payload.into()),
        Way::Stream => (MESSAGE_MAX, MESSAGE_MAX),
    };
    let asked = Asked {
        question: question(&query),
        limit,
        relayed_max,
        query,
        metadata: message.metadata,
        edns: message.edns,
    };
    match wrong {
        Some(code) => Read::Wrong(bytes_of(&asked.response(code))),
        None => Read::Asked(Box::new(asked)),
    }
}

/// Why a message is no question that can be answered, if it is none.
fn wrong(message: &Message) -> Option<ResponseCode> {
    if message.metadata.op_code != OpCode::Query {
        return Some(ResponseCode::NotImp);
    }
    let [query] = message.queries.as_slice() else {
        return Some(ResponseCode::FormErr);
    };
    if message.version() > 0 {
        return Some(ResponseCode::BADVERS);
    }
    let transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
    (transfer || query.query_class() != DNSClass::IN).then_some(ResponseCode::Refused)
}

fn question(query: &Query) -> Question {
    let mut name = query.name().to_ascii().to_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    let kind = match query.query_type() {
        RecordType::A | RecordType::ANY => Kind::Address,
        RecordType::AAAA => Kind::Ipv6,
        RecordType::PTR => Kind::Pointer,
        _ => Kind::Other,
    };
    Question { name, kind }
}

impl Asked {
    /// The answer as it is sent. Addresses come in random order; what does not fit is left out, and that is said.
    pub(super) fn reply(&self, answer: Answer) -> Vec<u8> {
        let code = match answer {
            Answer::Unknown => ResponseCode::NXDomain,
            Answer::Refused => ResponseCode::Refused,
            Answer::Outside => ResponseCode::ServFail,
            Answer::Addresses(_) | Answer::Pointer(_) => ResponseCode::NoError,
        };
        let mut response = self.response(code);
        response.metadata.authoritative = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
        match answer {
            Answer::Addresses(addresses) => self.add_addresses(&mut response, addresses),
            Answer::Pointer(name) => response.answers.extend(self.pointer(&name)),
            Answer::Unknown | Answer::Refused | Answer::Outside => {}
        }
        bytes_of(&response)
    }

    /// None of the host's resolvers answered.
    pub(super) fn failed(&self) -> Vec<u8> {
        self.reply(Answer::Outside)
    }

    /// The answer is too large for its way: to be asked for again by TCP.
    pub(super) fn shortened(&self) -> Vec<u8> {
        let mut response = self.response(ResponseCode::NoError);
        response.metadata.truncation = true;
        bytes_of(&response)
    }

    fn response(&self, code: ResponseCode) -> Message {
        let mut response = Message::response(self.metadata.id, self.metadata.op_code);
        response.metadata.recursion_desired = self.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.metadata.response_code = code;
        response.queries.push(self.query.clone());
        response.edns = self.edns.as_ref().map(|_| {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM_MAX);
            edns
        });
        response
    }

    fn add_addresses(&self, response: &mut Message, mut addresses: Vec<IpAddr>) {
        addresses.shuffle(&mut rand::rng());
        addresses.truncate(ADDRESSES_MAX);
        let left = self.limit.saturating_sub(bytes_of(response).len());
        let ipv6 = addresses.first().is_some_and(IpAddr::is_ipv6);
        let data = RECORD + if ipv6 { 16 } else { 4 };
        let short = (left / (POINTER + data)).min(POINTERS_MAX);
        // As it is written, with the dot at its end, and one byte more.
        let name = self.query.name().len() + 1;
        let long = (left - short * (POINTER + data)) / (name + data);
        let fit = if short < POINTERS_MAX { short } else { short + long };
        // Who has a connection cannot ask in a better way.
        response.metadata.truncation = fit < addresses.len() && self.limit < MESSAGE_MAX;
        let records = addresses.into_iter().take(fit);
        response
            .answers
            .extend(records.map(|address| self.record(address_data(address))));
    }

    fn pointer(&self, name: &str) -> Option<Record> {
        let name = Name::from_ascii(format!("{name}.")).ok()?;
        Some(self.record(RData::PTR(PTR(name))))
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.query.name().clone(), TTL_S, data)
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn bytes_of(message: &Message) -> Vec<u8> {
    message
        .to_vec()
        .expect("a message of one question and a bounded answer can be written")
}

/// Whether `reply` is an answer to `query`, and not to somebody else's question. Both as they are sent; `query` was read.
pub(super) fn answers(query: &[u8], reply: &[u8]) -> bool {
    if reply.len() < HEADER || reply[..2] != query[..2] || reply[2] & 0x80 == 0 {
        return false;
    }
    if reply[4..6] == [0, 0] {
        // Some leave the question out where they would not look at it.
        return code(reply) != 0;
    }
    let Some(question) = question_bytes(query) else {
        return false;
    };
    let repeated = &reply[HEADER..];
    repeated.len() >= question.len() && repeated[..question.len()].eq_ignore_ascii_case(question)
}

/// The response code of a reply, as far as its header says it.
pub(super) fn code(reply: &[u8]) -> u8 {
    reply.get(3).map_or(0, |flags| flags & 0x0f)
}

/// Where a resolver says that another one might know better: failed, not implemented, refused.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    matches!(code(reply), 2 | 4 | 5)
}

/// Name, type and class of the first question; none where its name does not stand there in full, though nothing is before
/// it that it could point to.
fn question_bytes(query: &[u8]) -> Option<&[u8]> {
    let mut at = HEADER;
    while let Some(length) = query.get(at).copied().filter(|length| (1..64).contains(length)) {
        at += 1 + usize::from(length);
    }
    let question = query.get(HEADER..at + 5)?;
    (query[at] == 0).then_some(question)
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
