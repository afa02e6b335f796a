//! Under what terms the dependencies come. Texts are not looked at; what each package declares is.

use spdx::{Expression, LicenseReq, ParseMode};

use crate::repository::{assert_none, metadata};

/// Terms that ask for no more than to be named, and so go with Apache-2.0. One more is added when a dependency needs it.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Packages that may come under other terms: the package, its licence, and why that is all right.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "tiny-keccak",
        "CC0-1.0",
        "asks for nothing, and runs at compile time only",
    ),
    (
        "webpki-roots",
        "CDLA-Permissive-2.0",
        "a list of certificates, as data: asks that its terms go along with the list",
    ),
];

/// What is wrong with a package's licence, if anything is.
fn objection(
    package: &str,
    declared: Option<&str>,
    exceptions: &[(&str, &str, &str)],
) -> Option<String> {
    let Some(declared) = declared else {
        return Some(format!(
            "{package} declares no licence: expected an SPDX expression in its Cargo.toml"
        ));
    };
    // Older packages write `MIT/Apache-2.0` for OR.
    let expression = match Expression::parse_mode(declared, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => {
            return Some(format!(
                "{package}: `{declared}` is no SPDX expression: {}",
                error.reason
            ));
        }
    };
    let allowed = |requirement: &LicenseReq| {
        // An exception to a licence (`WITH ...`) only ever permits more.
        let licence = requirement.license.to_string();
        ALLOWED.contains(&licence.as_str())
            || exceptions
                .iter()
                .any(|(name, terms, _)| *name == package && *terms == licence)
    };
    (!expression.evaluate(allowed)).then(|| {
        format!(
            "{package} comes under `{declared}`, which the allowed licences don't satisfy: choose another package, or \
             name it and the reason in EXCEPTIONS of crates/house/src/licences.rs"
        )
    })
}

#[test]
fn every_dependency_comes_under_allowed_terms() {
    let metadata = metadata();
    assert!(
        metadata.packages.len() > metadata.workspace_members.len(),
        "expected dependencies"
    );

    let objections: Vec<String> = metadata
        .packages
        .iter()
        .filter_map(|package| objection(&package.name, package.license.as_deref(), EXCEPTIONS))
        .collect();

    assert_none(&objections);
}

#[test]
fn every_exception_is_needed() {
    let metadata = metadata();
    for (name, terms, reason) in EXCEPTIONS {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == *name);
        let package = package
            .unwrap_or_else(|| panic!("{name} is no dependency any more: remove its exception"));
        assert!(
            objection(name, package.license.as_deref(), &[]).is_some(),
            "{name} needs no exception for {terms} ({reason})"
        );
    }
}

#[test]
fn expressions_are_understood_and_not_searched() {
    let refused = |declared| objection("it", declared, &[]).is_some();

    assert!(!refused(Some("MIT OR Apache-2.0")));
    assert!(!refused(Some("MIT/Apache-2.0")));
    assert!(!refused(Some("MIT OR LGPL-2.1-or-later")));
    assert!(!refused(Some("Apache-2.0 WITH LLVM-exception")));
    assert!(!refused(Some("(MIT OR Apache-2.0) AND Unicode-3.0")));

    assert!(refused(Some("MIT AND GPL-3.0-only")));
    assert!(refused(Some("AGPL-3.0-only")));
    assert!(refused(Some("whatever you like")));
    assert!(refused(None));
}

#[test]
fn an_exception_holds_for_its_package_and_licence_alone() {
    let exceptions = [("it", "MPL-2.0", "made up")];

    assert!(objection("it", Some("MPL-2.0"), &exceptions).is_none());
    assert!(objection("other", Some("MPL-2.0"), &exceptions).is_some());
    assert!(objection("it", Some("GPL-2.0-only"), &exceptions).is_some());
}
