//! A door for `crates/fuzzing` to what reads where a MongoDB is.

use super::settings::{Limits, MongoSettings};

/// Where the database is, as people are told, or what is wrong with the settings; `None` if a name
/// server would have to be asked.
#[must_use]
pub fn database(settings: &MongoSettings) -> Option<Result<String, String>> {
    if settings
        .uri
        .as_ref()
        .is_some_and(|uri| uri.contains("+srv"))
    {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime on this thread, without I/O, takes nothing of the system");
    let target = runtime.block_on(settings.target(&Limits::default()));
    let target = target.map_err(|error| error.to_string());
    Some(target.map(|target| format!("{} {:?}", target.place, target.options)))
}
