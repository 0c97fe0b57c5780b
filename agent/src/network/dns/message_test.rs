use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::{any, prop, proptest};

use super::super::names::{Answer, Kind};
use super::{ADDRESSES_MAX, Asked, Read, Way, answers, is_refusal, read};

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).unwrap();
    message.queries.push(Query::query(name, kind));
    message
}

fn with_payload(mut message: Message, bytes: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(bytes);
    message.edns = Some(edns);
    message
}

fn asked(message: &Message, way: Way) -> Box<Asked> {
    match read(&message.to_vec().unwrap(), way) {
        Read::Asked(asked) => asked,
        other => panic!("{other:?}"),
    }
}

fn wrong(message: &Message) -> ResponseCode {
    match read(&message.to_vec().unwrap(), Way::Datagram) {
        Read::Wrong(reply) => {
            let reply = Message::from_vec(&reply).unwrap();
            assert_eq!(reply.metadata.id, message.metadata.id);
            reply.metadata.response_code
        }
        other => panic!("{other:?}"),
    }
}

fn addresses(count: u32) -> Vec<IpAddr> {
    let address = |n| Ipv4Addr::from_bits(0x0a00_0000 + n).into();
    (0..count).map(address).collect()
}

fn ipv6_addresses(count: u32) -> Vec<IpAddr> {
    let address = |n| Ipv6Addr::from_bits((0xfd << 120) + u128::from(n)).into();
    (0..count).map(address).collect()
}

fn found(reply: &Message) -> Vec<IpAddr> {
    let found = reply.answers.iter().map(|record| match &record.data {
        RData::A(address) => address.0.into(),
        RData::AAAA(address) => address.0.into(),
        other => panic!("{other:?}"),
    });
    found.collect()
}

#[test]
fn names_are_compared_without_case_and_answered_as_they_were_asked() {
    let asked = asked(&query("Tasks.WEB.", RecordType::A), Way::Datagram);
    assert_eq!(asked.question.name, "tasks.web");
    assert_eq!(asked.question.kind, Kind::Address);
    let reply = asked.reply(Answer::Addresses(addresses(1)));
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.answers[0].name.to_ascii(), "Tasks.WEB.");
    assert_eq!(reply.queries[0].name().to_ascii(), "Tasks.WEB.");
    let meta = reply.metadata;
    assert!(meta.authoritative && meta.recursion_desired && meta.recursion_available && !meta.truncation);
    assert!(reply.edns.is_none() && reply.answers[0].ttl <= 1);
}

#[test]
fn what_is_known_is_told_from_what_is_not() {
    let asked = asked(&query("web.", RecordType::MX), Way::Datagram);
    assert_eq!(asked.question.kind, Kind::Other);
    let rows = [
        (Answer::Addresses(Vec::new()), ResponseCode::NoError),
        (Answer::Unknown, ResponseCode::NXDomain),
        (Answer::Refused, ResponseCode::Refused),
        (Answer::Outside, ResponseCode::ServFail),
    ];
    for (answer, code) in rows {
        let reply = Message::from_vec(&asked.reply(answer)).unwrap();
        assert_eq!(reply.metadata.response_code, code);
        assert!(reply.answers.is_empty());
    }
}

#[test]
fn an_address_has_a_name() {
    let asked = asked(&query("2.0.1.127.in-addr.arpa.", RecordType::PTR), Way::Datagram);
    assert_eq!(asked.question.kind, Kind::Pointer);
    let reply = Message::from_vec(&asked.reply(Answer::Pointer("shop_web.2".to_owned()))).unwrap();
    let RData::PTR(name) = &reply.answers[0].data else {
        panic!("{reply:?}");
    };
    assert_eq!(name.0.to_ascii(), "shop_web.2.");
}

#[test]
fn an_answer_fits_what_the_asker_takes() {
    let plain = query("tasks.web.", RecordType::A);
    let rows = [
        (plain.clone(), Way::Datagram, 512),
        (with_payload(plain.clone(), 100), Way::Datagram, 512),
        (with_payload(plain.clone(), 900), Way::Datagram, 900),
        (with_payload(plain.clone(), 65_000), Way::Datagram, 1_232),
        (with_payload(plain, 512), Way::Stream, 65_535),
    ];
    for (message, way, limit) in rows {
        let asked = asked(&message, way);
        assert_eq!(asked.limit, limit);
        let bytes = asked.reply(Answer::Addresses(addresses(1_000)));
        assert!(bytes.len() <= limit, "{} of {limit}", bytes.len());
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!(reply.metadata.truncation, way == Way::Datagram);
        assert_eq!(reply.edns.is_some(), message.edns.is_some());
        let found = found(&reply);
        if way == Way::Stream {
            assert_eq!(found.len(), 1_000);
        } else {
            // Not one more would have fitted.
            assert!(bytes.len() + 16 > limit && !found.is_empty());
        }
    }
}

