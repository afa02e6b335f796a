//! Reading a body: every mistake is found, not only the first, and each has its JSON pointer.

use std::{cell::Cell, collections::BTreeMap, fmt};

use cloudai_model::Setting;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::problem::{Mistake, Mistakes};

/// The most values in a body, so that what is held of one is bounded by more than its length: a value
/// of two bytes is thirty when it has been read. A batch of the largest size may have two hundred for
/// each task.
const MOST_VALUES: usize = 2_000_000;
/// The most characters of a foreign name that are repeated.
const LONGEST_SHOWN: usize = 80;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// It is no JSON, and where.
    Syntax(String),
    /// It is, and something else than what was expected.
    Mistakes(Mistakes),
}

/// What can be read of a part of a body.
pub trait FromJson: Sized {
    /// Reads it; `None` if something is wrong with it, which is then among the mistakes. `at` is the
    /// JSON pointer of the value.
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self>;
}

/// Reads a body.
///
/// # Errors
/// All that is wrong with it.
pub fn parse<T: FromJson>(body: &[u8]) -> Result<T, BodyError> {
    let value = strict(body).map_err(|error| BodyError::Syntax(error.to_string()))?;
    let mut mistakes = Mistakes::default();
    let read = T::from_json(value, "", &mut mistakes);
    match read {
        Some(read) if mistakes.is_empty() => Ok(read),
        _ => Err(BodyError::Mistakes(mistakes)),
    }
}

/// The pointer of what is called `name` in what is at `at`.
pub(crate) fn below(at: &str, name: &str) -> String {
    let name: String = name.chars().take(LONGEST_SHOWN).collect();
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// An object whose fields are taken one by one; what is left at the end is unknown.
pub(crate) struct Object<'a> {
    fields: Map<String, Value>,
    at: String,
    known: Vec<&'static str>,
    mistakes: &'a mut Mistakes,
}

impl<'a> Object<'a> {
    /// The value's fields, if it is an object.
    pub(crate) fn of(value: Value, at: &str, mistakes: &'a mut Mistakes) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self {
                fields,
                at: at.to_owned(),
                known: Vec::new(),
                mistakes,
            }),
            other => {
                mistakes.push(wrong(at, &other, "an object"));
                None
            }
        }
    }

    /// A field that may be missing, or null.
    pub(crate) fn take<T: FromJson>(&mut self, name: &'static str) -> Option<T> {
        match self.take_setting(name) {
            Setting::To(value) => Some(value),
            Setting::Keep | Setting::Clear => None,
        }
    }

    /// A field that may be missing; null is something else.
    pub(crate) fn take_setting<T: FromJson>(&mut self, name: &'static str) -> Setting<T> {
        self.known.push(name);
        match self.fields.remove(name) {
            None => Setting::Keep,
            Some(Value::Null) => Setting::Clear,
            Some(value) => {
                let read = T::from_json(value, &below(&self.at, name), self.mistakes);
                read.map_or(Setting::Keep, Setting::To)
            }
        }
    }

    /// A field that must be there.
    pub(crate) fn required<T: FromJson>(&mut self, name: &'static str) -> Option<T> {
        if !self.fields.contains_key(name) {
            self.known.push(name);
            self.mistake(name, "it is missing");
            return None;
        }
        match self.take_setting(name) {
            Setting::To(value) => Some(value),
            Setting::Clear => {
                self.mistake(name, "it is null: expected a value");
                None
            }
            Setting::Keep => None,
        }
    }

    /// Whether there is a field of this name that was not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Something is wrong with this field.
    pub(crate) fn mistake(&mut self, name: &str, detail: impl Into<String>) {
        self.mistakes
            .push(Mistake::at(below(&self.at, name), detail));
    }

    /// Names whatever is left.
    pub(crate) fn finish(self) {
        for (index, name) in self.fields.keys().enumerate() {
            if self.mistakes.is_full() {
                // What is not named costs nothing: there may be ten thousands.
                return self.mistakes.count_more(self.fields.len() - index);
            }
            let nearest = nearest(name, &self.known);
            let detail = match nearest {
                Some(nearest) => format!("there is no such field: did you mean {nearest:?}?"),
                None => "there is no such field".to_owned(),
            };
            self.mistakes
                .push(Mistake::at(below(&self.at, name), detail));
        }
    }
}

/// The known name that was probably meant.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > LONGEST_SHOWN {
        return None;
    }
    #[cfg(test)]
    tests::LOOKED_FOR.set(tests::LOOKED_FOR.get() + 1);
    let scored = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), *known));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(score, _)| *score > 0.85)
        .map(|(_, known)| known)
}

fn wrong(at: &str, value: &Value, expected: &str) -> Mistake {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Mistake::at(at, format!("it is {is}: expected {expected}"))
}

impl FromJson for String {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            other => {
                mistakes.push(wrong(at, &other, "a string"));
                None
            }
        }
    }
}

impl FromJson for bool {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::Bool(is) => Some(is),
            other => {
                mistakes.push(wrong(at, &other, "true or false"));
                None
            }
        }
    }
}

impl FromJson for f64 {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let number = value.as_f64();
        if number.is_none() {
            mistakes.push(wrong(at, &value, "a number"));
        }
        number
    }
}

