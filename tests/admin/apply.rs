//! Whole files: applied at once or not at all, and no way around what their sender may do to single things.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Admin, app, fields, problem};
use crate::support::App;
use crate::support::app::{ADA_PASSWORD, Answer};

const APPLY: &str = "/api/v1/apply";

/// `acme` as it is in these tests, before what a file says besides.
const ACME: &str = "[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n";

/// Its owner, as they are.
const OWNER: &str = "[[organization.user]]\nemail = \"owner@acme.example\"\nname = \"owner\"\nrole = \"owner\"\n\
                     password = { env = \"ADA_PASSWORD\" }\n";

fn file(text: &str) -> Value {
    json!({ "files": [{ "name": "acme.toml", "text": text }] })
}

/// A file with the password that [`OWNER`] points to.
fn with_owner(text: &str) -> Value {
    let mut body = file(text);
    body["secrets"] = json!([{ "env": "ADA_PASSWORD", "value": ADA_PASSWORD }]);
    body
}

impl Admin<'_> {
    /// After a while: a person may apply a file ten times a minute.
    async fn applies(&self, body: Value) -> Answer {
        self.app.advance(10);
        self.post(APPLY, body).await
    }
}

/// What was changed, a line each.
#[track_caller]
fn changes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let changes = answer.json()["changes"].as_array().unwrap().clone();
    changes.iter().map(|change| change["text"].as_str().unwrap().lines().next().unwrap().to_owned()).collect()
}

