//! The audit's chains: how events get their places, what the commands say of them, and who may do what.

mod chain;
mod commands;
mod retention;
mod roles;

use std::pin::pin;

use countersign::audit::chain::{Link, Which, links};
use countersign::audit::linker;
use countersign::audit::verify::{Fault, Report, Verifier};
use countersign::audit::{Event, Kind};
use countersign::ids::{GrantId, OrganizationId};
use countersign::installation::Installation;
use countersign::postgres::PgPool;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use crate::support::App;
use crate::support::app::owner_of;
use crate::support::database;

/// A database with an audit, and no server that links it.
pub struct Audit {
    pub installation: Installation,
    /// Who may do everything.
    pub owner: PgPool,
}

impl Audit {
    pub async fn new() -> Self {
        let pool = database::database().await;
        let owner = owner_of(&pool);
        Self { installation: Installation::from(App::parts(pool, "https://auth.acme.example")), owner }
    }

    /// With so many events of one organization, linked.
    pub async fn with(events: u32) -> (Self, OrganizationId) {
        let (audit, organization) = (Self::new().await, OrganizationId(Uuid::from_u128(7)));
        for _ in 0..events {
            audit.append(Some(organization)).await;
        }
        audit.link().await;
        (audit, organization)
    }

    /// An event of now.
    pub fn event(&self, organization: Option<OrganizationId>) -> Event {
        let installation = &self.installation;
        let event = Event::new(Kind::Requested, &installation.clock, &installation.random)
            .grant(GrantId(Uuid::from_u128(1)))
            .detail(serde_json::json!({ "name": "ä \"quoted\" name", "number": 1.5 }));
        match organization {
            Some(organization) => event.of(organization),
            None => event,
        }
    }

    pub async fn append(&self, organization: Option<OrganizationId>) {
        let mut conn = self.installation.pool.acquire().await.unwrap();
        self.event(organization).append(&mut conn).await.unwrap();
    }

    pub async fn link(&self) -> usize {
        linker::link_all(&self.installation.pool, &self.installation.keyring).await.unwrap()
    }

    /// Changes something as somebody who has the whole database: no trigger stops them.
    pub async fn tamper(&self, sql: &'static str) {
        let mut tx = self.owner.begin().await.unwrap();
        sqlx::raw_sql("SET LOCAL session_replication_role = replica").execute(&mut *tx).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn links(&self) -> Vec<Link> {
        let mut conn = self.installation.pool.acquire().await.unwrap();
        pin!(links(&mut conn, Which::default())).try_collect().await.unwrap()
    }

    pub async fn reports(&self) -> Vec<Report> {
        let mut verifier = Verifier::new(Some(&self.installation.keyring), vec![], false);
        for link in self.links().await {
            verifier.next(&link);
        }
        verifier.finish().0
    }

    /// What is wrong with the one chain there is, and where.
    pub async fn fault(&self) -> Option<(i64, Fault)> {
        let reports = self.reports().await;
        let [report] = reports.as_slice() else { panic!("{reports:?}") };
        report.broken.map(|broken| (broken.position, broken.fault))
    }
}
