//! What is printed for people.

use crate::{
    cli::table,
    explain::{Explanation, Mark, Stage},
};

/// A line a step, then the sentence.
pub fn text(explanation: &Explanation, node: &str) -> String {
    let mut lines = vec![vec![String::new(), "QUESTION".to_owned(), format!("{} on {node}", explanation.question)]];
    lines.extend(explanation.steps.iter().map(|step| {
        let mark = match step.mark {
            Mark::Good => "ok",
            Mark::Note => "",
            Mark::Warning => "!",
            Mark::Broken => "X",
            Mark::Unknown => "?",
        };
        vec![mark.to_owned(), stage(step.stage).to_owned(), step.text.clone()]
    }));
    table::columns(&lines) + "\n" + &explanation.sentence + "\n"
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Client => "client",
        Stage::Name => "name",
        Stage::Service => "service",
        Stage::Frontend => "frontend",
        Stage::SourceRange => "source ranges",
        Stage::Policy => "policy",
        Stage::Endpoint => "endpoint",
        Stage::Affinity => "affinity",
        Stage::Masquerade => "masquerade",
        Stage::Kernel => "kernel",
        Stage::Agent => "agent",
        Stage::Connection => "connections",
        Stage::Node => "node",
        Stage::Foreign => "other rules",
    }
}