/// Everything in the directory but for secrets, and what the audit says of changes.
async fn everything(app: &App) -> String {
    sqlx::query_scalar(
        "SELECT (SELECT string_agg(o::text, ' ' ORDER BY id) FROM organization o)
             || (SELECT string_agg(s::text, ' ' ORDER BY id) FROM service s)
             || (SELECT string_agg(u::text, ' ' ORDER BY id) FROM app_user u)
             || (SELECT count(*) FROM audit_event WHERE kind = 'administered')",
    )
    .fetch_one(&app.installation.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_file_is_applied_once_and_a_dry_run_says_what_it_would_do() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let text = format!(
        "{ACME}[[organization.service]]\nslug = \"agent\"\ndevice_login = true\ninterval = 7\n\
         client_secret = {{ file = \"agent.secret\" }}\n\
         [[organization.user]]\nemail = \"bea@acme.example\"\nrole = \"owner\"\npassword = {{ env = \"BEA\" }}\n"
    );
    let mut body = json!({
        "files": [{ "name": "directory/acme.toml", "text": text }],
        "secrets": [
            { "file": "directory/agent.secret", "value": "a-secret-of-an-agent-of-acme" },
            { "env": "BEA", "value": "bea's own password" },
        ],
        "dry_run": true,
    });
    let before = everything(&app).await;
    let dry = owner.applies(body.clone()).await;
    assert_eq!(dry.json()["dry_run"], true);
    assert_eq!(
        dry.json()["changes"][0],
        json!({
            "action": "created", "what": "service", "organization": "acme", "name": "agent",
            "text": "+ service \"agent\" of \"acme\"\n    client_id: \"acme-agent\"\n    device_login: true\n    interval: 7\n    client_secret: set",
        })
    );
    assert_eq!(before, everything(&app).await, "nothing is written");

    body["dry_run"] = false.into();
    let applied = owner.applies(body.clone()).await;
    assert_eq!(changes(&applied), changes(&dry), "it is what the dry run said");
    assert_eq!(applied.json()["dry_run"], false);
    let form = [("client_id", "acme-agent"), ("client_secret", "a-secret-of-an-agent-of-acme")];
    assert_eq!(app.post("/auth/device/code", &form).await.status, StatusCode::OK);
    assert_eq!(changes(&owner.applies(body).await), [""; 0], "applied again, it changes nothing");

    let events: Vec<Value> =
        sqlx::query_scalar("SELECT detail FROM audit_event WHERE detail->'by'->>'at' = 'api' ORDER BY sequence")
            .fetch_all(&app.installation.pool)
            .await
            .unwrap();
    let by = owner.id_of("owner@acme.example").await;
    let names: Vec<&str> = events.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["agent", "bea@acme.example"]);
    assert!(events.iter().all(|event| event["by"]["user"] == by.as_str()), "{events:?}");
    let all = serde_json::to_string(&events).unwrap() + &applied.body;
    assert!(!all.contains("a-secret-of") && !all.contains("bea's own"), "{all}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_line_and_nothing_is_done() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let before = everything(&app).await;
    let text = format!(
        "{ACME}[[organization.service]]\nslug = \"new\"\ncolour = \"red\"\n\
         [[organization.service]]\nslug = \"agent\"\nclient_secret = {{ env = \"PATH\" }}\n\
         [[organization.user]]\nemail = \"x@acme.example\"\npassword = {{ file = \"/etc/passwd\" }}\n"
    );
    let wrong = owner.applies(file(&text)).await;
    assert_eq!(problem(&wrong), "invalid");
    let errors = wrong.json()["errors"].as_array().unwrap().clone();
    let messages: Vec<&str> = errors.iter().map(|error| error["message"].as_str().unwrap()).collect();
    // What this machine has in its environment and on its disk is nothing for a file that came by a request.
    assert_eq!(
        messages,
        [
            "acme.toml:6: organization \"acme\", service \"new\": unknown key \"colour\"",
            "acme.toml:9: organization \"acme\", service \"agent\": client_secret: the request doesn't say what the environment \
             variable PATH holds",
            "acme.toml:12: organization \"acme\", user \"x@acme.example\": password: the request doesn't say what /etc/passwd holds",
        ]
    );
    // The last thing of two files can't be done: neither is the first.
    let taken = format!("{ACME}[[organization.service]]\nslug = \"new\"\n");
    let other =
        "[[organization]]\nslug = \"third\"\n[[organization.service]]\nslug = \"x\"\nclient_id = \"other-cli\"\n";
    let both = json!({ "files": [{ "name": "1", "text": taken }, { "name": "2", "text": other }] });
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let refused = platform.applies(both).await;
    assert_eq!(problem(&refused), "conflict");
    assert!(refused.text("detail").contains("(service \"cli\" of organization \"other\")"), "{}", refused.body);
    // Whose it is, is nothing to an organization's owner.
    let taken = format!("{ACME}[[organization.service]]\nslug = \"x\"\nclient_id = \"other-cli\"\n");
    let refused = owner.applies(file(&taken)).await;
    assert_eq!(problem(&refused), "conflict");
    assert_eq!(refused.text("detail"), "Another service has this client_id: \"other-cli\". Choose another one.");
    assert_eq!(before, everything(&app).await);
}

#[tokio::test]
async fn a_request_is_read_strictly_and_no_answer_repeats_a_secret() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let files = json!([{ "name": "acme.toml", "text": ACME }]);
    for (body, field) in [
        (json!({}), "files"),
        (json!({ "files": [] }), "files"),
        (json!({ "files": ACME }), "files"),
        (json!({ "files": [{ "name": "a" }] }), "files"),
        (json!({ "files": [{ "name": "a", "text": "", "mode": 1 }] }), "files"),
        (json!({ "files": files, "secrets": { "ADA_PASSWORD": "hunter2hunter2" } }), "secrets"),
        (json!({ "files": files, "secrets": [{ "env": "A", "file": "b", "value": "hunter2hunter2" }] }), "secrets"),
        (json!({ "files": files, "secrets": [{ "env": "A", "value": ["hunter2hunter2"] }] }), "secrets"),
        (json!({ "files": files, "dry_run": "yes" }), "dry_run"),
        (json!({ "files": files, "keep_secrets": true }), "keep_secrets"),
    ] {
        let answer = owner.applies(body.clone()).await;
        assert_eq!(fields(&answer), [field], "{body}");
        assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    }
    let file_with_secret =
        format!("{ACME}[[organization.service]]\nslug = \"x\"\nclient_secret = \"hunter2hunter2hunter2\"\n");
    let answer = owner.applies(file(&file_with_secret)).await;
    assert!(problem(&answer) == "invalid" && !answer.body.contains("hunter2"), "{}", answer.body);
}

