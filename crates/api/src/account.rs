//! Users, their keys, and the record of what was done.

use std::fmt;

use cloudai_accounts::Secret;
use cloudai_model::{
    AccountState, KeyScope, Role, Setting, UserLimits, Wall,
    resources::{bytes_to_gb, gb_to_bytes},
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Object as Schema, RefOr},
};

use crate::{
    figures::{Time, gb, of_milli, words, words_or_null},
    new_task::Deadline,
    problem::{Mistake, Mistakes},
    read::{FromJson, Object, below},
};

impl FromJson for Secret {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        String::from_json(value, at, mistakes).map(Self::new)
    }
}

/// The one way in which a secret gets out: to whom it belongs.
fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn role_schema() -> Schema {
    words(Role::ALL.iter().map(|word| word.as_str())).into()
}

fn state_schema() -> Schema {
    words(AccountState::ALL.iter().map(|word| word.as_str())).into()
}

fn role_or_null_schema() -> Schema {
    words_or_null(Role::ALL.iter().map(|word| word.as_str())).into()
}

fn state_or_null_schema() -> Schema {
    words_or_null(AccountState::ALL.iter().map(|word| word.as_str())).into()
}

fn scope_schema() -> Schema {
    words(KeyScope::ALL.iter().map(|word| word.as_str())).into()
}

/// Somebody who wants an account.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "alice")]
    pub username: String,
    /// The password.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024,
        example = "correct horse battery")]
    pub password: Secret,
    /// The person's name.
    pub name: Option<String>,
    /// Address.
    pub email: Option<String>,
}

impl FromJson for Register {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let register = Self::take(&mut fields);
        fields.finish();
        register
    }
}

impl Register {
    fn take(fields: &mut Object<'_>) -> Option<Self> {
        let username = fields.required("username");
        let password = fields.required("password");
        let name = fields.take("name");
        let email = fields.take("email");
        Some(Self {
            username: username?,
            password: password?,
            name,
            email,
        })
    }
}

/// Somebody whom an admin makes a user.
#[derive(Debug, Clone, PartialEq)]
pub struct NewUser {
    /// As somebody who registers.
    pub user: Register,
    /// What they may do; a user if none.
    pub role: Option<Role>,
}

/// Somebody whom an admin makes a user.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a schema: words become a role by hand")]
struct NewUserSchema {
    /// 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "alice")]
    username: String,
    /// The password.
    #[schema(format = Password, min_length = 8, max_length = 1024,
        example = "correct horse battery")]
    password: String,
    /// The person's name.
    name: Option<String>,
    /// Address.
    email: Option<String>,
    /// What they may do; `user` if none.
    #[schema(schema_with = role_or_null_schema, required = false)]
    role: Option<String>,
}

impl PartialSchema for NewUser {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        NewUserSchema::schema()
    }
}

impl ToSchema for NewUser {
    fn schemas(schemas: &mut Vec<(String, RefOr<utoipa::openapi::Schema>)>) {
        NewUserSchema::schemas(schemas);
    }
}

impl FromJson for NewUser {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let user = Register::take(&mut fields);
        let role = word(&mut fields, "role");
        fields.finish();
        Some(Self { user: user?, role })
    }
}

/// Name and password.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The name.
    #[schema(example = "alice")]
    pub username: String,
    /// The password.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, format = Password)]
    pub password: Secret,
}

impl FromJson for Login {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let username = fields.required("username");
        let password = fields.required("password");
        fields.finish();
        Some(Self {
            username: username?,
            password: password?,
        })
    }
}

/// Somebody is logged in.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LoggedIn {
    /// For `Authorization: Bearer`; the cookie that comes along holds the same.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String)]
    pub token: Secret,
    /// `Bearer`.
    #[schema(example = "Bearer")]
    pub token_type: &'static str,
    /// When the token ends.
    pub expires_at: Time,
    /// Who.
    pub user: User,
}

/// A new password.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one of now.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, format = Password)]
    pub current_password: Secret,
    /// The new one.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024,
        example = "correct horse battery")]
    pub new_password: Secret,
}

impl FromJson for ChangePassword {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let current_password = fields.required("current_password");
        let new_password = fields.required("new_password");
        fields.finish();
        Some(Self {
            current_password: current_password?,
            new_password: new_password?,
        })
    }
}

/// Another key for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateTokenKey {
    /// All tokens end now: if somebody may have seen the key.
    #[schema(default = false, required = false)]
    pub at_once: bool,
}

