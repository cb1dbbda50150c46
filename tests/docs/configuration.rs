//! docs/configuration.md: its tables are made of the options themselves.

use std::{collections::BTreeMap, env, fs};

use clap::builder::StyledStr;
use portolan::config::{Config, field_docs, file_key};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

/// The text with what stands between `<!-- NAME -->` and `<!-- end of NAME -->` replaced.
fn with_block(text: &str, name: &str, block: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{PAGE} has no {start}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{PAGE} has no {end}"));
    format!("{before}{start}\n{block}\n{end}{after}")
}

fn one_line(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn options() -> String {
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for field in field_docs() {
        if let Some(flag) = field.flag {
            fields.entry(flag).or_default().push(format!("`{}`", field.path));
        }
    }
    let mut text =
        "| flag | environment | in the file | default | meaning | in a KubeProxyConfiguration |\n|---|---|---|---|---|---|\n".to_owned();
    for option in Config::command().get_arguments() {
        let flag = option.get_long().unwrap();
        let aliases = option.get_visible_aliases().unwrap_or_default();
        let aliases: String = aliases.iter().map(|alias| format!(", `--{alias}`")).collect();
        let help = one_line(option.get_help());
        // Some defaults depend on other options; the help says them then.
        let (help, default) = match help.split_once(" [default: ") {
            Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
            None => {
                let values = option.get_default_values().iter().map(|value| format!("`{}`", value.to_str().unwrap()));
                (help.clone(), values.collect())
            }
        };
        let fields = fields.get(flag).map(|fields| fields.join(", ")).unwrap_or_default();
        let variable = option.get_env().and_then(|name| name.to_str()).unwrap();
        text +=
            &format!("| `--{flag}`{aliases} | `{variable}` | `{}` | {default} | {help} | {fields} |\n", file_key(flag));
    }
    text
}

fn kube_proxy_fields() -> String {
    let mut text = "| field | becomes | |\n|---|---|---|\n".to_owned();
    for field in field_docs() {
        let flag = field.flag.map(|flag| format!("`--{flag}`")).unwrap_or_default();
        text += &format!("| `{}` | {flag} | {} |\n", field.path, field.meaning);
    }
    text
}

#[test]
fn the_tables_of_options_are_what_the_program_has() {
    let page = fs::read_to_string(PAGE).unwrap();
    let made = with_block(&with_block(&page, "options", &options()), "fields", &kube_proxy_fields());
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(PAGE, &made).unwrap();
    } else {
        let differing = page.lines().zip(made.lines()).find(|(a, b)| a != b);
        assert!(page == made, "run UPDATE_EXPECT=1 cargo test --test docs: {differing:#?}");
    }
}

#[test]
fn the_example_file_is_one_that_the_program_takes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/manifests/portolan.yaml");
    let (entries, warnings) = portolan::config::read_file(&fs::read_to_string(path).unwrap(), path).unwrap();
    assert_eq!(warnings, []);
    assert!(entries.len() > 5);
    let (config, warnings) = portolan::config::resolve(entries, vec![]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.node.cluster_cidr.len(), 2);
}
