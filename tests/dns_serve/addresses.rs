//! Answers leave from the address asked, whatever the routes say.

use std::net::{SocketAddr, UdpSocket};

use portolan::dns::serve::{Limits, socket};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    responder::{ECHO, Echo, LATER, PATIENCE, Server, ask, client, query},
    sandbox::{Sandbox, eventually},
};

fn with_addresses(test: &str) -> Option<Sandbox> {
    let sandbox = Sandbox::new(test)?;
    sandbox.ok("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
    sandbox.ok("ip", &["link", "set", "eth1", "up"]);
    sandbox.ok("ip", &["link", "set", "eth0", "up"]);
    for address in ["10.9.0.1/24", "10.9.0.2/24", "10.9.7.3/32"] {
        sandbox.ok("ip", &["address", "add", address, "dev", "eth0"]);
    }
    for address in ["fd00:9::1/64", "fd00:9::2/64", "fe80::9/64"] {
        sandbox.ok("ip", &["address", "add", address, "dev", "eth0", "nodad"]);
    }
    Some(sandbox)
}

/// Asks from one address at another, at once and later.
fn answers_from(from: &str, to: SocketAddr) {
    let client = UdpSocket::bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    // Lets nothing in but what comes from there.
    client.connect(to).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for what in [&[ECHO, 0], &[LATER, 1]] {
        assert_eq!(ask(&client, &query(5, what))[..14], query(5, what), "{from} asks {to}");
    }
}

#[test]
fn a_socket_for_all_addresses_answers_from_the_one_asked() {
    let Some(sandbox) = with_addresses("a_socket_for_all_addresses_answers_from_the_one_asked") else { return };
    sandbox.inside(|| {
        for wildcard in [socket::wildcard(0), "0.0.0.0:0".parse().unwrap()] {
            let server = Server::start(wildcard, 2, Limits::default());
            let asked = ["127.0.0.1", "127.0.0.77", "10.9.0.1", "10.9.0.2", "10.9.7.3"];
            for to in asked {
                answers_from("10.9.0.1", SocketAddr::new(to.parse().unwrap(), server.port));
            }
            if wildcard.is_ipv6() {
                for to in ["::1", "fd00:9::1", "fd00:9::2"] {
                    answers_from("fd00:9::1", SocketAddr::new(to.parse().unwrap(), server.port));
                }
            }
        }
        let wildcard = socket::wildcard(0);
        assert!(wildcard.is_ipv6(), "the sandbox has IPv6");
    });
}

#[test]
fn an_address_of_a_link_answers_on_that_link() {
    let Some(sandbox) = with_addresses("an_address_of_a_link_answers_on_that_link") else { return };
    sandbox.inside(|| {
        let server = Server::start(socket::wildcard(0), 1, Limits::default());
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        let to = std::net::SocketAddrV6::new("fe80::9".parse().unwrap(), server.port, 0, index);
        let client = client(to.into());
        assert_eq!(ask(&client, &query(1, &[ECHO]))[..13], query(1, &[ECHO]));
    });
}

#[test]
fn a_socket_for_an_address_that_the_host_does_not_have_can_be_made() {
    let Some(sandbox) = with_addresses("a_socket_for_an_address_that_the_host_does_not_have_can_be_made") else {
        return;
    };
    sandbox.inside(|| {
        let options = socket::Options { transparent: true, reuse_port: true };
        for vip in ["10.96.0.10:53", "[fd00:96::a]:53"] {
            let vip: SocketAddr = vip.parse().unwrap();
            socket::udp(vip, socket::Options { transparent: false, ..options }).unwrap_err();
            for _ in 0..2 {
                assert_eq!(socket::udp(vip, options).unwrap().local_addr().unwrap(), vip);
                assert_eq!(socket::tcp(vip, options).unwrap().local_addr().unwrap(), vip);
            }
        }
    });
}

#[test]
fn nobody_is_answered_at_port_0_or_at_our_own_address() {
    let Some(sandbox) = with_addresses("nobody_is_answered_at_port_0_or_at_our_own_address") else { return };
    sandbox.inside(|| {
        let server = Server::with(Echo::default(), "127.0.0.1:0".parse().unwrap(), 1, Limits::default());
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).unwrap();
        let to: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for source_port in [0, server.port] {
            let payload = query(1, &[ECHO]);
            let length = u16::try_from(8 + payload.len()).unwrap();
            let header = [source_port, server.port, length, 0].map(u16::to_be_bytes).concat();
            // The source is chosen by the route: the address asked itself.
            raw.send_to(&[header, payload].concat(), &to.into()).unwrap();
        }
        eventually("both are seen", || server.serving().counts().unanswerable == 2);
        let counts = server.serving().counts();
        assert_eq!((counts.datagrams, counts.unsent), (2, 0), "{counts:?}");
    });
}
