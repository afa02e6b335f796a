//! Tokens that are none, each by its name; and those that are, on their way through text.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::token::ring::KeyRing;

const ISSUER: &str = "c-5f2a90d1";
const NOW: Wall = Wall(1_800_000_000_000);

fn ring(fill: u8) -> KeyRing {
    KeyRing::at_start(None, None, Duration::from_secs(3600), [fill; 32], NOW).unwrap()
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: "ada".into(),
        jti: "00112233445566778899aabbccddeeff".into(),
        generation: 7,
        iat: NOW.unix_seconds(),
        exp: NOW.unix_seconds() + 3600,
    }
}

fn read_now(token: &str) -> Result<Claims, TokenError> {
    read(token, &ring(1), ISSUER, NOW)
}

/// A token of any header and any claims, signed with our key as if it were one of ours.
fn signed(header: &str, claims: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = mac(&ring(1).current().secret, signed.as_bytes())
        .finalize()
        .into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header(alg: &str) -> String {
    let kid = ring(1).current().kid.clone();
    format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#)
}

fn claims_json() -> String {
    serde_json::to_string(&claims()).unwrap()
}

#[test]
fn a_token_says_what_was_put_into_it() {
    let token = issue(&ring(1), &claims());
    assert_eq!(read_now(token.expose()), Ok(claims()));
    // And what the others here put together by hand is one, but for what each changes.
    assert_eq!(
        read_now(&signed(&header("HS256"), &claims_json())),
        Ok(claims())
    );
}

/// The example of RFC 7515, A.1, whose key and signature are given there.
#[test]
fn the_signature_is_that_of_rfc_7515() {
    let key =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                  eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let key = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).unwrap());
    let signature = mac(&key, signed.as_bytes()).finalize().into_bytes();
    assert_eq!(
        URL_SAFE_NO_PAD.encode(signature),
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
}

#[test]
fn alg_none() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let with_signature = signed(&header(alg), &claims_json());
        assert_eq!(
            read_now(&with_signature),
            Err(TokenError::Algorithm),
            "{alg}"
        );
        // Without a signature, with and without its dot.
        let (unsigned, _) = with_signature.rsplit_once('.').unwrap();
        assert_eq!(
            read_now(&format!("{unsigned}.")),
            Err(TokenError::Algorithm),
            "{alg}"
        );
        assert_eq!(read_now(unsigned), Err(TokenError::Form), "{alg}");
    }
}

#[test]
fn another_algorithm() {
    // Signed with our key by HS256 all the same: it is the name alone that is refused.
    for alg in [
        "HS384", "HS512", "RS256", "RS384", "PS256", "ES256", "EdDSA", "hs256", "HS256 ", "HS2567",
    ] {
        let token = signed(&header(alg), &claims_json());
        assert_eq!(read_now(&token), Err(TokenError::Algorithm), "{alg}");
    }
}

#[test]
fn hs384_that_says_hs256() {
    let token = signed(&header("HS256"), &claims_json());
    let (signed, _) = token.rsplit_once('.').unwrap();
    let key = ring(1).current().secret.clone();
    let mut mac = Hmac::<sha2::Sha384>::new_from_slice(&key).unwrap();
    mac.update(signed.as_bytes());
    let whole = mac.finalize().into_bytes();
    for signature in [&whole[..], &whole[..32]] {
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(read_now(&token), Err(TokenError::Signature));
    }
}

#[test]
fn a_key_that_comes_along_with_the_token() {
    let kid = ring(1).current().kid.clone();
    for more in [
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
        r#""jku":"https://example.org/keys""#,
        r#""x5u":"https://example.org/cert""#,
        r#""crit":["exp"]"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
    ] {
        let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}",{more}}}"#);
        assert_eq!(
            read_now(&signed(&header, &claims_json())),
            Err(TokenError::Header),
            "{more}"
        );
    }
}

#[test]
fn wrong_key() {
    // Another ring's token, under its own name and under that of ours.
    let other = issue(&ring(2), &claims());
    assert_eq!(read_now(other.expose()), Err(TokenError::UnknownKey));
    let (_, signature) = other.expose().rsplit_once('.').unwrap();
    let ours = issue(&ring(1), &claims());
    let (signed, _) = ours.expose().rsplit_once('.').unwrap();
    assert_eq!(
        read_now(&format!("{signed}.{signature}")),
        Err(TokenError::Signature)
    );
}

