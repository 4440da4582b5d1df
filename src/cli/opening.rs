//! Opens an installation: its secret, its database brought up to date, its parts in one value.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;

use crate::audit::{linker, retention};
use crate::clock::Clock;
use crate::config::{Config, Database, PublicUrl, is_open_to_all};
use crate::geo::Places;
use crate::installation::{Installation, Parts};
use crate::notice::mail::Mailer;
use crate::outbound::Outbound;
use crate::postgres::managed::{Managed, ManagedError, Options};
use crate::postgres::{self, Direct, PgPool, roles};
use crate::secrets::{InstallationSecret, Keyring, Passwords, Random, SecretText};

/// The file that `countersign apply` looks for when a file is named nowhere.
const CONFIG_FILE: &str = "countersign.toml";

/// The installation's secret, made at the first start when none is configured.
const SECRET_FILE: &str = "installation-secret";

/// Says where the database of a running process is, to commands that join it.
const URL_FILE: &str = "database-url";

/// The role that serves requests in a managed PostgreSQL, whose other one owns it.
const SERVER_ROLE: &str = "countersign_server";

/// How long the end may take to link what is in the audit.
const LINK_WITHIN: Duration = Duration::from_secs(5);

/// How long a server waits for a command that has its data directory: longer than most take, and not so long that nobody
/// looks why it doesn't answer.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// What is said of a file with secrets that isn't kept private.
pub const EXPOSED: &str = "every account of this machine can read this file, which holds secrets: chmod o-r";

/// The database in a managed PostgreSQL.
const DATABASE: &str = "countersign";

/// How many passwords are hashed at once: on half of the cores, so that the other half answers polls.
fn hashes_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Which installation a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct Where {
    /// The configuration of the installation [default: countersign.toml, if it is there]
    #[arg(long, env = "COUNTERSIGN_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The data directory of a `countersign dev`, running or not, instead of a configuration
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub data_dir: Option<PathBuf>,
}

impl Where {
    /// Opens it.
    pub async fn open(&self) -> anyhow::Result<Opened> {
        match &self.data_dir {
            // Looked at first: a mistyped directory must not become an installation.
            Some(data_dir) if !data_dir.join(SECRET_FILE).exists() => {
                bail!("{} is no data directory of countersign dev", data_dir.display())
            }
            Some(data_dir) => in_data_dir(data_dir, PublicUrl::parse("http://localhost")?).await,
            None => configured(&configuration(self.config.as_deref())?, WhenHeld::Join).await,
        }
    }
}

/// An open installation.
pub struct Opened {
    /// The installation.
    pub installation: Installation,
    /// The PostgreSQL that runs for it, if it is ours.
    pub postgres: Option<Managed>,
    /// Who owns the database, as far as is known.
    owner: PgConnectOptions,
    /// Every transaction of this process, and none that was over before, has this number or a later one.
    began_at: i64,
}

impl Opened {
    /// Around an installation whose database is up to date.
    async fn around(
        installation: Installation,
        postgres: Option<Managed>,
        owner: PgConnectOptions,
    ) -> anyhow::Result<Self> {
        let began_at = linker::next_transaction(&installation.pool).await?;
        Ok(Self { installation, postgres, owner, began_at })
    }

    /// Has the audit kept for so many days, or for ever. Only the owner of the database can, and it need not be known here: then
    /// the log says what is to be done.
    pub async fn keep_audit_for(&self, days: Option<u32>) {
        let set = async {
            let mut conn = self.installation.pool.acquire().await?;
            if retention::days(&mut conn).await? == days {
                return Ok(());
            }
            let mut owner = roles::connect_to_prepared(&self.owner).await?;
            let Parts { clock, random, .. } = &*self.installation;
            retention::keep_for(&mut owner, (clock, random), days).await?;
            owner.close().await
        };
        if let Err(error) = set.await {
            let days = days.map_or_else(|| "NULL".to_owned(), |days| days.to_string());
            tracing::warn!(
                %error,
                "retention.audit is not what the database has, and this role may not set it: set database.owner_url, or as the \
                 owner of the tables UPDATE audit_retention SET days = {days}"
            );
        }
    }

    /// Ends what was started, and links what was done meanwhile.
    ///
    /// What is older isn't linked: if servers left it out, that is for `countersign audit verify` to tell.
    pub async fn close(self) -> anyhow::Result<()> {
        // What was done last must not wait for the next server to be linked. If it can't be, it has to.
        let Parts { pool, keyring, .. } = &*self.installation;
        let linking = linker::link_since(pool, keyring, self.began_at);
        let _left_to_the_next_server = tokio::time::timeout(LINK_WITHIN, linking).await;
        self.leave().await
    }

