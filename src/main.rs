//! The command `portolan`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match portolan::cli::run(portolan::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("portolan: {error:#}");
            ExitCode::from(2)
        }
    }
}
