//! Who is logged in: what userinfo says (OpenID Connect Core §5.3), and where it can't be asked, the id token.

use chrono::TimeDelta;

use super::claims::Claims;
use super::credentials::{Credentials, Login};
use super::error::LoginError;
use super::http::Answer;
use super::server::Server;
use super::session::{Access, Need, SessionError, access};

/// An access token for one question.
const FOR_A_QUESTION: TimeDelta = TimeDelta::seconds(10);

/// What is known of the person.
#[derive(Debug)]
pub struct Person {
    /// What is said of them.
    pub claims: Claims,
    /// Who says it: `userinfo`, `id_token`, or nobody.
    pub source: Option<&'static str>,
    /// Why the server itself doesn't say it.
    pub not_asked: Option<String>,
    /// The token that was used.
    pub access: Access,
}

/// Asks who `login` is.
pub async fn who_is(credentials: &Credentials, login: &Login) -> Result<Person, SessionError> {
    let mut held = access(credentials, &login.key, &Need::of(FOR_A_QUESTION)).await?;
    let server = match Server::of_login(&login.key.issuer).await {
        Ok(server) => server,
        Err(error) => return Ok(from_id_token(held, error.to_string())),
    };
    let Some(address) = &server.endpoints.userinfo else {
        return Ok(from_id_token(held, "The server has no userinfo.".to_owned()));
    };
    let possession = held.possession(credentials)?;
    let mut answer = possession.get(&server.http, address, held.token()).await;
    if matches!(&answer, Ok(answer) if answer.status == 401) {
        // Revoked, or signed with a key that is no more. The refresh will tell.
        let need = Need { min_valid: FOR_A_QUESTION, refused: Some(held.token().clone()) };
        held = access(credentials, &login.key, &need).await?;
        answer = possession.get(&server.http, address, held.token()).await;
    }
    let problem = match answer {
        Ok(answer) => match read(&answer) {
            Ok(claims) => return Ok(from_userinfo(held, claims)),
            Err(problem) => problem,
        },
        Err(error) => LoginError::unreachable(address, error).to_string(),
    };
    Ok(from_id_token(held, problem))
}

fn read(answer: &Answer) -> Result<Claims, String> {
    match answer.status {
        200 => Claims::read(&answer.body).ok_or_else(|| "The answer of userinfo is not understood.".to_owned()),
        403 => Err("The login has no openid scope, so the server doesn't say who it is.".to_owned()),
        status => Err(format!("The server doesn't say who it is (HTTP {status}).")),
    }
}

/// The id token adds what only it says (`amr`, `auth_time`), if it is about the same person (§5.3.2).
fn from_userinfo(access: Access, claims: Claims) -> Person {
    let older = access.id_token().and_then(Claims::of_id_token).filter(|older| older.text("sub") == claims.text("sub"));
    Person { claims: claims.over(older.unwrap_or_default()), source: Some("userinfo"), not_asked: None, access }
}

fn from_id_token(access: Access, problem: String) -> Person {
    let claims = access.id_token().and_then(Claims::of_id_token);
    Person {
        source: claims.is_some().then_some("id_token"),
        claims: claims.unwrap_or_default(),
        not_asked: Some(problem),
        access,
    }
}
