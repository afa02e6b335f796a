//! The settings as a program reads them.

use std::{any::Any, collections::BTreeMap};

use clap::{ArgMatches, parser::ValueSource};

use crate::source::Source;

/// What a program was told, checked.
///
/// Reading by a name or type that the section didn't declare is a mistake of the program, found by
/// its first test, and panics.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) matches: ArgMatches,
    /// Of the settings that no flag gave.
    pub(crate) sources: BTreeMap<String, Source>,
}

impl Settings {
    /// A setting that always has a value.
    ///
    /// # Panics
    /// If it has none: give it a default, or read it with [`Self::get_if_any`].
    #[must_use]
    pub fn get<T: Any + Clone + Send + Sync>(&self, name: &str) -> T {
        self.get_if_any(name)
            .expect("a setting read so has a default or is required")
    }

    /// A setting that may have none.
    #[must_use]
    pub fn get_if_any<T: Any + Clone + Send + Sync>(&self, name: &str) -> Option<T> {
        self.matches.get_one(name).cloned()
    }

    /// A setting that takes several values; empty if there are none.
    #[must_use]
    pub fn get_list<T: Any + Clone + Send + Sync>(&self, name: &str) -> Vec<T> {
        self.matches
            .get_many(name)
            .map(|values| values.cloned().collect())
            .unwrap_or_default()
    }

    /// A switch; off if nothing says otherwise.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.get_if_any(name).unwrap_or(false)
    }

    /// Where its value came from; `None` if it has none.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<Source> {
        match self.matches.value_source(name)? {
            ValueSource::CommandLine => Some(Source::Flag),
            _ => self.sources.get(name).cloned(),
        }
    }

    /// What clap made of the command line, for subcommands and positional arguments.
    #[must_use]
    pub fn matches(&self) -> &ArgMatches {
        &self.matches
    }
}