#[tokio::test]
async fn an_owner_reaches_their_own_organization_and_hears_of_no_other() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let before = everything(&app).await;
    let of = |slug: &str| format!("[[organization]]\nslug = \"{slug}\"\nname = \"Mine\"\n");
    // One that there is, one that there isn't, and the one that administers all.
    let mut answers = Vec::new();
    for slug in ["other", "nowhere", "platform"] {
        for (dry_run, prune) in [(false, false), (true, false), (false, true)] {
            let text = format!("{ACME}{}", of(slug));
            let body = json!({ "files": [{ "name": "f", "text": text }], "dry_run": dry_run, "prune": prune });
            let answer = owner.applies(body).await;
            assert_eq!((answer.status, problem(&answer)), (StatusCode::FORBIDDEN, "forbidden".into()), "{slug}");
            answers.push(answer.body.replace(&format!("\\\"{slug}\\\""), "SLUG"));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "nothing tells them apart: {answers:?}");
    for email in ["admin@acme.example", "admin@platform.example", "member@acme.example"] {
        let administrator = Admin::log_in(&app, email).await;
        let refused = administrator.applies(file(ACME)).await;
        assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "forbidden".into()), "{email}");
    }
    assert_eq!(before, everything(&app).await);

    let platform = Admin::log_in(&app, "owner@platform.example").await;
    assert_eq!(changes(&platform.applies(file(&of("nowhere"))).await), ["+ organization \"nowhere\""]);
    let services = platform.get("/api/v1/organizations/nowhere/services").await.json();
    assert_eq!(services["items"][0]["client_id"], "nowhere-admin-cli");
}

#[tokio::test]
async fn a_file_is_no_way_around_what_is_refused_of_single_things() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let before = everything(&app).await;
    let service = |slug: &str, client_id: &str| {
        format!("{ACME}[[organization.service]]\nslug = \"{slug}\"\nclient_id = \"{client_id}\"\n")
    };
    let mut gone = file(ACME);
    gone["prune"] = true.into();
    let attempts = [
        // Whether people may log in to an organization is for who administers all.
        (file(&format!("{ACME}status = \"suspended\"\n")), "forbidden"),
        // The name by which an organization that is yet to be made will be administered.
        (file(&service("x", "later-admin-cli")), "forbidden"),
        (file(&service("spare", "later-admin-cli")), "forbidden"),
        (file(&service("admin-cli", "later-admin-cli")), "forbidden"),
        (file(&service("later-admin-cli", "later-admin-cli")), "forbidden"),
        (file(&service("x", "platform-admin-cli")), "invalid"),
        // Other words for what its tokens are worth here.
        (
            file(&format!("{ACME}[[organization.service]]\nslug = \"admin-cli\"\nscopes = {{ read = \"Read\" }}\n")),
            "invalid",
        ),
        // The last owner: demoted, locked, and not named where the rest is deleted.
        (with_owner(&format!("{ACME}{}", OWNER.replace("role = \"owner\"", "role = \"admin\""))), "conflict"),
        (with_owner(&format!("{ACME}{OWNER}status = \"locked\"\n")), "conflict"),
        (gone, "conflict"),
    ];
    for (body, kind) in attempts {
        for dry_run in [true, false] {
            let mut body = body.clone();
            body["dry_run"] = dry_run.into();
            let answer = owner.applies(body.clone()).await;
            assert_eq!(problem(&answer), kind, "{body}: {}", answer.body);
        }
    }
    assert_eq!(before, everything(&app).await);
    // Not even who administers all locks themself out.
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let text = "[[organization]]\nslug = \"platform\"\nmfa = \"off\"\n[[organization.user]]\nemail = \"owner@platform.example\"\n";
    assert_eq!(problem(&platform.applies(file(text)).await), "conflict");
    let text = format!("{ACME}status = \"suspended\"\n");
    assert_eq!(changes(&platform.applies(file(&text)).await), ["~ organization \"acme\""]);
    assert_eq!(owner.applies(file(ACME)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_password_in_a_file_is_a_first_one_and_whether_it_is_somebodys_is_not_told() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let member = "[[organization.user]]\nemail = \"member@acme.example\"\nname = \"member\"\n";
    let given = format!("{ACME}{member}password = {{ env = \"PASSWORD\" }}\n");
    let mut answers = Vec::new();
    for password in [ADA_PASSWORD, "another password than theirs"] {
        for dry_run in [true, false] {
            let mut body = file(&given);
            body["secrets"] = json!([{ "env": "PASSWORD", "value": password }]);
            body["dry_run"] = dry_run.into();
            answers.push(changes(&owner.applies(body).await));
        }
    }
    answers.push(changes(&owner.applies(file(&format!("{ACME}{member}"))).await));
    assert!(answers.iter().all(Vec::is_empty), "{answers:?}");
    super::token_of(&app, "member@acme.example", "cli", "read").await;
}

#[tokio::test]
async fn prune_deletes_in_one_organization_but_never_what_administers_it() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let others = async || {
        let mut all = String::new();
        for slug in ["other", "platform"] {
            for what in ["services", "users"] {
                all += &platform.get(&format!("/api/v1/organizations/{slug}/{what}")).await.body;
            }
        }
        all
    };
    let before = others().await;
    let mut body =
        with_owner(&format!("{ACME}{OWNER}[[organization.provider]]\nslug = \"password\"\nkind = \"password\"\n"));
    body["prune"] = true.into();
    let mut deleted = changes(&owner.applies(body.clone()).await);
    deleted.sort();
    assert_eq!(
        deleted,
        [
            "- service \"cli\" of \"acme\" and its sessions",
            "- service \"spare\" of \"acme\" and its sessions",
            "- user \"admin@acme.example\" of \"acme\" and their sessions and factors",
            "- user \"member@acme.example\" of \"acme\" and their sessions and factors",
            "- user \"target@acme.example\" of \"acme\" and their sessions and factors",
        ]
    );
    assert_eq!(before, others().await);
    let services = owner.get("/api/v1/organizations/acme/services").await.json();
    assert_eq!(services["items"][0]["slug"], "admin-cli");
    // Of platform nothing is deleted, whoever says so.
    let text = "[[organization]]\nslug = \"platform\"\nmfa = \"off\"\n";
    let pruned = platform.applies(json!({ "files": [{ "name": "f", "text": text }], "prune": true })).await;
    assert_eq!(changes(&pruned), [""; 0]);
}

