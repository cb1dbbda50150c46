//! `make compare`: Portolan beside the real kube-proxy (nftables mode), one after the other, with the same API server,
//! objects and nft. Writes the results to docs/comparison.json, and
//! the page and the plots made of them beside it.

mod measure;
mod objects;
mod options;
mod plot;
mod report;
mod subject;
mod usage;

#[path = "../../tests/cluster/mod.rs"]
mod cluster;
#[path = "../common/figures.rs"]
mod figures;
#[path = "../common/processes.rs"]
mod processes;

use std::{env, fs};

use cluster::{API_ADDRESS, ApiServer, Binaries, lab_spec};
use objects::Objects;
use options::Options;
use portolan::lab::{Lab, LabNode};
use report::Results;
use subject::{Program, Subject};

fn main() {
    let folder = Options::folder();
    match env::var("PORTOLAN_COMPARE").as_deref() {
        Ok("1") => {
            let options = Options::from_environment();
            let Some(binaries) = Binaries::find("compare") else { return };
            run(&options, &binaries);
        }
        // Only the page and the plots, of results that are there.
        Ok("report") => {
            let text = fs::read_to_string(folder.join("comparison.json")).unwrap();
            serde_json::from_str::<Results>(&text).unwrap().write_page(&folder);
        }
        _ => return println!("compare: not run; `make compare` does"),
    }
    println!("Written: {}", folder.join("comparison.md").display());
}

/// Measures every program with every number of Services, each in a node of its own, and writes what is there after each
/// number: a run that is cut short was not for nothing.
fn run(options: &Options, binaries: &Binaries) -> Results {
    let programs = options.programs.len();
    let mut spec = lab_spec();
    let runs = options.sizes.iter().flat_map(|size| options.programs.iter().map(move |program| (*size, *program)));
    for (index, (size, program)) in runs.enumerate() {
        let address = [192, 168, 49, 11 + u8::try_from(index).unwrap()].into();
        spec.nodes.push(LabNode { name: format!("{program}-{size}"), addresses: vec![address] });
    }
    let lab = Lab::up(spec).unwrap().guarded();
    let api = ApiServer::start(binaries, &lab.spec().outside(), API_ADDRESS);
    let mut objects = Objects::new(api.admin(), options.endpoints);
    let machine = Results::machine(&binaries.path("kube-proxy"));
    let mut results = Results { machine, options: options.clone(), measured: Vec::new() };
    for (size, nodes) in options.sizes.iter().zip(lab.spec().nodes.chunks(programs)) {
        objects.grow(*size);
        let subject = |(program, node): (&Program, &LabNode)| Subject {
            program: *program,
            namespace: lab.node(&node.name).unwrap(),
            binaries,
            api: &api,
        };
        let subjects: Vec<Subject> = options.programs.iter().zip(nodes).map(subject).collect();
        let mut measured = Vec::new();
        for (subject, node) in subjects.iter().zip(nodes) {
            objects.move_node(node.addresses[0]);
            measured.push(measure::run(subject, &mut objects, options));
            subject.tidy();
        }
        measure::idle(&subjects, &objects, options, &mut measured);
        subjects.iter().for_each(Subject::tidy);
        measured.iter().for_each(|measured| eprintln!("{}", serde_json::to_string(measured).unwrap()));
        results.measured.extend(measured);
        results.write(&Options::folder());
    }
    results
}
