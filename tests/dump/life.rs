//! An installation in the middle of everything: whatever is ever stored stands in its database now, and the actors still
//! hold what they were given.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::audit::linker;
use countersign::ids::GrantId;
use countersign::notice::link;
use countersign::secrets::{Sealed, from_base64url};
use countersign::setup;
use serde_json::Value;
use uuid::Uuid;

use super::thief::{Way, value_of};
use crate::support::app::{
    ACME, ADA_PASSWORD, AGENT_SECRET, Answer, BOB_PASSWORD, SECRETS, form_request, secret_of_all,
};
use crate::support::dpop::{DeviceKey, with_proof};
use crate::support::github::{self, CLIENT_ID};
use crate::support::oidc_provider::browser as http_client;
use crate::support::{App, Browser, Page};

/// The account pages of the organization.
pub const ACCOUNT: &str = "/account/acme";

pub const ADA: &str = "ada@acme.example";
const BOB: &str = "bob@acme.example";

/// A client and its secret, if it has one.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub id: &'a str,
    pub secret: Option<&'a str>,
}

pub const CLI: Client<'static> = Client { id: "acme-cli", secret: None };
pub const AGENT: Client<'static> = Client { id: "acme-agent", secret: Some(AGENT_SECRET) };
pub const API: Client<'static> = Client { id: "acme-api", secret: Some(AGENT_SECRET) };

/// Something that an actor holds and nobody may find.
pub struct Held {
    pub what: &'static str,
    pub secret: String,
    /// What it is good for; `None`: nothing that can be tried here.
    pub way: Option<Way>,
}

pub struct Life {
    pub app: App,
    pub held: Vec<Held>,
    /// The cookie of the browser that is on its way to a provider.
    pub leaving_cookie: String,
    /// The name of the key that signs access tokens, and the claims of one of Ada's.
    pub kid: String,
    pub claims: Value,
}

/// An installation that lets everybody try as often as they like.
async fn patient_app(toml: &str) -> App {
    let app = App::with(toml).await;
    app.without_delays().await;
    // Budgets are kept, and nothing of what is spent.
    app.execute(
        "CREATE FUNCTION forget_costs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.spent_at := '{}'; NEW.spent := '{}'; RETURN NEW;
         END $$",
    )
    .await;
    app.execute("CREATE TRIGGER forget BEFORE INSERT OR UPDATE ON budget FOR EACH ROW EXECUTE FUNCTION forget_costs()")
        .await;
    app
}

