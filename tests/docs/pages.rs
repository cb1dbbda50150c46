//! The pages themselves: links and completeness.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The pages whose console blocks are run: README.md and everything in docs/, in order.
pub fn console_pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    collect("docs", &mut pages);
    pages.sort();
    pages
}

fn all_pages() -> Vec<String> {
    let mut pages = console_pages();
    pages
        .extend(["ARCHITECTURE.md", "CHANGELOG.md", "charts/portolan/README.md", "rules/README.md"].map(str::to_owned));
    pages
}

fn collect(folder: &str, pages: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&name, pages);
        } else if name.ends_with(".md") {
            pages.push(name);
        }
    }
}

/// Targets of `[text](target)` outside fenced blocks, without their anchors; those to other sites left out.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        let after_bracket = part.split("](").skip(1).filter(|_| index % 2 == 0);
        let targets = after_bracket.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let files = targets.filter(|t| !t.contains("://")).map(|t| t.split('#').next().unwrap_or_default());
        links.extend(files.filter(|t| !t.is_empty()).map(str::to_owned));
    }
    links
}

#[test]
fn links_lead_to_files_that_exist() {
    let mut count = 0;
    for page in all_pages() {
        let path = root().join(&page);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        for link in links(&fs::read_to_string(&path).unwrap()) {
            count += 1;
            assert!(folder.join(&link).exists(), "{page}: the link to {link} leads nowhere");
        }
    }
    assert!(count > 20, "only {count} links found: the search must be wrong");
}

#[test]
fn every_command_has_a_page_with_its_flags() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let cli = portolan::cli::Cli::command();
    let commands: Vec<_> = cli.get_subcommands().filter(|c| !c.is_hide_set()).collect();
    assert!(commands.len() >= 7);
    for command in commands {
        let page = format!("commands/{}.md", command.get_name());
        assert!(index.contains(&format!("({page})")), "docs/README.md does not lead to {page}");
        let text = fs::read_to_string(root().join("docs").join(&page)).unwrap_or_else(|e| panic!("docs/{page}: {e}"));
        // `get` has no flags but those of what it shows.
        let shown = if command.get_name() == "get" { "get services" } else { command.get_name() };
        assert!(text.contains(&format!("\n$ portolan {shown} --help\n")), "docs/{page} does not show the flags");
    }
}

#[test]
fn links_are_found_outside_of_blocks_only() {
    let text = "[a](b.md#c) [d](https://e/f) [g](#h)\n```text\n[i](j.md)\n```\n[k](l)";
    assert_eq!(links(text), ["b.md", "l"]);
}
