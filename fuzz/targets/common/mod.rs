//! A small cluster that answers, and what must hold for every reply.

use std::{net::IpAddr, path::Path, sync::Arc};

use hickory_proto::op::Message;
use portolan::{
    answers::{
        Client, Site, Sources, Transport,
        extras::{file, hosts},
    },
    config::dns::corefile::parse,
    source::manifests,
    zone::{Builder, Snapshot, State},
};

const COREFILE: &str = include_str!("Corefile");
const OBJECTS: &str = include_str!("objects.yaml");
/// Largest reply over UDP.
const DATAGRAM: u16 = 1232;
/// NAPTR, CERT, SMIMEA, CSYNC, SVCB, HTTPS, CAA, ANAME: what their fields mean is for clients to judge, we pass them on
/// as they are (RFC 3597). hickory-proto judges, so it gets them under a private type.
const PICKY: [u16; 8] = [35, 37, 53, 62, 64, 65, 257, 65305];

/// What queries are answered from.
pub struct Cluster {
    /// The server blocks
    pub site: Site,
    snapshots: Vec<Option<Arc<Snapshot>>>,
    hosts: Vec<Option<hosts::Table>>,
}

impl Sources for Cluster {
    fn snapshot(&self, block: usize) -> Option<&Snapshot> {
        self.snapshots.get(block)?.as_deref()
    }

    fn hosts(&self, block: usize) -> Option<&hosts::Table> {
        self.hosts.get(block)?.as_ref()
    }

    fn files(&self, _: usize, _: usize) -> &[file::Zone] {
        &[]
    }
}

impl Cluster {
    /// The one of the files beside this one.
    pub fn new() -> Self {
        let read = parse(COREFILE, "Corefile", &|_| None, &|_| Err("there is nothing".to_owned()));
        let (config, _) = read.expect("Corefile can be read");
        let objects = manifests::read_text(Path::new("objects.yaml"), OBJECTS);
        assert!(objects.notices.is_empty(), "{:?}", objects.notices);
        let snapshots = config.servers.iter().map(|server| {
            let mut builder = Builder::new(Arc::new(server.kubernetes.clone()?));
            for located in &objects.objects {
                builder.put(&located.object);
            }
            builder.settle();
            Some(builder.publish(State::Synced, 1))
        });
        let hosts = config.servers.iter().map(|server| {
            let inline = &server.hosts.as_ref()?.inline;
            Some(hosts::Table::parse(&inline.join("\n"), false).0)
        });
        Self {
            snapshots: snapshots.collect(),
            hosts: hosts.collect(),
            site: Site::new(config.servers.iter().enumerate()),
        }
    }
}

/// Somebody who asks over UDP or TCP.
pub fn client(tcp: bool) -> Client {
    let transport = if tcp { Transport::Tcp } else { Transport::Udp };
    Client { address: IpAddr::from([10, 244, 1, 99]), transport }
}

/// A reply is one to its query, is no longer than the client takes, and can be read by somebody else.
pub fn check(query: &[u8], reply: &[u8], tcp: bool) {
    let told = match Message::from_vec(query).map(|query| query.edns) {
        _ if tcp => u16::MAX,
        Ok(None) => 512,
        Ok(Some(edns)) => edns.max_payload().clamp(512, DATAGRAM),
        Err(_) => DATAGRAM,
    };
    assert!(reply.len() <= usize::from(told), "{} octets where {told} are allowed", reply.len());
    assert_eq!(reply.get(..2), query.get(..2), "the id");
    assert!(reply.get(2).is_some_and(|flags| flags & 0x80 != 0), "it is a reply");
    decode(reply);
}

/// Has hickory-proto read a message of ours.
pub fn decode(message: &[u8]) {
    let mut message = message.to_vec();
    hide_picky(&mut message).unwrap_or_else(|| panic!("it is cut: {message:02x?}"));
    if let Err(error) = Message::from_vec(&message) {
        panic!("{error}: {message:02x?}");
    }
}

fn hide_picky(message: &mut [u8]) -> Option<()> {
    let count = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let (questions, records) = (count(4)?, count(6)? as u32 + count(8)? as u32 + count(10)? as u32);
    let mut at = 12;
    for _ in 0..questions {
        at = name_end(message, at)? + 4;
    }
    for _ in 0..records {
        at = name_end(message, at)?;
        let fixed = message.get_mut(at..at + 10)?;
        if PICKY.contains(&u16::from_be_bytes([fixed[0], fixed[1]])) {
            fixed[..2].copy_from_slice(&[0xff, 0]);
        }
        at += 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    }
    (at == message.len()).then_some(())
}

/// Where the name at `at` ends, which may end in a pointer.
pub fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}