#[test]
fn ipv6_addresses_are_told_as_such_and_fit_too() {
    let asked = asked(&query("tasks.web.", RecordType::AAAA), Way::Datagram);
    assert_eq!(asked.question.kind, Kind::Ipv6);
    let bytes = asked.reply(Answer::Addresses(ipv6_addresses(1_000)));
    assert!(bytes.len() <= 512 && bytes.len() + 28 > 512, "{}", bytes.len());
    let reply = Message::from_vec(&bytes).unwrap();
    assert!(reply.metadata.truncation);
    let told = ipv6_addresses(1_000);
    assert!(found(&reply).iter().all(|one| told.contains(one)));
}

#[test]
fn a_connection_is_told_as_many_as_a_message_holds_however_long_the_name() {
    for (labels, fit) in [(1, 1_500), (25, 200)] {
        let name = "123456789.".repeat(labels);
        let asked = asked(&query(&name, RecordType::AAAA), Way::Stream);
        let bytes = asked.reply(Answer::Addresses(ipv6_addresses(5_000)));
        let reply = Message::from_vec(&bytes).unwrap();
        assert!(!reply.metadata.truncation, "there is no better way to ask");
        let found = found(&reply).len();
        assert!(found >= fit && found <= ADDRESSES_MAX, "{found}");
    }
}

#[test]
fn too_many_addresses_are_a_random_choice() {
    let asked = asked(&query("tasks.web.", RecordType::A), Way::Stream);
    let every = addresses(5_000);
    let mut seen = [(); 2].map(|()| {
        let reply = asked.reply(Answer::Addresses(every.clone()));
        found(&Message::from_vec(&reply).unwrap())
    });
    assert!(seen.iter().all(|found| found.len() == ADDRESSES_MAX));
    assert_ne!(seen[0], seen[1]);
    for found in &mut seen {
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), ADDRESSES_MAX);
    }
}

#[test]
fn what_is_no_question_is_said_to_be_none() {
    let web = query("web.", RecordType::A);
    let mut update = web.clone();
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(wrong(&update), ResponseCode::NotImp);
    let mut two = web.clone();
    two.queries.push(two.queries[0].clone());
    assert_eq!(wrong(&two), ResponseCode::FormErr);
    let mut none = web.clone();
    none.queries.clear();
    assert_eq!(wrong(&none), ResponseCode::FormErr);
    let mut chaos = web.clone();
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(wrong(&chaos), ResponseCode::Refused);
    assert_eq!(wrong(&query("web.", RecordType::AXFR)), ResponseCode::Refused);
    let mut later = with_payload(web, 1_232);
    later.edns.as_mut().unwrap().set_version(1);
    assert_eq!(u16::from(wrong(&later)), u16::from(ResponseCode::BADVERS));
}

#[test]
fn answers_and_scraps_are_not_answered() {
    let mut reply = query("web.", RecordType::A).to_vec().unwrap();
    reply[2] |= 0x80;
    for bytes in [&reply[..], &[], &[0; 11]] {
        assert!(matches!(read(bytes, Way::Datagram), Read::Ignored));
    }
    // A name that points into the header.
    let mut pointing = query("web.", RecordType::A).to_vec().unwrap();
    pointing.splice(12..17, [0xc0, 0x05]);
    assert!(matches!(read(&pointing, Way::Datagram), Read::Wrong(_)));
    let mut cut = query("web.", RecordType::A).to_vec().unwrap();
    cut.truncate(14);
    assert!(matches!(read(&cut, Way::Datagram), Read::Wrong(_)));
}

#[test]
fn a_reply_belongs_to_its_question() {
    let query_bytes = query("Web.Example.org.", RecordType::A).to_vec().unwrap();
    let asked = asked(&Message::from_vec(&query_bytes).unwrap(), Way::Datagram);
    let reply = asked.reply(Answer::Unknown);
    assert!(answers(&query_bytes, &reply) && !is_refusal(&reply));
    let mut folded = reply.clone();
    folded[12..].make_ascii_lowercase();
    assert!(folded != reply && answers(&query_bytes, &folded));
    assert!(is_refusal(&asked.failed()));
    let mut other = reply.clone();
    other[0] ^= 1;
    assert!(!answers(&query_bytes, &other));
    let mut other = reply.clone();
    other[13] = b'x';
    assert!(!answers(&query_bytes, &other));
    assert!(!answers(&query_bytes, &query_bytes));
    let last = reply.len() - 1;
    assert!(!answers(&query_bytes, &reply[..last]));
    assert!(!answers(&query_bytes, &reply[..5]));
}

proptest! {
    #[test]
    fn whatever_comes_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let way = [Way::Datagram, Way::Stream][bytes.len() % 2];
        if let Read::Asked(asked) = read(&bytes, way) {
            let reply = asked.reply(Answer::Addresses(addresses(100)));
            assert!(reply.len() <= asked.limit && answers(&bytes, &reply));
        }
    }

    #[test]
    fn a_question_with_a_broken_byte_is_survived(at in 0..40_usize, byte in any::<u8>()) {
        let mut bytes = with_payload(query("tasks.web.", RecordType::A), 900).to_vec().unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Read::Asked(asked) = read(&bytes, Way::Datagram) {
            let reply = asked.reply(Answer::Addresses(addresses(100)));
            assert!(reply.len() <= asked.limit);
        }
    }
}
