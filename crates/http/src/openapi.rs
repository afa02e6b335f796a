//! The document that describes the interface: OpenAPI 3.1, made of the code.

use cloudai_api::{Code, Problem};
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi as Document,
        OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
        header::HeaderBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};

/// The name of the cookie that a login sets.
const COOKIE: &str = "cloudai_session";

/// The same where it came by TLS: browsers let no other name or port set one that begins so.
const SECURE_COOKIE: &str = "__Host-cloudai_session";

/// What the paths are about, in the order in which a reader meets them.
const TAGS: [(&str, &str); 6] = [
    (
        "tasks",
        "A task is a container that runs once: submitted, watched, changed, cancelled.",
    ),
    (
        "files",
        "What tasks left in `/output`, kept by the master until it is deleted.",
    ),
    (
        "workers",
        "The machines that run tasks. Admins change them.",
    ),
    (
        "telemetry",
        "What the machines use, and what of them is promised.",
    ),
    (
        "accounts",
        "Who may come in: logins, keys for programs, users, and the record of who did what.",
    ),
    (
        "master",
        "How the master itself is; for those who watch it.",
    ),
];

pub(crate) fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { SECURE_COOKIE } else { COOKIE }
}

/// What the document says before any path is known.
pub(crate) fn begin() -> Document {
    let mut components = Components::new();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a login, or a key."))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::with_description(
        COOKIE,
        "Set by a login; over TLS its name begins with `__Host-`. What changes something is taken with it from pages of this server alone.",
    );
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let mut schemas = Vec::new();
    Problem::schemas(&mut schemas);
    schemas.push((Problem::name().into_owned(), Problem::schema()));
    components.schemas.extend(schemas);
    let licence = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("CloudAI")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Runs container tasks on the machines that a team has. Every error is a problem of \
             RFC 9457 with a stable `code`.",
        ))
        .license(Some(licence))
        .build();
    let tag = |(name, about): (&str, &str)| {
        let tag = TagBuilder::new().name(name).description(Some(about));
        tag.build()
    };
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(TAGS.map(tag)))
        .components(Some(components))
        .build()
}

/// The whole document.
#[must_use]
pub fn document() -> Document {
    crate::routes::documented().to_openapi()
}

/// An answer that is one of these problems; all of them have one status.
pub(crate) fn problem(codes: &[Code]) -> RefOr<Response> {
    let words: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.as_str(), code.title()))
        .collect();
    let schema = Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new()
        .description(words.join(". "))
        .content("application/problem+json", content);
    let status = codes.first().map_or(0, |code| code.status());
    let text = || HeaderBuilder::new();
    if status == 405 {
        let allow = text()
            .description(Some("The methods that the path takes."))
            .build();
        response = response.header("Allow", allow);
    }
    if status == 401 {
        let how = text().description(Some("How to show who asks.")).build();
        response = response.header("WWW-Authenticate", how);
    }
    if status == 429 || status == 503 {
        let after = text()
            .description(Some("Seconds to wait before the next try."))
            .build();
        response = response.header("Retry-After", after);
    }
    response.build().into()
}

/// Names a set of problems that routes answer with.
macro_rules! problems {
    ($(#[$doc:meta])* $name:ident: $($code:ident),+ $(,)?) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                ::utoipa::openapi::RefOr<::utoipa::openapi::Response>,
            > {
                $crate::openapi::by_status(&[$(::cloudai_api::Code::$code),+])
            }
        }
    };
}
pub(crate) use problems;

/// One answer for each status.
pub(crate) fn by_status(codes: &[Code]) -> std::collections::BTreeMap<String, RefOr<Response>> {
    let mut grouped: std::collections::BTreeMap<u16, Vec<Code>> = Default::default();
    for code in codes {
        grouped.entry(code.status()).or_default().push(*code);
    }
    let answers = grouped.into_iter();
    answers
        .map(|(status, codes)| (status.to_string(), problem(&codes)))
        .collect()
}
