//! Doors for `crates/fuzzing` to the forms of the spool's files: each reads one and writes it again.

use std::path::Path;

use super::{SpoolError, format};

const PATH: &str = "fuzzed.json";

fn said(error: &SpoolError) -> String {
    error.to_string()
}

/// Reads an order's file, and what it would be written as.
///
/// # Errors
/// What is wrong with it.
pub fn order(text: &[u8]) -> Result<Vec<u8>, String> {
    let order = format::order_from_json(Path::new(PATH), text);
    let order = order.map_err(|error| said(&error))?;
    Ok(format::order_to_json(&order))
}

/// Reads a state's file, and what it would be written as. One without its order has nothing to be
/// written with: then `None`.
///
/// # Errors
/// What is wrong with it.
pub fn state(text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let state = format::state_from_json(Path::new(PATH), text);
    let mut state = state.map_err(|error| said(&error))?;
    let order = state.order.take();
    Ok(order.map(|order| format::state_to_json(&state.with(order))))
}

/// Reads a list of tombstones, and what it would be written as.
///
/// # Errors
/// What is wrong with it.
pub fn tombstones(text: &[u8]) -> Result<Vec<u8>, String> {
    let attempts = format::tombstones_from_json(Path::new(PATH), text);
    let attempts = attempts.map_err(|error| said(&error))?;
    Ok(format::tombstones_to_json(&attempts))
}

/// Reads what was left out of an output, and what it would be written as.
///
/// # Errors
/// What is wrong with it.
pub fn left_out(text: &[u8]) -> Result<Vec<u8>, String> {
    let left_out = format::left_out_from_json(Path::new(PATH), text);
    let left_out = left_out.map_err(|error| said(&error))?;
    Ok(format::left_out_to_json(&left_out))
}
