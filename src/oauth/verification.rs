//! The number that a person types into the device after approving (`verification_number` of a poll).
//!
//! A client that doesn't know of it is told in words what is missing. One that does finds `"verification": "number"` beside
//! `authorization_pending`, and how many tries are left.

use sqlx::Connection as _;

use crate::audit;
use crate::device::grant::{Approval, Grant};
use crate::device::store;
use crate::device::verification::{Number, TRIES};
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::installation::Installation;
use crate::postgres::PgConnection;

/// What an approved grant's poll may do.
pub enum Verified {
    /// Redeem, with this number if one is asked for.
    Yes(Option<Number>),
    /// Wait: no number was sent.
    Missing(OAuthError),
    /// Wait, or give up: it was another one.
    No(OAuthError),
}

/// Compares the number of a poll with the one that the page showed. A wrong one is counted, whoever else asks at the same
/// time; what is no number at all can't be right and isn't.
pub async fn check(
    conn: &mut PgConnection,
    installation: &Installation,
    (grant, approval): (&Grant, &Approval),
    parameters: &Parameters,
    caller: &Caller,
) -> Result<Verified, OAuthError> {
    let Some((shown, wrong)) = approval.number else { return Ok(Verified::Yes(None)) };
    let needed = |description| OAuthError::authorization_pending(description).with_verification(TRIES - wrong);
    let Some(sent) = parameters.get("verification_number") else {
        return Ok(Verified::Missing(needed(
            "Approved. The page shows a number of two digits: type it into this tool, which sends it as verification_number with its next poll. A tool that doesn't ask for it can't log in to this service.",
        )));
    };
    let number = Number::parse(sent);
    if number.is_none() {
        return Ok(Verified::Missing(needed("verification_number must be the two digits that the page shows.")));
    }
    if number == Some(shown) {
        return Ok(Verified::Yes(number));
    }
    let mut tx = conn.begin().await?;
    let counted = store::wrong_number(&mut tx, grant.id, number, installation.clock.now()).await?;
    let Some(counted) = counted else {
        // Another poll sent the last wrong one, or the right one, at this moment: the next look says which.
        return Ok(Verified::No(OAuthError::authorization_pending("Something else was decided just now: poll again.")));
    };
    let event = |kind| {
        audit::Event::new(kind, &installation.clock, &installation.random)
            .of(grant.organization_id)
            .service(grant.service_id)
            .grant(grant.id)
            .user(approval.user_id)
            .caller(caller)
            .detail(serde_json::json!({ "verification": "wrong number", "tries": counted }))
    };
    event(audit::Kind::GuessRefused).append(&mut tx).await?;
    if counted >= TRIES {
        event(audit::Kind::Denied).append(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(Verified::No(match TRIES - counted {
        ..=0 => OAuthError::access_denied("Three wrong numbers were sent, so the login was denied: start again."),
        left => OAuthError::authorization_pending(format!(
            "That is not the number on the page: look again. Tries left: {left}."
        ))
        .with_verification(left),
    }))
}
