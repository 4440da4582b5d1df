//! From an identity to a user, in the database.

use countersign::directory::provider::Provider;
use countersign::directory::user::{self, Status, User};
use countersign::ids::UserId;
use countersign::upstream::Identity;
use countersign::upstream::admission::{AdmissionError, Refusal, admit};

use crate::house::{House, Settings, house};

fn somebody(subject: &str, email: Option<&str>) -> Identity {
    Identity {
        subject: subject.into(),
        email: email.map(str::to_owned),
        name: Some("Ada".into()),
        groups: Vec::new(),
        amr: Vec::new(),
        auth_time: None,
        second_factor: false,
    }
}

async fn letting_in(house: &House, slug: &str, admission: &str, admitted: &[&str]) -> Provider {
    let settings = Settings { slug, admission, admitted, ..Settings::sso("http://127.0.0.1:9") };
    house.add_provider(&settings).await
}

async fn enter(house: &House, provider: &Provider, identity: &Identity) -> Result<User, Refusal> {
    let mut conn = house.installation.pool.acquire().await.unwrap();
    match admit(&mut conn, &house.installation, provider, identity).await {
        Ok(user) => Ok(user),
        Err(AdmissionError::Refused(refusal)) => Err(refusal),
        Err(AdmissionError::Database(error)) => panic!("{error}"),
    }
}

async fn lock(house: &House, user: UserId) {
    let update = sqlx::query("UPDATE app_user SET status = 'locked' WHERE id = $1").bind(user);
    update.execute(&house.installation.pool).await.unwrap();
}

async fn count(house: &House, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&house.installation.pool).await.unwrap()
}

#[tokio::test]
async fn an_invitation_is_accepted_once_and_the_identity_is_theirs_from_then_on() {
    let house = house().await;
    let sso = letting_in(&house, "sso", "domains", &["elsewhere.example"]).await;
    let invited = house.add_user("ada@acme.example", "invited", false).await;
    let user = enter(&house, &sso, &somebody("1", Some("ada@acme.example"))).await.unwrap();
    assert_eq!((user.id, user.status, user.email_verified), (invited, Status::Active, true));
    // The address may change, and the rule was never theirs.
    assert_eq!(enter(&house, &sso, &somebody("1", Some("ada@new.example"))).await.unwrap().id, invited);
    assert_eq!(enter(&house, &sso, &somebody("2", None)).await.unwrap_err(), Refusal::NoVerifiedAddress);
    lock(&house, invited).await;
    assert_eq!(enter(&house, &sso, &somebody("1", None)).await.unwrap_err(), Refusal::Locked);
    assert_eq!(enter(&house, &sso, &somebody("2", Some("ada@acme.example"))).await.unwrap_err(), Refusal::Locked);
}

#[tokio::test]
async fn who_leaves_the_domain_or_the_group_is_let_in_no_more_by_any_provider() {
    let house = house().await;
    let domains = letting_in(&house, "domains", "domains", &["Acme.Example"]).await;
    let user = enter(&house, &domains, &somebody("1", Some("ada@acme.example"))).await.unwrap();
    assert_eq!((user.name.as_str(), user.email.as_deref()), ("Ada", Some("ada@acme.example")));
    assert!(enter(&house, &domains, &somebody("1", Some("ada@acme.example"))).await.is_ok());
    let left = enter(&house, &domains, &somebody("1", Some("ada@new.example"))).await;
    assert_eq!(left.unwrap_err(), Refusal::DomainNotAdmitted);

    let groups = letting_in(&house, "groups", "groups", &["ops"]).await;
    let bob = |group: &str| Identity { groups: vec![group.into()], ..somebody("g1", Some("bob@acme.example")) };
    assert_eq!(enter(&house, &groups, &bob("devs")).await.unwrap_err(), Refusal::NotInGroup);
    assert!(enter(&house, &groups, &bob("ops")).await.is_ok());
    assert_eq!(enter(&house, &groups, &bob("devs")).await.unwrap_err(), Refusal::NotInGroup);
    // Nor by way of another provider that knows the address.
    let invited = letting_in(&house, "invited", "invited", &[]).await;
    let elsewhere = somebody("i1", Some("bob@acme.example"));
    assert_eq!(enter(&house, &invited, &elsewhere).await.unwrap_err(), Refusal::AddressTaken);
}

#[tokio::test]
async fn github_organizations_are_compared_without_case() {
    let house = house().await;
    let settings = Settings { kind: "github", admission: "groups", admitted: &["Acme-Inc"], ..Settings::sso("x") };
    let github = house.add_provider(&settings).await;
    let ada = Identity { groups: vec!["acme-inc".into()], ..somebody("1", None) };
    assert!(enter(&house, &github, &ada).await.is_ok());
}

#[tokio::test]
async fn an_active_account_is_linked_only_if_its_own_address_is_proven_and_by_whom_its_domain_is_entrusted_to() {
    let house = house().await;
    let (sso, anyone) =
        (letting_in(&house, "sso", "domains", &["acme.example"]).await, letting_in(&house, "any", "anyone", &[]).await);
    let proven = house.add_user("ada@acme.example", "active", true).await;
    house.add_user("bob@acme.example", "active", false).await;
    let ada = somebody("1", Some("ada@acme.example"));
    assert_eq!(enter(&house, &anyone, &ada).await.unwrap_err(), Refusal::AddressTaken);
    assert_eq!(enter(&house, &sso, &ada).await.unwrap().id, proven);
    let taken = enter(&house, &sso, &somebody("2", Some("bob@acme.example"))).await;
    assert_eq!(taken.unwrap_err(), Refusal::AddressTaken);
    let new = enter(&house, &anyone, &somebody("3", None)).await.unwrap();
    assert_eq!((new.email, new.email_verified), (None, false));
    assert_eq!(count(&house, "SELECT count(*) FROM identity").await, 2, "nothing is written for who is refused");
}

#[tokio::test]
async fn first_sign_ins_at_once_make_one_user() {
    let house = house().await;
    let sso = letting_in(&house, "sso", "domains", &["acme.example"]).await;
    let other = letting_in(&house, "other", "domains", &["acme.example"]).await;
    let anyone = letting_in(&house, "any", "anyone", &[]).await;
    // The same identity thrice, and the same address by another provider.
    for (subject, email, by) in
        [("1", Some("ada@acme.example"), [&sso, &sso, &other]), ("2", None, [&anyone, &anyone, &anyone])]
    {
        let ada = somebody(subject, email);
        let (a, b, c) =
            tokio::join!(enter(&house, by[0], &ada), enter(&house, by[1], &ada), enter(&house, by[2], &ada));
        let ids = [a, b, c].map(|user| user.unwrap().id);
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
    assert_eq!(count(&house, "SELECT count(*) FROM app_user").await, 2);
}

#[tokio::test]
async fn admission_is_part_of_the_callers_transaction() {
    let house = house().await;
    let anyone = letting_in(&house, "sso", "anyone", &[]).await;
    let mut transaction = house.installation.pool.begin().await.unwrap();
    let ada = somebody("1", Some("ada@acme.example"));
    let user = admit(&mut transaction, &house.installation, &anyone, &ada).await.unwrap();
    assert!(user::by_id(&mut transaction, user.id).await.unwrap().is_some());
    transaction.rollback().await.unwrap();
    assert_eq!(count(&house, "SELECT count(*) FROM app_user").await, 0);
}
