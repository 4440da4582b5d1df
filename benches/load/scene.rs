//! What every part stands on.

use countersign::secrets::{InstallationSecret, Keyring, Random};

use super::database::{Cluster, Database};
use super::processes::Installation;
use super::report::Report;
use super::settings::Settings;
use super::stage::Stage;

/// The database from which all are copied.
const TEMPLATE: &str = "beginning";

/// PostgreSQL, the installation, and what has been found out.
pub struct Scene {
    /// How long.
    pub settings: Settings,
    /// PostgreSQL.
    pub cluster: Cluster,
    /// What servers are started of.
    pub installation: Installation,
    /// Makes codes and tokens.
    pub keyring: Keyring,
    /// What was measured.
    pub report: Report,
}

impl Scene {
    /// Starts PostgreSQL and makes the directory.
    pub async fn set_up(settings: Settings) -> Self {
        let cluster = Cluster::start().await;
        let secret = InstallationSecret::generate(&Random::system());
        let installation = Installation::new(&cluster.directory, secret.encode().expose());
        let keyring = Keyring::new(&[secret]).unwrap();
        let template = cluster.create(TEMPLATE, None).await;
        installation.apply(&template);
        // The first server makes its signing keys, which takes a while.
        drop(installation.serve(&template).await);
        template.pool.close().await;
        Self { settings, cluster, installation, keyring, report: Report::default() }
    }

    /// A database in which nothing has happened.
    pub async fn fresh(&self, name: &str) -> Database {
        self.cluster.create(name, Some(TEMPLATE)).await
    }

    /// Fills it.
    pub async fn stage<'a>(&'a self, database: &'a Database) -> Stage<'a> {
        Stage { database, ids: database.ids().await, keyring: &self.keyring }
    }

    /// Ends everything that was started.
    pub async fn end(self) {
        self.cluster.stop().await;
    }
}
