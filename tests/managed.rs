//! The managed PostgreSQL, started for real: across restarts, kills, stale locks, and as root and an ordinary user.
//!
//! Tests that need a process to kill run this binary again with [`HOLD`] set: the test [`hold`] then starts a server,
//! says so and waits. Run by root, the last test runs all the others once more as `nobody`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, its helpers too")]

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use countersign::postgres::managed::{Managed, ManagedError, Options};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection, Row};
use tempfile::TempDir;

/// Names the data directory on which [`hold`] starts a server.
const HOLD: &str = "MANAGED_TEST_HOLD";

/// How soon a server ends after the process that held it was killed. Far above what it takes.
const SOON: Duration = Duration::from_secs(20);

/// How long the processes here have a directory that another one waits for.
const A_MOMENT: Duration = Duration::from_millis(500);

fn options(data_dir: &Path) -> Options {
    Options { data_dir: data_dir.to_owned(), durable: false, max_connections: 20 }
}

/// A temporary directory of the given mode, whatever the umask.
fn directory(mode: u32) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
    directory
}

/// A temporary directory that any account can pass through, so that root's server can live in it.
fn scene() -> TempDir {
    directory(0o755)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The server's process, as its `postmaster.pid` says.
fn server_of(cluster: &Path) -> Pid {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

fn ends_soon(pid: Pid) -> bool {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        // A zombie is over too: who reaps orphans depends on the machine.
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let over = stat.map_or_else(|_| rustix::process::test_kill_process(pid).is_err(), |stat| stat.contains(") Z "));
        if over {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

async fn session(managed: &Managed) -> PgConnection {
    PgConnection::connect(&managed.url("postgres")).await.unwrap()
}

/// Another process that holds a server.
struct Holder {
    process: Child,
}

impl Holder {
    fn start(data_dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hold", "--nocapture"])
            .env(HOLD, data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let ready = said.lines().any(|line| line.is_ok_and(|line| line.ends_with("holding")));
        assert!(ready, "the holder did not start its server");
        Self { process }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn hold() {
    #[expect(clippy::disallowed_methods, reason = "how this binary tells itself what to do")]
    let Some(data_dir) = std::env::var_os(HOLD) else {
        return;
    };
    let _managed = Managed::start(options(Path::new(&data_dir))).await.unwrap();
    println!("holding");
    std::io::stdout().flush().unwrap();
    // Until killed, or until the test that started this is gone.
    let _ = std::io::stdin().lines().count();
}

#[tokio::test]
async fn data_is_still_there_after_a_restart() {
    let scene = scene();
    let data_dir = scene.path().join("data");

    let managed = Managed::start(options(&data_dir)).await.unwrap();
    let mut session_one = session(&managed).await;
    sqlx::raw_sql("create table kept (word text); insert into kept values ('still here')")
        .execute(&mut session_one)
        .await
        .unwrap();
    // Left open on purpose: a stop does not wait for clients.
    managed.stop().await.unwrap();
    drop(session_one);

    let started = Instant::now();
    let managed = Managed::start(options(&data_dir)).await.unwrap();
    let took = started.elapsed();
    let mut session_two = PgConnection::connect_with(&managed.connect_options("postgres")).await.unwrap();
    let row = sqlx::query("select word from kept").fetch_one(&mut session_two).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "still here");
    let row = sqlx::query("show server_encoding").fetch_one(&mut session_two).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "UTF8");
    managed.stop().await.unwrap();
    assert!(took < Duration::from_secs(10), "the second start took {took:?}");
}

#[tokio::test]
async fn listens_for_this_account_alone() {
    let scene = scene();
    let data_dir = scene.path().join("data");
    let managed = Managed::start(options(&data_dir)).await.unwrap();

    let mut session = session(&managed).await;
    let row = sqlx::query("show listen_addresses").fetch_one(&mut session).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "");
    let mode = |name: &str| fs::metadata(data_dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("run"), 0o700);
    assert_eq!(mode("postgres"), 0o700);
    assert_eq!(mode("postgres.log"), 0o600);
    assert_eq!(mode("postgres.lock"), 0o600);
    // Root lets PostgreSQL's group pass through, and nobody list.
    assert_eq!(mode("."), if is_root() { 0o710 } else { 0o700 });
    managed.stop().await.unwrap();
}

#[tokio::test]
async fn ctrl_c_does_not_reach_the_server() {
    let scene = scene();
    let managed = Managed::start(options(&scene.path().join("data"))).await.unwrap();
    let server = server_of(managed.cluster_dir());
    let group = |pid| rustix::process::getpgid(pid).unwrap();
    assert_ne!(group(Some(server)), group(None));
    managed.stop().await.unwrap();
    assert!(ends_soon(server));
}

#[tokio::test]
async fn a_second_start_says_who_has_the_directory() {
    let scene = scene();
    let managed = Managed::start(options(scene.path())).await.unwrap();
    let error = Managed::start(options(scene.path())).await.unwrap_err();
    assert!(matches!(error, ManagedError::InUse { .. }), "{error}");
    let process = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    managed.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_in_turn_goes_on_when_the_holder_has_ended() {
    let scene = scene();
    let holder = Holder::start(scene.path());
    let its_server = server_of(&scene.path().join("postgres"));
    let begun = Instant::now();
    let end = async {
        tokio::time::sleep(A_MOMENT).await;
        holder.kill();
    };
    let (managed, ()) = tokio::join!(Managed::start_in_turn(options(scene.path()), SOON), end);
    let mut managed = managed.unwrap();
    assert!(begun.elapsed() >= A_MOMENT, "{:?}", begun.elapsed());
    assert_ne!(server_of(managed.cluster_dir()), its_server);
    assert!(ends_soon(its_server));
    // Its own, and it stays: nothing of the holder's end is still to come.
    assert!(tokio::time::timeout(A_MOMENT, managed.ended()).await.is_err());
    session(&managed).await.ping().await.unwrap();
    managed.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_in_turn_that_waits_in_vain_says_who_has_the_directory() {
    let scene = scene();
    let holder = Holder::start(scene.path());
    let begun = Instant::now();
    let error = Managed::start_in_turn(options(scene.path()), A_MOMENT).await.unwrap_err();
    let waited = begun.elapsed();
    assert!(A_MOMENT <= waited && waited < SOON, "{waited:?}");
    let said = format!("is in use by another Countersign (process {})", holder.process.id());
    assert!(error.to_string().contains(&said), "{error}");
    holder.kill();
}

#[test]
fn a_server_ends_soon_after_its_holder_was_killed() {
    let scene = scene();
    let holder = Holder::start(scene.path());
    let server = server_of(&scene.path().join("postgres"));
    holder.kill();
    assert!(ends_soon(server));
}

#[tokio::test]
async fn a_start_right_after_a_kill_works() {
    let scene = scene();
    for _ in 0..2 {
        Holder::start(scene.path()).kill();
        let managed = Managed::start(options(scene.path())).await.unwrap();
        session(&managed).await.ping().await.unwrap();
        managed.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_lost_its_guardian_is_stopped_first() {
    let scene = scene();
    let holder = Holder::start(scene.path());
    let server = server_of(&scene.path().join("postgres"));
    for process in guardian_of(server) {
        let _ = kill_process(process, Signal::KILL);
    }
    holder.kill();
    let managed = Managed::start(options(scene.path())).await.unwrap();
    assert_ne!(server_of(managed.cluster_dir()), server);
    assert!(ends_soon(server));
    managed.stop().await.unwrap();
}

/// The shell processes in the server's group: its guardian.
fn guardian_of(server: Pid) -> Vec<Pid> {
    let group = |pid| rustix::process::getpgid(Some(pid)).ok();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let program = fs::read_to_string(entry.path().join("comm")).ok()?;
        let shell = ["sh", "cat"].contains(&program.trim());
        (shell && group(pid) == group(server)).then_some(pid)
    });
    processes.collect()
}

#[tokio::test]
async fn a_server_that_was_killed_itself_is_noticed_and_recovers() {
    let scene = scene();
    let mut managed = Managed::start(options(scene.path())).await.unwrap();
    let _session = session(&managed).await;
    kill_process(server_of(managed.cluster_dir()), Signal::KILL).unwrap();
    tokio::time::timeout(SOON, managed.ended()).await.unwrap().unwrap();
    managed.stop().await.unwrap();

    let managed = Managed::start(options(scene.path())).await.unwrap();
    session(&managed).await.ping().await.unwrap();
    managed.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_lock_file_that_names_another_process_is_removed() {
    let scene = scene();
    let managed = Managed::start(options(scene.path())).await.unwrap();
    let cluster = managed.cluster_dir().to_owned();
    managed.stop().await.unwrap();
    for content in [std::process::id().to_string(), "1".to_owned(), String::new()] {
        fs::write(cluster.join("postmaster.pid"), content).unwrap();
        let managed = Managed::start(options(scene.path())).await.unwrap();
        managed.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_start_carries_the_log() {
    let scene = scene();
    let managed = Managed::start(options(scene.path())).await.unwrap();
    let cluster = managed.cluster_dir().to_owned();
    managed.stop().await.unwrap();
    fs::write(cluster.join("postgresql.conf"), "no_such_setting = on\n").unwrap();
    let error = Managed::start(options(scene.path())).await.unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_cluster_is_never_made_over_other_files() {
    let scene = scene();
    fs::create_dir(scene.path().join("postgres")).unwrap();
    fs::write(scene.path().join("postgres/precious"), "").unwrap();
    let error = Managed::start(options(scene.path())).await.unwrap_err();
    assert!(matches!(error, ManagedError::NotACluster { .. }), "{error}");
}

#[tokio::test]
async fn a_long_path_gets_a_temporary_socket_directory() {
    let scene = scene();
    let data_dir = scene.path().join("long".repeat(30)).join("a, b");
    let managed = Managed::start(options(&data_dir)).await.unwrap();
    session(&managed).await.ping().await.unwrap();
    let socket_dir = managed.connect_options("postgres").get_socket().cloned().unwrap();
    assert!(!socket_dir.starts_with(scene.path()));
    assert_eq!(fs::metadata(&socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    managed.stop().await.unwrap();
    assert!(!socket_dir.exists());
}

#[tokio::test]
async fn roots_closed_directory_gets_its_cluster_elsewhere() {
    // What is closed to others is never closed to the one who owns it.
    if !is_root() {
        return;
    }
    let closed = directory(0o700);
    let data_dir = closed.path().join("data");
    let managed = Managed::start(options(&data_dir)).await.unwrap();
    let home = managed.cluster_dir().parent().unwrap().to_owned();
    session(&managed).await.ping().await.unwrap();
    managed.stop().await.unwrap();
    assert!(!home.starts_with(closed.path()));
    let record = fs::read_to_string(data_dir.join("postgres-location")).unwrap();
    assert_eq!(Path::new(record.trim_end()), home);

    let managed = Managed::start(options(&data_dir)).await.unwrap();
    assert_eq!(managed.cluster_dir().parent().unwrap(), home);
    managed.stop().await.unwrap();
    fs::remove_dir_all(&home).unwrap();

    let error = Managed::start(options(&data_dir)).await.unwrap_err();
    assert!(matches!(error, ManagedError::PlaceGone { .. }), "{error}");
}

#[test]
fn all_of_this_as_an_ordinary_user() {
    if !is_root() {
        return;
    }
    let scene = scene();
    let program: PathBuf = scene.path().join("managed-as-nobody");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let files = scene.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::set_permissions(&files, Permissions::from_mode(0o777)).unwrap();

    let mut command = Command::new(&program);
    command.args(["--skip", "all_of_this_as_an_ordinary_user"]).env("TMPDIR", &files).current_dir("/");
    command.uid(65534).gid(65534);
    // Another test that starts a program just now may hold the copy open for writing until that program is there.
    let output = loop {
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            output => break output.unwrap(),
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
