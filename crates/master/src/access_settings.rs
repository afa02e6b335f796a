//! What an operator can set about who gets in, and how: HTTP's certificate and origins, accounts, and
//! what a user may have at a time.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, value_parser};
use cloudai_accounts::{AccountSettings, Registration, Secret};
use cloudai_config::{ListenAddr, Setting, Settings, bytes, duration};
use cloudai_http::TlsFiles;
use cloudai_model::UserLimits;

/// The fewest bytes of `JWT_SECRET`: as many as the sum that it makes has.
const LEAST_SECRET: usize = 32;

/// See the module.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Certificate and key of the HTTP server; `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// Web sites whose pages may read what HTTP answers.
    pub origins: Vec<String>,
    /// Who may register.
    pub registration: Registration,
    /// What tokens are signed with; `None`: what is made at the first start.
    pub jwt_secret: Option<Secret>,
    /// The password of the first admin; `None`: one is made and shown.
    pub admin_password: Option<Secret>,
    /// How long a login lasts.
    pub token_lifetime: Duration,
    /// What a user may have at a time who has no limits of their own.
    pub user_limits: UserLimits,
}

/// Why nobody could get in so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// One without the other.
    #[error("http-tls-cert and http-tls-key: expected both or none of them")]
    HalfTls,
    /// No time at all, or longer than anybody should be let in for.
    #[error("token-lifetime {0:?}: expected one minute to 90 days, such as 12h")]
    TokenLifetime(Duration),
}

/// The settings, to be declared with the others.
pub(crate) fn settings() -> Vec<Setting> {
    let arg = |id: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).value_name(value).help(help)
    };
    let secret = |id: &'static str, variable: &'static str| {
        Setting::without_flag(Arg::new(id).value_parser(secret_of_length(id)))
            .env(variable)
            .secret()
    };
    let file = |id: &'static str, variable: &'static str, help: &'static str| {
        Setting::flag(arg(id, "FILE", help).value_parser(value_parser!(PathBuf))).env(variable)
    };
    vec![
        file(
            "http-tls-cert",
            "CLOUDAI_HTTP_TLS_CERT",
            "Serve HTTP over TLS with this certificate, in PEM; read anew when it changes",
        ),
        file(
            "http-tls-key",
            "CLOUDAI_HTTP_TLS_KEY",
            "The certificate's private key, in PEM",
        ),
        Setting::flag(
            arg(
                "http-origins",
                "URLS",
                "Web sites whose pages may read what HTTP answers, with commas between",
            )
            .value_delimiter(',')
            .value_parser(|text: &str| origin(text)),
        )
        .env("CLOUDAI_HTTP_ORIGINS"),
        Setting::flag(
            arg(
                "registration",
                "WHO",
                "Who may register: closed, open, approval, or auto: open while HTTP is on loopback",
            )
            .value_parser(|text: &str| registration(text)),
        )
        .env("CLOUDAI_REGISTRATION"),
        secret("jwt-secret", "JWT_SECRET"),
        secret("admin-password", "CLOUDAI_ADMIN_PASSWORD"),
        Setting::flag(
            arg("token-lifetime", "SPAN", "A login lasts so long")
                .value_parser(|text: &str| duration(text)),
        )
        .env("CLOUDAI_TOKEN_LIFETIME"),
        limit(
            "user-queued-tasks",
            "COUNT",
            "CLOUDAI_USER_QUEUED_TASKS",
            "Tasks of one user that may wait, or unlimited",
            |text| text.parse().ok(),
        ),
        limit(
            "user-cpu",
            "CORES",
            "CLOUDAI_USER_CPU",
            "Cores that the tasks of one user have at a time, or unlimited",
            |text| cloudai_model::resources::milli_cores(text.parse().ok()?).ok(),
        ),
        limit(
            "user-memory",
            "AMOUNT",
            "CLOUDAI_USER_MEMORY",
            "Memory that they have at a time, such as 64GB, or unlimited",
            |text| bytes(text).ok(),
        ),
        limit(
            "user-gpus",
            "DEVICES",
            "CLOUDAI_USER_GPUS",
            "GPUs that they have at a time, or unlimited",
            gpu_milli,
        ),
        limit(
            "user-files",
            "AMOUNT",
            "CLOUDAI_USER_FILES",
            "Output files that are kept of one user, such as 100GB, or unlimited",
            |text| bytes(text).ok(),
        ),
    ]
}

/// A text that is no web site as a browser names one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected scheme, host, and a port that is not the scheme's own, in small letters and without a path, such as https://dash.example.org"
)]
struct OriginError;

