use std::fmt;

use netlink_packet_netfilter::nftables::NfTablesMessageType;

use crate::{
    kernel::netlink::{
        uapi::NFTA_TABLE_NAME,
        wire::{Attributes, protocol_family},
    },
    model::Family,
    tables::standby,
};

/// A commit by somebody else that touched our tables.
///
/// Its text is a sentence for logs: `nft (PID 4711) deleted table ip portolan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChange {
    /// Who made it, where the kernel says so
    pub culprit: Option<Culprit>,
    /// The generation of the ruleset that it made; `None` if notifications were lost
    pub generation: Option<u32>,
    /// What it did, in order, nothing twice. Empty if notifications were lost because more came than the kernel keeps:
    /// then nobody knows whether our tables were touched
    pub what: Vec<Touched>,
}

/// A process that changed the ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Its number in the initial PID namespace, which is what the host's `ps` shows, whatever container it runs in
    pub pid: u32,
    /// Its name, of at most 15 bytes
    pub name: String,
}

/// What a commit did to a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The table's family
    pub family: Family,
    /// The table's name: ours, or that of the standby
    pub table: String,
    /// What was done
    pub how: Touch,
}

/// Ways to touch a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// The table was deleted, with everything in it
    TableDeleted,
    /// The table was made, or its flags changed
    TableChanged,
    /// Chains were made, changed or deleted
    Chains,
    /// Rules were added, replaced or deleted
    Rules,
    /// Sets or maps were made or deleted
    Sets,
    /// Elements were added to a set or map
    ElementsAdded,
    /// Elements were deleted from one
    ElementsDeleted,
    /// Something else that a table can hold was made, changed or deleted: a counter, a quota, a flowtable
    Others,
}

impl ForeignChange {
    /// A commit. What it deleted along with a table needs no mention.
    pub(super) fn new(culprit: Option<Culprit>, generation: u32, mut what: Vec<Touched>) -> Self {
        let deleted: Vec<Touched> = what.iter().filter(|t| t.how == Touch::TableDeleted).cloned().collect();
        what.retain(|t| {
            let of_deleted = deleted.iter().any(|d| (d.family, &d.table) == (t.family, &t.table));
            t.how == Touch::TableDeleted || !of_deleted
        });
        Self { culprit, generation: Some(generation), what }
    }

    /// Nobody knows what happened.
    pub(super) fn lost() -> Self {
        Self { culprit: None, generation: None, what: Vec::new() }
    }
}

impl fmt::Display for ForeignChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.what.is_empty() {
            return f.write_str("somebody may have changed our tables: notifications were lost");
        }
        match &self.culprit {
            Some(culprit) => culprit.fmt(f)?,
            None => f.write_str("somebody")?,
        }
        for (index, touched) in self.what.iter().enumerate() {
            write!(f, "{} {touched}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (PID {})", self.name, self.pid)
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.how {
            Touch::TableDeleted => "deleted",
            Touch::TableChanged => "made or changed",
            Touch::Chains => "changed chains of",
            Touch::Rules => "changed rules of",
            Touch::Sets => "changed sets of",
            Touch::ElementsAdded => "added elements to",
            Touch::ElementsDeleted => "deleted elements of",
            Touch::Others => "changed objects of",
        };
        write!(f, "{verb} table {} {}", self.family.nft(), self.table)
    }
}

/// The names of our tables.
pub(super) struct OurTables([String; 2]);

impl OurTables {
    /// The table of this name, and its standby.
    pub fn new(table: &str) -> Self {
        Self([table.to_owned(), standby(table)])
    }

    /// What a message does to one of our tables. For any other it allocates nothing, because others may commit tens of
    /// thousands of elements.
    pub fn touched(&self, kind: NfTablesMessageType, family: u8, attributes: Attributes<'_>) -> Option<Touched> {
        let family = Family::ALL.into_iter().find(|f| u8::from(protocol_family(*f)) == family)?;
        let how = match kind {
            NfTablesMessageType::NewTable => Touch::TableChanged,
            NfTablesMessageType::DeleteTable => Touch::TableDeleted,
            NfTablesMessageType::NewChain | NfTablesMessageType::DeleteChain => Touch::Chains,
            NfTablesMessageType::NewRule | NfTablesMessageType::DeleteRule => Touch::Rules,
            NfTablesMessageType::NewSet | NfTablesMessageType::DeleteSet => Touch::Sets,
            NfTablesMessageType::NewSetElement => Touch::ElementsAdded,
            NfTablesMessageType::DeleteSetElement => Touch::ElementsDeleted,
            NfTablesMessageType::NewObject
            | NfTablesMessageType::DeleteObject
            | NfTablesMessageType::NewFlowTable
            | NfTablesMessageType::DeleteFlowTable => Touch::Others,
            _ => return None,
        };
        // The table's name has the same number in messages of every kind.
        let name = attributes.text(NFTA_TABLE_NAME)?;
        let table = self.0.iter().find(|table| *table == name)?.clone();
        Some(Touched { family, table, how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(table: &str, how: Touch) -> Touched {
        Touched { family: Family::V6, table: table.into(), how }
    }

    #[test]
    fn what_went_with_a_table_is_not_mentioned() {
        let what = vec![
            touched("portolan", Touch::Rules),
            touched("portolan", Touch::TableDeleted),
            touched("portolan-standby", Touch::ElementsDeleted),
        ];
        let culprit = Culprit { pid: 4711, name: "nft".into() };
        let change = ForeignChange::new(Some(culprit), 3, what.clone());
        assert_eq!(change.what, what[1..]);
        let text = "nft (PID 4711) deleted table ip6 portolan, deleted elements of table ip6 portolan-standby";
        assert_eq!(change.to_string(), text);
        let unknown = ForeignChange::new(None, 3, what[..1].to_vec());
        assert_eq!(unknown.to_string(), "somebody changed rules of table ip6 portolan");
        assert!(ForeignChange::lost().to_string().contains("notifications were lost"));
    }
}
