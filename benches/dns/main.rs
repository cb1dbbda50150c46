//! `make compare-dns`: Portolan's DNS beside NSD, Knot DNS and the real CoreDNS, with the same names, one core each, asked
//! by dnsperf. Writes the results to docs/dns-comparison.json, and the page and the plots made of them beside it.

mod bars;
mod check;
mod data;
mod dnsperf;
mod flood;
mod follow;
mod options;
mod questions;
mod report;
mod server;
mod serving;
mod settings;
mod zonefile;

#[path = "../../tests/cluster/mod.rs"]
mod cluster;
#[path = "../common/figures.rs"]
mod figures;
#[path = "../common/processes.rs"]
mod processes;

use std::{env, fs, path::Path};

use cluster::{API_ADDRESS, ApiServer, Binaries, lab_spec};
use data::Data;
use options::Options;
use portolan::lab::{Guard, Lab, LabNode};
use report::Results;
use server::{Server, Source, Subject};

fn main() {
    let folder = Options::folder();
    match env::var("PORTOLAN_COMPARE").as_deref() {
        Ok("1") => {
            let options = Options::from_environment();
            if let Some(obstacle) = portolan::lab::obstacle() {
                assert!(env::var("PORTOLAN_REQUIRE_E2E").as_deref() != Ok("1"), "dns: {obstacle}");
                return println!("SKIPPED dns: {obstacle}");
            }
            run(&options).write(&folder);
        }
        // Only the page and the plots, of results that are there.
        Ok("report") => {
            let text = fs::read_to_string(folder.join("dns-comparison.json")).unwrap();
            serde_json::from_str::<Results>(&text).unwrap().write_page(&folder);
        }
        _ => return println!("dns: not run; `make compare-dns` does"),
    }
    println!("Written: {}", folder.join("dns-comparison.md").display());
}

/// Measures everything: first how they serve, then how they follow changes.
fn run(options: &Options) -> Results {
    options.servers.iter().chain(&options.following).for_each(|server| server.assert_installed());
    let lab = lab(options);
    let folder = tempfile::Builder::new().prefix("portolan-dns-").tempdir_in(Options::scratch()).unwrap();
    let data = Data { services: options.services, endpoints: options.endpoints };
    write_data(&data, options, folder.path());
    let api = options.needs_api().then(|| {
        let binaries = Binaries::find("dns").expect("CoreDNS and the following of changes need an API server");
        let api = ApiServer::start(&binaries, &lab.spec().outside(), API_ADDRESS);
        eprintln!("{} Services of {} endpoints go to the API server", data.services, data.endpoints);
        data.create(&api.admin());
        api
    });
    // Everything but the servers that are measured: this process, the API server, and what will be started.
    processes::pin_with_children(options.client_core);
    let subject = |server: Server, source: Source, name: &str| Subject {
        server,
        source,
        namespace: lab.node(name).unwrap(),
        api: api.as_ref(),
        folder: folder.path(),
        core: options.server_core,
    };
    let mut results = Results::new(options);
    let serving: Vec<Subject> =
        options.servers.iter().map(|server| subject(*server, server.usual_source(), &server.to_string())).collect();
    results.serving = serving::run(&serving, &data, options, &folder.path().join("queries"));
    for server in &options.following {
        let subject = subject(*server, Source::ApiServer, &following(*server));
        results.following.push(follow::run(&subject, &data, options));
    }
    results
}

fn following(server: Server) -> String {
    format!("{server}-follows")
}

/// A node for each server, and a place for the API server.
fn lab(options: &Options) -> Guard {
    let mut spec = lab_spec();
    let names = options.servers.iter().map(Server::to_string).chain(options.following.iter().map(|s| following(*s)));
    for (name, number) in names.zip(11..) {
        spec.nodes.push(LabNode { name, addresses: vec![[192, 168, 49, number].into()] });
    }
    Lab::up(spec).unwrap().guarded()
}

/// The same data as manifests and as zone files, and the questions about it.
fn write_data(data: &Data, options: &Options, folder: &Path) {
    fs::create_dir(folder.join("manifests")).unwrap();
    data.write_manifests(&folder.join("manifests"));
    zonefile::write(data, folder);
    fs::write(folder.join("queries"), questions::text(&questions::mix(data, options.questions))).unwrap();
}
