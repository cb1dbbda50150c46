//! Upstreams from files in the form of resolv.conf(5).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use crate::config::dns::{ForwardOptions, Upstream};

/// So many upstreams are used (2.1).
const MOST: usize = 15;
const PORT: u16 = 53;

/// Addresses that would bring queries back to us.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Where this process listens; an unspecified address stands for every loopback address
    pub listening: Vec<SocketAddr>,
    /// Addresses of the Service that clients ask
    pub virtual_ips: Vec<IpAddr>,
}

impl Own {
    /// Why an address cannot be an upstream; nothing if it can.
    fn objection(&self, address: SocketAddr, from_file: bool) -> Option<&'static str> {
        let same = |own: &SocketAddr| {
            own.port() == address.port()
                && (own.ip() == address.ip() || own.ip().is_unspecified() && address.ip().is_loopback())
        };
        if self.listening.iter().any(same) {
            Some("this process listens there")
        } else if self.virtual_ips.contains(&address.ip()) {
            Some("it is the address of the cluster's DNS")
        } else if from_file && address.ip().is_loopback() {
            Some("it is a stub resolver of the node, which may ask us in turn")
        } else if address.ip().is_unspecified() || address.ip().is_multicast() {
            Some("it is no host's address")
        } else {
            None
        }
    }
}

/// The name servers in the text of a resolv.conf. Everything else in it is for resolvers, not for who forwards (2.1).
fn name_servers(text: &str) -> impl Iterator<Item = Result<IpAddr, &str>> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let word = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // A scope (fe80::1%eth0) says through which interface; link-local upstreams cannot be told apart without.
        Some(word.parse().map_err(|_| word))
    })
}

/// The upstreams of a directive as they are now. Reads files. What cannot be used is left out with a warning.
pub fn upstreams(options: &ForwardOptions, own: &Own) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for upstream in &options.to {
        match upstream {
            Upstream::Address(address) => add(&mut found, *address, None, own),
            Upstream::ResolvConf(path) => match std::fs::read_to_string(path) {
                Ok(text) => {
                    for server in name_servers(&text) {
                        match server {
                            Ok(address) => add(&mut found, SocketAddr::new(address, PORT), Some(path), own),
                            Err(word) => {
                                tracing::warn!(file = %path.display(), "name server \"{word}\" is no address; it is not used");
                            }
                        }
                    }
                }
                Err(error) => unreadable(path, &error),
            },
        }
    }
    if found.len() > MOST {
        tracing::warn!("{} upstreams for one zone; the first {MOST} are used", found.len());
        found.truncate(MOST);
    }
    found
}

fn add(found: &mut Vec<SocketAddr>, address: SocketAddr, file: Option<&Path>, own: &Own) {
    if let Some(objection) = own.objection(address, file.is_some()) {
        let file = file.map(|file| format!(" in {}", file.display())).unwrap_or_default();
        tracing::warn!("upstream {address}{file} is not used: {objection}; queries to it would come back");
    } else if !found.contains(&address) {
        found.push(address);
    }
}

fn unreadable(path: &Path, error: &io::Error) {
    tracing::warn!(
        file = %path.display(), %error,
        "cannot read name servers; names outside the cluster fail until the file is there, it is watched"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_are_read() {
        let text = "# nameserver 192.0.2.9\nsearch a.example\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 x\n\
                    options ndots:5\nnameserver\nnameserver fe80::1%eth0\nnameservers 192.0.2.8\n";
        let found: Vec<_> = name_servers(text).collect();
        assert_eq!(found, [Ok("192.0.2.1".parse().unwrap()), Ok("2001:db8::1".parse().unwrap()), Err("fe80::1%eth0")]);
    }

    #[test]
    fn what_leads_back_is_refused() {
        let own = Own {
            listening: vec!["0.0.0.0:53".parse().unwrap(), "192.0.2.7:5353".parse().unwrap()],
            virtual_ips: vec!["10.96.0.10".parse().unwrap()],
        };
        let refused = |address: &str, file| own.objection(address.parse().unwrap(), file).is_some();
        assert!(refused("127.0.0.53:53", true));
        assert!(refused("127.0.0.53:53", false), "we listen on all addresses");
        assert!(!refused("127.0.0.1:5300", false), "told to, and elsewhere");
        assert!(refused("127.0.0.1:5300", true));
        assert!(refused("192.0.2.7:5353", false));
        assert!(!refused("192.0.2.7:53", false));
        assert!(refused("10.96.0.10:53", false));
        assert!(refused("0.0.0.0:53", true));
        assert!(!refused("192.0.2.1:53", true));
    }
}
