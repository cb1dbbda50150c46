use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    kernel::{
        KernelError,
        netlink::{dump::Reader, socket::NetfilterSocket},
        nft,
    },
    tables::TABLE,
    traced::{RuleId, rules_of_listing},
};

/// How long nft may take. Nothing is heard of packets meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// The texts of all rules in the calling thread's network namespace, as `nft` writes them. What sets and maps hold is not
/// read. Takes 5 seconds at most.
///
/// # Errors
/// [`KernelError::Failed`] if nft cannot be run, does not end in time, or cannot read what another version wrote.
pub fn rules() -> Result<BTreeMap<RuleId, String>, KernelError> {
    let (options, words) = (["--handle", "--terse"], ["list", "ruleset"]);
    let listing = nft::list(&options, &words, Instant::now() + PATIENCE, "listing the rules with nft")?;
    Ok(rules_of_listing(&listing))
}

/// The generation of the ruleset in the calling thread's network namespace: it moves with every commit by anyone.
///
/// # Errors
/// Those of reading from the kernel.
pub fn generation() -> Result<u32, KernelError> {
    Reader { socket: &mut NetfilterSocket::open()?, table: TABLE }.generation()
}
