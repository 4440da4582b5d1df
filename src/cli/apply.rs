//! `countersign apply`: makes the directory be as TOML files say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::audit::{Event, Kind};
use crate::config::is_open_to_all;
use crate::directory::apply::{Addresses, Change, Faults, File, Mode, SecretSource, Tools, apply_in};
use crate::installation::Installation;
use crate::secrets::SecretText;

use super::admin;
use super::environment;
use super::opening::{EXPOSED, Where};

/// Make organizations, services, providers and users be as TOML files say
///
/// Applying the same files again changes nothing. docs/directory.md explains every key. The installation is one on this machine;
/// with --server it is somewhere else, and who has logged in to administer it applies the files, owners of an organization to that
/// alone.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The files; together they are one description
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Say what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also delete what is in these organizations and stands in none of the files
    #[arg(long)]
    pub prune: bool,
    /// With --server: print what the API answered, as JSON
    #[arg(long, requires = "server")]
    pub json: bool,
    /// Which installation
    #[command(flatten)]
    pub installation: Where,
    /// Or one somewhere else
    #[command(flatten)]
    pub at: admin::AtServer,
}

/// Writes, and deletes nothing.
pub const AS_WRITTEN: Mode = Mode { dry_run: false, prune: false, keep_secrets: false, keep_passwords: false };

/// Applies the files to the installation of a configuration, of a data directory, or of a server.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let common = match args.at.clone().common(args.json, &args.installation) {
        Ok(common) => common,
        Err(failure) => return Ok(failure.end(args.json)),
    };
    // Read before anything is opened: a fault in a file needs no database to be told.
    let found = Found::default();
    let texts = texts(&args.files).and_then(|texts| Ok((found.read(&texts, &environment::variable)?, texts)));
    for file in found.exposed() {
        writeln!(std::io::stderr(), "warning: {}: {EXPOSED}", file.display())?;
    }
    if let Some(common) = common {
        let (file, texts) = match texts {
            Ok(read) => read,
            Err(error) => return Ok(admin::Failure::Faults(format!("{error:#}")).end(args.json)),
        };
        let (dry_run, prune, secrets) = (args.dry_run, args.prune, found.into_secrets());
        return Ok(admin::apply(common, admin::Files { texts, secrets, file, dry_run, prune }).await);
    }
    texts?;
    let opened = args.installation.open().await?;
    let outcome = run_on(&opened.installation, &args, &environment::variable, &mut std::io::stdout()).await;
    opened.close().await?;
    outcome
}

/// Applies the files to an open installation and says on `out` what changed. `environment` is where `{ env = … }` looks.
///
/// Success is exit code 0, whether or not anything changed, and in a dry run too.
pub async fn run_on(
    installation: &Installation,
    args: &Args,
    environment: &impl Fn(&str) -> Option<String>,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let file = read(&args.files, environment)?;
    let mode = Mode { dry_run: args.dry_run, prune: args.prune, ..AS_WRITTEN };
    let changes = apply_and_audit(installation, &file, mode).await?;
    report(&changes, mode, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the files and the secrets that they point to. Everything that is wrong is in the error, one line each.
pub fn read(paths: &[PathBuf], environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<File> {
    Ok(Found::default().read(&texts(paths)?, environment)?)
}

/// The files' names and what is in them.
fn texts(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let text = |path: &PathBuf| -> anyhow::Result<(String, String)> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().map(text).collect()
}

/// The secrets that were found, by where a file says that they are.
#[derive(Default)]
struct Found(RefCell<BTreeMap<SecretSource, SecretText>>);

impl Found {
    fn read(&self, texts: &[(String, String)], environment: &impl Fn(&str) -> Option<String>) -> Result<File, Faults> {
        File::read(texts, &|source: &SecretSource| {
            let secret = look_up(source, environment)?;
            self.0.borrow_mut().insert(source.clone(), secret.clone());
            Ok(secret)
        })
    }

    /// The files with secrets that every account of this machine can read.
    fn exposed(&self) -> Vec<PathBuf> {
        let of_file = |source: &SecretSource| match source {
            SecretSource::File(path) if is_open_to_all(path) => Some(path.clone()),
            _ => None,
        };
        self.0.borrow().keys().filter_map(of_file).collect()
    }

    fn into_secrets(self) -> Vec<(SecretSource, SecretText)> {
        self.0.into_inner().into_iter().collect()
    }
}

/// Applies a file in one transaction with its audit events. In a dry run nothing is written.
pub async fn apply_and_audit(installation: &Installation, file: &File, mode: Mode) -> anyhow::Result<Vec<Change>> {
    let tools = Tools {
        keyring: &installation.keyring,
        passwords: &installation.passwords,
        clock: &installation.clock,
        random: &installation.random,
        // Who writes files on this machine is trusted to know where they lead.
        addresses: Addresses::Any,
    };
    let mut transaction = installation.pool.begin().await?;
    let changes = apply_in(&mut transaction, &tools, file, mode).await?;
    if mode.dry_run {
        transaction.rollback().await?;
        return Ok(changes);
    }
    for change in &changes {
        let mut event = Event::new(Kind::Administered, &installation.clock, &installation.random)
            .of(change.organization_id)
            .detail(change.detail());
        if let Some(service) = change.service_id() {
            event = event.service(service);
        }
        if let Some(user) = change.user_id() {
            event = event.user(user);
        }
        event.append(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(changes)
}

fn look_up(source: &SecretSource, environment: &impl Fn(&str) -> Option<String>) -> Result<SecretText, String> {
    match source {
        SecretSource::Env(name) => {
            environment(name).map(SecretText::from).ok_or_else(|| format!("the environment variable {name} is not set"))
        }
        SecretSource::File(path) => read_secret(path),
    }
}

/// The file's text without the line break at its end, which editors and `echo` leave there.
fn read_secret(path: &Path) -> Result<SecretText, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let text = SecretText::from(text);
    Ok(text.expose().trim_end_matches(['\r', '\n']).into())
}

fn report(changes: &[Change], mode: Mode, out: &mut impl Write) -> std::io::Result<()> {
    for change in changes {
        writeln!(out, "{change}")?;
    }
    let count = |action| changes.iter().filter(|change| change.action.as_str() == action).count();
    writeln!(out, "{}", summary(["created", "changed", "deleted"].map(count), mode.dry_run))
}

/// How much was created, changed and deleted.
#[must_use]
pub fn summary([created, changed, deleted]: [usize; 3], dry_run: bool) -> String {
    if created + changed + deleted == 0 {
        return "nothing to change".to_owned();
    }
    let ending = if dry_run { "would be" } else { "were" };
    format!("{created} {ending} created, {changed} changed, {deleted} deleted")
}
