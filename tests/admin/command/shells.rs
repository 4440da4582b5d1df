//! Completions and manual pages.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::command;
use crate::flows::commands::run;

#[tokio::test]
async fn completions_are_what_their_shells_read() {
    let home = tempfile::tempdir().unwrap();
    for (shell, check) in
        [("bash", &["bash", "-n"][..]), ("zsh", &["zsh", "-n"][..]), ("fish", &["fish", "--no-execute"][..])]
    {
        let (code, script, err) = run(&mut command(home.path(), &["completions", shell])).await;
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        let known = ["rotate-secret", "completions", "admit-domain", "dry-run", "statistics"];
        assert!(known.iter().all(|word| script.contains(word)), "{shell}");
        let started = Command::new(check[0]).args(&check[1..]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        // bash is everywhere; the others are tried where they are.
        let Ok(mut checked) = started else {
            assert_ne!(shell, "bash");
            continue;
        };
        let mut stdin = checked.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).await.unwrap();
        drop(stdin);
        let output = checked.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn bash_completes_a_command() {
    let home = tempfile::tempdir().unwrap();
    let (_, script, _) = run(&mut command(home.path(), &["completions", "bash"])).await;
    let script = format!(
        "{script}\nCOMP_WORDS=(countersign service rot)\nCOMP_CWORD=2\n\
         _countersign countersign rot service\necho \"${{COMPREPLY[*]}}\"\n"
    );
    let file = home.path().join("completions");
    std::fs::write(&file, script).unwrap();
    let (code, out, err) = run(Command::new("bash").arg(&file)).await;
    assert_eq!((code, out.as_str()), (0, "rotate-secret\n"), "{err}");
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let home = tempfile::tempdir().unwrap();
    let (code, page, _) = run(&mut command(home.path(), &["man"])).await;
    assert_eq!(code, 0);
    assert!(page.contains(".TH countersign 1") && page.contains("countersign\\-service"), "{page}");
    let (code, out, err) = run(&mut command(home.path(), &["man", "share/man1"])).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    for name in [
        "countersign.1",
        "countersign-login.1",
        "countersign-service-create.1",
        "countersign-user-lock.1",
        "countersign-apply.1",
        "countersign-audit-list.1",
        "countersign-keys-rotate.1",
        "countersign-org-statistics.1",
        "countersign-provider-create.1",
        "countersign-webhook-test.1",
    ] {
        let page = std::fs::read_to_string(home.path().join("share/man1").join(name)).unwrap();
        assert!(page.contains(".SH NAME"), "{name}");
    }
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, _, err) = run(&mut command(home.path(), &["man", file.to_str().unwrap()])).await;
    assert_eq!(code, 1);
    assert!(err.contains("manual pages can't be written to"), "{err}");
}
