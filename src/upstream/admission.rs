//! Who is let in: from an identity to a user.
//!
//! An identity that is known belongs to its user. One that is new finds its user by an address, if the provider says
//! that it is verified:
//!
//! - somebody who was *invited* under that address accepts the invitation by signing in;
//! - an *active* user with that address gets one more way to sign in, if the address was verified when it became
//!   theirs. Otherwise it is only a name on their account, and whoever proves the address would take the account over;
//! - a *locked* one is refused. They don't come back as somebody new.
//!
//! An identity without a user makes one if the provider's admission allows it. Who came in that way is held to
//! the rule at every sign-in: leaving the group, or the domain, ends access. Who was invited isn't: somebody wrote them
//! down, and may lock them.

use sqlx::Connection as _;

use crate::directory::provider::{Admission, Kind, Provider};
use crate::directory::user::{self, NewUser, Status, User};
use crate::ids::{IdentityId, UserId};
use crate::installation::Installation;
use crate::postgres::{PgConnection, violates};

use super::identity::Identity;

/// Why an identity is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Their account is locked.
    #[error("the account is locked")]
    Locked,
    /// Nobody invited the address.
    #[error("nobody was invited under this address")]
    NotInvited,
    /// Admission goes by addresses, and the provider says of none that it is verified.
    #[error("the provider tells no address that it has verified")]
    NoVerifiedAddress,
    /// The address is of another domain.
    #[error("the address is in none of the admitted domains")]
    DomainNotAdmitted,
    /// In none of the groups.
    #[error("the person is in none of the admitted groups")]
    NotInGroup,
    /// A user has this address already, and this provider isn't the one to say that it is the same person. An
    /// administrator can sort it out.
    #[error("another account has this address already")]
    AddressTaken,
}

impl Refusal {
    /// As it is written in the audit. Never change one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::NotInvited => "not_invited",
            Self::NoVerifiedAddress => "no_verified_address",
            Self::DomainNotAdmitted => "domain_not_admitted",
            Self::NotInGroup => "not_in_group",
            Self::AddressTaken => "address_taken",
        }
    }
}

/// Why there is no user.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// They are not let in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database didn't answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A user whom the identity may belong to.
struct Acquaintance {
    user: User,
    /// Whether they came in by a provider's admission; otherwise somebody wrote them down.
    admitted_by_rule: bool,
    by: By,
}

/// How the user was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// By provider and subject: it is theirs.
    Identity,
    /// By the identity's verified address.
    Address,
}

/// What becomes of an identity that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is this user's already.
    SignIn,
    /// It becomes an invited user's, who is active from now on.
    Accept,
    /// It becomes one more of an active user's.
    Link,
    /// It becomes a new user's.
    Create,
}

/// Finds or makes the user whose identity this is. Nothing is written when it is refused. Whether the organization is
/// active at all is for the caller to say.
pub async fn admit(
    conn: &mut PgConnection,
    installation: &Installation,
    provider: &Provider,
    identity: &Identity,
) -> Result<User, AdmissionError> {
    // Two first sign-ins at once: one of them makes the user, the other finds out by a constraint, and then finds them.
    for _ in 0..ATTEMPTS {
        if let Some(user) = attempt(conn, installation, provider, identity).await? {
            return Ok(user);
        }
    }
    Err(AdmissionError::Database(sqlx::Error::Protocol("an identity keeps changing hands".into())))
}

const ATTEMPTS: usize = 3;

