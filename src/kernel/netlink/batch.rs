//! One atomic change: everything between the begin and the end of a batch happens, or none of it.

use std::{net::IpAddr, ops::Range};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::{NetfilterProtoFamily, NetfilterSubsystem, nftables::NfTablesMessageType};
use nix::errno::Errno;

use super::{
    decode::{self, Names},
    encode::{write_address_key, write_comment, write_element, write_frontend_key},
    pick::write_pick_rule,
    socket::{Fault, NetfilterSocket, Refusal},
    uapi::{
        NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE,
        NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
        NFTA_RULE_HANDLE, NFTA_RULE_TABLE, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
        NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME,
        NFTA_TABLE_USERDATA,
    },
    wire::{Attributes, Kind, Writer, protocol_family},
};
use crate::{
    kernel::KernelError,
    model::{Family, Frontend},
    tables::{Container, Element, PickChain},
};

/// Where a list of elements is closed and another message begun: an attribute holds less than 64 KiB, and one element
/// with a comment (a range with its two bounds) takes well under 1 KiB. That makes about 700 elements of two IPv6
/// addresses each, or 1,200 of IPv4.
const LIST_BYTES: usize = 63 * 1024;
/// Bare addresses that fit a message: 28 bytes each.
const CLIENTS: usize = LIST_BYTES / 28;

/// Adding or deleting elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Delete,
}

/// Where the kernel asks a chain of type `filter`.
#[derive(Clone, Copy)]
pub(crate) struct BaseChain {
    /// `NF_INET_...`
    pub hook: u32,
    /// Lower ones are asked first
    pub priority: i32,
}

/// A batch for one table name, in the making.
pub(crate) struct Batch<'a> {
    writer: Writer,
    table: &'a str,
    /// What each message is about
    subjects: Vec<Subject<'a>>,
    /// Where the last message starts
    last: usize,
}

/// What a message is about, for errors.
enum Subject<'a> {
    Text(String),
    Elements { operation: Operation, family: Family, container: Container<'a>, message: usize, list: Range<usize> },
}

impl<'a> Batch<'a> {
    /// A batch with nothing in it.
    pub fn new(socket: &NetfilterSocket, table: &'a str) -> Self {
        let mut batch = Self { writer: socket.writer(), table, subjects: Vec::new(), last: 0 };
        batch.boundary(NFNL_MSG_BATCH_BEGIN);
        batch
    }

    fn boundary(&mut self, number: u8) {
        self.subjects.push(Subject::Text("the batch as a whole".into()));
        let kind = Kind::new(NetfilterSubsystem::None, number);
        let resource = u8::from(NetfilterSubsystem::NfTables).into();
        self.writer.message(kind, 0, NetfilterProtoFamily::Unspec, resource, |_| {});
    }

    fn message(&mut self, kind: NfTablesMessageType, flags: u16, family: Family, body: impl FnOnce(&mut Writer, &str)) {
        self.last = self.writer.len();
        let table = self.table;
        self.writer.message(kind.into(), flags, protocol_family(family), 0, |w| body(w, table));
    }

    /// Writes a message about something that has a name.
    fn named(
        &mut self,
        verb: &str,
        (kind, flags): (NfTablesMessageType, u16),
        (family, name): (Family, &str),
        body: impl FnOnce(&mut Writer, &str),
    ) {
        self.subjects.push(Subject::Text(format!("{verb} {} {name}", family.nft())));
        self.message(kind, flags, family, body);
    }

    /// Makes a pick chain and its rules, or sets an existing chain right.
    pub fn add_pick(&mut self, pick: &PickChain) {
        let name = pick.name();
        self.make_chain(pick.family, &name, None);
        self.empty_chain(pick.family, &name);
        for _ in 0..PickChain::RULES {
            self.add_rule(pick.family, &name, |w| write_pick_rule(w, pick));
        }
    }

    /// Makes a chain, unless it is there. With `base` the kernel asks it at a hook; it then lets pass what no rule decides.
    pub fn make_chain(&mut self, family: Family, name: &str, base: Option<BaseChain>) {
        let new_chain = (NfTablesMessageType::NewChain, NLM_F_CREATE);
        self.named("making chain", new_chain, (family, name), |w, table| {
            w.text(NFTA_CHAIN_TABLE, table);
            w.text(NFTA_CHAIN_NAME, name);
            if let Some(BaseChain { hook, priority }) = base {
                w.text(NFTA_CHAIN_TYPE, "filter");
                w.nested(NFTA_CHAIN_HOOK, |w| {
                    w.number(NFTA_HOOK_HOOKNUM, hook);
                    w.attribute(NFTA_HOOK_PRIORITY, &priority.to_be_bytes());
                });
            }
        });
    }