impl FromJson for RotateTokenKey {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let at_once = fields.take("at_once").unwrap_or(false);
        fields.finish();
        Some(Self { at_once })
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct User {
    /// The name; never changes.
    #[schema(example = "alice")]
    username: String,
    /// The person's name.
    name: String,
    /// Address.
    email: String,
    /// What they may do.
    #[schema(schema_with = role_schema)]
    role: &'static str,
    /// Whether they may log in.
    #[schema(schema_with = state_schema)]
    state: &'static str,
    /// The user's own limits; what is null is as the settings say for everybody.
    limits: Limits,
    /// When the user was made.
    created_at: Time,
    /// When something of it changed last.
    updated_at: Time,
}

impl From<&cloudai_accounts::User> for User {
    fn from(record: &cloudai_accounts::User) -> Self {
        Self {
            username: record.user.to_string(),
            name: record.name.clone(),
            email: record.email.clone(),
            role: record.role.as_str(),
            state: record.state.as_str(),
            limits: Limits::from(&record.limits),
            created_at: record.created_at.into(),
            updated_at: record.updated_at.into(),
        }
    }
}

/// The most that a user may have at a time; null: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Tasks that wait.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, required = false)]
    queued_tasks: Option<i64>,
    /// Cores that are given to the user's tasks.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, required = false)]
    cpu_cores: Option<f64>,
    /// GB of memory that are given to them.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, required = false)]
    memory_gb: Option<f64>,
    /// GPUs that are given to them.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, required = false)]
    gpu_cores: Option<f64>,
    /// GB of output files that are kept.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, required = false)]
    files_gb: Option<f64>,
}

impl From<&UserLimits> for Limits {
    fn from(limits: &UserLimits) -> Self {
        Self {
            queued_tasks: limits
                .queued_tasks
                .and_then(|tasks| i64::try_from(tasks).ok()),
            cpu_cores: limits.cpu_milli.map(of_milli),
            memory_gb: limits.memory_bytes.map(gb),
            gpu_cores: limits.gpu_milli.map(of_milli),
            files_gb: limits.files_bytes.map(bytes_to_gb),
        }
    }
}

/// Limits as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct SentLimits(UserLimits);

impl FromJson for SentLimits {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let queued_tasks = fields.take::<i64>("queued_tasks").and_then(|tasks| {
            let within = u64::try_from(tasks)
                .ok()
                .filter(|tasks| *tasks <= 1_000_000_000_000);
            if within.is_none() {
                fields.mistake("queued_tasks", "expected 0 to 1000000000000");
            }
            within
        });
        let mut amount = |name| {
            let amount: f64 = fields.take(name)?;
            let within = (0.0..=1_000_000.0).contains(&amount);
            if !within {
                fields.mistake(name, "expected 0 to 1000000");
            }
            within.then_some(amount)
        };
        let milli = |amount: f64| (amount * 1000.0).round() as u64;
        let cpu_milli = amount("cpu_cores").map(milli);
        let memory_gb = amount("memory_gb");
        let gpu_milli = amount("gpu_cores").map(milli);
        let files_gb = amount("files_gb");
        fields.finish();
        Some(Self(UserLimits {
            queued_tasks,
            cpu_milli,
            memory_bytes: memory_gb.and_then(|gb| gb_to_bytes(gb).ok()),
            gpu_milli,
            files_bytes: files_gb.and_then(|gb| gb_to_bytes(gb).ok()),
        }))
    }
}

/// What an admin changes of a user; what is missing stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserChange {
    /// What they may do.
    pub role: Option<Role>,
    /// Whether they may log in.
    pub state: Option<AccountState>,
    /// All limits anew; cleared there are none of the user's own.
    pub limits: Setting<UserLimits>,
    /// A new password, with which all tokens of the user end.
    pub password: Option<Secret>,
}

/// What is missing stays as it is.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "a schema: null and missing are told apart by hand"
)]
struct UserChangeSchema {
    /// What they may do.
    #[schema(schema_with = role_or_null_schema, required = false)]
    role: Option<String>,
    /// Whether they may log in.
    #[schema(schema_with = state_or_null_schema, required = false)]
    state: Option<String>,
    /// All limits anew; null: none of the user's own.
    limits: Option<Limits>,
    /// A new password, with which all tokens of the user end.
    #[schema(format = Password, min_length = 8, max_length = 1024,
        example = "correct horse battery")]
    password: Option<String>,
}

impl PartialSchema for UserChange {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        UserChangeSchema::schema()
    }
}

impl ToSchema for UserChange {
    fn schemas(schemas: &mut Vec<(String, RefOr<utoipa::openapi::Schema>)>) {
        UserChangeSchema::schemas(schemas);
    }
}

/// A field that is one of a few words.
fn word<T: std::str::FromStr<Err: fmt::Display>>(
    fields: &mut Object<'_>,
    name: &'static str,
) -> Option<T> {
    let text: String = fields.take(name)?;
    let parsed = text.parse();
    parsed
        .map_err(|error: T::Err| fields.mistake(name, error.to_string()))
        .ok()
}

