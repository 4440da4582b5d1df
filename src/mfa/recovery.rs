//! Recovery codes: ten, each good once, for when the authenticator is lost.

use chrono::{DateTime, Utc};

use crate::ids::UserId;
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{Busy, Random, SecretText};

/// How many a person gets.
const COUNT: usize = 10;

/// Letters of a code: 32, without those that are mistaken for others. 16 of them are 80 bits.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
const LETTERS: usize = 16;

/// Ten new codes and what is kept of them.
pub struct NewCodes {
    codes: Vec<SecretText>,
    hashes: Vec<String>,
}

impl NewCodes {
    /// Draws ten codes. Call it without a connection in hand: hashing takes long.
    pub async fn draw(installation: &Installation) -> Result<Self, Busy> {
        let _place = installation.passwords.place()?;
        let codes: Vec<SecretText> = (0..COUNT).map(|_| draw(&installation.random)).collect();
        let normalized = codes.iter().filter_map(|code| normalize(code.expose())).collect();
        let hashes = installation.passwords.hash_set(normalized).await;
        Ok(Self { codes, hashes })
    }

    /// Gives them to a user in place of all there were, and hands them out to be shown: once, for only their hashes are
    /// kept.
    pub async fn give(self, conn: &mut PgConnection, user: UserId) -> Result<Vec<SecretText>, sqlx::Error> {
        let numbers: Vec<i16> = (1..).take(self.hashes.len()).collect();
        sqlx::query!("DELETE FROM recovery_code WHERE user_id = $1", user.0).execute(&mut *conn).await?;
        sqlx::query!(
            "INSERT INTO recovery_code (user_id, number, hash) SELECT $1, * FROM unnest($2::smallint[], $3::text[])",
            user.0,
            &numbers,
            &self.hashes,
        )
        .execute(conn)
        .await?;
        Ok(self.codes)
    }
}

/// The hash of a code that somebody typed.
pub struct Typed(String);

/// Hashes what a user typed; `None` when it can be no code of theirs. Takes a connection only to read, and none while it
/// hashes.
pub async fn hash(installation: &Installation, user: UserId, typed: &str) -> Result<Option<Typed>, sqlx::Error> {
    let Some(code) = normalize(typed) else { return Ok(None) };
    let mut conn = installation.pool.acquire().await?;
    let sibling = sqlx::query_scalar!("SELECT hash FROM recovery_code WHERE user_id = $1 LIMIT 1", user.0)
        .fetch_optional(&mut *conn)
        .await?;
    drop(conn);
    let Some(sibling) = sibling else { return Ok(None) };
    Ok(installation.passwords.hash_beside(&code, &sibling).await.map(Typed))
}

/// How many codes a user has left.
pub async fn left(conn: &mut PgConnection, user: UserId) -> Result<i64, sqlx::Error> {
    let left = sqlx::query_scalar!("SELECT count(*) FROM recovery_code WHERE user_id = $1 AND used_at IS NULL", user.0)
        .fetch_one(conn)
        .await?;
    Ok(left.unwrap_or(0))
}

/// Spends a code: `true` once for each, however many arrive at once.
pub async fn spend(
    conn: &mut PgConnection,
    user: UserId,
    typed: &Typed,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let spent = sqlx::query!(
        "UPDATE recovery_code SET used_at = $3 WHERE user_id = $1 AND hash = $2 AND used_at IS NULL",
        user.0,
        typed.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// Whether a person typed a recovery code rather than an authenticator's six digits.
#[must_use]
pub fn looks_like_one(typed: &str) -> bool {
    normalize(typed).is_some()
}

fn draw(random: &Random) -> SecretText {
    let mut code = String::with_capacity(LETTERS + 3);
    for (at, byte) in random.bytes::<LETTERS>().into_iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.extend(ALPHABET.get(usize::from(byte % 32)).map(|letter| char::from(*letter)));
    }
    SecretText::from(code)
}

/// Any case, other signs dropped.
fn normalize(typed: &str) -> Option<SecretText> {
    if typed.len() > 100 {
        return None;
    }
    let letters: String = typed
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .filter(|c| u8::try_from(*c).is_ok_and(|byte| ALPHABET.contains(&byte)))
        .collect();
    (letters.len() == LETTERS).then(|| SecretText::from(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = draw(&Random::system());
        assert_eq!(code.expose().len(), 19);
        let typed = code.expose().to_uppercase().replace('-', " ");
        let read = normalize(&typed).unwrap();
        assert_eq!(read.expose(), code.expose().replace('-', ""));
        assert!(looks_like_one(&typed) && !looks_like_one("123456") && !looks_like_one(""));
    }
}
