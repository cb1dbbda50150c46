//! Connection tracking with real UDP traffic over a namespace's loopback interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use portolan::{
    compile::ServingTargets,
    kernel::conntrack::{ConntrackTable, Flow},
    model::{Family, Frontend, Protocol, Target},
};

use crate::namespace::{frontend, in_namespace, nft, run, target};

const SERVER: [(&str, &str); 2] = [("10.0.0.1", "10.96.0.10"), ("fd00::1", "fd00:96::10")];

/// Addresses, tracking of connections, and translation of the service addresses' port 53 to the servers' port 5353.
fn set_up() {
    for address in ["10.0.0.1/32", "10.96.0.10/32", "fd00::1/128", "fd00:96::10/128"] {
        run("ip", &["address", "add", address, "dev", "lo", "noprefixroute"]);
    }
    nft("table inet track {
           chain output { type nat hook output priority -100
             ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.0.0.1:5353
             ip6 daddr fd00:96::10 udp dport 53 dnat ip6 to [fd00::1]:5353
           }
         }");
}

fn socket(address: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Sends one datagram and, if the server is given, answers it.
fn exchange(client: &UdpSocket, to: (&str, u16), server: Option<&UdpSocket>) {
    client.send_to(b"?", to).unwrap();
    if let Some(server) = server {
        let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
        server.send_to(b"!", from).unwrap();
        client.recv_from(&mut [0; 8]).unwrap();
    }
}

fn flows(table: &mut ConntrackTable, family: Family, protocol: Protocol) -> Vec<Flow> {
    let mut flows = Vec::new();
    table.for_each(family, protocol, |flow| flows.push(flow.clone())).unwrap();
    flows.sort();
    flows
}

fn serving(frontend: Frontend, targets: &[Target]) -> BTreeMap<Frontend, ServingTargets> {
    let targets = BTreeSet::from_iter(targets.iter().copied());
    BTreeMap::from([(frontend, ServingTargets { targets, node_port: false })])
}

#[test]
fn entries_of_one_family_and_protocol_are_read() {
    in_namespace(|| {
        set_up();
        let mut table = ConntrackTable::open().unwrap();
        for (family, (address, service)) in Family::ALL.into_iter().zip(SERVER) {
            let (server, client) = (socket(address, 5353), socket(address, 6000));
            exchange(&client, (service, 53), Some(&server));
            let listener = TcpListener::bind((address, 7000)).unwrap();
            let _connection = TcpStream::connect((address, 7000)).unwrap();
            let found = flows(&mut table, family, Protocol::Udp);
            let [flow] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((flow.source, flow.destination), (target(address, 6000), target(service, 53)));
            assert_eq!((flow.reply_source, flow.reply_destination), (target(address, 5353), target(address, 6000)));
            assert!(flow.id.is_some() && flow.zone.is_none());
            assert_eq!(flows(&mut table, family, Protocol::Tcp).len(), 1);
            assert_eq!(flows(&mut table, family, Protocol::Sctp), []);
            drop(listener);
        }
    });
}

#[test]
fn an_entry_is_deleted_once_and_no_other_with_it() {
    in_namespace(|| {
        set_up();
        let mut table = ConntrackTable::open().unwrap();
        for (family, (address, service)) in Family::ALL.into_iter().zip(SERVER) {
            let (server, one, other) = (socket(address, 5353), socket(address, 6000), socket(address, 6001));
            exchange(&one, (service, 53), Some(&server));
            exchange(&other, (service, 53), Some(&server));
            let before = flows(&mut table, family, Protocol::Udp);
            assert!(table.delete(&before[0]).unwrap());
            assert!(!table.delete(&before[0]).unwrap(), "gone already");
            assert_eq!(flows(&mut table, family, Protocol::Udp), before[1..]);
            let stranger = Flow { id: before[1].id.map(|id| id ^ 1), ..before[1].clone() };
            assert!(!table.delete(&stranger).unwrap(), "the same addresses, but another entry");
            assert_eq!(flows(&mut table, family, Protocol::Udp), before[1..]);
        }
    });
}

#[test]
fn an_entry_in_a_zone_is_deleted_there() {
    in_namespace(|| {
        set_up();
        nft("table inet zone {
               chain output { type filter hook output priority -300
                 udp dport 5353 ct zone set 7
               }
             }");
        let mut table = ConntrackTable::open().unwrap();
        exchange(&socket("10.0.0.1", 6000), ("10.0.0.1", 5353), None);
        let found = flows(&mut table, Family::V4, Protocol::Udp);
        let zoned = found.iter().find(|flow| flow.zone == Some(7)).expect("an entry in zone 7");
        assert!(table.delete(zoned).unwrap());
        assert!(!flows(&mut table, Family::V4, Protocol::Udp).contains(zoned));
    });
}

#[test]
fn stale_entries_are_flushed_and_the_client_is_served_anew() {
    in_namespace(|| {
        set_up();
        let mut table = ConntrackTable::open().unwrap();
        for (family, (address, service)) in Family::ALL.into_iter().zip(SERVER) {
            let (server, client) = (socket(address, 5353), socket(address, 6000));
            let dns = frontend(service, Protocol::Udp, 53);
            let endpoint = target(address, 5353);
            exchange(&client, (service, 53), Some(&server));
            let before = flows(&mut table, family, Protocol::Udp);
            assert_eq!(table.flush_stale(&serving(dns, &[endpoint])).unwrap(), 0, "still serving");
            assert_eq!(flows(&mut table, family, Protocol::Udp), before);
            let tcp = frontend(service, Protocol::Tcp, 53);
            assert_eq!(table.flush_stale(&serving(tcp, &[])).unwrap(), 0, "no UDP frontend");
            assert_eq!(table.flush_stale(&serving(dns, &[target(address, 9)])).unwrap(), 1);
            assert_eq!(flows(&mut table, family, Protocol::Udp), []);

            // Untranslated: nothing answers at this port, then the Service gets an endpoint.
            let other = frontend(service, Protocol::Udp, 54);
            exchange(&client, (service, 54), None);
            assert_eq!(table.flush_stale(&serving(other, &[endpoint])).unwrap(), 1);
            exchange(&client, (service, 53), Some(&server));
            assert_eq!(table.flush_stale(&serving(dns, &[])).unwrap(), 1, "the Service was deleted");
        }
    });
}
