//! Queries: whatever comes, there is a reply that somebody else can read, or silence.
//!
//! Input: an octet that says how it came (1 over TCP) and how records are mixed, and the message.
#![no_main]

mod common;

use std::sync::LazyLock;

use common::{Cluster, check, client};
use libfuzzer_sys::fuzz_target;
use portolan::answers::{Failure, Finish, Outcome};

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::new);

fuzz_target!(|input: &[u8]| {
    let Some((how, query)) = input.split_first() else { return };
    let (tcp, random) = (how & 1 != 0, u64::from(*how).wrapping_mul(0x0101_0101_0101_0101));
    let mut out = vec![0; if tcp { 65535 } else { 1232 }];
    let reply = match CLUSTER.site.answer(query, client(tcp), &*CLUSTER, random, &mut out) {
        Outcome::Drop => return,
        Outcome::Reply(reply) => reply,
        Outcome::Forward(pending) => match pending.finish(Err(Failure::NO_UPSTREAM), 0, None, random, &mut out) {
            Finish::Reply(reply) => reply,
            Finish::Again(_) => panic!("a failure leads nowhere"),
        },
    };
    check(query, &out[..reply.length], tcp);
});
