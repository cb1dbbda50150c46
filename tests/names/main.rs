//! Names as pods use them: with the resolvers that programs have (glibc, musl, dig), a search path and `ndots:5`, in a
//! lab whose nodes answer by themselves and whose upstream writes down what it is asked. Scenarios 17 to 21, and the
//! end of an agent under load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod death;
mod scenarios;
mod town;
mod upstream;
