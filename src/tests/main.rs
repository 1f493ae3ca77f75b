//! The integration tests: the whole router over a real store, with a clock that tests move by hand.
//!
//! Modules mirror what is tested. `support` brings up an application and the people who use it; a test
//! says what somebody does and what they are answered.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test says no")]

mod access;
mod api;
mod connections;
mod crash;
mod database;
mod exec;
mod flaws;
mod rpc;
mod sign_in;
mod ssr;
mod support;
