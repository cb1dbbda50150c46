//! Finds chains of the fixed program that somebody edited.
//!
//! nft alone knows which expressions it makes of a rule's text. So the program is loaded a second time, into a table
//! that the kernel ignores (flag `dormant`), and the two are compared as the kernel lists them. Handles and counters
//! do not matter. The comparison outlives a restart of Portolan; a newer nft that translates a rule differently makes
//! the chain look edited, which costs one installation of the program.

use std::collections::{BTreeMap, BTreeSet};

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
        let existing = Reader { socket, table }.tables()?;
        let mut edited = Vec::new();
        for program in programs {
            let key = (program.family, program.fingerprint.clone());
            if !self.0.contains_key(&key) {
                self.0.insert(key.clone(), load_and_read(socket, &scratch(table), program)?);
            }
            let actual = match existing.contains_key(&program.family) {
                true => read(&mut Reader { socket, table }, program)?,
                false => Shapes::new(),
            };
            let wanted = self.0.get(&key).into_iter().flatten();
            let differing = wanted.filter(|(name, shape)| actual.get(*name) != Some(*shape));
            edited.extend(differing.map(|(name, _)| format!("{} chain {name}", program.family.nft())));
        }
        Ok(edited)
    }
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
