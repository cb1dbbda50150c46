//! Finds chains of the fixed program that somebody edited.
//!
//! nft alone knows which expressions it makes of a rule's text. So the program is loaded a second time, into a table
//! that the kernel ignores (flag `dormant`), and the two are compared as the kernel lists them. Handles and counters
//! do not matter. The comparison outlives a restart of Portolan; a newer nft that translates a rule differently makes
//! the chain look edited, which costs one installation of the program.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    thread,
};

use nix::sched::{CloneFlags, unshare};

use super::{
    batch::Batch,
    dump::Reader,
    socket::NetfilterSocket,
    uapi::{NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE, NFTA_EXPR_DATA, NFTA_EXPR_NAME},
    wire::Attributes,
};
use crate::{
    kernel::{KernelError, nft},
    model::Family,
    tables::Program,
};

/// What makes a chain do what it does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    /// Hook number and priority, type and policy, as the kernel encodes them; empty for a chain without a hook
    base: [Vec<u8>; 3],
    /// For each rule its expressions, name and parameters
    rules: Vec<Vec<(String, Vec<u8>)>>,
}

type Shapes = BTreeMap<String, Shape>;

/// The shapes that programs have, by family and fingerprint, as found out so far.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<(Family, String), Shapes>);

impl Known {
    /// The names of the programs' chains that are not as the programs say, as `family chain name`.
    pub fn edited(
        &mut self,
        socket: &mut NetfilterSocket,
        table: &str,
        programs: &[Program],
    ) -> Result<Vec<String>, KernelError> {
        for program in programs {
            if let Entry::Vacant(unknown) = self.0.entry(key(program)) {
                unknown.insert(load_and_read(socket, &scratch(table), program)?);
            }
        }
        self.compare(socket, table, programs)
    }

    /// The same for those who only look: what is loaded for comparison is loaded in a network namespace of its own, which
    /// ends with this call, and with the process if that is killed. `None` if the process cannot make one (that takes
    /// CAP_SYS_ADMIN).
    pub fn edited_unseen(
        &mut self,
        socket: &mut NetfilterSocket,
        table: &str,
        programs: &[Program],
    ) -> Result<Option<Vec<String>>, KernelError> {
        let unknown: Vec<&Program> = programs.iter().filter(|program| !self.0.contains_key(&key(program))).collect();
        if !unknown.is_empty() {
            let Some(shapes) = read_elsewhere(table, &unknown)? else { return Ok(None) };
            self.0.extend(unknown.into_iter().map(key).zip(shapes));
        }
        self.compare(socket, table, programs).map(Some)
    }

    /// Compares programs whose shapes are known.
    fn compare(
        &self,
        socket: &mut NetfilterSocket,
        table: &str,
        programs: &[Program],
    ) -> Result<Vec<String>, KernelError> {
        let existing = Reader { socket, table }.tables()?;
        let mut edited = Vec::new();
        for program in programs {
            let actual = match existing.contains_key(&program.family) {
                true => read(&mut Reader { socket, table }, program)?,
                false => Shapes::new(),
            };
            let wanted = self.0.get(&key(program)).into_iter().flatten();
            let differing = wanted.filter(|(name, shape)| actual.get(*name) != Some(*shape));
            edited.extend(differing.map(|(name, _)| format!("{} chain {name}", program.family.nft())));
        }
        Ok(edited)
    }
}

fn key(program: &Program) -> (Family, String) {
    (program.family, program.fingerprint.clone())
}

/// Loads programs in a new network namespace and reads them there.
fn read_elsewhere(table: &str, programs: &[&Program]) -> Result<Option<Vec<Shapes>>, KernelError> {
    let attempt = "loading the program for comparison, in a network namespace of its own";
    let work = || -> Result<Option<Vec<Shapes>>, KernelError> {
        // For want of CAP_SYS_ADMIN; or the system's limit of namespaces is reached, or its kernel knows none.
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            return Ok(None);
        }
        let mut socket = NetfilterSocket::open()?;
        let text: String = programs.iter().map(|program| program.for_table(table)).collect();
        nft::run(&text, false, attempt)?;
        let mut reader = Reader { socket: &mut socket, table };
        programs.iter().map(|program| read(&mut reader, program)).collect::<Result<_, _>>().map(Some)
    };
    // A thread of its own, because a thread that has left its namespace may not be able to return.
    let result = thread::scope(|scope| scope.spawn(work).join());
    result.unwrap_or_else(|_| {
        let reason = "the thread that does it ended early".to_owned();
        Err(KernelError::Failed { attempt: attempt.to_owned(), reason })
    })
}

/// The name of the table that programs are loaded into for comparison.
pub(crate) fn scratch(table: &str) -> String {
    format!("{table}-comparison")
}

/// Loads a program into the scratch table, reads it and deletes it.
fn load_and_read(socket: &mut NetfilterSocket, scratch: &str, program: &Program) -> Result<Shapes, KernelError> {
    let attempt = "loading the program for comparison";
    let table = format!("table {} {scratch}", program.family.nft());
    let text = program.for_table(scratch).replacen('\n', "\n\tflags dormant\n", 1);
    nft::run(&format!("{table}\ndelete {table}\n{text}"), false, attempt)?;
    let shapes = read(&mut Reader { socket, table: scratch }, program);
    let mut batch = Batch::new(socket, scratch);
    batch.delete_table(program.family);
    batch.send(socket, attempt)?;
    shapes
}

/// Reads the shapes of the program's own chains.
fn read(reader: &mut Reader<'_>, program: &Program) -> Result<Shapes, KernelError> {
    let family = program.family;
    let own: BTreeSet<&str> = program.own_chains().collect();
    let base = |attributes: Attributes<'_>| {
        [NFTA_CHAIN_HOOK, NFTA_CHAIN_TYPE, NFTA_CHAIN_POLICY]
            .map(|kind| attributes.get(kind).unwrap_or_default().to_owned())
    };
    let chains = reader.chains(family, |name, attributes| (name.to_owned(), base(attributes)))?;
    let chains = chains.into_iter().filter(|(name, _)| own.contains(name.as_str()));
    let mut shapes: Shapes = chains.map(|(name, base)| (name, Shape { base, rules: Vec::new() })).collect();
    for rule in reader.rules(family)? {
        if let Some(shape) = shapes.get_mut(&rule.chain) {
            let expressions = Attributes(&rule.expressions).iter();
            shape.rules.push(expressions.map(|(_, expression)| parameters(Attributes(expression))).collect());
        }
    }
    Ok(shapes)
}

/// An expression's name and parameters. What a counter has counted is none.
fn parameters(expression: Attributes<'_>) -> (String, Vec<u8>) {
    let name = expression.text(NFTA_EXPR_NAME).unwrap_or_default();
    let parameters = match name {
        "counter" => &[],
        _ => expression.get(NFTA_EXPR_DATA).unwrap_or_default(),
    };
    (name.to_owned(), parameters.to_owned())
}