    /// Ends what was started, and leaves the audit as it was found.
    pub async fn leave(self) -> anyhow::Result<()> {
        // A connection that hangs doesn't keep the process from ending.
        let _cut_off = tokio::time::timeout(LINK_WITHIN, self.installation.pool.close()).await;
        match self.postgres {
            Some(postgres) => Ok(postgres.stop().await?),
            None => Ok(()),
        }
    }
}

/// The file of the configuration: `named`, or `countersign.toml` if it is there.
pub fn configuration_file(named: Option<&Path>) -> Option<PathBuf> {
    let here = PathBuf::from(CONFIG_FILE);
    named.map(Path::to_owned).or_else(|| here.exists().then_some(here))
}

/// The database of places that is configured, if one is.
pub fn places(database: Option<&Path>) -> anyhow::Result<Places> {
    database.map_or_else(|| Ok(Places::default()), Places::open).context("geo.database can't be used")
}

/// How mails are sent, as is configured.
pub fn mailer(config: &Config) -> anyhow::Result<Mailer> {
    Ok(Mailer::configured(config.mail.smtp.as_ref(), config.mail.from.as_deref())?)
}

/// The configuration: `named`, or `countersign.toml` if it is there, and the environment.
pub fn configuration(named: Option<&Path>) -> anyhow::Result<Config> {
    let file = configuration_file(named);
    let told = super::environment::variable("COUNTERSIGN_PUBLIC_URL").is_some()
        || super::environment::variable("COUNTERSIGN_PUBLIC_URL_FILE").is_some();
    if file.is_none() && !told {
        bail!(
            "nothing is configured: there is no {CONFIG_FILE} here, and COUNTERSIGN_PUBLIC_URL is not set. \
             docs/configuration.md shows the shortest file; for a countersign dev say --data-dir"
        );
    }
    Ok(Config::load(file.as_deref(), crate::config::process_environment())?)
}

/// What a process does when another one runs the data directory's PostgreSQL.
#[derive(Clone, Copy, Debug)]
enum WhenHeld {
    /// It joins: a command, which needs the database for a moment.
    Join,
    /// It waits until the other one has ended: a server, which would lose the database with the process that it joined.
    Wait,
}

impl WhenHeld {
    /// How long it waits for the directory.
    fn patience(self) -> Duration {
        match self {
            Self::Join => Duration::ZERO,
            Self::Wait => TURN_WITHIN,
        }
    }
}

/// Opens what a configuration describes, for a server: a managed PostgreSQL is its own, and ends with no other process.
///
/// A signal while it waits for the data directory ends the process, as at any moment before [`super::stopping::end_of`].
pub async fn for_server(config: &Config) -> anyhow::Result<Opened> {
    configured(config, WhenHeld::Wait).await
}

/// Opens what a configuration describes.
async fn configured(config: &Config, when_held: WhenHeld) -> anyhow::Result<Opened> {
    let mut secrets = config.installation_secrets()?;
    let Database { url, owner_url, listen_url, max_connections } = &config.database;
    let (roles, postgres) = match (url, owner_url, listen_url) {
        (Some(url), owner, _) => (Roles::of_urls(url, owner.as_ref(), direct(&config.database)?)?, None),
        (None, Some(_), _) => bail!("database.owner_url is set without database.url, which the server itself uses"),
        (None, None, Some(_)) => bail!("database.listen_url is set without database.url, which requests use"),
        (None, None, None) => {
            let (url, postgres) = managed_database(&config.data_dir, when_held).await?;
            (Roles::of_managed(&url)?, postgres)
        }
    };
    let owner = roles.owner().clone();
    let pool = roles.pool(*max_connections).await?;
    if secrets.is_empty() {
        // One that is made now opens nothing of what is there, and what is sealed with it the servers can't open.
        if !config.data_dir.join(SECRET_FILE).exists() && has_signing_keys(&pool).await? {
            bail!(
                "no secret is configured, there is none in {}, and the database holds what one has sealed: set secrets, as the servers \
                 have it",
                config.data_dir.display()
            );
        }
        secrets.push(own_secret(&config.data_dir)?);
    }
    let installation = assemble(pool, &secrets, config.public_url.clone(), Some(outbound(config)), Clock::system())?;
    Opened::around(installation, postgres, owner).await
}