#[tokio::test]
async fn of_two_files_at_once_one_waits_and_finds_what_the_other_wrote() {
    let app = app().await;
    let (owner, platform) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "owner@platform.example").await);
    let body = file(&format!("{ACME}[[organization.service]]\nslug = \"new\"\n"));
    let (one, other) = tokio::join!(owner.post(APPLY, body.clone()), platform.post(APPLY, body));
    let mut both = [changes(&one), changes(&other)].concat();
    both.sort();
    assert_eq!(both, ["+ service \"new\" of \"acme\""]);
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_event WHERE detail->>'name' = 'new'")
        .fetch_one(&app.installation.pool)
        .await
        .unwrap();
    assert_eq!(events, 1);
}

#[tokio::test]
async fn who_was_demoted_while_they_waited_is_no_owner_any_more() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    // The owner of the database may hold a lock for as long as it likes.
    let mut first = app.owner().begin().await.unwrap();
    countersign::directory::apply::lock(&mut first).await.unwrap();
    let change = "UPDATE app_user SET role = 'admin' WHERE email = 'owner@acme.example'";
    let waits = owner.post(APPLY, with_owner(&format!("{ACME}{OWNER}")));
    let demotes = async {
        // Until the other one waits for the lock that this transaction holds.
        loop {
            let waiting: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
                                        WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)",
            )
            .fetch_one(&app.installation.pool)
            .await
            .unwrap();
            if waiting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sqlx::query(change).execute(&mut *first).await.unwrap();
        first.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(waits, demotes);
    assert_eq!((answer.status, problem(&answer)), (StatusCode::FORBIDDEN, "forbidden".into()), "{}", answer.body);
    assert_eq!(owner.post(APPLY, file(ACME)).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_writes_for_long_holds_up_writers_for_seconds_and_readers_not_at_all() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let rename = json!({ "name": "Acme" });
    // The owner of the database may hold a lock for as long as it likes.
    let mut other = app.owner().begin().await.unwrap();
    countersign::directory::apply::lock(&mut other).await.unwrap();
    let (one, two) =
        tokio::join!(owner.patch("/api/v1/organizations/acme", "*", rename.clone()), owner.applies(file(ACME)));
    for answer in [one, two] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
        assert!(answer.header("retry-after").is_some(), "{}", answer.body);
    }
    assert_eq!(owner.get("/api/v1/organizations/acme").await.text("name"), "acme");
    other.rollback().await.unwrap();
    assert_eq!(owner.patch("/api/v1/organizations/acme", "*", rename).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_has_bounds_and_a_hostile_one_keeps_nobody_waiting() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let comment = "# a long file\n".repeat(10_000);
    assert_eq!(changes(&owner.applies(file(&format!("{ACME}{comment}"))).await), [""; 0], "140 kB are welcome");
    let long = owner.applies(file(&"# a longer file\n".repeat(70_000))).await;
    assert_eq!((long.status, problem(&long)), (StatusCode::PAYLOAD_TOO_LARGE, "too-large".into()));
    assert!(long.text("detail").contains("1024 KiB"), "{}", long.body);
    let elsewhere = owner.post("/api/v1/organizations/acme/services", file(&comment)).await;
    assert_eq!(elsewhere.status, StatusCode::PAYLOAD_TOO_LARGE, "others stay as they are");

    let many = repeated(2000, |number| format!("[[organization.service]]\nslug = \"s{number}\"\n"));
    assert_eq!(fields(&owner.applies(file(&format!("{ACME}{many}"))).await), ["files"]);
    let long = json!({ "files": [{ "name": "x".repeat(256), "text": "" }] });
    assert_eq!(fields(&owner.applies(long).await), ["files"]);
    let many = repeated(21, |number| {
        format!("[[organization.user]]\nemail = \"{number}@acme.example\"\npassword = {{ env = \"ADA_PASSWORD\" }}\n")
    });
    assert_eq!(fields(&owner.applies(with_owner(&format!("{ACME}{many}"))).await), ["files"]);

    // Two long names, whose likeness would take the product of their lengths to tell.
    let alike = format!(
        "{ACME}[[organization.service]]\nslug = \"x\"\ndefault_scopes = [\"{}\"]\n[organization.service.scopes]\n{} = \"S\"\n",
        "b".repeat(400_000),
        "a".repeat(400_000)
    );
    // What would take the square of its length to find wrong: far longer than the server gives a request, which then is 503.
    let unknown = repeated(30_000, |number| format!("k{number} = 1\n"));
    let listed = |count| repeated(count, |number| format!("\"s{number}\", "));
    let scopes = repeated(8_000, |number| format!("s{number} = \"S\"\n"));
    let scopes = format!(
        "{ACME}[[organization.service]]\nslug = \"x\"\ndefault_scopes = [{}]\n[organization.service.scopes]\n{scopes}",
        listed(16_000)
    );
    let resources = format!("{ACME}[[organization.service]]\nslug = \"x\"\ntrusted_networks = [{}]\n", listed(40_000));
    let nested = format!("x = {}", "[".repeat(200_000));
    let dotted = format!("{} = 1", vec!["a"; 100_000].join("."));
    for text in [alike, unknown, scopes, resources, nested, dotted] {
        let answer = owner.applies(file(&text)).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{}",
            answer.body.chars().take(500).collect::<String>()
        );
        let told = answer.json()["errors"].as_array().unwrap().len();
        assert!((1..=201).contains(&told), "{told}");
    }
    let mut last = owner.applies(file(ACME)).await;
    for _ in 0..10 {
        last = owner.post(APPLY, file(ACME)).await;
    }
    assert_eq!(problem(&last), "too-many-requests");
    // A method that it doesn't take.
    let method = owner.send(Method::GET, APPLY, None, None).await;
    assert_eq!(problem(&method), "method-not-allowed");
}

