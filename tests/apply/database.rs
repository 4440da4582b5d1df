//! An installation with a database of its own for each test.

use countersign::clock::Clock;
use countersign::config::PublicUrl;
use countersign::directory::apply::{Change, File, Mode};
use countersign::installation::{Installation, Parts};
use countersign::postgres::PgPool;
use countersign::secrets::{InstallationSecret, Keyring, Passwords, Random};
use countersign::{cli, secrets::SecretText};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

/// An installation with a fresh database.
#[derive(Clone)]
pub struct Database {
    pub installation: Installation,
}

/// Runs a test with a database of its own, which is closed afterwards however the test ends.
pub async fn with_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Database) -> F) {
    let pool = super::test_database::database().await;
    let ended = tokio::spawn(test(Database { installation: installation(pool.clone(), &[FIRST]) })).await;
    pool.close().await;
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// A secret of an installation.
pub const FIRST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// Another one.
pub const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// An installation with these secrets.
pub fn installation(pool: PgPool, secrets: &[&str]) -> Installation {
    let secrets: Vec<_> =
        secrets.iter().map(|secret| InstallationSecret::parse(&SecretText::from(*secret)).unwrap()).collect();
    let random = Random::system();
    Installation::from(Parts {
        pool,
        clock: Clock::manual(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap()),
        keyring: Keyring::new(&secrets).unwrap(),
        passwords: Passwords::new(random.clone(), 2),
        random,
        public_url: PublicUrl::parse("https://auth.acme.example").unwrap(),
        outbound: countersign::outbound::Outbound::default(),
        dev_mode: false,
    })
}

impl Database {
    /// The same database under other secrets of the installation.
    pub fn under_secrets(&self, secrets: &[&str]) -> Self {
        Self { installation: installation(self.installation.pool.clone(), secrets) }
    }

    pub async fn apply(&self, file: &File, mode: Mode) -> Vec<Change> {
        self.try_apply(file, mode).await.unwrap()
    }

    pub async fn try_apply(&self, file: &File, mode: Mode) -> anyhow::Result<Vec<Change>> {
        cli::apply::apply_and_audit(&self.installation, file, mode).await
    }

    pub async fn execute(&self, sql: &'static str) {
        self.installation.pool.execute(sql).await.unwrap();
    }

    /// The first column of the first row, as text.
    pub async fn text(&self, sql: &'static str) -> String {
        sqlx::query(sql).fetch_one(&self.installation.pool).await.unwrap().get(0)
    }

    /// Everything in the directory and the audit.
    pub async fn dump(&self) -> String {
        let mut dump = String::new();
        for table in ["organization", "service", "provider", "app_user", "identity", "webhook", "audit_event"] {
            let sql =
                format!("SELECT coalesce(string_agg(row_to_json(t)::text, E'\\n' ORDER BY t.id), '') FROM {table} t");
            let rows: String = sqlx::query(AssertSqlSafe(sql)).fetch_one(&self.installation.pool).await.unwrap().get(0);
            dump.extend([table, "\n", rows.as_str(), "\n"]);
        }
        dump
    }
}
