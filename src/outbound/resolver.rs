//! What a name means to a client that goes to permitted addresses only.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{NotPublic, Outbound};

/// Asks the system, and keeps to itself what isn't permitted.
pub(super) struct Permitted(pub Outbound);

impl Resolve for Permitted {
    fn resolve(&self, name: Name) -> Resolving {
        let outbound = self.0.clone();
        Box::pin(async move {
            // The client puts the port of the URL in place of this one.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let permitted: Vec<SocketAddr> = found.into_iter().filter(|found| outbound.permits(found.ip())).collect();
            if any && permitted.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
