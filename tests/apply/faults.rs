//! Everything that is wrong with a file is told at once, with its place, and with no secret in it.

use countersign::directory::apply::File;
use insta::assert_snapshot;

use super::{read, secret};

/// One of every fault.
const BAD: &str = r#"
mfa = "required"

[[organization]]
slug = "acme"
nmae = "Acme"
mfa = "sometimes"

[[organization.service]]
slug = "cli"
client_id = "acme cli"
client_secret = "correct horse battery staple"
device_login = "yes"
scopes = { read = "Read your projects", deploy = "", "a b" = "B", openid = "Everything" }
default_scopes = ["read", "deploi"]
required_scopes = ["read", "read"]
code_lifetime = "2h"
interval = 0
access_token_lifetime = 900
refresh_idle = "100d"
proximity = "wran"
id_token_algorithm = "none"
activation_uri = "http://acme.example/activate"

[[organization.service]]
slug = "CLI"
client_secret = { env = "SHORT_SECRET" }

[[organization.service]]
slug = "cli"
client_secret = { env = "UNSET_SECRET" }
scopes = ["read"]

[[organization.service]]
name = "Without a slug"
client_id = "platform-admin-cli"

[[organization.provider]]
slug = "token"
kind = "oidc"
client_secret = { file = "a", env = "B" }
admit = { domains = ["@acme.example"] }

[[organization.provider]]
slug = "password"
kind = "password"
issuer = "https://acme.example"

[[organization.provider]]
slug = "google"
kind = "google"
client_id = "x"
admit = { groups = ["staff"] }

[[organization.provider]]
slug = "other"
kind = "saml"

[[organization.user]]
email = "ada at acme.example"
role = "root"

[[organization.user]]
email = "bob@acme.example"
password = { env = "SHORT" }
status = "invited"

[[organization.user]]
email = "BOB@acme.example"

[[organization]]
slug = "platform"
status = "suspended"
"#;

