//! Second factors: one-time passwords (RFC 6238) and recovery codes.

pub mod recovery;
pub mod totp;

use crate::ids::UserId;
use crate::postgres::PgConnection;

/// Whether the person has a second factor.
pub async fn is_enrolled(conn: &mut PgConnection, user: UserId) -> Result<bool, sqlx::Error> {
    let enrolled = sqlx::query_scalar!("SELECT EXISTS (SELECT FROM totp_factor WHERE user_id = $1)", user.0)
        .fetch_one(conn)
        .await?;
    Ok(enrolled.unwrap_or(false))
}