/// One attempt, in a transaction of its own. `None`: somebody else was faster.
async fn attempt(
    conn: &mut PgConnection,
    installation: &Installation,
    provider: &Provider,
    identity: &Identity,
) -> Result<Option<User>, AdmissionError> {
    let mut transaction = conn.begin().await?;
    let known = acquaintance(&mut transaction, provider, identity).await?;
    let step = decide(&rule(provider), identity, known.as_ref())?;
    let known = known.map(|known| known.user.id);
    match take(&mut transaction, installation, provider, identity, step, known).await {
        Ok(Some(user)) => {
            transaction.commit().await?;
            Ok(Some(user))
        }
        Ok(None) => Ok(None),
        Err(error) if violates(&error, "app_user_email_taken") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The user whose identity it is, or else the one with its verified address.
async fn acquaintance(
    conn: &mut PgConnection,
    provider: &Provider,
    identity: &Identity,
) -> Result<Option<Acquaintance>, sqlx::Error> {
    let mut found = user::by_identity(conn, provider.id, &identity.subject).await?.map(|user| (user, By::Identity));
    if let (None, Some(email)) = (&found, &identity.email) {
        found = user::by_email(conn, provider.organization_id, email).await?.map(|user| (user, By::Address));
    }
    let Some((user, by)) = found else {
        return Ok(None);
    };
    let admitted_by_rule = sqlx::query_scalar!("SELECT admitted_by_rule FROM app_user WHERE id = $1", user.id.0)
        .fetch_optional(conn)
        .await?
        .unwrap_or(true);
    Ok(Some(Acquaintance { user, admitted_by_rule, by }))
}

/// The provider's admission. GitHub's logins have no case of their own, and identities bring them in lower case.
fn rule(provider: &Provider) -> Admission {
    match (&provider.admission, provider.kind) {
        (Admission::Groups(groups), Kind::Github) => {
            Admission::Groups(groups.iter().map(|login| login.to_ascii_lowercase()).collect())
        }
        (admission, _) => admission.clone(),
    }
}

/// Whether and how the identity is let in: the rules above, and nothing else.
fn decide(admission: &Admission, identity: &Identity, known: Option<&Acquaintance>) -> Result<Step, Refusal> {
    let Some(known) = known else {
        return as_somebody_new(admission, identity).map(|()| Step::Create);
    };
    let proves_address = identity.email.is_some() && identity.email == known.user.email;
    match (known.user.status, known.by) {
        (Status::Locked, _) => Err(Refusal::Locked),
        // Accepting makes the address a verified one: the identity has to prove it, even where it is theirs already.
        (Status::Invited, _) if proves_address => Ok(Step::Accept),
        (Status::Invited, _) => Err(Refusal::NotInvited),
        // An active account is somebody's: one more identity becomes theirs only where the organization has put the
        // address's domain into this provider's hands. A provider may well remember who had an address before.
        (Status::Active, By::Address) if !known.user.email_verified || !vouches_for(admission, identity) => {
            Err(Refusal::AddressTaken)
        }
        (Status::Active, by) => {
            if known.admitted_by_rule {
                still(admission, identity)?;
            }
            Ok(if by == By::Identity { Step::SignIn } else { Step::Link })
        }
    }
}

/// Whether the provider is the one that the organization trusts with addresses of this domain.
fn vouches_for(admission: &Admission, identity: &Identity) -> bool {
    matches!(admission, Admission::Domains(_)) && still(admission, identity).is_ok()
}

/// Whether the provider's rule lets in somebody whom nobody knows.
fn as_somebody_new(admission: &Admission, identity: &Identity) -> Result<(), Refusal> {
    match admission {
        Admission::Invited if identity.email.is_none() => Err(Refusal::NoVerifiedAddress),
        Admission::Invited => Err(Refusal::NotInvited),
        rule => still(rule, identity),
    }
}

/// Whether the provider's rule lets somebody stay whom a rule let in.
fn still(admission: &Admission, identity: &Identity) -> Result<(), Refusal> {
    match admission {
        Admission::Invited | Admission::Anyone => Ok(()),
        Admission::Domains(domains) => {
            let address = identity.email.as_deref().ok_or(Refusal::NoVerifiedAddress)?;
            let domain = address.rsplit_once('@').map(|(_, domain)| domain);
            let admitted = domains.iter().any(|admitted| domain.is_some_and(|it| it.eq_ignore_ascii_case(admitted)));
            if admitted { Ok(()) } else { Err(Refusal::DomainNotAdmitted) }
        }
        Admission::Groups(groups) => {
            let admitted = groups.iter().any(|group| identity.groups.contains(group));
            if admitted { Ok(()) } else { Err(Refusal::NotInGroup) }
        }
    }
}

/// Takes the step. `None`: the identity became somebody else's meanwhile, or the user is not active any more.
async fn take(
    conn: &mut PgConnection,
    installation: &Installation,
    provider: &Provider,
    identity: &Identity,
    step: Step,
    known: Option<UserId>,
) -> Result<Option<User>, sqlx::Error> {
    let now = installation.clock.now();
    let id = known.unwrap_or_else(|| UserId::new(now, &installation.random.bytes()));
    match step {
        Step::SignIn | Step::Link => {}
        Step::Accept => user::accept_invitation(conn, id).await?,
        Step::Create => create(conn, installation, provider, identity, id).await?,
    }
    let identity_id = IdentityId::new(now, &installation.random.bytes());
    user::link_identity(conn, identity_id, id, provider.id, &identity.subject, now).await?;
    let owner = user::by_identity(conn, provider.id, &identity.subject).await?;
    Ok(owner.filter(|owner| owner.id == id && owner.status == Status::Active))
}

async fn create(
    conn: &mut PgConnection,
    installation: &Installation,
    provider: &Provider,
    identity: &Identity,
    id: UserId,
) -> Result<(), sqlx::Error> {
    let new = NewUser {
        organization_id: provider.organization_id,
        email: identity.email.as_deref(),
        email_verified: identity.email.is_some(),
        name: identity.name.as_deref().unwrap_or_default(),
    };
    user::add_member(conn, id, &new, installation.clock.now()).await?;
    sqlx::query!("UPDATE app_user SET admitted_by_rule = true WHERE id = $1", id.0).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::user::Role;
    use crate::ids::OrganizationId;
    use Refusal::{AddressTaken, DomainNotAdmitted, Locked, NoVerifiedAddress, NotInGroup, NotInvited};

    fn ada() -> Identity {
        Identity::of("ada").unwrap().with_verified_email(Some("Ada@Acme.Example"))
    }

    fn nobody() -> Identity {
        Identity::of("nobody").unwrap()
    }

    fn member_of(group: &str) -> Identity {
        Identity { groups: vec!["everybody".into(), group.into()], ..ada() }
    }

    fn known(by: By, status: Status, email_verified: bool, admitted_by_rule: bool) -> Acquaintance {
        let user = User {
            id: UserId(uuid::Uuid::nil()),
            organization_id: OrganizationId(uuid::Uuid::nil()),
            email: Some("ada@acme.example".into()),
            email_verified,
            name: String::new(),
            role: Role::Member,
            status,
            password_hash: None,
        };
        Acquaintance { user, admitted_by_rule, by }
    }

    fn domains(domain: &str) -> Admission {
        Admission::Domains(vec!["other.example".into(), domain.into()])
    }

    fn groups(group: &str) -> Admission {
        Admission::Groups(vec!["other".into(), group.into()])
    }

    #[test]
    fn somebody_new_is_let_in_as_the_provider_says() {
        let new = |admission: &Admission, identity: &Identity| decide(admission, identity, None);
        assert_eq!(new(&Admission::Invited, &ada()), Err(NotInvited));
        assert_eq!(new(&Admission::Invited, &nobody()), Err(NoVerifiedAddress));
        assert_eq!(new(&domains("ACME.example"), &ada()), Ok(Step::Create));
        assert_eq!(new(&domains("acme.example"), &nobody()), Err(NoVerifiedAddress));
        for other in ["example", "me.example", "sub.acme.example", "acme.example.evil.example", ""] {
            assert_eq!(new(&domains(other), &ada()), Err(DomainNotAdmitted), "{other}");
        }
        assert_eq!(new(&groups("ops"), &member_of("ops")), Ok(Step::Create));
        assert_eq!(new(&groups("ops"), &member_of("devops")), Err(NotInGroup));
        assert_eq!(new(&Admission::Groups(vec![]), &member_of("ops")), Err(NotInGroup));
        assert_eq!(new(&Admission::Anyone, &nobody()), Ok(Step::Create));
    }

    #[test]
    fn an_invitation_is_accepted_by_who_proves_its_address_whatever_the_rule() {
        for admission in [Admission::Invited, domains("elsewhere.example"), groups("ops"), Admission::Anyone] {
            let invited = known(By::Address, Status::Invited, false, false);
            assert_eq!(decide(&admission, &ada(), Some(&invited)), Ok(Step::Accept));
        }
        let invited_again = known(By::Identity, Status::Invited, false, false);
        assert_eq!(decide(&Admission::Anyone, &nobody(), Some(&invited_again)), Err(NotInvited));
    }

    #[test]
    fn an_account_is_not_taken_over_by_its_unproven_address() {
        let claimed = known(By::Address, Status::Active, false, false);
        assert_eq!(decide(&Admission::Anyone, &ada(), Some(&claimed)), Err(AddressTaken));
        let proven = known(By::Address, Status::Active, true, false);
        assert_eq!(decide(&domains("acme.example"), &ada(), Some(&proven)), Ok(Step::Link));
    }

    #[test]
    fn an_active_account_gets_another_identity_only_from_whom_its_domain_is_entrusted_to() {
        for by_rule in [false, true] {
            let proven = known(By::Address, Status::Active, true, by_rule);
            for rule in [Admission::Invited, Admission::Anyone, groups("ops"), domains("elsewhere.example")] {
                assert_eq!(decide(&rule, &member_of("ops"), Some(&proven)), Err(AddressTaken));
            }
            assert_eq!(decide(&domains("acme.example"), &ada(), Some(&proven)), Ok(Step::Link));
        }
    }

    #[test]
    fn the_locked_stay_out() {
        for by in [By::Identity, By::Address] {
            assert_eq!(decide(&Admission::Anyone, &ada(), Some(&known(by, Status::Locked, true, false))), Err(Locked));
        }
    }

    #[test]
    fn who_came_by_a_rule_is_held_to_it() {
        let by_rule = known(By::Identity, Status::Active, true, true);
        assert_eq!(decide(&groups("ops"), &member_of("devops"), Some(&by_rule)), Err(NotInGroup));
        assert_eq!(decide(&domains("elsewhere.example"), &ada(), Some(&by_rule)), Err(DomainNotAdmitted));
        let invited_once = known(By::Identity, Status::Active, true, false);
        assert!(decide(&groups("ops"), &member_of("devops"), Some(&invited_once)).is_ok());
        let theirs = known(By::Identity, Status::Active, false, false);
        assert_eq!(decide(&Admission::Invited, &nobody(), Some(&theirs)), Ok(Step::SignIn));
    }
}
