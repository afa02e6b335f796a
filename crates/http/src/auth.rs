//! Who asks, and from where.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, Uri, header, request::Parts},
};
use cloudai_accounts::{
    Action, AuditEntry, CallContext, Credential, Forbidden, Identity, Peer as Origin, Permission,
};
use cloudai_api::Code;
use cloudai_model::UserName;
use cloudai_operator::Operator;
use tracing::debug;

use crate::{
    Context,
    context::{BySecureWay, Peer, RequestId},
    openapi::cookie_name,
    origin,
    refusal::Refusal,
};

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) call: Call,
}

/// When and from where a request came, for the audit.
#[derive(Debug, Clone)]
pub(crate) struct Call(pub(crate) CallContext);

impl Caller {
    /// Refuses what this caller may not do.
    pub(crate) fn may(&self, wanted: Permission) -> Result<(), Refusal> {
        self.identity.authorize(wanted).map_err(Refusal::from)
    }

    /// The same, and writes it down where it is refused.
    pub(crate) async fn may_noted(
        &self,
        context: &Context,
        wanted: Permission,
        action: Action,
        target: &str,
    ) -> Result<(), Refusal> {
        let Err(error) = self.identity.authorize(wanted) else {
            return Ok(());
        };
        let entry = self.did(action).target(target).refused(error.to_string());
        let accounts = context.accounts()?;
        accounts.note_refusal(&self.call.0, entry).await;
        Err(error.into())
    }

    /// What is another's is not there.
    pub(crate) fn reaches(&self, owner: &UserName) -> Result<(), Refusal> {
        match self.identity.reaches(owner) {
            true => Ok(()),
            false => Err(Refusal::not_found()),
        }
    }

    /// Whether they may look at what is everybody's.
    pub(crate) fn may_look_at_all(&self) -> bool {
        self.identity.authorize(Permission::LookAtAll).is_ok()
    }

    /// Whether they may act for all.
    pub(crate) fn may_act_for_all(&self) -> bool {
        self.identity.authorize(Permission::ActForAll).is_ok()
    }

    /// A record for the audit.
    pub(crate) fn did(&self, action: Action) -> AuditEntry {
        AuditEntry::new(&self.call.0, Some(&self.identity), action)
    }
}

impl From<Forbidden> for Refusal {
    fn from(error: Forbidden) -> Self {
        let code = match error {
            Forbidden::Ended => return unauthenticated(),
            Forbidden::Role { .. } => Code::AdminOnly,
            Forbidden::Scope { .. } | Forbidden::NotWithAKey => Code::KeyScope,
        };
        Self::new(code, error.to_string())
    }
}

impl FromRequestParts<Context> for Call {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Refusal> {
        let request = parts.extensions.get::<RequestId>();
        let Some(Peer(address)) = parts.extensions.get().copied() else {
            // Whoever isn't known to be anywhere would be throttled nowhere.
            let detail = "it is not known from where the request comes";
            return Err(Refusal::new(Code::Internal, detail));
        };
        Ok(Self(CallContext {
            now: context.operator.now(),
            from: Origin::Address(address),
            request: request.map_or_else(String::new, |id| id.0.to_string()),
        }))
    }
}

impl FromRequestParts<Context> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Refusal> {
        let call = Call::from_request_parts(parts, context).await?;
        let is_secure = parts.extensions.get() == Some(&BySecureWay(true));
        let shown = Shown::in_headers(&parts.headers, is_secure)?;
        if let Shown::Cookie(_) = shown {
            same_origin(&parts.method, &parts.headers, &parts.uri)?;
        }
        let credential = match &shown {
            Shown::Bearer(text) => Credential::bearer(text),
            Shown::Cookie(text) => Credential::Token(text),
        };
        match context
            .accounts()?
            .authenticate(credential, call.0.now.wall)
        {
            Ok(identity) => Ok(Self { identity, call }),
            Err(error) => {
                // Which it was helps nobody but who guesses.
                debug!(%error, "not let in");
                Err(unauthenticated())
            }
        }
    }
}

