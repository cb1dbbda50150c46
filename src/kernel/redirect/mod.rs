//! What the redirect of cluster DNS needs of the kernel: its tables, and a route that makes an address local for marked
//! packets (docs/adr/0007-dns-redirect.md).

mod routing;
mod table;

pub use routing::{Numbers, Routing};
pub use table::{DNS_PORT, RedirectTable, Set, Step};

use super::KernelError;
pub use crate::tables::RedirectMarks;

/// Removes everything that a redirect made in the network namespace of the calling thread, under whatever numbers.
/// Must be called within a tokio runtime with I/O enabled.
///
/// # Errors
/// What could not be removed; the rest is.
pub async fn remove() -> Result<(), KernelError> {
    let tables = RedirectTable::open(Numbers::default().marks).and_then(|mut table| table.remove());
    let routes = async { Routing::open(Numbers::default())?.remove().await }.await;
    tables.and(routes)
}
