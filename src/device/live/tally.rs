//! So many live codes, and how they are counted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use crate::config::Limits;
use crate::ids::ServiceId;
use crate::postgres::PgConnection;

use super::Length;

/// So many codes of each kind.
#[derive(Default)]
pub(super) struct Tally {
    /// Of eight letters.
    pub eight: i64,
    /// Of ten.
    pub ten: i64,
    /// Of each client.
    pub of_clients: HashMap<ServiceId, i64>,
    /// Not all addresses: those that have a quarter of what they may have, and those that asked here lately.
    pub of_addresses: HashMap<IpNet, i64>,
}

impl Tally {
    /// Some more.
    pub fn add(&mut self, length: Length, client: ServiceId, count: i64) {
        *self.of_length(length) += count;
        *self.of_clients.entry(client).or_default() += count;
    }

    /// Those of this length.
    pub fn of_length(&mut self, length: Length) -> &mut i64 {
        match length {
            Length::Eight => &mut self.eight,
            Length::Ten => &mut self.ten,
        }
    }

    /// All of another one too.
    pub fn absorb(&mut self, other: Self) {
        self.eight += other.eight;
        self.ten += other.ten;
        for (client, count) in other.of_clients {
            *self.of_clients.entry(client).or_default() += count;
        }
        for (address, count) in other.of_addresses {
            *self.of_addresses.entry(address).or_default() += count;
        }
    }
}

/// Counts live codes, by a range of the index `device_grant_expiry`, and rests after this part of them.
pub(super) async fn count(
    conn: &mut PgConnection,
    limits: &Limits,
    rests: f64,
    now: DateTime<Utc>,
) -> Result<Tally, sqlx::Error> {
    let mut tally = Tally::default();
    let of_clients = sqlx::query!(
        r#"SELECT user_code_length, service_id, count(*) AS "count!" FROM device_grant
           WHERE state IN ('pending', 'claimed') AND NOT expiry_noted AND expires_at > $1
             AND CASE WHEN random() < $2 THEN pg_sleep(0.005) IS NOT NULL ELSE true END
           GROUP BY user_code_length, service_id"#,
        now,
        rests,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in of_clients {
        let length = usize::try_from(row.user_code_length).ok().and_then(Length::of).unwrap_or(Length::Eight);
        tally.add(length, row.service_id.into(), row.count);
    }
    if limits.live_codes_per_address == 0 {
        return Ok(tally);
    }
    let of_addresses = sqlx::query!(
        r#"SELECT network(set_masklen(ip, CASE family(ip) WHEN 4 THEN 32 ELSE 64 END))::inet AS "address!: IpNet",
                  count(*) AS "count!"
           FROM device_grant
           WHERE state IN ('pending', 'claimed') AND NOT expiry_noted AND expires_at > $1
             AND CASE WHEN random() < $3 THEN pg_sleep(0.005) IS NOT NULL ELSE true END
           GROUP BY 1 HAVING count(*) >= $2"#,
        now,
        i64::from((limits.live_codes_per_address / 4).max(1)),
        rests,
    )
    .fetch_all(conn)
    .await?;
    tally.of_addresses.extend(of_addresses.into_iter().map(|row| (row.address.trunc(), row.count)));
    Ok(tally)
}
