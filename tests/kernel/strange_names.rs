//! The kernel takes any bytes for a table's name; what nft makes of them must not happen.

use std::{collections::BTreeSet, process::Command};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use portolan::kernel::observe::surroundings;

use crate::namespace::{in_namespace, nft, run};

// linux/netlink.h, linux/netfilter/nfnetlink.h, nf_tables.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_CREATE: u16 = 0x400;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u16 = 10 << 8;
const NFTA_TABLE_NAME: u16 = 1;
const IPV4: u8 = 2;

/// Makes a table of this name, past nft, which would not.
fn make(name: &[u8]) {
    let mut attribute = Vec::new();
    attribute.extend(u16::try_from(4 + name.len() + 1).unwrap().to_ne_bytes());
    attribute.extend(NFTA_TABLE_NAME.to_ne_bytes());
    attribute.extend(name);
    attribute.resize((attribute.len() + 1).next_multiple_of(4), 0);
    let message = |kind: u16, flags: u16, family: u8, subsystem: u8, body: &[u8]| {
        let mut message = Vec::new();
        message.extend(u32::try_from(20 + body.len()).unwrap().to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend([family, 0, 0, subsystem]);
        message.extend(body);
        message
    };
    let batch = [
        message(NFNL_MSG_BATCH_BEGIN, 0, 0, 10, &[]),
        message(NFT_MSG_NEWTABLE, NLM_F_CREATE, IPV4, 0, &attribute),
        message(NFNL_MSG_BATCH_END, 0, 0, 10, &[]),
    ];
    let socket = Socket::new(NETLINK_NETFILTER).unwrap();
    socket.send_to(&batch.concat(), &SocketAddr::new(0, 0), 0).unwrap();
}

#[test]
fn names_of_tables_are_not_commands_to_nft() {
    in_namespace(|| {
        nft("table inet firewall { chain forward { type filter hook forward priority 0; drop; }; }");
        nft("table ip portolan-tracer { chain forward { type filter hook forward priority 0; accept; }; }");
        // What stands before the command is a table that is there: nft carries out nothing if one part fails.
        nft("table ip x {}");
        make(b"x; add table ip pwned");
        make(b"x\nadd table ip pwned");
        make(b"--version");
        let before = run("nft", &["list", "ruleset"]);
        assert!(before.contains("table ip x; add table ip pwned {"), "{before}");
        make(b"not \xff UTF-8");
        let seen = surroundings(&BTreeSet::new(), &BTreeSet::new(), 0).unwrap();
        let pwned = Command::new("nft").args(["list", "table", "ip", "pwned"]).output().unwrap();
        assert!(!pwned.status.success(), "a table's name was carried out");
        let unread = seen.unread_tables.join("\n");
        for name in ["x; add table ip pwned", "x\\nadd table ip pwned", "--version", "not \u{fffd} UTF-8"] {
            assert!(unread.contains(&format!("reading table ip {name}: nft would not take")), "{name:?}: {unread}");
        }
        assert_eq!(seen.unread_tables.len(), 4, "what others have can be read: {unread}");
        let read = format!("{:?}", seen.foreign);
        assert!(read.contains("firewall") && read.contains("portolan-tracer"), "{read}");
    });
}
