//! Names of container images.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest path of a repository, its registry not counted.
const MAX_PATH_LEN: usize = 255;
/// The longest tag.
const MAX_TAG_LEN: usize = 128;
/// Where images come from that name no registry.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A text that is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "image {text:?} is not valid: {problem}; expected a name such as alpine:3.22 or \
     registry.example.org:5000/team/app@sha256:<64 hex digits>"
)]
pub struct ImageRefError {
    text: String,
    problem: &'static str,
}

/// A valid image name, as it was given.
///
/// The grammar is that of [distribution/reference](https://github.com/distribution/reference):
///
/// ```text
/// reference      = name [ ":" tag ] [ "@" digest ]
/// name           = [ domain "/" ] path
/// domain         = host [ ":" digits ]
/// host           = label *( "." label ) / "[" IPv6 address "]"
/// label          = letters, digits and hyphens, no hyphen first or last
/// path           = component *( "/" component )            at most 255 characters
/// component      = alphanumerics *( separator alphanumerics )
/// alphanumerics  = lower-case letters and digits
/// separator      = "_" / "." / "__" / 1*"-"
/// tag            = word character, then up to 127 word characters, "." or "-"
/// digest         = "sha256:" 64 lower-case hex digits
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef(Arc<str>);

impl ImageRef {
    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without tag and digest: `test:5000/team/app`.
    #[must_use]
    pub fn repository(&self) -> &str {
        split(&self.0).name
    }

    /// What the grammar takes for a host: `test:5000`; of `team/app` that is `team`. Which
    /// registry is asked tells [`registry`](Self::registry).
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        split_name(self.repository()).0
    }

    /// The repository behind the [`domain`](Self::domain): `team/app`.
    #[must_use]
    pub fn path(&self) -> &str {
        split_name(self.repository()).1
    }

    /// The tag, if one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        split(&self.0).tag
    }

    /// The digest with its algorithm, `sha256:...`, if one was given.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        split(&self.0).digest
    }

    /// The registry that is asked for it: `docker.io` unless the name begins with a host, which a
    /// dot, a port, an upper-case letter or the name `localhost` tells from a team's name.
    #[must_use]
    pub fn registry(&self) -> &str {
        registry_and_path(self.repository()).0
    }

    /// What to ask an engine for, as Docker does: the full name and the digest, or else the tag, or
    /// else `latest`. `alpine` becomes `docker.io/library/alpine` and `latest`.
    #[must_use]
    pub fn pull_name(&self) -> (String, String) {
        let (registry, path) = registry_and_path(self.repository());
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let library = if official { "library/" } else { "" };
        let version = self.digest().or(self.tag()).unwrap_or("latest");
        (format!("{registry}/{library}{path}"), version.to_owned())
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        check(text).map_err(|problem| ImageRefError {
            // A hostile text is shown, but not at any length.
            text: text.chars().take(300).collect(),
            problem,
        })?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// Where the parts would be. Neither name nor tag can hold an `@`, and a tag no slash.
fn split(text: &str) -> Parts<'_> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => Parts {
            name,
            tag: Some(tag),
            digest,
        },
        _ => Parts {
            name: rest,
            tag: None,
            digest,
        },
    }
}

/// Domain and path as the grammar has it: what can be a domain is one.
fn split_name(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) => (Some(domain), path),
        _ => (None, name),
    }
}

/// Registry and path as Docker has it.
fn registry_and_path(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DEFAULT_REGISTRY, path),
        Some((first, path))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (first, path)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let Parts { name, tag, digest } = split(text);
    if !digest.is_none_or(is_digest) {
        return Err("its digest is not sha256 with 64 lower-case hex digits");
    }
    if !tag.is_none_or(is_tag) {
        return Err("its tag is not 1 to 128 letters, digits, '_', '.' or '-'");
    }
    let (_, path) = split_name(name);
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("its repository holds an upper-case letter");
    }
    if !path.split('/').all(is_component) {
        return Err(
            "its repository is not made of lower-case letters and digits with '.', '_', '__', '-' \
             or '/' between them",
        );
    }
    if path.len() > MAX_PATH_LEN {
        return Err("its repository is longer than 255 characters");
    }
    if name.len() == 64 && is_hex(name) {
        return Err("it is an image's id, which names nothing on another machine");
    }
    Ok(())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of an address in brackets without a port lies within them.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_is_valid =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_is_valid = match address {
        Some(address) => {
            let in_address = |b: u8| b == b':' || b.is_ascii_hexdigit();
            !address.is_empty() && address.bytes().all(in_address)
        }
        None => host.split('.').all(is_label),
    };
    host_is_valid && port_is_valid
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric())
}

