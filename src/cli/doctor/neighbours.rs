//! What organizations have outside: providers at which their people sign in, programs that are told of approvals.

use futures_util::future::join_all;
use url::Url;

use crate::directory::apply::PLATFORM;
use crate::directory::organization::{self, Organization, Status};
use crate::directory::provider::{self, Kind, Provider};
use crate::directory::webhook::{self, Webhook};
use crate::installation::Installation;
use crate::outbound::NotPublic;
use crate::postgres::PgConnection;
use crate::upstream::{Upstream, UpstreamError, host_of, is_secure};

use super::database::or_failed;
use super::finding::{Finding, Verdict};
use super::tls;

const PROVIDER: &str = "provider";
const WEBHOOK: &str = "webhook";

/// What is looked at here.
pub(super) const CHECKS: [&str; 2] = [PROVIDER, WEBHOOK];

pub(super) async fn look(installation: &Installation, conn: &mut PgConnection) -> Vec<Finding> {
    let (mut providers, mut webhooks, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let read = async {
        let mut organizations = organization::page(&mut *conn, None, None, i64::MAX).await?;
        // Nobody signs in to one that is suspended, nor approves anything.
        organizations.retain(|organization| organization.status == Status::Active);
        for Organization { id, slug, .. } in organizations {
            let of_organization = provider::of_organization(&mut *conn, id).await?;
            // The platform gets one with its first owner.
            if of_organization.is_empty() && slug != PLATFORM {
                without.push(slug.clone());
            }
            let elsewhere = of_organization.into_iter().filter(|provider| provider.kind != Kind::Password);
            providers.extend(elsewhere.map(|provider| (format!("{slug}/{}", provider.slug), provider)));
            let hooks = webhook::of_organization(&mut *conn, id).await?;
            webhooks.extend(hooks.into_iter().map(|webhook| (slug.clone(), webhook)));
        }
        Ok::<(), sqlx::Error>(())
    };
    if let Err(error) = read.await {
        return CHECKS.map(|check| or_failed(Err(sqlx::Error::Protocol(error.to_string()))).of(check)).into();
    }
    let upstream = &Upstream::new(installation.outbound.clone());
    let of_providers = join_all(providers.iter().map(|(subject, provider)| async move {
        let verdict = match upstream {
            Ok(upstream) => of_provider(upstream, installation, provider).await,
            Err(error) => Verdict::failure(error.to_string(), "install the system's CA certificates"),
        };
        verdict.about(PROVIDER, subject)
    }));
    let of_webhooks =
        join_all(webhooks.iter().map(|(organization, webhook)| of_webhook(organization, installation, webhook)));
    let (mut findings, more) = tokio::join!(of_providers, of_webhooks);
    findings.extend(without.iter().map(|organization| {
        let mend = "give it one and countersign apply it, or countersign provider create";
        Verdict::warning("it has none, and nobody can sign in to it", mend).about(PROVIDER, organization)
    }));
    if findings.is_empty() {
        findings.push(Verdict::skipped("no active organization has one outside of Countersign").of(PROVIDER));
    }
    findings.extend(more);
    if webhooks.is_empty() {
        findings.push(Verdict::skipped("no active organization has one").of(WEBHOOK));
    }
    findings
}

/// Its discovery document and keys as a sign-in needs them; of GitHub, whether its API answers.
async fn of_provider(upstream: &Upstream, installation: &Installation, provider: &Provider) -> Verdict {
    if provider.open_client_secret(&installation.keyring).is_err() {
        return Verdict::failure(
            "its client_secret can't be opened with the installation's secret",
            "countersign apply its file again, or give secrets the one that it was sealed with",
        );
    }
    match upstream.look(installation, provider).await {
        Ok(()) => Verdict::ok("it answers, as what it is configured"),
        Err(error @ UpstreamError::Unreachable { .. }) => Verdict::failure(
            error.to_string(),
            "let this machine through to it (firewall, DNS), and look whether its certificate is one that this machine trusts",
        ),
        Err(error) => {
            Verdict::failure(error.to_string(), "correct issuer or api_url of this provider and countersign apply it")
        }
    }
}

/// Whether a message could be sent. None is.
async fn of_webhook(organization: &str, installation: &Installation, webhook: &Webhook) -> Finding {
    let Ok(url) = Url::parse(&webhook.url) else {
        return Verdict::failure("its address is none", "correct url and countersign apply it")
            .about(WEBHOOK, organization);
    };
    // A path may hold a secret.
    let subject = format!("{organization} at {}", host_of(&url));
    reachable(installation, webhook, &url).await.unwrap_or_else(|verdict| verdict).about(WEBHOOK, subject)
}

async fn reachable(installation: &Installation, webhook: &Webhook, url: &Url) -> Result<Verdict, Verdict> {
    if !is_secure(url) {
        let mend = "give it an address that begins with https:// and countersign apply it";
        return Err(Verdict::failure("http:// is for loopback only", mend));
    }
    if webhook::open_secret(&installation.keyring, webhook.id, &webhook.secret).is_err() {
        return Err(Verdict::failure(
            "its secret can't be opened with the installation's secret",
            "countersign apply its file again, or give secrets the one that it was sealed with",
        ));
    }
    let (host, port) =
        tls::endpoint(url).ok_or_else(|| Verdict::failure("its address names no host", "correct url"))?;
    let mut addresses = tls::resolve(&host, port).await?;
    if webhook.public_only {
        addresses.retain(|address| installation.outbound.permits(address.ip()));
    }
    if addresses.is_empty() {
        let mend = "name its network in outbound.allow, or write it with countersign apply, which may name any address";
        return Err(Verdict::failure(NotPublic.to_string(), mend));
    }
    let stream = tls::connect(&host, &addresses).await?;
    if url.scheme() == "https" {
        tls::handshake(&host, stream).await?;
    }
    Ok(Verdict::ok("it can be reached; nothing was sent"))
}
