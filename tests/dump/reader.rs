//! The database as somebody reads it who has a copy: every value of every table, and what each could be written as.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use countersign::postgres::PgPool;
use sqlx::AssertSqlSafe;
use totp_rs::Secret;

/// A value and where it stands.
pub struct Found {
    /// `table.column`.
    pub place: String,
    pub value: Value,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A number, a time, an address: nothing that could be more than it is.
    Plain(String),
    Text(String),
    Bytes(Vec<u8>),
}

/// A column, as the information schema names it.
#[derive(sqlx::FromRow)]
struct Column {
    table_schema: String,
    table_name: String,
    #[sqlx(rename = "column_name")]
    name: String,
    /// The name of its type, that of an array with an underscore before it.
    udt_name: String,
}

impl Column {
    fn place(&self) -> String {
        format!("{}.{}", self.table(), self.name)
    }

    fn table(&self) -> String {
        if self.table_schema == "public" {
            self.table_name.clone()
        } else {
            format!("{}.{}", self.table_schema, self.table_name)
        }
    }

    /// Every value, the elements of an array one by one, in the text form that a dump has.
    fn query(&self) -> String {
        let [schema, table, column] = [&self.table_schema, &self.table_name, &self.name].map(|name| quote(name));
        if self.udt_name.starts_with('_') {
            format!("SELECT DISTINCT e::text FROM {schema}.{table}, unnest({column}) e WHERE e IS NOT NULL")
        } else {
            format!("SELECT DISTINCT {column}::text FROM {schema}.{table} WHERE {column} IS NOT NULL")
        }
    }

    fn read(&self, text: String) -> Vec<Value> {
        match self.udt_name.trim_start_matches('_') {
            "bytea" => vec![Value::Bytes(from_hex(text.strip_prefix("\\x").unwrap()).unwrap())],
            "json" | "jsonb" => leaves(&serde_json::from_str(&text).unwrap()),
            "bool" | "int2" | "int4" | "int8" | "float8" | "timestamptz" | "inet" => vec![Value::Plain(text)],
            _ => vec![Value::Text(text)],
        }
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names and the leaves of a JSON document.
fn leaves(json: &serde_json::Value) -> Vec<Value> {
    match json {
        serde_json::Value::Null => vec![],
        serde_json::Value::String(text) => vec![Value::Text(text.clone())],
        serde_json::Value::Array(list) => list.iter().flat_map(leaves).collect(),
        serde_json::Value::Object(members) => {
            let named = |(name, value)| std::iter::once(Value::Text(String::clone(name))).chain(leaves(value));
            members.iter().flat_map(named).collect()
        }
        other => vec![Value::Plain(other.to_string())],
    }
}

/// Everything that stands in the database. Fails where something is stored that would not be read, and where a table, or
/// a column of bytes, holds nothing: what isn't there can't be tried.
pub async fn read(pool: &PgPool) -> Vec<Found> {
    let columns: Vec<Column> = sqlx::query_as(
        "SELECT table_schema::text, table_name::text, column_name::text, udt_name::text
         FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
         WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
         ORDER BY table_schema, table_name, ordinal_position",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    nothing_else_is_stored(pool, &columns).await;
    let mut found = vec![];
    for column in &columns {
        let texts: Vec<String> = sqlx::query_scalar(AssertSqlSafe(column.query())).fetch_all(pool).await.unwrap();
        assert!(!texts.is_empty() || !column.udt_name.ends_with("bytea"), "no value yet in {}", column.place());
        let values = texts.into_iter().flat_map(|text| column.read(text));
        found.extend(values.map(|value| Found { place: column.place(), value }));
    }
    let full: BTreeSet<&str> = found.iter().filter_map(|found| Some(found.place.rsplit_once('.')?.0)).collect();
    let all: BTreeSet<String> = columns.iter().map(Column::table).collect();
    let empty: Vec<&String> = all.iter().filter(|table| !full.contains(table.as_str())).collect();
    assert!(empty.is_empty(), "no row yet in {empty:?}: tests/dump/life.rs has to come by there");
    found
}

/// The information schema lists the tables of who asks. A dump also holds what others own, views that keep their rows,
/// and large objects.
async fn nothing_else_is_stored(pool: &PgPool, columns: &[Column]) {
    let relations: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let read: BTreeSet<_> = columns.iter().map(Column::table).collect();
    assert_eq!(usize::try_from(relations).unwrap(), read.len(), "read were {read:?}");
    let objects: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_largeobject_metadata").fetch_one(pool).await.unwrap();
    assert_eq!(objects, 0, "large objects");
}

/// What a form was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// For nothing: it stands there like this.
    AsItIs,
    /// A piece of a text, or bytes in an alphabet that everything may be written in. A cookie is base64url of 32 bytes,
    /// and a recovery code is read without its hyphens.
    Written,
    /// With the beginning of a device code.
    DeviceCode,
    /// With the beginning of a refresh token.
    RefreshToken,
    /// With the beginning of a link's token.
    ReportLink,
    /// With the beginning of a setup link's token.
    SetupLink,
    /// In the alphabet of authenticators' keys.
    Base32,
}

/// What to try, what each was made for, and where it stands.
pub type Forms<'a> = BTreeMap<String, (Kind, &'a str)>;

/// What somebody could write each value as.
pub fn written<'a>(found: impl IntoIterator<Item = &'a Found>) -> Forms<'a> {
    let mut written = Forms::new();
    for found in found {
        for (kind, text) in found.value.forms() {
            let form = written.entry(text).or_insert((kind, &found.place));
            form.0 = form.0.min(kind);
        }
    }
    written
}