/// A web site as browsers name it in `Origin`: what is written otherwise would never be the same.
fn origin(text: &str) -> Result<String, OriginError> {
    let (rest, own_port) = match text.split_once("://") {
        Some(("https", rest)) => (rest, "443"),
        Some(("http", rest)) => (rest, "80"),
        _ => return Err(OriginError),
    };
    // An address of IPv6 has its colons in brackets.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_number = |port: &str| {
        port.parse::<u16>()
            .is_ok_and(|number| number.to_string() == port)
    };
    let is_port = port.is_none_or(|port| port != own_port && is_number(port));
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
        }),
    };
    match is_port && is_host && !host.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(OriginError),
    }
}

fn gpu_milli(text: &str) -> Option<u64> {
    let devices: f64 = text.parse().ok()?;
    (0.0..=100_000.0)
        .contains(&devices)
        .then(|| (devices * 1000.0).round() as u64)
}

/// A text that says no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount above zero, or unlimited")]
struct LimitError;

fn limit(
    id: &'static str,
    value: &'static str,
    variable: &'static str,
    help: &'static str,
    read: impl Fn(&str) -> Option<u64> + Clone + Send + Sync + 'static,
) -> Setting {
    let read = move |text: &str| -> Result<Option<u64>, LimitError> {
        match text.trim() {
            text if text.eq_ignore_ascii_case("unlimited") => Ok(None),
            // Nothing at all, or no limit: whoever writes 0 may mean either.
            text => read(text)
                .filter(|most| *most > 0)
                .map(Some)
                .ok_or(LimitError),
        }
    };
    let arg = Arg::new(id).value_name(value).help(help);
    Setting::flag(arg.value_parser(read)).env(variable)
}

/// A text that says not who may register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected closed, open, approval or auto")]
struct RegistrationError;

/// `None`: as follows from where HTTP is served.
fn registration(text: &str) -> Result<Option<Registration>, RegistrationError> {
    match text {
        "auto" => Ok(None),
        text => text.parse().map(Some).map_err(|_| RegistrationError),
    }
}

/// A secret that is too short; it is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected at least {LEAST_SECRET} bytes, such as `openssl rand -base64 32` makes")]
struct SecretLengthError;

fn secret_of_length(
    id: &'static str,
) -> impl Fn(&str) -> Result<Secret, SecretLengthError> + Clone + Send + Sync + 'static {
    move |text| match id == "jwt-secret" && text.len() < LEAST_SECRET {
        true => Err(SecretLengthError),
        false => Ok(Secret::new(text.to_owned())),
    }
}

impl AccessSettings {
    /// As they were found, for an HTTP server at this address.
    ///
    /// # Errors
    /// If they don't fit each other.
    pub fn of(found: &Settings, http: &ListenAddr) -> Result<Self, AccessError> {
        let tls = match (
            found.get_if_any("http-tls-cert"),
            found.get_if_any("http-tls-key"),
        ) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(AccessError::HalfTls),
        };
        let token_lifetime: Duration = found.get("token-lifetime");
        let day = Duration::from_secs(86_400);
        if token_lifetime < Duration::from_secs(60) || token_lifetime > day * 90 {
            return Err(AccessError::TokenLifetime(token_lifetime));
        }
        let registration: Option<Registration> = found.get("registration");
        Ok(Self {
            tls,
            origins: found.get_list("http-origins"),
            registration: registration
                .unwrap_or_else(|| Registration::default_for(http.is_loopback_only())),
            jwt_secret: found.get_if_any("jwt-secret"),
            admin_password: found.get_if_any("admin-password"),
            token_lifetime,
            user_limits: UserLimits {
                queued_tasks: found.get("user-queued-tasks"),
                cpu_milli: found.get("user-cpu"),
                memory_bytes: found.get("user-memory"),
                gpu_milli: found.get("user-gpus"),
                files_bytes: found.get("user-files"),
            },
        })
    }

    /// What accounts need to know of them.
    #[must_use]
    pub fn accounts(&self, issuer: String) -> AccountSettings {
        AccountSettings {
            registration: self.registration,
            first_password: self.admin_password.clone(),
            token_lifetime: self.token_lifetime,
            limits: self.user_limits,
            ..AccountSettings::new(issuer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in [
            "https://dash.example.org",
            "http://localhost:3000",
            "http://192.0.2.1:8081",
            "https://[2001:db8::1]",
            "https://[2001:db8::1]:8443",
        ] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for never in [
            "",
            "*",
            "null",
            "dash.example.org",
            "https://",
            "https://*.example.org",
            "https://dash.example.org/",
            "https://dash.example.org/path",
            "https://Dash.example.org",
            "https://dash.example.org:443",
            "http://dash.example.org:080",
            "http://dash.example.org:99999",
            "https://user@dash.example.org",
            "https://[2001:db8::1",
            "ftp://dash.example.org",
        ] {
            assert_eq!(origin(never), Err(OriginError), "{never}");
        }
    }
}
