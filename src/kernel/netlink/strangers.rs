//! What somebody else put into our tables.

use std::fmt;

use super::{
    batch::{Batch, Operation},
    decode::key_bytes,
    socket::NetfilterSocket,
    uapi::{NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END},
    wire::Attributes,
};
use crate::{kernel::KernelError, model::Family, tables::PickChain};

/// Something in one of our tables that is none of ours. Its text is `family kind name`.
#[derive(Debug)]
pub(crate) enum Stranger {
    /// A chain
    Chain(Family, String),
    /// A chain with the name of a pick chain, and other rules
    Pick(PickChain),
    /// A set or map
    Set(Family, String),
    /// An element that Portolan could not have written, of a set or map that is ours
    Element {
        /// Family of its table
        family: Family,
        /// Name of its set or map
        set: String,
        /// Its key's bytes
        key: Vec<u8>,
        /// The attributes that tell it from others, as the kernel encodes them
        identity: Vec<(u16, Vec<u8>)>,
    },
}

impl Stranger {
    /// An element, from the kernel's attributes.
    pub fn element(family: Family, set: &str, element: Attributes<'_>) -> Self {
        let kinds = [NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_FLAGS];
        let identity = kinds.into_iter().filter_map(|kind| Some((kind, element.get(kind)?.to_owned()))).collect();
        Self::Element { family, set: set.to_owned(), key: key_bytes(element).to_owned(), identity }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(family, name) => write!(f, "{} chain {name}", family.nft()),
            Self::Pick(pick) => write!(f, "{} chain {}", pick.family.nft(), pick.name()),
            Self::Set(family, name) => write!(f, "{} set {name}", family.nft()),
            Self::Element { family, set, key, .. } => {
                write!(f, "{} element {set} ", family.nft())?;
                key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Deletes them all, or nothing: one that a rule uses is not to be had. Pick chains get their own rule again.
pub(crate) fn remove(socket: &mut NetfilterSocket, table: &str, strangers: &[Stranger]) -> Result<(), KernelError> {
    let mut batch = Batch::new(socket, table);
    // Whatever refers to something else goes first.
    for stranger in strangers {
        match stranger {
            Stranger::Element { family, set, identity, .. } => {
                batch.element(Operation::Delete, *family, set, identity);
            }
            Stranger::Pick(pick) => batch.add_pick(pick),
            Stranger::Chain(family, name) => batch.empty_chain(*family, name),
            Stranger::Set(..) => {}
        }
    }
    for stranger in strangers {
        match stranger {
            Stranger::Chain(family, name) => batch.delete_chain(*family, name),
            Stranger::Set(family, name) => batch.delete_set(*family, name),
            Stranger::Element { .. } | Stranger::Pick(_) => {}
        }
    }
    match batch.send(socket, "removing what is none of ours") {
        Err(KernelError::Refused { .. }) => Ok(()),
        outcome => outcome,
    }
}
