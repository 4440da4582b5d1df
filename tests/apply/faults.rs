//! Everything that is wrong with a file is told at once, with its place, and with no secret in it.

use countersign::directory::apply::File;
use insta::assert_snapshot;

use super::{read, secret};

#[test]
fn all_at_once() {
    let faults = read(
        r#"
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
"#,
    )
    .unwrap_err();
    assert!(!faults.to_string().contains("horse") && !faults.to_string().contains("hunter2"));
    assert_snapshot!(faults, @"");
}

#[test]
fn what_is_no_toml_is_told_without_quoting_it() {
    let faults =
        read("[[organization]]\nslug = \"acme\"\n[[organization.user]]\npassword = \"hunter2\nname = x").unwrap_err();
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    assert_snapshot!(faults, @"");
}

#[test]
fn several_files_are_one_description() {
    let one = ("one.toml".to_owned(), "[[organization]]\nslug = \"acme\"\nx = 1".to_owned());
    let two = ("two.toml".to_owned(), "[[organization]]\nslug = \"acme\"\n\n[organization.service]".to_owned());
    let faults = File::read(&[one, two], &secret).unwrap_err();
    assert_snapshot!(faults, @"");
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
