//! The login keychain of macOS. It asks by itself whether this program may read.

use security_framework::base::Error;
use security_framework::passwords::{delete_generic_password, get_generic_password, set_generic_password};
use zeroize::Zeroizing;

use super::{KeyringError, LoginKey};

const SERVICE: &str = "countersign";
/// `errSecItemNotFound`.
const NOT_FOUND: i32 = -25300;

pub(super) async fn get(key: &LoginKey, _: bool) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    let account = account(key);
    Ok(aside(move || get_generic_password(SERVICE, &account)).await?.map(Zeroizing::new))
}

pub(super) async fn set(key: &LoginKey, text: &[u8], _: bool) -> Result<(), KeyringError> {
    let (account, text) = (account(key), Zeroizing::new(text.to_vec()));
    aside(move || set_generic_password(SERVICE, &account, &text)).await.map(drop)
}

pub(super) async fn delete(key: &LoginKey, _: bool) -> Result<(), KeyringError> {
    let account = account(key);
    aside(move || delete_generic_password(SERVICE, &account)).await.map(drop)
}

/// What the person sees as the account of the item.
fn account(key: &LoginKey) -> String {
    format!("{} {} {}", key.issuer, key.client_id, key.subject.as_deref().unwrap_or_default())
}

/// The calls wait for the person; the runtime must not. `None`: there is no such item.
async fn aside<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<Option<T>, KeyringError> {
    let result = tokio::task::spawn_blocking(call).await.map_err(|error| KeyringError::Failed(error.to_string()))?;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == NOT_FOUND => Ok(None),
        Err(error) => Err(KeyringError::Failed(error.to_string())),
    }
}