fn directory(github: &str) -> String {
    let acme = ACME.replace("mfa = \"off\"", "mfa = \"if_enrolled\"");
    format!(
        "{acme}
[[organization.user]]
email = \"{BOB}\"
name = \"Bob\"
password = {{ env = \"BOB_PASSWORD\" }}

[[organization.provider]]
slug = \"hub\"
kind = \"github\"
name = \"GitHub\"
issuer = \"{github}\"
client_id = \"{CLIENT_ID}\"
client_secret = {{ env = \"GITHUB_SECRET\" }}
admit = {{ domains = [\"acme.example\"] }}

[[organization.service]]
slug = \"api\"
name = \"Acme API\"
client_id = \"acme-api\"
client_secret = {{ env = \"AGENT_SECRET\" }}
resource_server = true

[[organization.webhook]]
url = \"http://127.0.0.1:9/\"
secret = {{ env = \"HOOK_SECRET\" }}
"
    )
}

impl Life {
    pub async fn new() -> Self {
        let github = github::start().await;
        let app = patient_app(&directory(github.base())).await;
        let mut held = Hoard::default();
        for (name, secret) in SECRETS.iter().filter(|(name, _)| *name != "SSO_SECRET") {
            held.keep(name, *secret, None);
        }
        held.keep("Ada's password", ADA_PASSWORD, Some(Way::Password));
        held.keep("agent's secret", AGENT_SECRET, Some(Way::ClientSecret));
        held.keep("installation's secret", secret_of_all().encode().expose(), None);

        // Somebody mistypes, and has spent something.
        assert_eq!(Browser::new(&app).enter("BBBB-BBBB").await.status, StatusCode::BAD_REQUEST);
        expired_login(&app, &mut held).await;
        let leaving_cookie = people(&app, &mut held).await;
        // The authenticator's first code was spent when it was set up.
        app.advance(60);
        let claims = logins(&app, &mut held).await;
        report(&app, &mut held).await;
        let kid = signing_keys(&app, &mut held).await;
        let setup = setup::link::issue(&app.installation).await.unwrap().unwrap();
        held.keep("setup link", setup.expose().rsplit_once('=').unwrap().1, Some(Way::SetupLink));
        linker::link_all(&app.installation.pool, &app.installation.keyring).await.unwrap();
        Self { app, held: held.0, leaving_cookie, kid, claims }
    }

    /// What is held for a way.
    pub fn held(&self, way: Way) -> &str {
        &self.held.iter().find(|held| held.way == Some(way)).unwrap().secret
    }
}

#[derive(Default)]
struct Hoard(Vec<Held>);

impl Hoard {
    fn keep(&mut self, what: &'static str, secret: impl Into<String>, way: Option<Way>) {
        self.0.push(Held { what, secret: secret.into(), way });
    }
}

/// The codes of a login, and who asked for them.
struct Login<'a> {
    app: &'a App,
    client: Client<'static>,
    key: Option<&'a DeviceKey>,
    device_code: String,
    user_code: String,
}

impl<'a> Login<'a> {
    /// Asks for codes, and keeps the device code as what this is.
    async fn ask(app: &'a App, held: &mut Hoard, what: &'static str, client: Client<'static>) -> Self {
        Self::ask_with(app, held, what, client, None).await
    }

    async fn ask_with(
        app: &'a App,
        held: &mut Hoard,
        what: &'static str,
        client: Client<'static>,
        key: Option<&'a DeviceKey>,
    ) -> Self {
        let asked = [("scope", "openid email offline_access"), ("device_name", "a device")];
        let answer = send(app, "/auth/device/code", client, &asked, key).await;
        let [device_code, user_code] = ["device_code", "user_code"].map(|member| answer.text(member));
        let way = if client.secret.is_some() { Way::AgentsDeviceCode } else { Way::DeviceCode };
        held.keep(what, &device_code, Some(way));
        Self { app, client, key, device_code, user_code }
    }

    async fn redeem(&self) -> Answer {
        self.token("urn:ietf:params:oauth:grant-type:device_code", "device_code", &self.device_code).await
    }

    async fn refresh(&self, tokens: &Answer) -> Answer {
        self.token("refresh_token", "refresh_token", &tokens.text("refresh_token")).await
    }

    async fn token(&self, grant_type: &str, name: &str, value: &str) -> Answer {
        let fields = [("grant_type", grant_type), (name, value)];
        send(self.app, "/auth/token", self.client, &fields, self.key).await
    }
}

async fn send(app: &App, path: &str, client: Client<'_>, fields: &[(&str, &str)], key: Option<&DeviceKey>) -> Answer {
    let secret = client.secret.map(|secret| ("client_secret", secret));
    let form: Vec<_> = fields.iter().copied().chain([("client_id", client.id)]).chain(secret).collect();
    let request = form_request(path, &form);
    let answer = match key {
        Some(key) => app.send(with_proof(request, &key.proof(app, path))).await,
        None => app.send(request).await,
    };
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// A login whose time is over.
async fn expired_login(app: &App, held: &mut Hoard) {
    Login::ask(app, held, "expired device code", CLI).await;
    app.advance(901);
}

/// Ada with an authenticator and recovery codes, at her account and in the middle of a decision; Bob who is shown an
/// authenticator's key; Ada once more, who came from a provider, and somebody who is still there, whose cookie is returned.
async fn people(app: &App, held: &mut Hoard) -> String {
    let mut ada = signed_in(app, ADA, ADA_PASSWORD).await;
    let authenticator = format!("{ACCOUNT}/authenticator");
    let page = ada.open(&authenticator).await;
    let key = key(&page);
    let codes = ada.submit(&page, &authenticator, &[("code", &app.totp(&key))]).await.says(".codes code");
    let page = ada.open(ACCOUNT).await;
    held.keep("cookie at the account pages", cookie(&ada), Some(Way::AccountCookie));
    held.keep("token of a form of the account pages", page.field("csrf_token").unwrap(), Some(Way::AccountForm));

    let login = Login::ask(app, held, "claimed device code", CLI).await;
    let mut deciding = Browser::new(app);
    let page = deciding.enter_and_sign_in(&login.user_code).await;
    let confirm = deciding.prove(&page, &codes[0]).await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    held.keep("cookie of a browser that is about to decide", cookie(&deciding), Some(Way::ConfirmCookie));
    held.keep("token of the decision's form", confirm.field("csrf_token").unwrap(), Some(Way::ConfirmForm));
    held.keep("recovery code", &codes[1], Some(Way::RecoveryCode));
    held.keep("authenticator's key", key, Some(Way::TotpSecret));

    let mut bob = signed_in(app, BOB, BOB_PASSWORD).await;
    let shown = bob.open(&authenticator).await;
    held.keep("key of an authenticator to be", self::key(&shown), None);

    let (mut here, mut away) = (Browser::new(app), Browser::new(app));
    let back = http_client().get(leave(&mut here).await).send().await.unwrap();
    let back = back.headers()["location"].to_str().unwrap().parse().unwrap();
    assert_eq!(here.visit(&back).await.path, format!("{ACCOUNT}/mfa"));
    let asked = leave(&mut away).await;
    let state = asked.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    held.keep("state on the way to a provider", state, Some(Way::State));
    cookie(&away)
}

/// Device logins in every state, and sessions in every state: gives the claims of an access token.
async fn logins(app: &App, held: &mut Hoard) -> Value {
    let pending = Login::ask(app, held, "pending device code", CLI).await;
    held.keep("pending user code", &pending.user_code, Some(Way::VerifiedCode));
    held.keep("pending user code, typed", &pending.user_code, Some(Way::TypedCode));
    let approved = Login::ask(app, held, "approved device code", CLI).await;
    approve(app, &approved).await;
    let denied = Login::ask(app, held, "denied device code", CLI).await;
    decide(app, &denied, "deny").await;

    let redeemed = Login::ask(app, held, "redeemed device code", CLI).await;
    let mut tokens = session(app, &redeemed).await;
    held.keep("access token", tokens.text("access_token"), Some(Way::Bearer));
    let claims = tokens.claims("access_token");
    for replaced in ["refresh token of three rotations ago", "of two rotations ago", "of the last rotation"] {
        held.keep(replaced, tokens.text("refresh_token"), Some(Way::RefreshToken));
        tokens = redeemed.refresh(&tokens).await;
    }
    held.keep("refresh token that is asked about", tokens.text("refresh_token"), Some(Way::Introspection));
    held.keep("current refresh token", tokens.text("refresh_token"), Some(Way::RefreshToken));

    let key = DeviceKey::new();
    let bound = Login::ask_with(app, held, "device code bound to a key", CLI, Some(&key)).await;
    let tokens = session(app, &bound).await;
    held.keep("access token bound to a key", tokens.text("access_token"), Some(Way::Bearer));
    held.keep("refresh token bound to a key", tokens.text("refresh_token"), Some(Way::RefreshToken));

    let confidential = Login::ask(app, held, "agent's device code", AGENT).await;
    let tokens = session(app, &confidential).await;
    held.keep("agent's refresh token", tokens.text("refresh_token"), Some(Way::AgentsRefreshToken));

    let revoked = Login::ask(app, held, "device code of a session that was revoked", CLI).await;
    let token = session(app, &revoked).await.text("refresh_token");
    send(app, "/auth/revoke", CLI, &[("token", &token)], None).await;
    held.keep("revoked refresh token", token, Some(Way::RefreshToken));
    claims
}

/// Of the login that was approved last somebody says that it wasn't them, and holds the links of all others too.
async fn report(app: &App, held: &mut Hoard) {
    let grants: Vec<Uuid> = sqlx::query_scalar(
        "SELECT grant_id FROM notice WHERE kind = 'approved' GROUP BY grant_id ORDER BY max(created_at) DESC",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap();
    let token = |grant: Uuid| link::token(&app.installation.keyring, GrantId(grant)).expose().to_owned();
    let form = [("token", token(grants[0]))];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(app.post("/activate/report", &form).await.status, 200);
    held.keep("link of an approval that was reported", token(grants[0]), Some(Way::ReportLink));
    held.keep("link of an approval", token(grants[1]), Some(Way::ReportLink));
}

async fn session(app: &App, login: &Login<'_>) -> Answer {
    approve(app, login).await;
    login.redeem().await
}

async fn approve(app: &App, login: &Login<'_>) {
    decide(app, login, "approve").await;
}

/// As Bob, who has no second factor.
async fn decide(app: &App, login: &Login<'_>, decision: &str) {
    // So that one of them is the last.
    app.advance(1);
    let mut bob = Browser::new(app);
    let page = bob.enter(&login.user_code).await;
    let confirm = bob.sign_in(&page, BOB, BOB_PASSWORD).await;
    assert_eq!(bob.decide(&confirm, decision).await.path, "/activate/done");
}

/// The private key that signs access tokens, as only the installation's secret opens it, and its name.
async fn signing_keys(app: &App, held: &mut Hoard) -> String {
    let (kid, sealed): (String, Vec<u8>) =
        sqlx::query_as("SELECT kid, private_sealed FROM signing_key WHERE algorithm = 'ES256'")
            .fetch_one(&app.installation.pool)
            .await
            .unwrap();
    let place: [&[u8]; 2] = [b"signing_key.private", kid.as_bytes()];
    let private = app.installation.keyring.open(&place, &Sealed::from(sealed)).unwrap();
    held.keep("key that signs access tokens", STANDARD.encode(&*private), Some(Way::SigningKey));
    kid
}

/// In a browser of their own at their account.
async fn signed_in<'a>(app: &'a App, email: &str, password: &str) -> Browser<'a> {
    let mut browser = Browser::new(app);
    let page = browser.open(ACCOUNT).await;
    let form = [("email", email), ("password", password)];
    let page = browser.submit(&page, &format!("{ACCOUNT}/sign-in"), &form).await;
    assert_eq!(page.path, ACCOUNT, "{}", page.text());
    browser
}

/// Leaves for the provider: where the browser is sent to.
async fn leave(browser: &mut Browser<'_>) -> url::Url {
    browser.open(&format!("{ACCOUNT}/sign-in/hub")).await.leads_to()
}

fn cookie(browser: &Browser<'_>) -> String {
    let value = value_of(browser.cookie.as_deref().unwrap());
    assert_eq!(from_base64url(&value).unwrap().len(), 32);
    value
}

/// The key that a page shows for an authenticator.
fn key(page: &Page) -> String {
    page.says(".secret").join("").replace(' ', "")
}