impl Value {
    /// As it is, the pieces of a text, and bytes in every usual alphabet.
    fn forms(&self) -> Vec<(Kind, String)> {
        let mut forms = vec![];
        match self {
            Self::Plain(text) => forms.push((Kind::AsItIs, text.clone())),
            Self::Text(text) => {
                forms.push((Kind::AsItIs, text.clone()));
                let pieces = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_+/=.".contains(c));
                let pieces = pieces.filter(|piece| piece.len() >= 6);
                forms.extend(pieces.map(|piece| (Kind::Written, piece.to_owned())));
                forms.extend(self.decoded().iter().flat_map(|bytes| made_of(bytes)));
            }
            Self::Bytes(bytes) => {
                forms.extend(made_of(bytes));
                let text = String::from_utf8(bytes.clone()).ok();
                let in_full = [STANDARD.encode(bytes), URL_SAFE.encode(bytes), hex(bytes)].into_iter().chain(text);
                forms.extend(in_full.map(|text| (Kind::Written, text)));
            }
        }
        // Nor what a server takes for nothing, such as the zeros before a chain's beginning.
        forms.retain(|(_, text)| !text.chars().all(|sign| sign.is_whitespace() || sign.is_control()));
        forms
    }

    /// The bytes that a text may be written for: a UUID, hexadecimal, base64 in either alphabet, with or without a
    /// token's beginning.
    fn decoded(&self) -> Vec<Vec<u8>> {
        let Self::Text(text) = self else { return vec![] };
        let pieces = text.split(['$', ',', ' ', '"']).filter(|piece| piece.len() >= 16);
        pieces.flat_map(|piece| [piece, piece.get(4..).unwrap_or_default()]).filter_map(decode).collect()
    }

    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Text(text) => text,
            Self::Bytes(_) => panic!("bytes are no text"),
        }
    }

    /// The bytes of the value, whatever it is: to look for a secret among them.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(text) | Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The bytes that a text is written for, if it is long enough to be anything.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = from_hex(&text.replace('-', ""))
        .or_else(|| URL_SAFE_NO_PAD.decode(text).ok())
        .or_else(|| STANDARD.decode(text).ok())
        .or_else(|| STANDARD_NO_PAD.decode(text).ok())?;
    (bytes.len() >= 8).then_some(bytes)
}

/// What bytes are part of elsewhere: codes and tokens, cookies, an authenticator's key.
fn made_of(bytes: &[u8]) -> [(Kind, String); 6] {
    let base64url = URL_SAFE_NO_PAD.encode(bytes);
    [
        (Kind::DeviceCode, format!("csd_{base64url}")),
        (Kind::RefreshToken, format!("csr_{base64url}")),
        (Kind::ReportLink, format!("csn_{base64url}")),
        (Kind::SetupLink, format!("csu_{base64url}")),
        (Kind::Written, base64url),
        (Kind::Base32, Secret::from(bytes).to_base32()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

/// What a device code, a link's token and the refresh tokens would be, were one of these values the MAC in them: whoever has a copy also
/// has the ids and the generations.
pub fn composed(found: &[Found]) -> Forms<'_> {
    let macs: BTreeMap<&[u8], &str> = found
        .iter()
        .filter(|found| matches!(&found.value, Value::Bytes(bytes) if bytes.len() == 32))
        .map(|found| (found.value.bytes(), found.place.as_str()))
        .collect();
    let ids = |place: &str| -> Vec<Vec<u8>> {
        let column = found.iter().filter(|found| found.place == place);
        column.filter_map(|found| decode(found.value.text())).collect()
    };
    let (grants, sessions) = (ids("device_grant.id"), ids("session.id"));
    let generations = found.iter().filter(|found| found.place == "session.generation");
    let newest: i32 = generations.map(|found| found.value.text().parse().unwrap()).max().unwrap_or(0);
    let mut composed = Forms::new();
    for (mac, place) in macs {
        for grant in &grants {
            let bytes = URL_SAFE_NO_PAD.encode([grant, mac].concat());
            composed.insert(format!("csd_{bytes}"), (Kind::DeviceCode, place));
            composed.insert(format!("csn_{bytes}"), (Kind::ReportLink, place));
        }
        for (session, generation) in sessions.iter().flat_map(|id| (0..=newest).map(move |number| (id, number))) {
            let token = [session, &generation.to_be_bytes()[..], mac].concat();
            let token = format!("csr_{}", URL_SAFE_NO_PAD.encode(token));
            composed.insert(token, (Kind::RefreshToken, place));
        }
    }
    composed
}
