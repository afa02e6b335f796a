//! Reading `cloudai.toml`, and the default files, which look alike.

use std::{collections::BTreeMap, path::Path};

use toml::de::{DeTable, DeValue};

use crate::{error::LoadError, section::Section};

/// The tables of `cloudai.toml`, of whichever program: one file may serve several.
pub const SECTIONS: [&str; 3] = ["master", "worker", "cloudai"];

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One text, or several of a list.
    pub values: Vec<String>,
    /// From 1.
    pub line: usize,
}

/// What the file says of this section, by key. Tables of other programs are left alone.
///
/// # Errors
/// If it is no TOML, has keys or tables that mean nothing, or values of a kind that no setting
/// takes. `file` is the file's name in errors.
pub fn read(
    text: &str,
    file: &Path,
    section: &Section,
) -> Result<BTreeMap<String, Entry>, LoadError> {
    let reading = Reading {
        text,
        file,
        section,
    };
    let document = DeTable::parse(text).map_err(|error| LoadError::TomlSyntax {
        file: file.to_owned(),
        line: reading.line(error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    })?;
    let mut entries = BTreeMap::new();
    for (key, value) in document.get_ref() {
        let name = key.get_ref().as_ref();
        let line = reading.line(key.span().start);
        let is_section = name == section.name || SECTIONS.contains(&name);
        match value.get_ref() {
            DeValue::Table(table) if name == section.name => {
                entries = reading.section(table)?;
            }
            DeValue::Table(_) if is_section => {}
            other if is_section => {
                return Err(reading.wrong_kind(line, name, other, "a table"));
            }
            DeValue::Table(_) => {
                let known = SECTIONS.into_iter().chain([section.name]);
                return Err(
                    reading.unknown(line, format!("[{name}]"), name, known, |near| {
                        format!("[{near}]")
                    }),
                );
            }
            _ => {
                return Err(LoadError::TomlSyntax {
                    file: file.to_owned(),
                    line,
                    problem: format!(
                        "{name} stands outside a table: expected it under [{}]",
                        section.name
                    ),
                });
            }
        }
    }
    Ok(entries)
}

struct Reading<'a> {
    text: &'a str,
    file: &'a Path,
    section: &'a Section,
}

impl Reading<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn section(&self, table: &DeTable<'_>) -> Result<BTreeMap<String, Entry>, LoadError> {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let line = self.line(key.span().start);
            let shown = format!("{}.{name}", self.section.name);
            let setting = self
                .section
                .settings
                .iter()
                .find(|setting| setting.id() == name);
            let Some(setting) = setting else {
                let known = self
                    .section
                    .settings
                    .iter()
                    .map(crate::section::Setting::id);
                return Err(self.unknown(line, shown, name, known, |near| {
                    format!("{}.{near}", self.section.name)
                }));
            };
            let values = match value.get_ref() {
                DeValue::Array(items) if setting.is_list() => items
                    .iter()
                    .map(|item| self.scalar(line, &shown, item.get_ref()))
                    .collect::<Result<_, _>>()?,
                value => vec![self.scalar(line, &shown, value)?],
            };
            entries.insert(name.to_owned(), Entry { values, line });
        }
        Ok(entries)
    }

    /// A value as the text that a flag would give.
    fn scalar(&self, line: usize, key: &str, value: &DeValue<'_>) -> Result<String, LoadError> {
        match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| self.wrong_kind(line, key, value, "a number in range")),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(switch) => Ok(switch.to_string()),
            _ => Err(self.wrong_kind(line, key, value, "one text, number or boolean")),
        }
    }

    fn wrong_kind(
        &self,
        line: usize,
        key: &str,
        found: &DeValue<'_>,
        expected: &'static str,
    ) -> LoadError {
        LoadError::WrongKind {
            file: self.file.to_owned(),
            line,
            key: key.to_owned(),
            found: found.type_str(),
            expected,
        }
    }

    fn unknown<'b>(
        &self,
        line: usize,
        key: String,
        name: &str,
        known: impl Iterator<Item = &'b str>,
        show: impl Fn(&str) -> String,
    ) -> LoadError {
        LoadError::UnknownKey {
            file: self.file.to_owned(),
            line,
            key,
            nearest: nearest(name, known).map(show),
        }
    }
}

/// The known name most like this one, if it is like any.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(&name.replace('_', "-"), known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;
    use crate::section::Setting;

    fn section() -> Section {
        Section {
            name: "master",
            defaults: "",
            settings: vec![
                Setting::flag(Arg::new("grpc")),
                Setting::flag(Arg::new("data-dir")),
                Setting::flag(Arg::new("peers").value_delimiter(',')),
            ],
        }
    }

    fn error(text: &str) -> String {
        read(text, Path::new("cloudai.toml"), &section())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn values_of_every_kind_become_text_and_know_their_line() {
        let text = "[worker]\nanything = 1\n\n[master]\ngrpc = 50_051\ndata-dir = 'x'\n\
                    peers = ['a', 2, true]\n";
        let entries = read(text, Path::new("cloudai.toml"), &section()).unwrap();
        let entry = |values: &[&str], line| Entry {
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            line,
        };
        assert_eq!(entries["grpc"], entry(&["50051"], 5));
        assert_eq!(entries["data-dir"], entry(&["x"], 6));
        assert_eq!(entries["peers"], entry(&["a", "2", "true"], 7));
        assert_eq!(
            entries.len(),
            3,
            "another program's table is its own business"
        );
    }

    #[test]
    fn an_unknown_key_or_table_names_the_nearest_real_one() {
        assert_eq!(
            error("[master]\n\ndata_dri = 'x'\n"),
            "cloudai.toml:3: unknown key master.data_dri: did you mean master.data-dir?"
        );
        assert_eq!(
            error("[mastre]\n"),
            "cloudai.toml:1: unknown key [mastre]: did you mean [master]?"
        );
        assert_eq!(
            error("[master]\nzzz = 1\n"),
            "cloudai.toml:2: unknown key master.zzz"
        );
    }

    #[test]
    fn what_no_setting_takes_is_refused_with_its_line() {
        assert_eq!(
            error("[master]\ngrpc = ['a']\n"),
            "cloudai.toml:2: master.grpc is array: expected one text, number or boolean"
        );
        assert_eq!(
            error("master = 1\n"),
            "cloudai.toml:1: master is integer: expected a table"
        );
        assert_eq!(
            error("grpc = 1\n"),
            "cloudai.toml:1: grpc stands outside a table: expected it under [master]"
        );
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let error = error("[master]\ngrpc = \n");
        assert!(error.starts_with("cloudai.toml:2: "), "{error}");
    }
}
