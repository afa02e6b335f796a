//! A token to its claims and back: JWS in compact form, signed with HS256, and nothing else.
//!
//! Why not a library: `jsonwebtoken` (11.1) serves a dozen algorithms, with RSA and elliptic curves behind
//! it, chosen by what the token says and a provider of the whole process; it reads `crit` and does nothing
//! about it, doesn't look at `iat`, and takes headers that it doesn't know. Of RFC 7515 and 7519 we need
//! what stands here: one algorithm, so that there is nothing to choose; a header and claims of known names
//! alone, each once; and no claim believed before the signature is right.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cloudai_model::Wall;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ring::KeyRing;
use crate::secret::Secret;

/// The most bytes of a token. Ours are below 600.
pub const LONGEST_TOKEN: usize = 1024;

/// The one algorithm (RFC 7518, 3.2).
const ALGORITHM: &str = "HS256";
const TYPE: &str = "JWT";

/// How far a token may seem to be from the future, in seconds: clocks are set right by that much.
const CLOCK_SKEW_S: i64 = 60;

/// What a token says. Its names are those of RFC 7519, and `gen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The cluster that made it.
    pub iss: String,
    /// The user.
    pub sub: String,
    /// Names the token: 128 random bits in hex.
    pub jti: String,
    /// The user's generation that it was made under.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// From when on it counts no more, Unix seconds.
    pub exp: i64,
}

impl Claims {
    /// From when on it counts no more.
    #[must_use]
    pub fn expires_at(&self) -> Wall {
        Wall::from_unix_seconds(self.exp)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Why a token is none. Callers answer all of them alike: which it was is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any of ours.
    #[error("the token is longer than {LONGEST_TOKEN} bytes")]
    TooLong,
    /// It isn't three parts in base64url with dots between.
    #[error("the token isn't of the form header.claims.signature")]
    Form,
    /// Its header can't be read, names something twice, or something unknown.
    #[error("the token's header isn't one of ours")]
    Header,
    /// It is signed otherwise, or not at all.
    #[error("the token isn't signed with {ALGORITHM}")]
    Algorithm,
    /// The key that it names isn't, or isn't any more.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// Something of it was changed, or another key signed it.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its claims can't be read, lack something, name something twice, or something unknown.
    #[error("the token's claims aren't ours")]
    Claims,
    /// Another cluster made it.
    #[error("the token is another cluster's")]
    Issuer,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was made later than now.
    #[error("the token is from the future")]
    FromTheFuture,
}

/// A token with these claims, signed with the current key.
///
/// # Panics
/// Never: the claims are of a form that JSON has.
#[must_use]
pub fn issue(ring: &KeyRing, claims: &Claims) -> Secret {
    let key = ring.current();
    let header = Header {
        alg: ALGORITHM.to_owned(),
        typ: TYPE.to_owned(),
        kid: key.kid.clone(),
    };
    let json = "texts and whole numbers are always JSON";
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).expect(json));
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).expect(json), &mut token);
    let signature = mac(&key.secret, token.as_bytes()).finalize().into_bytes();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Secret::new(token)
}

/// What a token of this issuer says, if it is one, and counts at this time.
///
/// # Errors
/// See [`TokenError`]. Nothing is believed before the signature is right.
pub fn read(token: &str, ring: &KeyRing, issuer: &str, now: Wall) -> Result<Claims, TokenError> {
    Ok(read_signed(token, ring, issuer, now)?.0)
}

/// The same, and the name of the key that signed it.
pub(crate) fn read_signed(
    token: &str,
    ring: &KeyRing,
    issuer: &str,
    now: Wall,
) -> Result<(Claims, String), TokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(TokenError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
    // A dot that is too many is no base64url, and so are padding, breaks and loose bits at the end.
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);

    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Header)?;
    if header.alg != ALGORITHM {
        return Err(TokenError::Algorithm);
    }
    if header.typ != TYPE {
        return Err(TokenError::Header);
    }
    let key = ring.find(&header.kid, now).ok_or(TokenError::UnknownKey)?;
    // Compares in constant time, and refuses any other length.
    mac(&key.secret, signed.as_bytes())
        .verify_slice(&signature)
        .map_err(|_| TokenError::Signature)?;

    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Claims)?;
    if claims.iss != issuer {
        return Err(TokenError::Issuer);
    }
    if now >= claims.expires_at() {
        return Err(TokenError::Expired);
    }
    if claims.iat > now.unix_seconds().saturating_add(CLOCK_SKEW_S) {
        return Err(TokenError::FromTheFuture);
    }
    Ok((claims, header.kid))
}

fn mac(secret: &Zeroizing<Vec<u8>>, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(signed);
    mac
}

#[cfg(test)]
#[path = "jws_tests.rs"]
mod tests;
