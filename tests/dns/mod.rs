//! Questions about names, with a scripted upstream and decoders that we did not write. Whoever can answer bytes with
//! bytes can be asked them: a function call as well as a socket.

#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod cases;
pub mod decode;
pub mod modes;
pub mod server;
pub mod upstream;
