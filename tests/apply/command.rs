//! The command as a person uses it: files on a disk, secrets in the environment and beside the files.

use std::fs;

use clap::Parser;
use countersign::cli::apply::{Args, run_on};
use insta::assert_snapshot;

use super::Database;
use super::database::with_database;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Runs the command in a directory and returns what it printed, or its error.
async fn run(db: &Database, arguments: &[&str]) -> String {
    let args = Command::try_parse_from([&["apply"], arguments].concat()).unwrap().args;
    let environment = |name: &str| (name == "AGENT_SECRET").then(|| "0123456789abcdefghijklmnop".to_owned());
    let mut out = Vec::new();
    match run_on(&db.installation, &args, &environment, &mut out).await {
        Ok(_) => String::from_utf8(out).unwrap(),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn it_says_what_it_would_do_does_it_and_has_nothing_to_do_then() {
    with_database(async |db| {
        let directory = std::env::temp_dir().join(format!("countersign-apply-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("acme.toml");
        let path = file.to_str().unwrap();
        fs::write(directory.join("password.txt"), "correct horse\n").unwrap();
        let text = "[[organization]]\nslug = \"acme\"\n\n[[organization.service]]\nslug = \"agent\"\n\
                    client_secret = { env = \"AGENT_SECRET\" }\n\n[[organization.user]]\nemail = \"ada@acme.example\"\n\
                    password = { file = \"password.txt\" }\n";
        fs::write(&file, text).unwrap();
        assert_snapshot!(run(&db, &[path, "--dry-run"]).await, @r#"
        + organization "acme"
        + service "agent" of "acme"
            client_id: "acme-agent"
            client_secret: set
        + user "ada@acme.example" of "acme"
            status: active
            password: set
        3 would be created, 0 changed, 0 deleted
        "#);
        assert_snapshot!(run(&db, &[path]).await, @r#"
        + organization "acme"
        + service "agent" of "acme"
            client_id: "acme-agent"
            client_secret: set
        + user "ada@acme.example" of "acme"
            status: active
            password: set
        3 were created, 0 changed, 0 deleted
        "#);
        assert_eq!(run(&db, &[path]).await, "nothing to change\n");
        assert_eq!(run(&db, &[path, "--dry-run", "--prune"]).await, "nothing to change\n");
        assert_eq!(db.text("SELECT count(*)::text FROM audit_event").await, "3");
        let hash = db.text("SELECT password_hash FROM app_user").await;
        assert!(db.installation.passwords.verify(&"correct horse".into(), Some(&hash)).await);

        fs::write(&file, text.replace("AGENT_SECRET", "OTHER").replace("password.txt", "missing.txt")).unwrap();
        let shown = run(&db, &[path]).await.replace(directory.to_str().unwrap(), "…");
        assert_snapshot!(shown, @r#"
        …/acme.toml:6: organization "acme", service "agent": client_secret: the environment variable OTHER is not set
        …/acme.toml:10: organization "acme", user "ada@acme.example": password: …/missing.txt can't be read: No such file or directory (os error 2)
        "#);
        fs::remove_dir_all(&directory).unwrap();
    })
    .await;
}
