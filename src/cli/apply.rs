//! `countersign apply`: makes the directory be as TOML files say.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::audit::{Event, Kind};
use crate::config::is_open_to_all;
use crate::directory::apply::{Action, Addresses, Change, File, Mode, SecretSource, Tools, apply_in};
use crate::installation::Installation;
use crate::secrets::SecretText;

use super::environment;
use super::opening::{EXPOSED, Where};

/// Make organizations, services, providers and users be as TOML files say
///
/// Applying the same files again changes nothing. docs/directory.md explains every key.
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
    /// Which installation
    #[command(flatten)]
    pub installation: Where,
}

/// Writes, and deletes nothing.
pub const AS_WRITTEN: Mode = Mode { dry_run: false, prune: false, keep_secrets: false };

/// Applies the files to the installation of a configuration, or of a data directory.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Read before anything is opened: a fault in a file needs no database to be told.
    let mut exposed = BTreeSet::new();
    read_noting(&args.files, &environment::variable, &mut exposed)?;
    for file in exposed {
        writeln!(std::io::stderr(), "warning: {}: {EXPOSED}", file.display())?;
    }
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
    let mode = Mode { dry_run: args.dry_run, prune: args.prune, keep_secrets: false };
    let changes = apply_and_audit(installation, &file, mode).await?;
    report(&changes, mode, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the files and the secrets that they point to. Everything that is wrong is in the error, one line each.
pub fn read(paths: &[PathBuf], environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<File> {
    read_noting(paths, environment, &mut BTreeSet::new())
}

/// The same, noting the files with secrets that every account of this machine can read.
fn read_noting(
    paths: &[PathBuf],
    environment: &impl Fn(&str) -> Option<String>,
    exposed: &mut BTreeSet<PathBuf>,
) -> anyhow::Result<File> {
    let text = |path: &PathBuf| -> anyhow::Result<(String, String)> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    let texts = paths.iter().map(text).collect::<anyhow::Result<Vec<_>>>()?;
    let noted = RefCell::new(exposed);
    let secrets = |source: &SecretSource| {
        if let SecretSource::File(path) = source
            && is_open_to_all(path)
        {
            noted.borrow_mut().insert(path.clone());
        }
        look_up(source, environment)
    };
    Ok(File::read(&texts, &secrets)?)
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
    if changes.is_empty() {
        return writeln!(out, "nothing to change");
    }
    let (mut created, mut updated, mut deleted) = (0, 0, 0);
    for change in changes {
        *match change.action {
            Action::Created(_) => &mut created,
            Action::Changed(_) => &mut updated,
            Action::Deleted => &mut deleted,
        } += 1;
    }
    let ending = if mode.dry_run { "would be" } else { "were" };
    writeln!(out, "{created} {ending} created, {updated} changed, {deleted} deleted")
}
