//! The rules of the house, as tests: who may depend on whom, licences, lints, the shape of the sources.
//!
//! Nothing here is for other crates. A rule that a compiler or clippy can keep is kept there and not here.
//! `ARCHITECTURE.md` says why the rules are what they are.

#![cfg(test)]

mod board;
mod dependency_rule;
mod deploy;
mod licences;
mod manifests;
mod repository;
mod sources;