    /// Adds a rule at the end of a chain; `expressions` writes what it is made of.
    pub fn add_rule(&mut self, family: Family, chain: &str, expressions: impl FnOnce(&mut Writer)) {
        let new_rule = (NfTablesMessageType::NewRule, NLM_F_CREATE | NLM_F_APPEND);
        self.named("making a rule of chain", new_rule, (family, chain), |w, table| {
            w.text(NFTA_RULE_TABLE, table);
            w.text(NFTA_RULE_CHAIN, chain);
            w.nested(NFTA_RULE_EXPRESSIONS, expressions);
        });
    }

    /// Deletes one rule.
    pub fn delete_rule(&mut self, family: Family, chain: &str, handle: u64) {
        self.named("deleting a rule of chain", (NfTablesMessageType::DeleteRule, 0), (family, chain), |w, table| {
            w.text(NFTA_RULE_TABLE, table);
            w.text(NFTA_RULE_CHAIN, chain);
            w.attribute(NFTA_RULE_HANDLE, &handle.to_be_bytes());
        });
    }

    /// Deletes the rules of a chain.
    pub fn empty_chain(&mut self, family: Family, name: &str) {
        self.named("emptying chain", (NfTablesMessageType::DeleteRule, 0), (family, name), |w, table| {
            w.text(NFTA_RULE_TABLE, table);
            w.text(NFTA_RULE_CHAIN, name);
        });
    }

    /// Deletes a chain with its rules.
    pub fn delete_chain(&mut self, family: Family, name: &str) {
        self.named("deleting chain", (NfTablesMessageType::DeleteChain, 0), (family, name), |w, table| {
            w.text(NFTA_CHAIN_TABLE, table);
            w.text(NFTA_CHAIN_NAME, name);
        });
    }

    /// Deletes a set or map with its elements.
    pub fn delete_set(&mut self, family: Family, name: &str) {
        self.named("deleting set", (NfTablesMessageType::DeleteSet, 0), (family, name), |w, table| {
            w.text(NFTA_SET_TABLE, table);
            w.text(NFTA_SET_NAME, name);
        });
    }

    /// Makes the table, with flags and a comment (`flags_of_message`: NLM_F_CREATE), or changes the flags of the one
    /// that exists (0).
    pub fn make_table(&mut self, family: Family, flags_of_message: u16, flags: u32, comment: Option<&str>) {
        let (name, kind) = (self.table, (NfTablesMessageType::NewTable, flags_of_message));
        self.named("making table", kind, (family, name), |w, table| {
            w.text(NFTA_TABLE_NAME, table);
            w.number(NFTA_TABLE_FLAGS, flags);
            if let Some(comment) = comment {
                write_comment(w, NFTA_TABLE_USERDATA, comment);
            }
        });
    }

    /// Deletes the table with everything in it.
    pub fn delete_table(&mut self, family: Family) {
        let name = self.table;
        self.named("deleting table", (NfTablesMessageType::DeleteTable, 0), (family, name), |w, table| {
            w.text(NFTA_TABLE_NAME, table);
        });
    }

    /// Adds or deletes elements, of any containers and families.
    pub fn elements(&mut self, operation: Operation, elements: &'a [Element]) {
        let mut sorted: Vec<&Element> = elements.iter().collect();
        sorted.sort_by_key(|element| (element.family(), element.container()));
        for group in sorted.chunk_by(|a, b| (a.family(), a.container()) == (b.family(), b.container())) {
            let mut rest = group.iter();
            while let [first, ..] = rest.as_slice() {
                let (family, container) = (first.family(), first.container());
                let (message, list) = self.list(operation, family, &container.name(), |w, start| {
                    for element in rest.by_ref() {
                        write_element(w, element);
                        if w.len() - start > LIST_BYTES {
                            break;
                        }
                    }
                });
                self.subjects.push(Subject::Elements { operation, family, container, message, list });
            }
        }
    }

    /// Adds or deletes one element, given by its attributes.
    pub fn element(&mut self, operation: Operation, family: Family, set: &str, attributes: &[(u16, Vec<u8>)]) {
        self.list(operation, family, set, |w, _| {
            w.nested(NFTA_LIST_ELEM, |w| attributes.iter().for_each(|(kind, value)| w.attribute(*kind, value)));
        });
        self.subjects.push(Subject::Text(format!("an element of {} {set}", family.nft())));
    }

