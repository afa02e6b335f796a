//! One file for each kind of input.

mod adopt;
mod assign;
mod cancel;
mod outcome;
mod tick;
