use std::collections::BTreeSet;

use crate::{
    model::Frontend,
    observed::{Connections, Seen},
};

/// Reads the connection tracking entries whose clients dialled one of these frontends, and how full the table is.
pub fn connections(_frontends: &BTreeSet<Frontend>) -> Seen<Connections> {
    Err("nobody looked".to_owned())
}
