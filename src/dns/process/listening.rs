//! Which sockets there are, and who answers on them.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
};

use crate::{
    config::dns::DnsConfig,
    dns::serve::{
        Sockets,
        socket::{self, Options},
    },
};

/// The addresses that the same blocks answer on, in order, and these blocks, by their place in the configuration.
pub type Groups = BTreeMap<Vec<SocketAddr>, Vec<usize>>;

/// Sockets that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} ({protocol}): {source}; free the address, or choose another one by `bind` or the port of \
     the server block"
)]
pub struct BindFailure {
    address: SocketAddr,
    protocol: &'static str,
    source: io::Error,
}

/// Who answers where. `everywhere` is whether blocks that name no address listen on all.
pub fn groups(config: &DnsConfig, everywhere: bool) -> Groups {
    let mut by_address: BTreeMap<SocketAddr, Vec<usize>> = BTreeMap::new();
    for (block, server) in config.servers.iter().enumerate() {
        let everywhere = (everywhere && server.bind.is_empty()).then(|| socket::wildcard(server.port));
        let bound = server.bind.iter().map(|address| SocketAddr::new(*address, server.port));
        for address in bound.chain(everywhere) {
            let blocks = by_address.entry(address).or_default();
            if blocks.last() != Some(&block) {
                blocks.push(block);
            }
        }
    }
    let mut by_blocks: BTreeMap<Vec<usize>, Vec<SocketAddr>> = BTreeMap::new();
    for (address, blocks) in by_address {
        by_blocks.entry(blocks).or_default().push(address);
    }
    by_blocks.into_iter().map(|(blocks, addresses)| (addresses, blocks)).collect()
}

/// Sockets for a group: of each address one for each worker, and one for TCP.
///
/// # Errors
/// The first that cannot be had.
pub fn open(addresses: &[SocketAddr], workers: usize) -> Result<Sockets, BindFailure> {
    let options = Options { reuse_port: true, transparent: false };
    let failed = |address: &SocketAddr, protocol| {
        let address = *address;
        move |source| BindFailure { address, protocol, source }
    };
    let mut udp = Vec::new();
    for _ in 0..workers.max(1) {
        let one = |address: &SocketAddr| socket::udp(*address, options).map_err(failed(address, "UDP"));
        udp.push(addresses.iter().map(one).collect::<Result<Vec<UdpSocket>, _>>()?);
    }
    let one = |address: &SocketAddr| socket::tcp(*address, options).map_err(failed(address, "TCP"));
    Ok(Sockets { udp, tcp: addresses.iter().map(one).collect::<Result<_, _>>()? })
}
