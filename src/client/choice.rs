//! Which of the logins is meant.

use std::fmt;

use super::credentials::{Credentials, Login, LoginKey};
use super::issuer::Issuer;
use super::session::SessionError;

/// What is said about the login that is meant. Nothing has to be, as long as there is only one.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The server.
    pub issuer: Option<Issuer>,
    /// The client.
    pub client_id: Option<String>,
    /// The account: as it is shown, or its `sub`.
    pub account: Option<String>,
}

impl Choice {
    /// All logins that it can mean.
    pub fn all(&self, credentials: &Credentials) -> Result<Vec<Login>, SessionError> {
        let mut logins = credentials.logins()?;
        logins.retain(|login| self.means(login));
        Ok(logins)
    }

    /// The one login that it means.
    ///
    /// # Errors
    /// `NotLoggedIn` if there is none, `Several` if it can mean more than one.
    pub fn one(&self, credentials: &Credentials) -> Result<Login, SessionError> {
        let mut logins = self.all(credentials)?;
        match logins.pop() {
            None => Err(SessionError::NotLoggedIn { wanted: Box::new(self.clone()) }),
            Some(login) if logins.is_empty() => Ok(login),
            Some(last) => {
                logins.push(last);
                Err(SessionError::Several { logins })
            }
        }
    }

    fn means(&self, login: &Login) -> bool {
        let said = |wanted: &Option<String>, is: &[Option<&str>]| {
            wanted.as_deref().is_none_or(|wanted| is.contains(&Some(wanted)))
        };
        self.issuer.as_ref().is_none_or(|issuer| issuer.as_str() == login.key.issuer)
            && said(&self.client_id, &[Some(&login.key.client_id)])
            && said(&self.account, &[login.account.as_deref(), login.key.subject.as_deref()])
    }
}

/// ` to https://login.acme.example as acme-cli`, ` with ada@acme.example`, or nothing.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(issuer) = &self.issuer {
            write!(f, " to {issuer}")?;
        }
        if let Some(client_id) = &self.client_id {
            write!(f, " as {client_id}")?;
        }
        if let Some(account) = &self.account {
            write!(f, " with the account {account}")?;
        }
        Ok(())
    }
}

/// The arguments that mean each login and no other, one per line.
pub(crate) fn choices(logins: &[Login]) -> String {
    let same_client = |login: &Login| {
        let key = &login.key;
        logins.iter().filter(|other| other.key.issuer == key.issuer && other.key.client_id == key.client_id).count() > 1
    };
    let line = |login: &Login| {
        let LoginKey { issuer, client_id, .. } = &login.key;
        let account = match &login.account {
            Some(account) if same_client(login) => format!(" --account {account}"),
            Some(account) => format!("  ({account})"),
            None => String::new(),
        };
        format!("\n  {issuer} --client-id {client_id}{account}")
    };
    logins.iter().map(line).collect::<Vec<_>>().concat()
}