#[test]
fn unknown_kid() {
    for kid in [
        "",
        "0",
        "../../etc/passwd",
        "' OR 1=1 --",
        "ffffffffffffffff",
    ] {
        let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#);
        assert_eq!(
            read_now(&signed(&header, &claims_json())),
            Err(TokenError::UnknownKey),
            "{kid}"
        );
    }
    let without = r#"{"alg":"HS256","typ":"JWT"}"#;
    assert_eq!(
        read_now(&signed(without, &claims_json())),
        Err(TokenError::Header)
    );
}

#[test]
fn expired() {
    let token = issue(&ring(1), &claims());
    let at = |wall| read(token.expose(), &ring(1), ISSUER, wall);
    let end = claims().expires_at();
    assert!(at(Wall(end.0 - 1)).is_ok());
    assert_eq!(at(end), Err(TokenError::Expired));
    assert_eq!(
        at(end.after(Duration::from_secs(1 << 40))),
        Err(TokenError::Expired)
    );
}

#[test]
fn from_the_future() {
    let made = |iat| {
        let claims = Claims {
            iat,
            exp: i64::MAX,
            ..claims()
        };
        read_now(issue(&ring(1), &claims).expose()).map(|_| ())
    };
    let now = NOW.unix_seconds();
    assert_eq!(made(now + CLOCK_SKEW_S), Ok(()));
    assert_eq!(made(now + CLOCK_SKEW_S + 1), Err(TokenError::FromTheFuture));
    assert_eq!(made(i64::MAX), Err(TokenError::FromTheFuture));
}

#[test]
fn another_clusters() {
    let claims = Claims {
        iss: "c-00000000".into(),
        ..claims()
    };
    let token = issue(&ring(1), &claims);
    assert_eq!(read_now(token.expose()), Err(TokenError::Issuer));
}

#[test]
fn cut_short_at_every_byte_or_with_one_too_many() {
    let token = issue(&ring(1), &claims());
    let token = token.expose();
    for len in 0..token.len() {
        assert!(read_now(&token[..len]).is_err(), "{len} bytes");
        assert!(
            read_now(&token[len + 1..]).is_err(),
            "without the first {}",
            len + 1
        );
    }
    for more in ["A", "=", ".", " ", "\n", "\0", ".AAAA"] {
        assert!(read_now(&format!("{token}{more}")).is_err(), "{more:?}");
        assert!(read_now(&format!("{more}{token}")).is_err(), "{more:?}");
    }
}

