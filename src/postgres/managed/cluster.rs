//! Creates the database cluster, whole or not at all.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::Path,
    process::Stdio,
};

use super::{
    ROLE,
    account::Account,
    error::{Explain, ManagedError},
    place::{self, Place},
    programs::Programs,
};

/// What the unfinished clusters' directories begin with.
const UNFINISHED: &str = "postgres.new-";

/// Runs `initdb` where there is no cluster yet. It works in a sibling directory that takes its final name when it is
/// complete, so that being killed on the way leaves nothing that looks like a cluster.
pub(super) async fn create_unless_there(
    place: &Place,
    programs: &Programs,
    account: &Account,
    durable: bool,
) -> Result<(), ManagedError> {
    remove_unfinished(&place.home);
    if place.cluster_version()?.is_some() {
        return Ok(());
    }
    if fs::read_dir(&place.cluster).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ManagedError::NotACluster { path: place.cluster.clone() });
    }

    tracing::info!(cluster = %place.cluster.display(), "creating the database cluster");
    let draft = place.home.join(format!("{UNFINISHED}{}", place::unused_name()));
    DirBuilder::new().mode(0o700).create(&draft).explain("create", &draft)?;
    account.give(&draft)?;
    let created = initdb(&draft, programs, account, durable).await;
    if created.is_err() {
        remove_unfinished(&place.home);
    }
    created?;

    // Onto an empty directory, such as a fresh volume's, renaming works too.
    fs::rename(&draft, &place.cluster).explain("create", &place.cluster)?;
    if durable {
        let home = File::open(&place.home).explain("open", &place.home)?;
        home.sync_all().explain("write", &place.home)?;
    }
    Ok(())
}

/// Fills `directory` with a new cluster that trusts its socket and nothing else.
async fn initdb(directory: &Path, programs: &Programs, account: &Account, durable: bool) -> Result<(), ManagedError> {
    let mut command = account.command(&programs.initdb);
    command
        .arg("-D")
        .arg(directory)
        .args(["--username", ROLE, "--encoding=UTF8", "--locale=C", "--no-instructions"])
        .args(["--auth-local=trust", "--auth-host=reject"])
        .arg(if durable { "--data-checksums" } else { "--no-sync" })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = command.output().await.explain("run", &programs.initdb)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(ManagedError::Initdb { path: directory.to_owned(), status: output.status, output: place::last_lines(&said) })
}

/// Removes what interrupted attempts left. Best effort: one that is still being written to goes next time.
fn remove_unfinished(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "an unfinished cluster stays");
        }
    }
}
