//! Two HTTP clients that are alike but for where they go.

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use url::Url;

use super::resolver::Permitted;
use super::{NotPublic, Outbound};

/// The clients. Cheap to clone; connections are shared, but never between the two.
#[derive(Clone)]
pub struct Outgoing {
    outbound: Outbound,
    anywhere: Client,
    permitted: Client,
}

impl Outgoing {
    /// With what `settings` sets of a client. It follows no redirect, whatever they say.
    pub fn new(outbound: Outbound, settings: impl Fn() -> ClientBuilder) -> Result<Self, reqwest::Error> {
        let client = || settings().redirect(Policy::none());
        Ok(Self {
            anywhere: client().build()?,
            permitted: client().no_proxy().dns_resolver(Permitted(outbound.clone())).build()?,
            outbound,
        })
    }

    /// The client for a request to this URL. `public_only`: the address was written by somebody who may not send the server
    /// anywhere.
    pub fn client(&self, url: &Url, public_only: bool) -> Result<&Client, NotPublic> {
        if !public_only {
            return Ok(&self.anywhere);
        }
        self.outbound.check(url).map(|()| &self.permitted)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn clients(outbound: Outbound) -> Outgoing {
        Outgoing::new(outbound, reqwest::Client::builder).unwrap()
    }

    /// A name is looked up by the client alone, so this is what holds of every name that means this machine.
    #[tokio::test]
    async fn a_name_is_as_good_as_what_it_means() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
        let strict = clients(Outbound::default());
        assert_eq!(strict.client(&url, true).err(), Some(NotPublic));
        let error = strict.permitted.get(url.clone()).send().await.unwrap_err();
        assert!(NotPublic::is_behind(&error), "{error:?}");
        let asked = async |outgoing: &Outgoing, public_only: bool| {
            let request = outgoing.client(&url, public_only).unwrap().get(url.clone()).send();
            tokio::select! {
                accepted = listener.accept() => drop(accepted.unwrap()),
                answer = request => panic!("{answer:?}"),
            }
        };
        asked(&strict, false).await;
        asked(&clients(Outbound::with_loopback()), true).await;
    }

    #[tokio::test]
    async fn a_name_that_means_nothing_is_nobodys_fault() {
        let url = Url::parse("https://nobody.invalid/").unwrap();
        let error = clients(Outbound::default()).client(&url, true).unwrap().get(url).send().await.unwrap_err();
        assert!(error.is_connect() && !NotPublic::is_behind(&error), "{error:?}");
    }
}
