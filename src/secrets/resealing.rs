//! Sealing again what an older secret of the installation sealed, so that the older one can be taken away.

use super::{Keyring, Sealed};

/// How many rows are sealed again in one transaction: as long as nobody notices that they are held.
pub const BATCH: i64 = 500;

/// What became of the sealed secrets of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// So many are sealed under the current secret now, and weren't before.
    pub resealed: u64,
    /// So many could not be opened with any secret, and are as they were.
    pub unopenable: u64,
}

impl Resealed {
    /// Seals rows of a table again, each bound to the table and its key as before: gives what is to be written.
    pub fn seal<K: AsRef<[u8]>>(
        &mut self,
        keyring: &Keyring,
        table: &[u8],
        rows: impl IntoIterator<Item = (K, Vec<u8>)>,
    ) -> (Vec<K>, Vec<Vec<u8>>) {
        let (mut keys, mut sealed) = (Vec::new(), Vec::new());
        for (key, old) in rows {
            let context = [table, key.as_ref()];
            let opened = keyring.open(&context, &Sealed::from(old));
            match opened.and_then(|secret| keyring.seal(&context, &secret)) {
                Ok(new) => {
                    self.resealed += 1;
                    keys.push(key);
                    sealed.push(new.as_bytes().to_vec());
                }
                Err(_) => self.unopenable += 1,
            }
        }
        (keys, sealed)
    }
}
