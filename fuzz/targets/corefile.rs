//! Corefiles: what can be used, or errors that say where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan::{
    answers::Site,
    config::{
        ConfigError,
        dns::corefile::{Imported, parse},
    },
};

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let environment = |name: &str| (name != "X").then(|| "10.0.0.1 {".to_owned());
    let import = |path: &std::path::Path| match path.to_str() {
        Some(name) if name.contains('*') => {
            Ok(vec![Imported { name: "a".to_owned(), text: "errors\nimport b\n".to_owned() }])
        }
        Some(name) if name.ends_with('b') => {
            Ok(vec![Imported { name: "b".to_owned(), text: "import a*\n".to_owned() }])
        }
        _ => Err("there is nothing".to_owned()),
    };
    let read = || parse(&text, "Corefile", &environment, &import);
    match read() {
        Ok((config, _)) => {
            assert!(!config.servers.is_empty(), "nothing is answered");
            Site::new(config.servers.iter().enumerate());
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
            for error in &errors.0 {
                let (ConfigError::Syntax { place, .. } | ConfigError::Field { place, .. }) = error else {
                    panic!("{error} does not say where");
                };
                let lines = if &*place.file == "Corefile" { text.split('\n').count() as u64 } else { 2 };
                assert!((1..=lines).contains(&place.line), "{error}: there are {lines} lines");
                assert!(error.to_string().contains(&place.to_string()), "{error} does not say that it is {place}");
            }
            assert_eq!(read().err(), Some(errors), "said once more");
        }
    }
});
