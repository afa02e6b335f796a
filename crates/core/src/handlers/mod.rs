//! One file for each kind of input.

mod attempts;
mod heartbeat;
mod inspect;
mod old_nodes;
mod restore;
mod settle;
mod tick;
mod users;
mod waiting;
mod workers;
