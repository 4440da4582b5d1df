//! Which country and city an address is of, as a file in MaxMind's format says (MaxMind DB 2.0).
//!
//! The file is read whole at the start, and again when it has changed on disk. One that can't be used is an error at the
//! start; later, the one before stays in use. What it says is an estimate: it is shown to people, and decides nothing.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// How often to look whether the file has changed.
const EVERY: Duration = Duration::from_secs(20);

/// How many records are looked at to see whether a file speaks of countries at all.
const SAMPLE: usize = 1_000;

/// Where addresses are. Cheap to clone; by default nothing is known of any.
#[derive(Clone, Debug, Default)]
pub struct Places(Option<Arc<File>>);

/// Where an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Loopback, private or link-local: an address of no place, which only somebody in the server's own network has.
    Private,
    /// The file doesn't know the address.
    Unknown,
    /// In a country.
    In {
        /// ISO 3166-1 alpha-2, to be compared.
        country_code: String,
        /// In English, or the code.
        country: String,
        /// In English, where it is known.
        city: Option<String>,
    },
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// It could not be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is in another format, or damaged.
    #[error("{path} is no MaxMind database: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: MaxMindDbError,
    },
    /// It is a database of something else, such as of autonomous systems.
    #[error("{path} is a {kind:?} database, which tells no countries: one of cities or countries is needed")]
    OfSomethingElse {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        kind: String,
    },
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    database: RwLock<Arc<Reader<Vec<u8>>>>,
    /// Of the file that was read last, usable or not: a bad one is complained of once.
    stamp: Mutex<Option<Stamp>>,
}

/// Tells two contents of a file apart.
type Stamp = (SystemTime, u64);

/// What is read of a record: all that MaxMind's and compatible databases of cities and countries have in common.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    country: Named<'a>,
    #[serde(borrow, default)]
    city: Named<'a>,
}

#[derive(Default, Deserialize)]
struct Named<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow, default)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

impl Places {
    /// Reads a file. Blocks while it does.
    pub fn open(path: &Path) -> Result<Self, PlacesError> {
        // Before the file is read: whatever changes from now on is noticed.
        let stamp = stamp(path);
        let database = RwLock::new(Arc::new(read(path)?));
        Ok(Self(Some(Arc::new(File { path: path.to_owned(), database, stamp: Mutex::new(stamp) }))))
    }

    /// Where an address is; `None` where there is no file to ask.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<Place> {
        let file = self.0.as_ref()?;
        if is_private(address) {
            return Some(Place::Private);
        }
        let database = file.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(place(&database, address).unwrap_or(Place::Unknown))
    }

    /// Reads the file again if it has changed; says whether another one is in use now. Blocks while it does.
    pub fn refresh(&self) -> Result<bool, PlacesError> {
        let Some(file) = &self.0 else { return Ok(false) };
        let stamp = stamp(&file.path);
        let mut known = file.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == stamp {
            return Ok(false);
        }
        *known = stamp;
        let database = Arc::new(read(&file.path)?);
        *file.database.write().unwrap_or_else(PoisonError::into_inner) = database;
        Ok(true)
    }
}

/// Looks at the file now and then, until `stop`.
pub async fn watch(places: Places, stop: CancellationToken) {
    while places.0.is_some() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let looking = places.clone();
        match tokio::task::spawn_blocking(move || looking.refresh()).await {
            Ok(Ok(true)) => tracing::info!("the database of places was read again"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the database of places stays as it was read before"),
            Err(error) => tracing::error!(%error, "the database of places could not be looked at"),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, PlacesError> {
    let bytes = std::fs::read(path).map_err(|error| PlacesError::Unreadable { path: path.to_owned(), error })?;
    let malformed = |error| PlacesError::Malformed { path: path.to_owned(), error };
    let database = Reader::from_source(bytes).map_err(malformed)?;
    for network in database.networks(WithinOptions::default()).map_err(malformed)?.take(SAMPLE) {
        // A record that can't be read is one of something else.
        let record = network.map_err(malformed)?.decode::<Record<'_>>().ok().flatten();
        if record.is_some_and(|record| record.country.iso_code.is_some()) {
            return Ok(database);
        }
    }
    Err(PlacesError::OfSomethingElse { path: path.to_owned(), kind: database.metadata().database_type.clone() })
}

/// An address that the file doesn't know, or a record that can't be read, is of no place.
fn place(database: &Reader<Vec<u8>>, address: IpAddr) -> Option<Place> {
    let record: Record<'_> = database.lookup(address).ok()?.decode().ok()??;
    let country_code = record.country.iso_code?.to_owned();
    Some(Place::In {
        country: record.country.names.en.map_or_else(|| country_code.clone(), str::to_owned),
        country_code,
        city: record.city.names.en.map(str::to_owned),
    })
}

/// Whether an address is of no public network: loopback (RFC 1122, RFC 4291), private (RFC 1918, RFC 4193), shared by a
/// provider's customers (RFC 6598) or link-local.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = matches!(v4.octets(), [100, 64..=127, _, _]);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_those_of_no_public_network() {
        let private = |text: &str| is_private(text.parse().unwrap());
        for text in ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1"] {
            assert!(private(text), "{text}");
        }
        for text in ["::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(private(text), "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert!(!private(text), "{text}");
        }
    }

    #[test]
    fn without_a_file_nothing_is_said_of_any_address() {
        assert_eq!(Places::default().of([192, 0, 2, 1].into()), None);
        assert!(!Places::default().refresh().unwrap());
    }
}
