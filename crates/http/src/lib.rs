//! The HTTP server: REST over what can be asked of a master, and who may ask.
//!
//! It knows the master as [`cloudai_operator::Operator`] alone, as the console does. From the
//! outside in: [`server`] takes connections and gives up those that are silent; [`frame`] stands
//! around every request and makes a problem of every error; [`routes`] are thin over the operator.

mod auth;
mod body;
mod context;
mod frame;
mod openapi;
mod origin;
mod query;
mod refusal;
mod routes;
mod server;
mod settings;
mod shares;
mod sockets;
mod turns;

pub use self::{
    context::Context,
    frame::{AddressRange, AddressRangeError},
    openapi::document,
    routes::router,
    server::{
        Doorway, PAUSE, Place, Tls, TlsError, TlsFiles, UnderWay, is_of_one_connection, places,
        serve,
    },
    settings::Settings,
};