    /// Deletes elements whose keys are addresses.
    pub fn delete_clients(&mut self, family: Family, map: &str, clients: &[IpAddr]) {
        for clients in clients.chunks(CLIENTS) {
            self.list(Operation::Delete, family, map, |w, _| {
                for client in clients {
                    write_address_key(w, *client);
                }
            });
            self.subjects.push(Subject::Text(format!("deleting clients of {} {map}", family.nft())));
        }
    }

    /// Adds or deletes one element of a set whose keys are frontends. With a timeout it ends by itself after so many
    /// milliseconds; adding one that is there changes nothing.
    pub fn frontend(&mut self, operation: Operation, set: &str, frontend: &Frontend, timeout: Option<u64>) {
        let family = Family::of(frontend.address);
        self.list(operation, family, set, |w, _| write_frontend_key(w, frontend, timeout));
        self.subjects.push(Subject::Text(format!("{} of {} {set}", frontend.address, family.nft())));
    }

    /// Writes one message with the list of elements that `write` appends. Returns where the message starts, and where
    /// the list is in the buffer.
    fn list(
        &mut self,
        operation: Operation,
        family: Family,
        set: &str,
        write: impl FnOnce(&mut Writer, usize),
    ) -> (usize, Range<usize>) {
        let (kind, flags) = match operation {
            Operation::Add => (NfTablesMessageType::NewSetElement, NLM_F_CREATE),
            Operation::Delete => (NfTablesMessageType::DeleteSetElement, 0),
        };
        let message = self.writer.len();
        let mut list = 0..0;
        self.message(kind, flags, family, |w, table| {
            w.text(NFTA_SET_ELEM_LIST_TABLE, table);
            w.text(NFTA_SET_ELEM_LIST_SET, set);
            w.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |w| {
                list.start = w.len();
                write(w, list.start);
                list.end = w.len();
            });
        });
        (message, list)
    }

    /// The size of the batch so far, in bytes.
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Sends the batch, unless there is nothing in it. `attempt` says in an error what it is for.
    pub fn send(self, socket: &mut NetfilterSocket, attempt: &str) -> Result<(), KernelError> {
        self.try_send(socket).map_err(|failed| failed.during(attempt))
    }

    /// The same for a caller that looks at the reason.
    pub fn try_send(mut self, socket: &mut NetfilterSocket) -> Result<(), FailedBatch> {
        if self.subjects.len() == 1 {
            return Ok(());
        }
        self.writer.ask_acknowledgement(self.last);
        self.boundary(NFNL_MSG_BATCH_END);
        socket.send_batch(&self.writer).map_err(|fault| {
            let subject = match &fault {
                Fault::Refused(refusal) => self.describe(refusal),
                _ => String::new(),
            };
            FailedBatch { fault, subject }
        })
    }

    /// What the refused message was about, to the element where the kernel tells.
    fn describe(&self, refusal: &Refusal) -> String {
        let index = refusal.sequence.wrapping_sub(self.writer.first_sequence()) as usize;
        match self.subjects.get(index) {
            None => "an unknown message".into(),
            Some(Subject::Text(text)) => text.clone(),
            Some(Subject::Elements { operation, family, container, message, list }) => {
                let verb = match operation {
                    Operation::Add => "adding elements to",
                    Operation::Delete => "deleting elements of",
                };
                let bytes = self.writer.bytes().get(list.clone()).unwrap_or_default();
                let place = (message + refusal.offset).checked_sub(list.start);
                let element = place.and_then(|place| element_at(bytes, place, *family, *container));
                let element = element.map_or(String::new(), |element| format!(", at {element}"));
                format!("{verb} {} {}{element}", family.nft(), container.name())
            }
        }
    }
}

/// Why a batch was not carried out, and which message was at fault.
pub(crate) struct FailedBatch {
    fault: Fault,
    subject: String,
}

impl FailedBatch {
    /// Whether the kernel refused for this reason.
    pub fn is(&self, errno: Errno) -> bool {
        self.fault.is(errno)
    }

    /// The error that a caller sees, given what was attempted.
    pub fn during(self, attempt: &str) -> KernelError {
        match self.subject.is_empty() {
            true => self.fault.during(attempt),
            false => self.fault.during(format!("{attempt}: {}", self.subject)),
        }
    }
}

/// The element that lies `place` bytes into a list of elements.
fn element_at(list: &[u8], place: usize, family: Family, container: Container<'_>) -> Option<Element> {
    let mut end = 0;
    let (_, element) = Attributes(list).iter().find(|(_, element)| {
        end += (4 + element.len()).next_multiple_of(4);
        end > place
    })?;
    decode::element(container, family, Attributes(element), &mut Names::default())
}
