//! What an operator can set about who gets in, and how: HTTP's certificate and origins, accounts, and
//! what a user may have at a time.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, value_parser};
use cloudai_accounts::{
    AccountSettings, LEAST_PASSWORD_CHARS, PasswordCost, Registration, Secret, check_password,
    token::check_secret,
};
use cloudai_config::{ListenAddr, Setting, Settings, bytes, duration};
use cloudai_http::{AddressRange, TlsFiles};
use cloudai_model::UserLimits;

/// See the module.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Certificate and key of the HTTP server; `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// Proxies before the HTTP server that are believed.
    pub proxies: Vec<AddressRange>,
    /// The names by which the HTTP server is known; `None`: any.
    pub hosts: Option<Vec<String>>,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
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
    /// Connections to HTTP at a time.
    pub http_connections: usize,
    /// WebSockets at a time.
    pub websockets: usize,
    /// WebSockets of one user at a time.
    pub user_websockets: usize,
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
        Setting::without_flag(Arg::new(id).value_parser(secret_checked(id)))
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
                "http-proxies",
                "ADDRESSES",
                "Proxies before HTTP whose X-Forwarded-For and X-Forwarded-Proto are believed",
            )
            .value_delimiter(',')
            .value_parser(value_parser!(AddressRange)),
        )
        .env("CLOUDAI_HTTP_PROXIES"),
        Setting::flag(
            arg(
                "http-hosts",
                "NAMES",
                "Names by which HTTP may be asked for, besides addresses, with commas between",
            )
            .value_delimiter(','),
        )
        .env("CLOUDAI_HTTP_HOSTS"),
        Setting::flag(
            arg(
                "password-cost",
                "COST",
                "What hashing a password costs: KiB of memory, passes and lanes of argon2id",
            )
            .value_parser(value_parser!(PasswordCost)),
        )
        .env("CLOUDAI_PASSWORD_COST"),
        count(
            "http-connections",
            "CLOUDAI_HTTP_CONNECTIONS",
            "Connections to HTTP at a time, as far as there are file descriptors; the most silent goes",
        ),
        count(
            "websockets",
            "CLOUDAI_WEBSOCKETS",
            "WebSockets at a time; more are refused",
        ),
        count(
            "user-websockets",
            "CLOUDAI_USER_WEBSOCKETS",
            "WebSockets of one user at a time",
        ),
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

/// A most of something that there is at least one of.
fn count(id: &'static str, variable: &'static str, help: &'static str) -> Setting {
    let most = value_parser!(u32).range(1..=1_000_000);
    let arg = Arg::new(id).value_name("COUNT").help(help);
    Setting::flag(arg.value_parser(most)).env(variable)
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

/// A secret that won't do; it is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct SecretError(String);

/// As the accounts will, so that a start ends before anything is read.
fn secret_checked(
    id: &'static str,
) -> impl Fn(&str) -> Result<Secret, SecretError> + Clone + Send + Sync + 'static {
    move |text| {
        let secret = Secret::new(text.to_owned());
        if id == "jwt-secret" {
            let checked = check_secret(text.as_bytes());
            checked.map_err(|error| SecretError(error.to_string()))?;
        } else {
            let mistakes = check_password(&secret, "admin", LEAST_PASSWORD_CHARS);
            if !mistakes.is_empty() {
                let mistakes = mistakes.join(", ");
                return Err(SecretError(format!(
                    "the first password of admin {mistakes}"
                )));
            }
        }
        Ok(secret)
    }
}

/// By which names HTTP may be asked for. On loopback nobody but a proxy has another one for it.
fn known_names(
    named: Vec<String>,
    http: &ListenAddr,
    proxies: &[AddressRange],
) -> Option<Vec<String>> {
    let is_here_alone = http.is_loopback_only() && proxies.is_empty();
    (is_here_alone || !named.is_empty()).then_some(named)
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
        let most = |id| found.get::<u32>(id) as usize;
        let token_lifetime: Duration = found.get("token-lifetime");
        let day = Duration::from_secs(86_400);
        if token_lifetime < Duration::from_secs(60) || token_lifetime > day * 90 {
            return Err(AccessError::TokenLifetime(token_lifetime));
        }
        let proxies: Vec<AddressRange> = found.get_list("http-proxies");
        let registration: Option<Registration> = found.get("registration");
        Ok(Self {
            tls,
            hosts: known_names(found.get_list("http-hosts"), http, &proxies),
            proxies,
            password_cost: found.get("password-cost"),
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
            http_connections: most("http-connections"),
            websockets: most("websockets"),
            user_websockets: most("user-websockets"),
        })
    }

    /// What accounts need to know of them.
    #[must_use]
    pub fn accounts(&self, issuer: String) -> AccountSettings {
        AccountSettings {
            registration: self.registration,
            first_password: self.admin_password.clone(),
            token_lifetime: self.token_lifetime,
            cost: self.password_cost,
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
