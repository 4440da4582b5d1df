//! A message that says nothing, so that somebody sees at once whether a webhook can be told.

use serde_json::json;

use crate::directory::organization::Organization;
use crate::directory::webhook::Webhook;
use crate::ids::NoticeId;
use crate::installation::Installation;

use super::Notices;
use super::delivery::Failure;
use super::webhook::Address;

impl Notices {
    /// Posts one now, as any other is posted (docs/endpoints.md). It isn't tried again.
    pub async fn try_webhook(
        &self,
        installation: &Installation,
        organization: &Organization,
        webhook: &Webhook,
    ) -> Result<(), Failure> {
        let now = installation.clock.now();
        let told = json!({ "id": organization.id, "slug": organization.slug, "name": organization.name });
        let body = json!({ "type": "webhook.test", "timestamp": now, "data": { "organization": told } });
        let Webhook { id, url, secret, public_only, .. } = webhook;
        let to = Address { id: *id, url, secret, public_only: *public_only };
        let message = (NoticeId::new(now, &installation.random.bytes()), body.to_string());
        self.0.poster.post(installation, message, to).await
    }
}