fn is_component(text: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_are_valid = [text.bytes().next(), text.bytes().next_back()]
        .into_iter()
        .all(|end| end.is_some_and(is_alphanumeric));
    // What is left between the alphanumerics are the separators.
    ends_are_valid
        && text
            .split(|c: char| u8::try_from(c).is_ok_and(is_alphanumeric))
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
    text.len() <= MAX_TAG_LEN
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b".-".contains(&b))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && is_hex(hex))
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_pulled_is_what_docker_would_pull() {
        let sha256 = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("team/app:1@{sha256}");
        let cases = [
            ("alpine", "docker.io/library/alpine", "latest"),
            ("alpine:3.22", "docker.io/library/alpine", "3.22"),
            ("docker.io/alpine", "docker.io/library/alpine", "latest"),
            (
                "index.docker.io/alpine",
                "docker.io/library/alpine",
                "latest",
            ),
            ("team/app:1", "docker.io/team/app", "1"),
            ("localhost/app", "localhost/app", "latest"),
            ("test:5000/app:1", "test:5000/app", "1"),
            ("ghcr.io/a/b/c", "ghcr.io/a/b/c", "latest"),
            ("Team/app", "Team/app", "latest"),
            ("[::1]:5000/app", "[::1]:5000/app", "latest"),
            (pinned.as_str(), "docker.io/team/app", sha256.as_str()),
        ];
        for (text, name, version) in cases {
            let expected = (name.to_owned(), version.to_owned());
            assert_eq!(image(text).pull_name(), expected, "{text}");
        }
        assert_eq!(image("team/app").registry(), "docker.io");
        assert_eq!(image("team/app").domain(), Some("team"));
        assert_eq!(image("test:5000/team/app").path(), "team/app");
    }

    #[test]
    fn an_error_says_which_part_is_wrong() {
        let id = "0a".repeat(32);
        let cases = [
            ("", "it is empty"),
            ("Alpine", "upper-case"),
            ("alpine:", "its tag"),
            ("alpine:-x", "its tag"),
            ("alpine@sha256:12", "its digest"),
            ("alpine@", "its digest"),
            ("a//b", "its repository is not made"),
            ("a/", "its repository is not made"),
            ("/a", "its repository is not made"),
            ("a___b", "its repository is not made"),
            ("a._b", "its repository is not made"),
            ("alpine latest", "its repository is not made"),
            ("größe", "its repository is not made"),
            (id.as_str(), "an image's id"),
        ];
        for (text, part) in cases {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(
                error.contains("expected a name such as alpine:3.22"),
                "{error}"
            );
        }
        for text in ["a--b", "a---b/c__d/e_f.g", "a:_", "0"] {
            assert!(text.parse::<ImageRef>().is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_of_a_valid_name_make_it_up(
            text in r"([a-z]{1,3}[.:]?[0-9]{0,2}/)?[a-z]{1,3}([._-][a-z])?(:[a-zA-Z0-9]{1,3})?",
        ) {
            if let Ok(image) = text.parse::<ImageRef>() {
                let domain = image.domain().map_or(String::new(), |d| format!("{d}/"));
                let tag = image.tag().map_or(String::new(), |t| format!(":{t}"));
                prop_assert_eq!(format!("{domain}{}{tag}", image.path()), text);
            }
        }

        #[test]
        fn no_text_is_a_panic(text in r"[a-zA-Z0-9/:@._\[\]é-]{0,40}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert!(image.pull_name().0.contains('/'));
            }
        }
    }
}
