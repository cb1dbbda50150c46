//! What is written on the command line of `portolan explain`: a target and a source.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan::explain::{Dialled, PortRef, Source};

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    match Dialled::parse(&text) {
        Ok(dialled) => {
            assert!(dialled.port != Some(PortRef::Number(0)), "port 0");
            assert_eq!(Dialled::parse(&dialled.to_string()).as_ref(), Ok(&dialled), "as it is shown");
        }
        Err(reason) => assert!(!reason.is_empty(), "refused without a reason"),
    }
    if let Err(reason) = Source::parse(&text) {
        assert!(!reason.is_empty(), "refused without a reason");
    }
});
