//! The wanted contents of the kernel's maps and sets, and the difference between two such states.
//!
//! The types here say what the program in `rules/` is to hold; [`crate::kernel`] turns them into netlink messages, and
//! [`nft_text`] into nft text, [`nft_json`] into JSON. Nothing here knows what a Service is, but for the owner's name
//! in a comment.

mod contents;
mod describe;
mod element;
mod flat;
mod group;
mod json;
mod program;
mod redirect;
mod rows;
mod state;
mod text;
mod transaction;

pub use contents::{Changes, Contents, Owner};
pub use describe::{Difference, differences, news};
pub use element::{Container, DeadEnd, Element, LOCAL_SLOTS, List, PickChain, Policy, fit_comment, guard_prefix};
pub use flat::flat_text;
pub use group::{AffinityGroup, group_text};
pub use json::{JsonError, ListedChains, Listing, ListingError, nft_json, read_nft_json};
pub use program::Program;
pub use redirect::{DNS_TABLE, RedirectMarks};
pub use rows::Rows;
pub use state::TableState;
pub use text::{element_text, nft_text};
pub use transaction::Transaction;

/// The name of Portolan's tables, one in family `ip` and one in `ip6`.
pub const TABLE: &str = "portolan";

/// The name of the tables that stand in for those of this name while they are written anew.
pub fn standby(table: &str) -> String {
    format!("{table}-standby")
}

/// What stands before the fingerprint in the comment of a table.
pub(crate) const PROGRAM_COMMENT: &str = "portolan program ";