#[tokio::test]
async fn a_file_that_comes_by_a_request_leads_nowhere_inside_the_network() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let before = everything(&app).await;
    let text = format!(
        "{ACME}[[organization.provider]]\nslug = \"sso\"\nkind = \"oidc\"\nissuer = \"https://169.254.169.254\"\nclient_id = \"x\"\n\
         [[organization.webhook]]\nurl = \"http://127.0.0.1:9/hook\"\nsecret = {{ env = \"HOOK\" }}\n"
    );
    let mut body = file(&text);
    body["secrets"] = json!([{ "env": "HOOK", "value": crate::support::app::HOOK_SECRET }]);
    for dry_run in [true, false] {
        body["dry_run"] = dry_run.into();
        let answer = owner.applies(body.clone()).await;
        assert_eq!(problem(&answer), "invalid", "{}", answer.body);
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(
            errors[0]["message"].as_str().unwrap().starts_with("acme.toml:4: organization \"acme\", provider \"sso\""),
            "{errors:?}"
        );
        assert!(
            errors[1]["message"].as_str().unwrap().starts_with("acme.toml:9: organization \"acme\", webhook"),
            "{errors:?}"
        );
    }
    assert_eq!(before, everything(&app).await);
    let text = text
        .replace("169.254.169.254", "login.acme.example")
        .replace("http://127.0.0.1:9", "https://hooks.acme.example");
    let mut public = file(&text);
    public["secrets"] = body["secrets"].clone();
    assert_eq!(changes(&owner.applies(public).await).len(), 2);
    let marks: Vec<bool> = sqlx::query_scalar(
        "SELECT public_only FROM provider WHERE slug = 'sso' UNION ALL SELECT public_only FROM webhook",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap();
    assert_eq!(marks, [true, true], "where its name leads is asked each time");
}

/// So many pieces of a file.
fn repeated(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}
