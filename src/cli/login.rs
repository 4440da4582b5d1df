//! `countersign login`: the reference client as a command.

use std::io;
use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::Args;

use crate::client::environment::{self, Terminal};
use crate::client::{Event, Issuer, JsonLines, LoginError, Options, Reporter, Screen, login_and_keep};

use super::kept::{StoreArgs, say};

/// What `countersign dev` sets up, and nothing but a server on this machine.
const DEMO_CLIENT: &str = "demo-cli";
/// The organization that administers the others.
pub(super) const PLATFORM: &str = "platform";
/// What the client with which an organization is administered is called after its organization (docs/administration.md).
pub(super) const OF_ADMINISTRATION: &str = "-admin-cli";
/// What administering takes, for longer than a quarter of an hour, and who does it: for `countersign whoami`.
const SCOPES_OF_ADMINISTRATION: &str = "openid email admin:read admin:write offline_access";
/// Codes shown one after the other to a person who takes their time.
const CODES_FOR_A_PERSON: NonZeroU32 = NonZeroU32::new(3).unwrap();

const EXIT_CODES: &str = "\
Exit codes:
  0    signed in
  1    anything not listed here
  2    wrong usage
  3    denied in the browser
  4    the code expired
  5    the server can't be reached, or is no authorization server with device login
  6    the server refused (invalid_client, invalid_scope, unauthorized_client, …)
  130  interrupted

The tokens are kept in the operating system's keyring where there is one, otherwise in countersign/credentials.json under
$XDG_CONFIG_HOME (or ~/.config), readable by you alone. COUNTERSIGN_KEYRING=off says the same as --no-keyring.";

/// Log in to an authorization server from this device.
///
/// Prints an address and a code to enter there in any browser, waits for the approval, and keeps the tokens. Works with
/// Countersign and with other servers that speak RFC 8628.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct LoginArgs {
    // Not as a doc comment, where an address needs brackets that a terminal should not show.
    #[arg(value_name = "URL", help = "Address of the server (its issuer), for example https://login.acme.example")]
    issuer: Issuer,

    /// Client to log in as. On a loopback address: demo-cli, unless said otherwise
    #[arg(long, value_name = "ID", env = "COUNTERSIGN_CLIENT_ID")]
    client_id: Option<String>,

    /// Log in to administer: as admin-cli of the organization, or as the client that stands in its place. See countersign
    /// org, service, provider, user, session, grant, webhook and audit list, and --server of apply and keys
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    admin: Option<String>,

    /// Scopes to ask for, separated by spaces. Without it the server's default ones
    #[arg(long, value_name = "SCOPES")]
    scope: Vec<String>,

    /// Organization of the client, where a server wants it said; with --admin: the one to administer [default: platform]
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,

    /// Service of the client, where a server wants it said
    #[arg(long, value_name = "SLUG")]
    service: Option<String>,

    /// What the approver is told about this device; empty for nothing [default: user@hostname]
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,

    /// How many codes to show before giving up when they expire [default: 3 on a terminal, otherwise 1]
    #[arg(long, value_name = "N")]
    max_codes: Option<NonZeroU32>,

    /// Print one JSON object per event: code, waiting, retrying, expired, and last done or error
    #[arg(long)]
    json: bool,

    /// Don't draw a QR code
    #[arg(long)]
    no_qr: bool,

    /// Allow plain http to another machine. Whoever can listen on the network can take the tokens
    #[arg(long)]
    insecure_http: bool,

    /// Ask for bearer tokens, for APIs that take no others. Whoever copies them can use them: where the server offers it, they
    /// are bound to a key of this login otherwise (DPoP, RFC 9449)
    #[arg(long)]
    bearer: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Logs in, or tells why not.
pub(super) async fn run(args: LoginArgs) -> ExitCode {
    let (json, no_qr) = (args.json, args.no_qr);
    let (options, store) = args.into_options();
    let Some(options) = options else {
        let message = "error: --client-id is required for a server that is not on this machine\n\n\
                       Its administrator knows the client id of the tool that you log in for; \
                       COUNTERSIGN_CLIENT_ID can hold it, too.";
        say(message);
        return ExitCode::from(2);
    };
    if !json && environment::is_desktop() {
        say(
            "This machine seems to have a browser of its own. Device login is made for those that have none; it works here, too.",
        );
    }
    let result = if json {
        until_interrupted(&options, &store, &mut JsonLines::new(io::stdout())).await
    } else if no_qr {
        until_interrupted(&options, &store, &mut Screen::of_process().without_qr()).await
    } else {
        until_interrupted(&options, &store, &mut Screen::of_process()).await
    };
    ExitCode::from(result.map_or_else(|error| exit_code(&error), |()| 0))
}

impl LoginArgs {
    /// `None`: there is no client to log in as.
    fn into_options(mut self) -> (Option<Options>, StoreArgs) {
        if let Some(client) = self.admin.take() {
            // Whatever the environment says of other logins.
            self.client_id = Some(client).filter(|id| !id.trim().is_empty()).or_else(|| {
                let organization = self.org.take().unwrap_or_else(|| PLATFORM.to_owned());
                Some(format!("{organization}{OF_ADMINISTRATION}"))
            });
            if self.scope.is_empty() {
                self.scope = vec![SCOPES_OF_ADMINISTRATION.to_owned()];
            }
        }
        let given = self.client_id.filter(|id| !id.trim().is_empty());
        let Some(client_id) = given.or_else(|| self.issuer.is_loopback().then(|| DEMO_CLIENT.to_owned())) else {
            return (None, self.store);
        };
        let default_codes = if Terminal::of_stdout().is_some() { CODES_FOR_A_PERSON } else { NonZeroU32::MIN };
        let scope = self.scope.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let options = Options {
            scope: not_blank(scope),
            organization: self.org.and_then(not_blank),
            service: self.service.and_then(not_blank),
            device_name: self.device_name.or_else(environment::device_name).and_then(not_blank),
            max_codes: self.max_codes.unwrap_or(default_codes),
            insecure_http: self.insecure_http,
            bearer: self.bearer,
            ..Options::new(self.issuer, client_id)
        };
        (Some(options), self.store)
    }
}

fn not_blank(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

/// The login, or Ctrl-C, whichever comes first.
async fn until_interrupted<R: Reporter>(
    options: &Options,
    store: &StoreArgs,
    reporter: &mut R,
) -> Result<(), LoginError> {
    let credentials = match store.open() {
        Ok(credentials) => credentials,
        Err(error) => {
            let error = LoginError::from(error);
            drop(reporter.report(&Event::Failed(&error)));
            return Err(error);
        }
    };
    tokio::select! {
        result = login_and_keep(options, &credentials, reporter) => return result.map(drop),
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
    drop(reporter.report(&Event::Failed(&LoginError::Interrupted)));
    Err(LoginError::Interrupted)
}

/// What a script learns from a login that failed (listed in `--help` and in docs/clients.md).
pub(super) const fn exit_code(error: &LoginError) -> u8 {
    match error {
        LoginError::Key(_) | LoginError::NumberWanted | LoginError::Credentials(_) | LoginError::Output(_) => 1,
        LoginError::InsecureIssuer { .. } => 2,
        LoginError::Denied => 3,
        LoginError::Expired => 4,
        LoginError::Unreachable { .. }
        | LoginError::Unavailable { .. }
        | LoginError::NotAnAuthorizationServer { .. }
        | LoginError::IssuerMismatch { .. }
        | LoginError::NoDeviceLogin { .. }
        | LoginError::NotUnderstood { .. } => 5,
        LoginError::Refused { .. } => 6,
        LoginError::Interrupted => 130,
    }
}
