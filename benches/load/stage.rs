//! What stands in the database before anything is measured: written by SQL, since asking for a million codes takes a while.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use countersign::clock::Clock;
use countersign::device::codes::{self, Length, UserCode};
use countersign::ids::{GrantId, SessionId};
use countersign::secrets::{Keyring, Random};
use countersign::session::refresh_token::refresh_token;
use uuid::Uuid;

use super::database::{Database, Ids};
use super::http::CODE;

/// Rows written at once.
const BATCH: usize = 10_000;

/// Bytes of a refresh token.
pub const REFRESH_TOKEN: usize = 74;

/// Device codes, one after the other.
#[derive(Default)]
pub struct Codes(Vec<u8>);

impl Codes {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len() / CODE
    }

    /// One of them.
    pub fn at(&self, index: usize) -> &[u8] {
        &self.0[index * CODE..][..CODE]
    }

    /// The first so many.
    pub fn first(&self, count: usize) -> Self {
        Self(self.0[..count * CODE].to_vec())
    }

    /// One more.
    pub fn push(&mut self, code: &str) {
        assert_eq!(code.len(), CODE);
        self.0.extend_from_slice(code.as_bytes());
    }
}

/// Writes grants and sessions into a database.
pub struct Stage<'a> {
    /// Where.
    pub database: &'a Database,
    /// Whose.
    pub ids: Ids,
    /// Makes codes genuine.
    pub keyring: &'a Keyring,
}

impl Stage<'_> {
    fn new_ids(count: usize) -> Vec<GrantId> {
        let (now, random) = (now(), Random::system());
        (0..count).map(|_| GrantId::new(now, &random.bytes())).collect()
    }

    /// So many pending grants, to be polled at this interval in seconds.
    pub async fn pending(&self, count: usize, interval: i16) -> Codes {
        self.grants(&Self::new_ids(count), interval).await
    }

    /// So many approved ones, whose next poll redeems them.
    pub async fn approved(&self, count: usize) -> Codes {
        let codes = self.grants(&Self::new_ids(count), INTERVAL).await;
        self.approve().await;
        codes
    }

    /// Approves what is pending.
    pub async fn approve(&self) {
        let sql = format!(
            "UPDATE device_grant SET state = 'approved', claimed_at = created_at, decided_at = created_at,
                 user_id = '{}', auth_time = created_at, amr = '{{pwd}}', granted_scopes = scopes, proven_at = created_at
             WHERE state = 'pending'",
            self.ids.person
        );
        self.database.execute(sql).await;
    }

    /// So many that one browser has claimed, with its id.
    pub async fn claimed(&self, count: usize) -> (Vec<GrantId>, Codes, Uuid) {
        let (grants, browser) = (Self::new_ids(count), Uuid::from_u128(count as u128));
        sqlx::query(
            "INSERT INTO browser_session (id, token_mac, created_at, last_seen_at, expires_at)
             VALUES ($1, sha256(gen_random_uuid()::text::bytea), $2, $2, $2 + interval '12 hours')",
        )
        .bind(browser)
        .bind(now())
        .execute(&self.database.pool)
        .await
        .unwrap();
        let codes = self.grants(&grants, INTERVAL).await;
        let claim =
            format!("UPDATE device_grant SET state = 'claimed', claimed_at = created_at, claimed_by = '{browser}'");
        self.database.execute(claim).await;
        (grants, codes, browser)
    }

    /// Writes pending grants with these ids. Their user codes have ten letters, as they have when there are so many. Of a million,
    /// two are the same once in twenty times: where the server would draw again, nobody can type the second one.
    async fn grants(&self, grants: &[GrantId], interval: i16) -> Codes {
        let mut made = Codes::default();
        let mut drawn = HashSet::with_capacity(grants.len());
        let mut mac = |grant: &GrantId| {
            let mac = UserCode::draw(self.keyring, *grant, Length::Ten).mac(self.keyring);
            if drawn.insert(mac.clone()) { mac } else { grant.0.as_bytes().repeat(2) }
        };
        for batch in grants.chunks(BATCH) {
            let macs: Vec<Vec<u8>> = batch.iter().map(&mut mac).collect();
            let ids: Vec<Uuid> = batch.iter().map(|grant| grant.0).collect();
            sqlx::query(
                "INSERT INTO device_grant (id, organization_id, service_id, user_code_mac, user_code_length, scopes,
                     poll_interval_seconds, created_at, expires_at, user_agent, ip)
                 SELECT g.id, $3, $4, g.mac, 10, '{read}', $6, $5, $5 + interval '1 hour', 'acme-cli/1.0', '127.0.0.1'
                 FROM unnest($1::uuid[], $2::bytea[]) AS g (id, mac)",
            )
            .bind(ids)
            .bind(macs)
            .bind(self.ids.organization)
            .bind(self.ids.service)
            .bind(now())
            .bind(interval)
            .execute(&self.database.pool)
            .await
            .unwrap();
            for grant in batch {
                made.push(codes::device_code(self.keyring, *grant, "acme-cli").expose());
            }
        }
        made
    }

    /// So many sessions, each with its first refresh token.
    pub async fn sessions(&self, count: usize) -> Vec<SessionId> {
        let (at, random) = (now(), Random::system());
        let sessions: Vec<SessionId> = (0..count).map(|_| SessionId::new(at, &random.bytes())).collect();
        for batch in sessions.chunks(BATCH) {
            let ids: Vec<Uuid> = batch.iter().map(|session| session.0).collect();
            sqlx::query(
                "INSERT INTO session (id, organization_id, service_id, user_id, grant_id, scopes, auth_time, amr, name,
                     user_agent, ip, last_ip, created_at, last_seen_at, generation, idle_expires_at, expires_at)
                 SELECT s.id, $2, $3, $4, s.id, '{read}', $5, '{pwd}', 'Acme CLI', 'acme-cli/1.0', '127.0.0.1',
                     '127.0.0.1', $5, $5, 0, $5 + interval '30 days', $5 + interval '90 days'
                 FROM unnest($1::uuid[]) AS s (id)",
            )
            .bind(ids)
            .bind(self.ids.organization)
            .bind(self.ids.service)
            .bind(self.ids.person)
            .bind(at)
            .execute(&self.database.pool)
            .await
            .unwrap();
        }
        sessions
    }
}

/// Seconds between polls that the server asks for.
pub const INTERVAL: i16 = 5;

/// The machine's time.
pub fn now() -> DateTime<Utc> {
    Clock::system().now() - TimeDelta::seconds(1)
}

/// A session's refresh token of this generation.
pub fn token_of(keyring: &Keyring, session: SessionId, generation: i32) -> String {
    refresh_token(keyring, session, generation).expose().to_owned()
}