fn unauthenticated() -> Refusal {
    Refusal::new(
        Code::Unauthenticated,
        "expected `Authorization: Bearer` with the token of a login or a key, and one that still \
         counts",
    )
}

/// What a request shows.
enum Shown {
    Bearer(String),
    Cookie(String),
}

impl Shown {
    fn in_headers(headers: &HeaderMap, is_secure: bool) -> Result<Self, Refusal> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = given.next() {
            let text = value.to_str().ok();
            let bearer = text.and_then(|text| text.split_once(' '));
            let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            // Of two nobody could say which was meant.
            return match (bearer, given.next()) {
                (Some((_, text)), None) => Ok(Self::Bearer(text.trim().to_owned())),
                _ => Err(unauthenticated()),
            };
        }
        let mut cookies = cookies(headers).filter_map(|cookie| cookie.split_once('='));
        let own = cookies.find(|(name, _)| *name == cookie_name(is_secure));
        own.map(|(_, token)| Self::Cookie(token.to_owned()))
            .ok_or_else(unauthenticated)
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::COOKIE).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';').map(str::trim))
}

/// What changes something and is shown with a cookie alone must come from a page of this server.
/// SameSite keeps other sites out already; this keeps out other ports and names of the same site, and
/// old browsers.
fn same_origin(method: &Method, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    match method.is_safe() || origin::is_of_this_server(headers, uri) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::CrossOrigin,
            "by cookie, what changes something is taken from pages of this server alone: expected \
             an Origin or Sec-Fetch-Site that says so, or `Authorization: Bearer`",
        )),
    }
}

/// Whether whoever was let in a while ago still may watch what they do, by the master's clock.
pub(crate) struct StillMay {
    may: cloudai_accounts::StillMay,
    operator: Arc<dyn Operator>,
}

impl StillMay {
    pub(crate) fn new(
        context: &Context,
        caller: &Caller,
        owner: Option<UserName>,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            may: cloudai_accounts::StillMay::new(
                context.accounts()?,
                caller.identity.clone(),
                owner,
            ),
            operator: context.operator.clone(),
        })
    }

    pub(crate) fn holds(&self) -> bool {
        self.may.check(self.operator.now().wall).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn by_cookie_a_change_comes_from_a_page_of_this_server() {
        let uri = Uri::from_static("/api/tasks");
        let own = headers(&[("origin", "http://HERE:80"), ("host", "here")]);
        let strange = headers(&[("origin", "http://evil"), ("host", "here")]);
        assert!(same_origin(&Method::POST, &own, &uri).is_ok());
        assert!(same_origin(&Method::POST, &strange, &uri).is_err());
        assert!(same_origin(&Method::GET, &strange, &uri).is_ok());
    }

    #[test]
    fn one_authorization_counts_and_a_cookie_only_without_it() {
        let shown = |pairs: &[(&'static str, &'static str)]| match Shown::in_headers(
            &headers(pairs),
            false,
        ) {
            Ok(Shown::Bearer(text)) => format!("bearer {text}"),
            Ok(Shown::Cookie(text)) => format!("cookie {text}"),
            Err(_) => "nobody".to_owned(),
        };
        let cookie = ("cookie", "a=b; cloudai_session=tok; c=d");
        assert_eq!(shown(&[]), "nobody");
        assert_eq!(shown(&[cookie]), "cookie tok");
        assert_eq!(shown(&[("authorization", "Bearer x"), cookie]), "bearer x");
        assert_eq!(shown(&[("authorization", "bearer  x ")]), "bearer x");
        assert_eq!(shown(&[("authorization", "Basic x"), cookie]), "nobody");
        let mut twice = headers(&[("authorization", "Bearer x")]);
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer y"));
        assert!(Shown::in_headers(&twice, false).is_err());
        // By TLS only a cookie that no other port or name can have planted.
        assert!(Shown::in_headers(&headers(&[cookie]), true).is_err());
        let own = headers(&[("cookie", "__Host-cloudai_session=tok")]);
        assert!(
            matches!(Shown::in_headers(&own, true), Ok(Shown::Cookie(token)) if token == "tok")
        );
    }
}
