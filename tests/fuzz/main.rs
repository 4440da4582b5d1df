//! What strangers can send, mutated: each target takes whatever bytes and says what must hold of them.
//!
//! A plain `cargo test` tries every file of `tests/fuzz/corpus/` and then mutated ones for half a second. `make fuzz`
//! gives each target 30 seconds (`FUZZ_SECONDS`). What a target fails on is printed; kept as a file of its corpus, it is
//! tried by every run from then on.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that can't go on has failed"
)]

mod basic;
mod callback;
mod configuration;
mod device_code;
mod directory;
mod dpop;
mod forwarded;
mod mutation;
mod parameters;
mod preference;
mod refresh_token;
mod user_code;

#[path = "../support/database.rs"]
mod database;

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use bolero::ValueGenerator as _;
use countersign::secrets::{InstallationSecret, Keyring};
use tokio::runtime::Runtime;

use mutation::{Edit, Mutator};

/// How long a target is mutated in a run of all tests; `make fuzz` says otherwise.
const IN_PASSING: Duration = Duration::from_millis(500);

/// Runs a target: first on the files of its corpus and on `seeds`, genuine artefacts which only this process can make,
/// then on mutations of both. `words` are what its parsers look for.
#[track_caller]
fn target(name: &'static str, seeds: Vec<Vec<u8>>, words: &'static [&'static str], must_hold: fn(&[u8])) {
    let mut known = corpus(name);
    assert!(known.len() >= 5, "the corpus of {name} is missing");
    known.extend(seeds);
    for input in &known {
        let shown = Input(input.clone());
        let tried = std::panic::catch_unwind(|| must_hold(input));
        assert!(tried.is_ok(), "{name} fails on what is known: {shown:?}");
    }
    let mutator = Mutator::new(known, words);
    let inputs = bolero::produce::<(u16, Vec<Edit>)>().map_gen(move |(seed, edits)| Input(mutator.make(seed, &edits)));
    bolero::check!(name = name)
        .with_generator(inputs)
        .with_test_time(IN_PASSING)
        .for_each(move |Input(bytes)| must_hold(bytes));
}

/// `text` with other letters and digits in the place of a `secret` that it holds.
///
/// What is said of this one too isn't the secret, though it reads like it: a message that asks for `public_url = "https…`
/// does not know that somebody's secret is `url = "http`.
fn with_another_secret(text: &str, secret: &str) -> String {
    let turned = |letter: char, first: u8, many: u8| char::from(first + (letter as u8 - first + many / 2) % many);
    let another = |letter: char| match letter {
        'a'..='z' => turned(letter, b'a', 26),
        'A'..='Z' => turned(letter, b'A', 26),
        '0'..='9' => turned(letter, b'0', 10),
        _ => letter,
    };
    let other: String = secret.chars().map(another).collect();
    text.replace(secret, if other == secret { "another" } else { &other })
}

/// Bytes, shown as they can be written to a file of the corpus with `printf`.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} = \"{}\"", String::from_utf8_lossy(&self.0), self.0.escape_ascii())
    }
}

/// The files of a target's corpus, each without the line break at its end.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    let read = |path| {
        let bytes: Vec<u8> = std::fs::read(path).unwrap();
        bytes.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(bytes)
    };
    files.into_iter().map(read).collect()
}

/// The secrets of the installation under test, the same in every run.
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| keyring("A"));

/// Those of another.
static FOREIGN: LazyLock<Keyring> = LazyLock::new(|| keyring("B"));

fn keyring(letter: &str) -> Keyring {
    // 32 bytes in base64.
    let text = format!("{}A=", letter.repeat(42));
    Keyring::new(&[InstallationSecret::parse(&text.into()).unwrap()]).unwrap()
}

/// For what is asynchronous.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// Whether a text may be an `error_description` (RFC 6749 §5.2).
fn is_a_description(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}