#[test]
fn changed_at_any_byte() {
    let token = issue(&ring(1), &claims());
    for at in 0..token.expose().len() {
        let mut bytes = token.expose().as_bytes().to_vec();
        // Of base64url the lowest bit alone, which at the end of a part may be one that doesn't count.
        bytes[at] = match bytes[at] {
            b'A'..=b'Y' | b'a'..=b'y' | b'0'..=b'8' => bytes[at] + 1,
            _ => b'A',
        };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(read_now(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn duplicate_claims() {
    for double in [
        r#""sub":"admin""#,
        r#""sub":"ada""#,
        r#""exp":9999999999"#,
        r#""gen":8"#,
        r#""jti":"x""#,
        r#""iss":"c-5f2a90d1""#,
    ] {
        let json = claims_json();
        let before = json.replacen('{', &format!("{{{double},"), 1);
        let behind = format!("{},{double}}}", json.strip_suffix('}').unwrap());
        for json in [before, behind] {
            let token = signed(&header("HS256"), &json);
            assert_eq!(read_now(&token), Err(TokenError::Claims), "{json}");
        }
    }
    let kid = ring(1).current().kid.clone();
    let double = format!(r#"{{"alg":"none","typ":"JWT","kid":"{kid}","alg":"HS256"}}"#);
    assert_eq!(
        read_now(&signed(&double, &claims_json())),
        Err(TokenError::Header)
    );
}

#[test]
fn claims_of_another_kind_or_missing_or_too_many() {
    let good: serde_json::Value = serde_json::from_str(&claims_json()).unwrap();
    for name in ["iss", "sub", "jti", "gen", "iat", "exp"] {
        for other in [
            "null",
            "true",
            "1.5",
            "-1.0",
            "[]",
            "{}",
            r#""1800000000""#,
            "1e99",
        ] {
            let mut changed = good.clone();
            changed[name] = serde_json::from_str(other).unwrap();
            // A text is a text: as a name it is only another one, and is asked for elsewhere.
            if good[name].is_string() && changed[name].is_string() {
                continue;
            }
            let token = signed(&header("HS256"), &changed.to_string());
            assert_eq!(read_now(&token), Err(TokenError::Claims), "{name} {other}");
        }
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(name);
        let token = signed(&header("HS256"), &without.to_string());
        assert_eq!(read_now(&token), Err(TokenError::Claims), "without {name}");
    }
    let mut more = good;
    more["role"] = "admin".into();
    let token = signed(&header("HS256"), &more.to_string());
    assert_eq!(read_now(&token), Err(TokenError::Claims));
}

#[test]
fn oversize() {
    let long = Claims {
        sub: "a".repeat(2000),
        ..claims()
    };
    let token = issue(&ring(1), &long);
    assert_eq!(read_now(token.expose()), Err(TokenError::TooLong));
    assert_eq!(read_now(&"A".repeat(10_000_000)), Err(TokenError::TooLong));
    // The longest of ours is far from it.
    let longest = Claims {
        iss: "c".repeat(64),
        sub: "a".repeat(64),
        generation: u64::MAX,
        ..claims()
    };
    let token = issue(&ring(1), &longest);
    assert!(token.expose().len() < 600, "{}", token.expose().len());
}

#[test]
fn deep_json_ends_no_thread() {
    let deep = format!("{}1{}", "[".repeat(330), "]".repeat(330));
    assert_eq!(
        read_now(&signed(&header("HS256"), &deep)),
        Err(TokenError::Claims)
    );
}

#[test]
fn a_retired_key_counts_until_its_tokens_have_ended() {
    let mut ring = ring(1);
    let old = issue(&ring, &claims());
    ring.rotate([9; 32], Duration::from_secs(3600), false, NOW)
        .unwrap();
    let new = issue(
        &ring,
        &Claims {
            exp: NOW.unix_seconds() + 10_000,
            ..claims()
        },
    );
    let last = Wall(claims().expires_at().0 - 1);
    assert!(read(old.expose(), &ring, ISSUER, last).is_ok());
    assert!(read(new.expose(), &ring, ISSUER, last).is_ok());
    // A token of that key which claims a longer life was not made here.
    let forged = {
        let before = super::tests::ring(1);
        issue(
            &before,
            &Claims {
                exp: i64::MAX,
                ..claims()
            },
        )
    };
    let later = claims().expires_at().after(Duration::from_secs(1));
    assert_eq!(
        read(forged.expose(), &ring, ISSUER, later),
        Err(TokenError::UnknownKey)
    );
}

proptest! {
    #[test]
    fn every_claims_survive_the_way_through_a_token(
        sub in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}",
        jti in "[0-9a-f]{32}",
        generation: u64,
        age in 0_i64..1_000_000,
        left in 1_i64..1_000_000,
    ) {
        let claims = Claims {
            iss: ISSUER.into(),
            sub,
            jti,
            generation,
            iat: NOW.unix_seconds() - age,
            exp: NOW.unix_seconds() + left,
        };
        let token = issue(&ring(1), &claims);
        prop_assert_eq!(read_now(token.expose()), Ok(claims));
    }

    #[test]
    fn whatever_somebody_sends_is_no_token(text in "\\PC{0,300}") {
        prop_assert!(read_now(&text).is_err());
    }

    #[test]
    fn nothing_between_dots_is_one_without_the_key(
        header in "[ -~]{0,80}", claims in "[ -~]{0,200}", signature: [u8; 32],
    ) {
        let parts = [header.as_bytes(), claims.as_bytes(), &signature];
        let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(read_now(&token).is_err());
    }
}
