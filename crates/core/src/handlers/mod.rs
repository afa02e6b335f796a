//! One file for each kind of input.

mod attempts;
mod change;
mod heartbeat;
mod inspect;
mod old_nodes;
mod restore;
mod retire;
mod set_aside;
mod settle;
mod submit;
mod tick;
mod time_outs;
mod users;
mod waiting;
mod workers;
