//! Lists, page by page: `?limit=&after=`. What `next` gives goes into `after`; what it holds is nobody's business.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use uuid::Uuid;

use crate::secrets::{base64url, from_base64url};

use super::problem::{FieldError, Problem};

/// So many when nobody says.
const USUAL: i64 = 50;

/// So many at most.
const MOST: i64 = 200;

/// What every list takes, as the document describes it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is read by name")]
pub struct Paged {
    /// How many; 1 to 200, 50 unless it is said.
    limit: Option<i64>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// The parameters of an address.
pub struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let read = serde_urlencoded::from_str(parts.uri.query().unwrap_or_default());
        read.map(Self).map_err(|_| Problem::malformed("The parameters of the address can't be read."))
    }
}

impl Parameters {
    /// Which page is asked for. `filters` are the other parameters that the list knows.
    pub fn page(&self, filters: &[&str]) -> Result<Page, Problem> {
        let known = |name: &str| ["limit", "after"].contains(&name) || filters.contains(&name);
        let error = |(name, _): &(String, String)| FieldError {
            field: name.clone(),
            message: format!("unknown parameter {name:?}"),
        };
        let errors: Vec<FieldError> = self.0.iter().filter(|(name, _)| !known(name)).map(error).collect();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let limit = match self.get("limit").map(str::parse::<i64>) {
            None => USUAL,
            Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
            Some(_) => return Err(Problem::invalid_field("limit", format!("it is a number from 1 to {MOST}"))),
        };
        let after = self.get("after").map(|cursor| {
            let key = from_base64url(cursor).and_then(|bytes| String::from_utf8(bytes).ok());
            key.filter(|key| !key.contains('\0')).ok_or_else(no_cursor)
        });
        Ok(Page { limit, after: after.transpose()? })
    }

    /// Goes on when there are none.
    pub fn none(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid_field(name, format!("unknown parameter {name:?}"))),
        }
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The id in a parameter.
    pub fn id(&self, name: &str) -> Result<Option<Uuid>, Problem> {
        let id = self.get(name).map(|id| id.parse().map_err(|_| Problem::invalid_field(name, "it is an id")));
        id.transpose()
    }
}

fn no_cursor() -> Problem {
    Problem::invalid_field("after", "it is what `next` of the page before gave")
}

/// A page that is asked for.
pub struct Page {
    limit: i64,
    after: Option<String>,
}

impl Page {
    /// How many to look up: one more than are shown says whether there is a next page.
    pub fn most(&self) -> i64 {
        self.limit + 1
    }

    /// How many are shown.
    pub fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// After which key.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// After which id.
    pub fn after_id<T: From<Uuid>>(&self) -> Result<Option<T>, Problem> {
        let id = self.after().map(|key| key.parse::<Uuid>().map(T::from).map_err(|_| no_cursor()));
        id.transpose()
    }

    /// After which number.
    pub fn after_number(&self) -> Result<Option<i64>, Problem> {
        let number = self.after().map(|key| key.parse::<i64>().map_err(|_| no_cursor()));
        number.transpose()
    }

    /// The answer. `key` is what the list is ordered by.
    pub fn of<T, V>(&self, found: Vec<T>, key: impl Fn(&T) -> String, shown: impl Fn(T) -> V) -> List<V> {
        let limit = self.limit();
        let last = found.get(limit.saturating_sub(1)).filter(|_| found.len() > limit);
        let next = last.map(key);
        List::until(found.into_iter().take(limit).map(shown).collect(), next)
    }
}

/// A page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct List<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What `after` takes to get the next one; `null` on the last.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// These, and the key after which there are more.
    pub fn until(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next: next.map(|key| base64url(key.as_bytes())) }
    }
}
