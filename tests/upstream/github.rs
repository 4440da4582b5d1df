//! GitHub, by a stand-in that speaks its OAuth and its API.

use countersign::directory::provider::Provider;
use countersign::upstream::{Identity, UpstreamError, Why};
use serde_json::json;
use url::Url;

use crate::github_stand_in::{self, Fault, GitHub};
use crate::house::{House, Settings, house, with_parameter};
use crate::oidc_provider::browser;

struct Scene {
    house: House,
    github: GitHub,
    provider: Provider,
}

async fn scene(change: impl FnOnce(&mut Settings<'_>)) -> Scene {
    let (house, github) = (house().await, github_stand_in::start().await);
    // People write base URLs with and without the slash.
    let base = format!("{}/", github.base());
    let mut settings = Settings {
        slug: "github",
        kind: "github",
        client_id: github_stand_in::CLIENT_ID,
        client_secret: Some(github_stand_in::CLIENT_SECRET),
        ..Settings::sso(&base)
    };
    change(&mut settings);
    let provider = house.add_provider(&settings).await;
    Scene { house, github, provider }
}

impl Scene {
    async fn callback(&self) -> Url {
        let url = self.house.leave(&self.provider).await.unwrap();
        let answer = browser().get(url).send().await.unwrap();
        Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap()
    }

    async fn identity(&self) -> Result<Identity, UpstreamError> {
        self.house.come_back(&self.provider, &self.callback().await).await
    }

    async fn broken(&self, fault: Fault) -> UpstreamError {
        self.github.world().fault = Some(fault);
        self.identity().await.unwrap_err()
    }
}

#[tokio::test]
async fn a_person_signs_in() {
    let scene = scene(|_| {}).await;
    let identity = scene.identity().await.unwrap();
    assert_eq!(identity.subject, "583231", "logins change hands, ids don't");
    assert_eq!(identity.email.as_deref(), Some("ada@acme.example"));
    assert_eq!(identity.name.as_deref(), Some("Ada Lovelace"));
    assert!(identity.groups.is_empty() && identity.amr.is_empty() && !identity.second_factor);
    assert_eq!(scene.github.world().asked_scope, "read:user user:email");
}

#[tokio::test]
async fn organizations_are_read_to_the_last_page() {
    let scene = scene(|settings| (settings.admission, settings.admitted) = ("groups", &["org-249"])).await;
    scene.github.world().organizations = (0..250).map(|number| format!("Org-{number}")).collect();
    let groups = scene.identity().await.unwrap().groups;
    assert_eq!((groups.len(), groups.last().unwrap().as_str()), (250, "org-249"));
    assert_eq!(scene.github.world().asked_scope, "read:user user:email read:org");
}

#[tokio::test]
async fn only_the_primary_address_counts_and_only_verified() {
    let scene = scene(|_| {}).await;
    scene.github.world().emails = json!([
        { "email": "ada@acme.example", "primary": true, "verified": false },
        { "email": "ada@home.example", "primary": false, "verified": true },
    ]);
    assert_eq!(scene.identity().await.unwrap().email, None);
}

#[tokio::test]
async fn a_code_is_worth_nothing_in_another_round_trip() {
    let scene = scene(|_| {}).await;
    let (stolen, own) = (scene.callback().await, scene.callback().await);
    let code = stolen.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let injected = with_parameter(&own, "code", Some(&code));
    let error = scene.house.come_back(&scene.provider, &injected).await.unwrap_err();
    assert_eq!(error.to_string(), "the provider answered with the error bad_verification_code");
}

#[tokio::test]
async fn errors_say_whose_turn_it_is() {
    let scene = scene(|_| {}).await;
    let host = scene.github.base().trim_start_matches("http://").to_owned();
    assert_eq!(scene.broken(Fault::Cancelled).await, UpstreamError::Denied);
    let expired = scene.broken(Fault::TokenError("bad_verification_code")).await;
    assert!(matches!(expired, UpstreamError::Provider(_)));
    let wrong = scene.broken(Fault::TokenError("redirect_uri_mismatch")).await;
    assert!(matches!(wrong, UpstreamError::Misconfigured(_)));
    for (fault, status) in [(Fault::Api(502), 502), (Fault::Api(429), 429), (Fault::RateLimited, 403)] {
        let why = Why::Status(reqwest::StatusCode::from_u16(status).unwrap());
        assert_eq!(scene.broken(fault).await, UpstreamError::Unreachable { host: host.clone(), why });
    }
    assert!(matches!(scene.broken(Fault::Api(404)).await, UpstreamError::Misconfigured(_)));
    let moved = scene.broken(Fault::Api(302)).await;
    assert!(matches!(moved, UpstreamError::Misconfigured(_)), "no redirect is followed");
    let flood = scene.broken(Fault::Flood).await;
    assert!(matches!(&flood, UpstreamError::Misconfigured(why) if why.contains("1 MiB")), "{flood}");
}

#[tokio::test]
async fn a_wrong_client_secret_is_a_fault_of_the_settings() {
    let scene = scene(|settings| settings.client_secret = Some("wrong")).await;
    let error = scene.identity().await.unwrap_err();
    assert!(matches!(&error, UpstreamError::Misconfigured(why) if why.contains("client_secret")), "{error}");
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_not_one() {
    let scene = scene(|_| {}).await;
    let back = with_parameter(&scene.callback().await, "iss", Some("https://evil.example/login/oauth"));
    assert!(matches!(scene.house.come_back(&scene.provider, &back).await, Err(UpstreamError::Untrusted(_))));
    let own = format!("{}/login/oauth", scene.github.base());
    let back = with_parameter(&scene.callback().await, "iss", Some(&own));
    assert!(scene.house.come_back(&scene.provider, &back).await.is_ok());
}
