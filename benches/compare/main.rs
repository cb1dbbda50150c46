//! `make compare`: Portolan beside the real kube-proxy (nftables mode), one after the other, with the same API server,
//! objects and nft. Writes the results to docs/comparison.json, and the page and the plots made of them.

mod measure;
mod objects;
mod options;
mod subject;
mod usage;

#[path = "../../tests/cluster/mod.rs"]
mod cluster;

use std::{env, fs, path::Path};

use cluster::{API_ADDRESS, ApiServer, Binaries, lab_spec};
use measure::Measured;
use objects::Objects;
use options::Options;
use portolan::lab::{Lab, LabNode};
use subject::{Program, Subject};

fn main() {
    if env::var_os("PORTOLAN_COMPARE").is_none_or(|value| value != "1") {
        println!("compare: not run; `make compare` does");
        return;
    }
    let options = Options::from_environment();
    let Some(binaries) = Binaries::find("compare") else { return };
    let mut results = Vec::new();
    run(&options, &binaries, |measured| {
        eprintln!("{}", serde_json::to_string(&measured).unwrap());
        results.push(measured);
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/comparison.json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, serde_json::to_string_pretty(&results).unwrap()).unwrap();
}

/// Measures every program with every number of Services, each in a node of its own.
fn run(options: &Options, binaries: &Binaries, mut each: impl FnMut(Measured)) {
    let mut spec = lab_spec();
    let runs: Vec<(usize, Program)> =
        options.sizes.iter().flat_map(|size| options.programs.iter().map(move |program| (*size, *program))).collect();
    for (index, (size, program)) in runs.iter().enumerate() {
        let address = [192, 168, 49, 11 + u8::try_from(index).unwrap()].into();
        spec.nodes.push(LabNode { name: format!("{program}-{size}"), addresses: vec![address] });
    }
    let lab = Lab::up(spec).unwrap().guarded();
    let api = ApiServer::start(binaries, &lab.spec().outside(), API_ADDRESS);
    let mut objects = Objects::new(api.admin(), options.endpoints);
    for (index, (size, program)) in runs.iter().enumerate() {
        objects.grow(*size);
        let node = &lab.spec().nodes[index];
        objects.move_node(node.addresses[0]);
        let namespace = lab.node(&node.name).unwrap();
        let subject = Subject { program: *program, namespace, binaries, api: &api };
        each(measure::run(&subject, &mut objects, options));
        subject.tidy();
    }
}
