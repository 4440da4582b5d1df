//! What stands on the screen, character by character.

use super::*;
use crate::client::Tokens;
use crate::client::error::LoginError;

const TERMINAL: Terminal = Terminal { columns: 80, rows: 24, unicode: true };

fn code(verification_uri: &str) -> Code {
    Code {
        user_code: "WDJB-MJHT".to_owned(),
        verification_uri: verification_uri.to_owned(),
        verification_uri_complete: Some(format!("{verification_uri}?user_code=WDJB-MJHT")),
        expires_in: Duration::from_mins(15),
        interval: Duration::from_secs(5),
    }
}

fn signed_in(asked: &str, granted: &str) -> SignedIn {
    SignedIn {
        issuer: "https://acme.example".to_owned(),
        client_id: "acme-cli".to_owned(),
        asked_scope: Some(asked.to_owned()),
        tokens: Tokens {
            access_token: "at-1".to_owned().into(),
            token_type: "Bearer".to_owned(),
            expires_in: None,
            scope: Some(granted.to_owned()),
            refresh_token: None,
            id_token: None,
        },
        key: None,
    }
}

fn shown(terminal: Option<Terminal>, events: &[Event<'_>]) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut screen = Screen::new(&mut out, &mut err, terminal);
    for event in events {
        screen.report(event).unwrap();
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

const fn waiting(seconds: u64) -> Event<'static> {
    Event::Waiting { left: Duration::from_secs(seconds) }
}

#[test]
fn into_a_pipe_go_plain_lines_only() {
    let code = code("https://acme.example/activate");
    let signed_in = signed_in("read", "read");
    let retrying = Event::Retrying { reason: "HTTP 503", after: Duration::from_secs(10) };
    let done = Event::SignedIn { signed_in: &signed_in, kept_in: None };
    let (out, err) = shown(None, &[Event::Code(&code), waiting(900), waiting(899), retrying, waiting(898), done]);
    assert_eq!(
        out,
        "Visit https://acme.example/activate on any device with a browser and enter the user code: WDJB-MJHT\n\
         Waiting for authorization… 15:00 left\n\
         Signed in. Granted: read\n"
    );
    assert_eq!(err, "No usable answer from the server (HTTP 503); trying again in 10 s.\n");
}

#[test]
fn on_a_terminal_the_time_counts_down_in_place() {
    let (out, err) =
        shown(Some(TERMINAL), &[waiting(900), waiting(900), waiting(65), Event::Failed(&LoginError::Denied)]);
    assert_eq!(
        out,
        "\r\x1b[KWaiting for authorization… 15:00 left\r\x1b[KWaiting for authorization… 1:05 left\r\x1b[K"
    );
    assert_eq!(err, "The request was denied in the browser. Nobody is signed in.\n");
}

#[test]
fn a_qr_code_is_drawn_where_it_can_be_seen() {
    let code = code("https://acme.example/activate");
    let drawn = |terminal| shown(terminal, &[Event::Code(&code)]).0.contains('█');
    assert!(drawn(Some(TERMINAL)));
    assert!(!drawn(None));
    assert!(!drawn(Some(Terminal { unicode: false, ..TERMINAL })));
    assert!(!drawn(Some(Terminal { columns: 30, ..TERMINAL })));
    assert!(!drawn(Some(Terminal { rows: 10, ..TERMINAL })));
    let mut out = Vec::new();
    Screen::new(&mut out, Vec::new(), Some(TERMINAL)).without_qr().report(&Event::Code(&code)).unwrap();
    assert!(!String::from_utf8(out).unwrap().contains('█'));
}

#[test]
fn an_unprotected_address_is_warned_about_unless_it_stays_on_this_machine() {
    for (address, warned) in [
        ("https://acme.example/activate", false),
        ("http://localhost:8080/activate", false),
        ("http://acme.example/activate", true),
    ] {
        let (_, err) = shown(None, &[Event::Code(&code(address))]);
        assert_eq!(err.starts_with("Warning: "), warned, "{err}");
    }
}

#[test]
fn a_narrowed_scope_is_told() {
    let told = |asked, granted| {
        let signed_in = signed_in(asked, granted);
        shown(None, &[Event::SignedIn { signed_in: &signed_in, kept_in: None }]).0
    };
    assert_eq!(
        told("read write", "read"),
        "Signed in. Granted: read\nYou asked for \"read write\"; \"write\" was not granted.\n"
    );
    assert_eq!(
        told("read write deploy", "read"),
        "Signed in. Granted: read\nYou asked for \"read write deploy\"; \"write\", \"deploy\" were not granted.\n"
    );
    assert_eq!(told("read write", "write read openid"), "Signed in. Granted: write read openid\n");
}

#[test]
fn times_read_as_people_say_them() {
    let told = |millis| minutes(Duration::from_millis(millis));
    assert_eq!(
        [told(0), told(1), told(59_400), told(899_999), told(3_600_000)],
        ["0:00", "0:01", "1:00", "15:00", "1:00:00"]
    );
}