impl FromJson for UserChange {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let change = Self {
            role: word(&mut fields, "role"),
            state: word(&mut fields, "state"),
            limits: match fields.take_setting::<SentLimits>("limits") {
                Setting::Keep => Setting::Keep,
                Setting::Clear => Setting::Clear,
                Setting::To(SentLimits(limits)) => Setting::To(limits),
            },
            password: fields.take("password"),
        };
        fields.finish();
        Some(change)
    }
}

/// A key for a program.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Key {
    /// Names it; the part of the key that may be shown.
    id: String,
    /// Whose it is.
    username: String,
    /// What the user calls it.
    name: String,
    /// What it may be used for.
    #[schema(schema_with = scope_schema)]
    scope: &'static str,
    /// When it was made.
    created_at: Time,
    /// From when on it counts no more; null: until it is deleted.
    expires_at: Option<Time>,
}

impl From<&cloudai_accounts::Key> for Key {
    fn from(record: &cloudai_accounts::Key) -> Self {
        Self {
            id: record.id.clone(),
            username: record.user.to_string(),
            name: record.name.clone(),
            scope: record.scope.as_str(),
            created_at: record.created_at.into(),
            expires_at: Time::of(record.expires_at),
        }
    }
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// What the user calls it.
    pub name: String,
    /// What it may be used for.
    pub scope: KeyScope,
    /// From when on it counts no more.
    expires_at: Option<Deadline>,
}

/// A key to be made.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a schema: words become a scope by hand")]
struct NewKeySchema {
    /// What the user calls it.
    #[schema(max_length = 128, example = "nightly build")]
    name: String,
    /// `read` looks, `tasks` submits, changes and cancels too, `all` is whatever the user may do but
    /// for passwords and keys.
    #[schema(schema_with = scope_schema)]
    scope: String,
    /// From when on it counts no more; never if none.
    expires_at: Option<Deadline>,
}

impl PartialSchema for NewKey {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        NewKeySchema::schema()
    }
}

impl ToSchema for NewKey {
    fn schemas(schemas: &mut Vec<(String, RefOr<utoipa::openapi::Schema>)>) {
        NewKeySchema::schemas(schemas);
    }
}

impl FromJson for NewKey {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let name = fields.required("name");
        let is_missing = !fields.has("scope");
        let scope = word(&mut fields, "scope");
        if is_missing {
            fields.mistake("scope", "it is missing");
        }
        let expires_at = fields.take("expires_at");
        fields.finish();
        Some(Self {
            name: name?,
            scope: scope?,
            expires_at,
        })
    }
}

impl NewKey {
    /// From when on it counts no more.
    ///
    /// # Errors
    /// If that is no time, or none to come.
    pub fn expires_at(&self, now: Wall) -> Result<Option<Wall>, Mistakes> {
        let instant = self.expires_at.as_ref().map(|at| at.instant(now));
        instant.transpose().map_err(|detail| {
            let mut mistakes = Mistakes::default();
            mistakes.push(Mistake::at(below("", "expires_at"), detail));
            mistakes
        })
    }
}

/// A key that was made.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MadeKey {
    /// For `Authorization: Bearer`. It is shown this once.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String)]
    pub secret: Secret,
    /// What is known of it from now on.
    pub key: Key,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BodyError, parse};

    #[test]
    fn a_password_is_in_no_debug_output() {
        let login: Login = parse(br#"{"username": "a", "password": "hunter2"}"#).unwrap();
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn a_change_of_a_user_reads_words_and_limits() {
        let body = br#"{"role": "admin", "limits": {"queued_tasks": 5, "cpu_cores": 1.5}}"#;
        let change: UserChange = parse(body).unwrap();
        assert_eq!(change.role, Some(Role::Admin));
        assert_eq!(
            change.limits,
            Setting::To(UserLimits {
                queued_tasks: Some(5),
                cpu_milli: Some(1500),
                ..UserLimits::default()
            })
        );
        let wrong = br#"{"role": "root", "state": 1, "limits": {"queued_tasks": -1, "x": 1}}"#;
        let Err(BodyError::Mistakes(mistakes)) = parse::<UserChange>(wrong) else {
            panic!("it was taken");
        };
        assert_eq!(mistakes.named().len(), 4, "{mistakes:?}");
    }

    #[test]
    fn a_key_needs_a_name_and_a_scope() {
        let Err(BodyError::Mistakes(mistakes)) = parse::<NewKey>(b"{}") else {
            panic!("it was taken");
        };
        assert_eq!(mistakes.named().len(), 2);
        let key: NewKey = parse(br#"{"name": "n", "scope": "read", "expires_at": 60}"#).unwrap();
        assert_eq!(key.expires_at(Wall(5)), Ok(Some(Wall(60_005))));
    }
}