/// The secrets that are there: the configured ones, or the data directory's own if one was made. None is made here.
pub fn secrets_there(config: &Config) -> anyhow::Result<Vec<InstallationSecret>> {
    let configured = config.installation_secrets()?;
    let path = config.data_dir.join(SECRET_FILE);
    if !configured.is_empty() || !path.exists() {
        return Ok(configured);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let secret =
        InstallationSecret::parse(&text.into()).with_context(|| format!("{} holds no secret", path.display()))?;
    Ok(vec![secret])
}

/// As whom a server reaches the database that is there. None: it would be a managed one, which was never started.
pub fn database_there(config: &Config) -> anyhow::Result<Option<PgConnectOptions>> {
    if let Some(url) = &config.database.url {
        return Ok(Some(postgres::options(url.expose()).context("database.url is malformed")?));
    }
    let Ok(url) = fs::read_to_string(config.data_dir.join(URL_FILE)) else { return Ok(None) };
    Ok(Some(Roles::of_managed(&url.trim().into())?.server))
}

/// An installation to look at: nothing is brought up to date, nothing is made.
pub fn looking(
    pool: PgPool,
    secrets: &[InstallationSecret],
    config: &Config,
    clock: &Clock,
) -> anyhow::Result<Installation> {
    assemble(pool, secrets, config.public_url.clone(), Some(outbound(config)), clock.clone())
}

/// Which addresses may be written over the network, as is configured.
fn outbound(config: &Config) -> Outbound {
    Outbound::allowing(config.outbound.allow.iter().copied())
}

/// The way to the database past a pooler, if one is set.
pub fn direct(database: &Database) -> anyhow::Result<Option<Direct>> {
    let options = database.listen_url.as_ref().map(|url| postgres::options(url.expose())).transpose();
    Ok(options.context("database.listen_url is malformed")?.map(Direct))
}

/// Opens the installation in a data directory, in dev mode, as its one process.
pub async fn for_dev(data_dir: &Path, public_url: PublicUrl) -> anyhow::Result<Opened> {
    // Without a wait: somebody at a terminal is told at once.
    let (url, postgres) = started_database(data_dir, Duration::ZERO).await?;
    of_data_dir(data_dir, public_url, &url, Some(postgres)).await
}

/// Opens the installation in a data directory, beside the process that serves it if there is one.
async fn in_data_dir(data_dir: &Path, public_url: PublicUrl) -> anyhow::Result<Opened> {
    let (url, postgres) = managed_database(data_dir, WhenHeld::Join).await?;
    of_data_dir(data_dir, public_url, &url, postgres).await
}

async fn of_data_dir(
    data_dir: &Path,
    public_url: PublicUrl,
    url: &SecretText,
    postgres: Option<Managed>,
) -> anyhow::Result<Opened> {
    let secrets = [own_secret(data_dir)?];
    let roles = Roles::of_managed(url)?;
    let owner = roles.owner().clone();
    let installation = assemble(roles.pool(10).await?, &secrets, public_url, None, Clock::system())?;
    Opened::around(installation, postgres, owner).await
}

/// Without a configuration it is that of a `countersign dev`.
fn assemble(
    pool: PgPool,
    secrets: &[InstallationSecret],
    public_url: PublicUrl,
    configured: Option<Outbound>,
    clock: Clock,
) -> anyhow::Result<Installation> {
    let random = Random::system();
    Ok(Installation::from(Parts {
        pool,
        clock,
        keyring: Keyring::new(secrets).context("there is no installation secret")?,
        passwords: Passwords::new(random.clone(), hashes_at_once()),
        random,
        public_url,
        dev_mode: configured.is_none(),
        // Who reaches a dev mode is on this machine anyway.
        outbound: configured.unwrap_or_else(Outbound::with_loopback),
    }))
}

/// As whom to connect to a database.
struct Roles {
    /// Who brings it up to date; none: the server.
    owner: Option<PgConnectOptions>,
    server: PgConnectOptions,
    /// Past the pooler that the server goes through.
    direct: Option<Direct>,
}

impl Roles {
    fn of_urls(url: &SecretText, owner: Option<&SecretText>, direct: Option<Direct>) -> anyhow::Result<Self> {
        let server = postgres::options(url.expose()).context("database.url is malformed")?;
        let owner = owner.map(|url| postgres::options(url.expose())).transpose();
        Ok(Self { owner: owner.context("database.owner_url is malformed")?, server, direct })
    }

    /// In a managed PostgreSQL, whose URL is its owner's. The other role is made when it isn't there.
    fn of_managed(url: &SecretText) -> anyhow::Result<Self> {
        let owner = postgres::options(url.expose())?;
        Ok(Self { server: owner.clone().username(SERVER_ROLE), owner: Some(owner), direct: None })
    }

    fn owner(&self) -> &PgConnectOptions {
        self.owner.as_ref().unwrap_or(&self.server)
    }

    /// Brings the database up to date, and connects to it as the server.
    async fn pool(self, max_connections: u32) -> anyhow::Result<PgPool> {
        const FAILED: &str = "the database can't be brought up to date";
        if let Some(owner) = &self.owner {
            roles::prepare(owner, &self.server).await.context(FAILED)?;
        }
        let pool = postgres::pool(self.server, max_connections);
        if self.owner.is_none() {
            postgres::migrate(&pool, self.direct.as_ref()).await.context(FAILED)?;
        }
        Ok(pool)
    }
}

/// Starts the data directory's PostgreSQL, or joins the process that runs it if that is to be done.
async fn managed_database(data_dir: &Path, when_held: WhenHeld) -> anyhow::Result<(SecretText, Option<Managed>)> {
    match (started_database(data_dir, when_held.patience()).await, when_held) {
        (Ok((url, postgres)), _) => Ok((url, Some(postgres))),
        (Err(error), WhenHeld::Join) if matches!(error.downcast_ref(), Some(ManagedError::InUse { .. })) => {
            match url_of_running(data_dir).await {
                Some(url) => Ok((url, None)),
                None => Err(error),
            }
        }
        (Err(error), _) => Err(error),
    }
}

/// Where the database of the process is that has the data directory. It says so a moment after its start.
async fn url_of_running(data_dir: &Path) -> Option<SecretText> {
    for _ in 0..100 {
        if let Ok(url) = fs::read_to_string(data_dir.join(URL_FILE)) {
            return Some(SecretText::from(url.trim()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// Starts the data directory's PostgreSQL. That another process still runs it after so long is an error that says which.
async fn started_database(data_dir: &Path, patience: Duration) -> anyhow::Result<(SecretText, Managed)> {
    let options = Options { data_dir: data_dir.to_owned(), durable: true, max_connections: 50 };
    let postgres = Managed::start_in_turn(options, patience).await?;
    create_database(&postgres).await?;
    let (url, url_file) = (SecretText::from(postgres.url(DATABASE)), data_dir.join(URL_FILE));
    write_private(&url_file, &url).with_context(|| format!("{} can't be written", url_file.display()))?;
    Ok((url, postgres))
}

async fn create_database(postgres: &Managed) -> anyhow::Result<()> {
    let mut conn = sqlx::PgConnection::connect_with(&postgres.connect_options("postgres")).await?;
    let there: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(DATABASE)
        .fetch_optional(&mut conn)
        .await?;
    if there.is_none() {
        sqlx::query("CREATE DATABASE countersign").execute(&mut conn).await?;
    }
    Ok(conn.close().await?)
}

/// Whether the installation of this database has begun.
async fn has_signing_keys(pool: &PgPool) -> anyhow::Result<bool> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM signing_key) AS "begun!""#).fetch_one(pool).await?)
}

/// The data directory's own secret, made now if there is none.
fn own_secret(data_dir: &Path) -> anyhow::Result<InstallationSecret> {
    let path = data_dir.join(SECRET_FILE);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("{} can't be made", data_dir.display()))?;
    if !path.exists() {
        let secret = InstallationSecret::generate(&Random::system());
        match write_new(&path, &secret.encode()) {
            // Another process was faster: its secret counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => written.with_context(|| format!("{} can't be written", path.display()))?,
        }
    }
    let text = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    if is_open_to_all(&path) {
        tracing::warn!(file = %path.display(), "{EXPOSED}");
    }
    InstallationSecret::parse(&text.into()).with_context(|| format!("{} holds no secret", path.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &SecretText) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let _left_by_a_killed_process = fs::remove_file(&beside);
    create(&beside, text)?;
    fs::rename(&beside, path)
}

/// The same for a file that must not exist: of two processes one succeeds.
fn write_new(path: &Path, text: &SecretText) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let _left_by_a_killed_process = fs::remove_file(&beside);
    create(&beside, text)?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    linked
}

fn create(path: &Path, text: &SecretText) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.expose().as_bytes())?;
    file.sync_all()
}
