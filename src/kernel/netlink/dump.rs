//! Reads what the kernel's nftables holds, one kind of object at a time.

use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_netfilter::{
    NetfilterProtoFamily,
    nftables::{NfTablesMessageType, SetFlags},
};

use super::{
    decode::user_comment,
    socket::{Fault, NetfilterSocket, undisturbed},
    uapi::{
        NFT_TABLE_F_DORMANT, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_GEN_ID, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
        NFTA_RULE_HANDLE, NFTA_RULE_TABLE, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
        NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_FLAGS, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME,
        NFTA_TABLE_OWNER, NFTA_TABLE_USERDATA,
    },
    wire::{Attributes, Writer, protocol_family},
};
use crate::{kernel::KernelError, model::Family};

/// Reads one table name's objects.
pub(crate) struct Reader<'a> {
    /// Where to ask
    pub socket: &'a mut NetfilterSocket,
    /// The table's name in both families
    pub table: &'a str,
}

/// A table, without what it holds.
pub(crate) struct Header {
    /// Its comment; empty if it has none
    pub comment: String,
    /// `NFT_TABLE_F_...`
    pub flags: u32,
    /// The netlink port of the socket that it belongs to
    pub owner: Option<u32>,
}

/// A rule of a chain.
pub(crate) struct Rule {
    /// The chain's name
    pub chain: String,
    /// The list of expressions as the kernel encodes it
    pub expressions: Vec<u8>,
    /// Its number within the table
    pub handle: u64,
}

/// Rules by chain, in order.
pub(crate) type RulesOf<'a> = BTreeMap<&'a str, Vec<&'a Rule>>;