impl FromJson for i64 {
    /// A whole number, also one that is written `50.0`, which JSON doesn't tell apart.
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let whole = |number: &f64| number.fract() == 0.0 && number.abs() < 9e15;
        let number = value
            .as_i64()
            .or_else(|| value.as_f64().filter(whole).map(|number| number as i64));
        if number.is_none() {
            mistakes.push(match &value {
                Value::Number(number) => {
                    let number: String = number.to_string().chars().take(LONGEST_SHOWN).collect();
                    Mistake::at(at, format!("it is {number}: expected a whole number"))
                }
                other => wrong(at, other, "a whole number"),
            });
        }
        number
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::Array(items) => {
                whole(items.into_iter().enumerate().map(|(index, item)| {
                    T::from_json(item, &below(at, &index.to_string()), mistakes)
                }))
            }
            other => {
                mistakes.push(wrong(at, &other, "an array"));
                None
            }
        }
    }
}

impl<T: FromJson> FromJson for BTreeMap<String, T> {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::Object(fields) => whole(fields.into_iter().map(|(name, value)| {
                let read = T::from_json(value, &below(at, &name), mistakes)?;
                Some((name, read))
            })),
            other => {
                mistakes.push(wrong(at, &other, "an object"));
                None
            }
        }
    }
}

/// All parts, if each could be read. Each is looked at, so that each mistake is named; but of what is
/// wrong anyway nothing is kept.
fn whole<T, W: Default + Extend<T>>(parts: impl Iterator<Item = Option<T>>) -> Option<W> {
    let mut whole = Some(W::default());
    for part in parts {
        match part {
            Some(part) => {
                if let Some(whole) = &mut whole {
                    whole.extend([part]);
                }
            }
            None => whole = None,
        }
    }
    whole
}

/// JSON in which no object names a field twice: of two values nobody could say which was meant.
fn strict(body: &[u8]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let left = Cell::new(MOST_VALUES);
    let value = Strict { left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads one value, and those within it.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// How many more there may be.
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| {
            let detail = format!("expected at most {MOST_VALUES} values in a body");
            de::Error::custom(detail)
        })?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
        Ok(Value::Bool(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number is too large"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                let name: String = name.chars().take(LONGEST_SHOWN).collect();
                return Err(de::Error::custom(format!("field {name:?} is there twice")));
            }
            let value = fields.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// How often the nearest known name was looked for.
        pub(super) static LOOKED_FOR: Cell<usize> = const { Cell::new(0) };
    }

    struct Pair {
        number: f64,
        words: Vec<String>,
    }

    impl FromJson for Pair {
        fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
            let mut fields = Object::of(value, at, mistakes)?;
            let number = fields.required("number");
            let words = fields.take("words").unwrap_or_default();
            fields.finish();
            Some(Self {
                number: number?,
                words,
            })
        }
    }

    fn mistakes(body: &str) -> Vec<(String, String)> {
        match parse::<Pair>(body.as_bytes()) {
            Err(BodyError::Mistakes(mistakes)) => mistakes
                .named()
                .iter()
                .map(|mistake| match &mistake.at {
                    crate::Place::Pointer(at) => (at.clone(), mistake.detail.clone()),
                    other => panic!("{other:?}"),
                })
                .collect(),
            Err(BodyError::Syntax(error)) => panic!("{error}"),
            Ok(pair) => panic!("{} {:?}", pair.number, pair.words),
        }
    }

    #[test]
    fn every_mistake_has_its_pointer() {
        assert_eq!(
            mistakes(r#"{"number": "x", "words": ["a", 1, null], "wodrs": 1, "a/b~": 2}"#),
            [
                ("/number", "it is a string: expected a number"),
                ("/words/1", "it is a number: expected a string"),
                ("/words/2", "it is null: expected a string"),
                ("/a~1b~0", "there is no such field"),
                ("/wodrs", "there is no such field: did you mean \"words\"?"),
            ]
            .map(|(at, detail)| (at.to_owned(), detail.to_owned()))
        );
        assert_eq!(mistakes("{}")[0].1, "it is missing");
        assert_eq!(
            mistakes("[]"),
            [(String::new(), "it is an array: expected an object".into())]
        );
    }

    #[test]
    fn what_was_meant_is_looked_for_only_where_it_is_told() {
        // Given far more unknown fields than are named,
        let fields: Vec<_> = (0..10_000)
            .map(|number| format!(r#""f{number}": 1"#))
            .collect();
        let body = format!("{{{}}}", fields.join(", "));
        // when they are read, then all are counted,
        let Err(BodyError::Mistakes(mistakes)) = parse::<Pair>(body.as_bytes()) else {
            panic!("it was read");
        };
        assert!(
            mistakes.to_string().starts_with("10001 mistakes"),
            "{mistakes}"
        );
        // and only for those that are named it was asked what was meant.
        assert!(mistakes.is_full());
        assert!(LOOKED_FOR.get() <= mistakes.named().len());
    }

    #[test]
    fn what_is_no_json_says_where() {
        let syntax = |body: &str| match parse::<Pair>(body.as_bytes()) {
            Err(BodyError::Syntax(error)) => error,
            _ => panic!("{body} was read"),
        };
        assert!(syntax("{").contains("line 1"), "{}", syntax("{"));
        assert!(syntax(r#"{"number": 1, "number": 2}"#).contains("\"number\" is there twice"));
        assert!(syntax(r#"{"number": 1} x"#).contains("trailing"));
        assert!(syntax(r#"{"number": 1e999}"#).contains("out of range"));
        // What is short in a body and long in memory is bounded.
        let many = format!("[{}0]", "0,".repeat(MOST_VALUES));
        assert!(
            syntax(&many).contains("at most 2000000 values"),
            "{}",
            syntax(&many)
        );
        // Depth costs no stack.
        assert!(syntax(&"[".repeat(1_000_000)).contains("recursion limit"));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<Pair>(&body).is_ok();
        }
    }
}