#[test]
fn all_at_once() {
    let faults = read(BAD).unwrap_err();
    assert!(!faults.to_string().contains("horse") && !faults.to_string().contains("hunter2"));
    assert_snapshot!(faults, @r#"
    acme.toml:2: unknown key "mfa"
    acme.toml:6: organization "acme": unknown key "nmae" (did you mean "name"?)
    acme.toml:7: organization "acme": mfa: "sometimes" is no MFA policy; it is one of off, if_enrolled, required
    acme.toml:11: organization "acme", service "cli": client_id: "acme cli" must be 1 to 255 visible ASCII characters
    acme.toml:12: organization "acme", service "cli": client_secret: a secret doesn't stand in this file, because files like this one are shared, committed and copied; say where it is, as { env = "NAME" } or { file = "path" }
    acme.toml:13: organization "acme", service "cli": device_login: invalid type: string "yes", expected a boolean
    acme.toml:14: organization "acme", service "cli": scopes: the words for "deploy": it is empty
    acme.toml:14: organization "acme", service "cli": scopes: "a b" is no scope name: visible ASCII characters other than " and \ (RFC 6749 §3.3)
    acme.toml:14: organization "acme", service "cli": scopes names "openid", which every service has, and always means the same
    acme.toml:15: organization "acme", service "cli": default_scopes names "deploi", which is not one of its scopes (did you mean "deploy"?)
    acme.toml:16: organization "acme", service "cli": required_scopes: "read" stands twice
    acme.toml:17: organization "acme", service "cli": code_lifetime: "2h" must be between 1m and 1h
    acme.toml:18: organization "acme", service "cli": interval: 0 must be between 1 and 255
    acme.toml:19: organization "acme", service "cli": access_token_lifetime: 900 has no unit; a time span is written as "90s", "15m", "12h" or "30d"
    acme.toml:20: organization "acme", service "cli": refresh_idle is longer than refresh_absolute, after which a session has ended anyway
    acme.toml:21: organization "acme", service "cli": proximity: "wran" is no proximity; it is one of off, warn, block
    acme.toml:22: organization "acme", service "cli": id_token_algorithm: "none" is no signature algorithm; it is one of RS256, ES256, EdDSA
    acme.toml:23: organization "acme", service "cli": activation_uri: "http://acme.example/activate" must begin with https:// (http:// is for this machine only)
    acme.toml:26: organization "acme", service 2: slug: "CLI" must be 1 to 63 of a-z, 0-9 and - and neither begin nor end with -
    acme.toml:27: organization "acme", service 2: client_secret: the secret is shorter than 22 characters and could be guessed; `openssl rand -base64 32` makes a good one
    acme.toml:30: organization "acme", service "cli": slug is given twice
    acme.toml:31: organization "acme", service "cli": client_secret: the environment variable UNSET_SECRET is not set
    acme.toml:32: organization "acme", service "cli": scopes must be a table of names and words, such as { read = "Read your projects" }
    acme.toml:34: organization "acme", service 4: slug is missing
    acme.toml:36: organization "acme", service 4: client_id "platform-admin-cli" is that of service "admin-cli" of organization "platform", always and only
    acme.toml:38: organization "acme", provider "token": issuer is missing: a provider of kind "oidc" needs it
    acme.toml:38: organization "acme", provider "token": client_id is missing: a provider of kind "oidc" needs it
    acme.toml:39: organization "acme", provider "token": slug "token" is taken by the address /auth/token
    acme.toml:41: organization "acme", provider "token": client_secret: where the secret is can't be understood; it is { env = "NAME" } or { file = "path" }
    acme.toml:42: organization "acme", provider "token": admit: "@acme.example" is no domain; one is written as "acme.example"
    acme.toml:47: organization "acme", provider "password": issuer means nothing to a provider of kind "password"
    acme.toml:49: organization "acme", provider "google": client_secret is missing: a provider of kind "google" needs it
    acme.toml:53: organization "acme", provider "google": admit: Google tells no groups; admit by domains
    acme.toml:57: organization "acme", provider "other": kind: "saml" is no provider kind; it is one of github, google, microsoft, gitlab, oidc, password
    acme.toml:60: organization "acme", user 1: email: "ada at acme.example" is no e-mail address
    acme.toml:61: organization "acme", user 1: role: "root" is no role; it is one of member, admin, owner
    acme.toml:65: organization "acme", user "bob@acme.example": password: the password is shorter than 8 characters
    acme.toml:66: organization "acme", user "bob@acme.example": status: a user with a password is not invited but can sign in: leave status or password out
    acme.toml:69: organization "acme", user "bob@acme.example": email is given twice
    acme.toml:73: organization "platform": status: the organization that administers the others can't be suspended
    "#);
}

#[test]
fn what_is_no_toml_is_told_without_quoting_it() {
    let faults =
        read("[[organization]]\nslug = \"acme\"\n[[organization.user]]\npassword = \"hunter2\nname = x").unwrap_err();
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    assert_snapshot!(faults, @r#"
    acme.toml:4: invalid basic string, expected `"`
    acme.toml:5: string values must be quoted, expected literal string
    "#);
}

#[test]
fn several_files_are_one_description() {
    let one = ("one.toml".to_owned(), "[[organization]]\nslug = \"acme\"\nx = 1".to_owned());
    let two = ("two.toml".to_owned(), "[[organization]]\nslug = \"acme\"\n\n[organization.service]".to_owned());
    let faults = File::read(&[one, two], &secret).unwrap_err();
    assert_snapshot!(faults, @r#"
    one.toml:3: organization "acme": unknown key "x"
    two.toml:2: organization "acme": slug is given twice
    two.toml:4: organization "acme": service: each one begins with [[…service]]
    "#);
}

#[test]
fn a_secret_file_is_beside_the_file_that_names_it() {
    let looked = std::cell::RefCell::new(Vec::new());
    let text = "[[organization]]\nslug = \"a\"\n[[organization.user]]\nemail = \"a@a.example\"\npassword = { file = \"a.txt\" }
                [[organization.user]]\nemail = \"b@a.example\"\npassword = { file = \"/run/b\" }";
    File::read(&[("etc/a.toml".into(), text.into())], &|source| {
        looked.borrow_mut().push(format!("{source:?}"));
        Ok("long enough".into())
    })
    .unwrap();
    assert_eq!(looked.into_inner(), ["File(\"etc/a.txt\")", "File(\"/run/b\")"]);
}

#[test]
fn the_examples_of_the_reference_have_none() {
    let reference = include_str!("../../docs/directory.md");
    let examples: Vec<&str> =
        reference.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(toml, _)| toml).collect();
    assert!(!examples.is_empty());
    for example in examples {
        if let Err(faults) = read(example) {
            panic!("{faults}\n{example}");
        }
    }
}