impl Reader<'_> {
    /// The generation of the whole ruleset.
    pub fn generation(&mut self) -> Result<u32, KernelError> {
        let attempt = "reading the ruleset's generation";
        let mut request = self.socket.writer();
        request.message(NfTablesMessageType::GetGen.into(), NLM_F_ACK, NetfilterProtoFamily::Unspec, 0, |_| {});
        let mut generation = None;
        self.socket
            .request(&request, |message| generation = message.attributes.number(NFTA_GEN_ID))
            .map_err(|fault| fault.during(attempt))?;
        generation.ok_or_else(|| KernelError::Failed {
            attempt: attempt.into(),
            reason: "the kernel's answer holds no generation".into(),
        })
    }

    /// The tables that exist, each with its comment. Empty if it has none, or if somebody made the table dormant: no
    /// packet meets it then, so it is as good as one without a program.
    pub fn tables(&mut self) -> Result<BTreeMap<Family, String>, KernelError> {
        let comment =
            |header: Header| if header.flags & NFT_TABLE_F_DORMANT != 0 { String::new() } else { header.comment };
        Ok(self.headers()?.into_iter().map(|(family, header)| (family, comment(header))).collect())
    }

    /// Family number and name of every table of the network namespace, whosever it is. The kernel takes any bytes for a
    /// name.
    pub fn every_table(&mut self) -> Result<Vec<(u8, Vec<u8>)>, KernelError> {
        undisturbed("listing tables", || {
            let mut found = Vec::new();
            let all = NetfilterProtoFamily::Unspec;
            self.dump(
                NfTablesMessageType::GetTable,
                all,
                |_| {},
                |family, attributes| {
                    let name = attributes.get(NFTA_TABLE_NAME).unwrap_or_default();
                    found.push((family, name.strip_suffix(&[0]).unwrap_or(name).to_owned()));
                },
            )?;
            Ok(found)
        })
    }

    /// What the kernel says of the tables that exist.
    pub fn headers(&mut self) -> Result<BTreeMap<Family, Header>, KernelError> {
        let name = self.table;
        undisturbed("listing tables", || {
            let mut found = BTreeMap::new();
            self.dump(
                NfTablesMessageType::GetTable,
                NetfilterProtoFamily::Unspec,
                |_| {},
                |family, attributes| {
                    let family = Family::ALL.into_iter().find(|f| u8::from(protocol_family(*f)) == family);
                    if let (Some(family), true) = (family, attributes.text(NFTA_TABLE_NAME) == Some(name)) {
                        let comment = attributes.get(NFTA_TABLE_USERDATA).and_then(user_comment);
                        let header = Header {
                            comment: comment.unwrap_or_default().to_owned(),
                            flags: attributes.number(NFTA_TABLE_FLAGS).unwrap_or_default(),
                            owner: attributes.number(NFTA_TABLE_OWNER),
                        };
                        found.insert(family, header);
                    }
                },
            )?;
            Ok(found)
        })
    }

    /// The table's chains; `each` makes something of each chain's name and attributes.
    pub fn chains<T>(
        &mut self,
        family: Family,
        each: impl Fn(&str, Attributes<'_>) -> T,
    ) -> Result<Vec<T>, KernelError> {
        let table = self.table;
        undisturbed(&format!("listing the chains of table {} {table}", family.nft()), || {
            let mut found = Vec::new();
            // The kernel lists the chains of all tables of the family.
            self.dump(
                NfTablesMessageType::GetChain,
                protocol_family(family),
                |_| {},
                |_, attributes| {
                    if attributes.text(NFTA_CHAIN_TABLE) == Some(table)
                        && let Some(name) = attributes.text(NFTA_CHAIN_NAME)
                    {
                        found.push(each(name, attributes));
                    }
                },
            )?;
            Ok(found)
        })
    }

    /// All rules of the table, chain by chain, in order.
    pub fn rules(&mut self, family: Family) -> Result<Vec<Rule>, KernelError> {
        let table = self.table;
        undisturbed(&format!("listing the rules of table {} {table}", family.nft()), || {
            let mut found = Vec::new();
            let filter = |w: &mut Writer| w.text(NFTA_RULE_TABLE, table);
            self.dump(NfTablesMessageType::GetRule, protocol_family(family), filter, |_, attributes| {
                if attributes.text(NFTA_RULE_TABLE) == Some(table)
                    && let Some(chain) = attributes.text(NFTA_RULE_CHAIN)
                {
                    let expressions = attributes.get(NFTA_RULE_EXPRESSIONS).unwrap_or_default();
                    let handle = attributes.long(NFTA_RULE_HANDLE).unwrap_or_default();
                    found.push(Rule { chain: chain.to_owned(), expressions: expressions.to_owned(), handle });
                }
            })?;
            Ok(found)
        })
    }

    /// The names of the table's sets and maps; those without a name (nft's `__set0`) are left out, being parts of
    /// rules.
    pub fn sets(&mut self, family: Family) -> Result<Vec<String>, KernelError> {
        let table = self.table;
        undisturbed(&format!("listing the sets of table {} {table}", family.nft()), || {
            let mut found = Vec::new();
            let filter = |w: &mut Writer| w.text(NFTA_SET_TABLE, table);
            self.dump(NfTablesMessageType::GetSet, protocol_family(family), filter, |_, attributes| {
                if attributes.text(NFTA_SET_TABLE) == Some(table)
                    && attributes.number(NFTA_SET_FLAGS).unwrap_or_default() & SetFlags::Anonymous.bits() == 0
                    && let Some(name) = attributes.text(NFTA_SET_NAME)
                {
                    found.push(name.to_owned());
                }
            })?;
            Ok(found)
        })
    }

    /// Appends a set's or map's elements to `found`, those that `decode` makes something of.
    pub fn elements<T>(
        &mut self,
        family: Family,
        set: &str,
        found: &mut Vec<T>,
        mut decode: impl FnMut(Attributes<'_>) -> Option<T>,
    ) -> Result<(), KernelError> {
        let (table, before) = (self.table, found.len());
        undisturbed(&format!("listing the elements of {} {table} {set}", family.nft()), || {
            found.truncate(before);
            let filter = |w: &mut Writer| {
                w.text(NFTA_SET_ELEM_LIST_TABLE, table);
                w.text(NFTA_SET_ELEM_LIST_SET, set);
            };
            self.dump(NfTablesMessageType::GetSetElement, protocol_family(family), filter, |_, attributes| {
                let list = attributes.nested(NFTA_SET_ELEM_LIST_ELEMENTS);
                found.extend(list.iter().filter_map(|(_, element)| decode(Attributes(element))));
            })
        })
    }

    /// Asks for all objects of a kind; `each` gets the family and the attributes of each.
    fn dump(
        &mut self,
        kind: NfTablesMessageType,
        family: NetfilterProtoFamily,
        filter: impl FnOnce(&mut Writer),
        mut each: impl FnMut(u8, Attributes<'_>),
    ) -> Result<(), Fault> {
        let mut request = self.socket.writer();
        request.message(kind.into(), NLM_F_DUMP, family, 0, filter);
        self.socket.request(&request, |message| each(message.family, message.attributes))
    }
}
