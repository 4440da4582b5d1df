//! Whom the addresses that are written may name. The server sends requests to them, from inside the installation's network.

use url::Url;

use crate::outbound::{NotPublic, Outbound};

use super::fault::{Fault, Where};

/// Who writes addresses, and so which.
#[derive(Clone, Copy, Debug)]
pub enum Addresses<'a> {
    /// Any: they stand in files on the machine.
    Any,
    /// Public ones, and those that are allowed besides: they come over the network, from whoever it is. What is written with a
    /// new address is marked, so that every request to it is held to that; what keeps its address keeps its mark.
    Public(&'a Outbound),
}

impl Addresses<'_> {
    /// Whether something is to be marked, and which of its addresses no request would ever be sent to, as far as they say so
    /// themselves. `named`: its addresses by their keys; `stayed`: its mark, if it had just these before.
    pub(super) fn judge(
        self,
        named: &[(&'static str, &str)],
        stayed: Option<bool>,
        stands: &Where,
    ) -> (bool, Vec<Fault>) {
        match (self, stayed) {
            (Self::Any, _) => (false, Vec::new()),
            (Self::Public(_), Some(mark)) => (mark, Vec::new()),
            (Self::Public(outbound), None) => {
                let refused = |(key, text): &(&'static str, &str)| {
                    let url = Url::parse(text).ok()?;
                    outbound.check(&url).err().map(|NotPublic| stands.fault(key, &format!(": {NotPublic}")))
                };
                // Where nobody wrote an address, it is Countersign's own.
                (!named.is_empty(), named.iter().filter_map(refused).collect())
            }
        }
    }
}
