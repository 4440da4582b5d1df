//! Whole files, as `countersign apply` reads them: all that they say is done, or nothing. For owners.
//!
//! 1. The request has the files' texts and the secrets to which they point, which its sender has looked up: nothing of this
//!    machine's environment or disk is. They are read by the rules of files.
//! 2. They speak of organizations in reach alone. To others' owners every other name is one that is not theirs, whether
//!    there is such an organization or not.
//! 3. What they say is written, and what was changed is looked at: what an owner can't do to single things, no file does.
//! 4. It is committed; a dry run is taken back, and so finds whatever would stand against it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::directory::apply::{ApplyError, Change, Fault, Faults, File, SecretSource, Size, Subject};
use crate::directory::{organization, people};
use crate::ids::OrganizationId;
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::Administration;
use super::administrator::Administrator;
use super::body::Members;
use super::problem::{FieldError, Problem};
use super::reach::Reach;
use super::refusals;
use super::services::is_name_of_another;

/// So long may a request be, in bytes.
const LONGEST: usize = 1024 * 1024;

/// So often a minute may one person: whoever changes anything anywhere waits meanwhile.
const APPLIES: u32 = 10;

/// So much of a directory may be in one request, for the same reason.
const MOST: Size = Size { things: 2000, passwords: 20 };

/// So many files, and secrets, may be in one request.
const MOST_NAMED: usize = 1000;

/// So long may the name of a file be, in bytes: everything that is read of the file remembers it.
const LONGEST_NAME: usize = 255;

const FILES: &str = "it is a list of at most 1000 files, whose names have at most 255 bytes, such as [{\"name\": \"acme.toml\", \"text\": \"[[organization]]\\n…\"}]";
const SECRETS: &str = "it is a list of at most 1000, such as [{\"env\": \"ADA_PASSWORD\", \"value\": \"…\"}, {\"file\": \"…\", \"value\": \"…\"}]";

/// Files, and what they point to.
#[derive(Serialize, ToSchema)]
#[schema(as = ApplyBody)]
pub struct Said {
    /// The files. Together they are one description.
    files: Vec<SaidFile>,
    /// The secrets to which they point.
    #[schema(required = false)]
    secrets: Vec<SaidSecret>,
    /// Say what would change, and write nothing.
    #[schema(required = false)]
    dry_run: bool,
    /// Also delete what is in these organizations and stands in none of the files.
    #[schema(required = false)]
    prune: bool,
}

/// A file.
#[derive(Serialize, ToSchema)]
#[schema(as = ApplyFile)]
pub struct SaidFile {
    /// Its name, for messages. Relative paths in it start beside it.
    #[schema(example = "acme.toml")]
    name: String,
    /// What is in it (docs/directory.md).
    #[schema(example = "[[organization]]\nslug = \"acme\"\n")]
    text: String,
}

/// A secret, by where a file says that it is: either of `env` and `file`.
#[derive(Serialize, ToSchema)]
#[schema(as = ApplySecret)]
pub struct SaidSecret {
    /// `{ env = … }`.
    #[schema(required = false, example = "ADA_PASSWORD")]
    env: String,
    /// `{ file = … }`; a relative path with that of the file that names it before it.
    #[schema(required = false)]
    file: String,
    /// The secret.
    #[schema(write_only)]
    value: String,
}

/// What was changed, or would be.
#[derive(Serialize, ToSchema)]
pub struct Applied {
    /// Whether nothing was written.
    dry_run: bool,
    /// In the order of the files. Empty: all was so already.
    changes: Vec<Changed>,
}

/// A change.
#[derive(Serialize, ToSchema)]
#[schema(as = AppliedChange)]
struct Changed {
    /// `created`, `changed` or `deleted`.
    action: &'static str,
    /// `organization`, `service`, `provider`, `user` or `webhook`.
    what: &'static str,
    /// The slug of its organization.
    organization: String,
    /// Its slug, or the address of a user or a webhook.
    name: String,
    /// The change in words, a line for each member. Of a secret it is said only that it changes.
    #[schema(example = "~ service \"cli\" of \"acme\"\n    interval: 5 → 10")]
    text: String,
}

impl From<&Change> for Changed {
    fn from(change: &Change) -> Self {
        Self {
            action: change.action.as_str(),
            what: change.subject.as_str(),
            organization: change.organization_slug.clone(),
            name: change.name.clone(),
            text: change.to_string(),
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(apply))
}

/// Makes the directory be as files say.
#[utoipa::path(
    post,
    path = "/api/v1/apply",
    operation_id = "apply_files",
    tag = "Files",
    summary = "Make organizations be as TOML files say, all or nothing (owners); a body has 1 MiB at most",
    request_body = Said,
    responses((status = 200, description = "What was changed, or would be in a dry run", body = Applied), refusals::OfDeed)
)]
async fn apply(
    State(api): State<Administration>,
    who: Administrator,
    members: Members<LONGEST>,
) -> Result<Json<Applied>, Problem> {
    who.reach.as_owner()?;
    let limit = if api.installation.dev_mode { 0 } else { APPLIES };
    api.files
        .take(who.user, limit, api.installation.clock.now())
        .map_err(|wait| Problem::too_many_requests(wait.as_secs() + 1))?;
    let asked = Asked::of(members)?;
    let (dry_run, prune) = (asked.dry_run, asked.prune);
    // A long file takes a while to read, and what waits for this thread goes on meanwhile.
    let read = tokio::task::spawn_blocking(move || asked.read()).await;
    let file = read.map_err(|_| Problem::fault())?.map_err(|faults| told(&faults))?;
    within_reach(&who.reach, &file)?;
    within_bounds(file.size())?;
    let mut tx = who.begin(&api).await?;
    let with_owner = with_owner(&mut tx, &file).await?;
    let changes = who.apply(&mut tx, &file, prune).await.map_err(|error| refused(error, &who.reach))?;
    changes.iter().try_for_each(|change| as_for_single_things(&who.reach, change))?;
    for (slug, organization) in with_owner {
        if !people::has_owner(&mut tx, organization).await? {
            return Err(Problem::conflict(format!("{slug:?} would have no owner who can sign in any more.")));
        }
    }
    if dry_run {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(Json(Applied { dry_run, changes: changes.iter().map(Changed::from).collect() }))
}

/// A request as it was read. It holds secrets: it has no `Debug`.
struct Asked {
    texts: Vec<(String, String)>,
    secrets: HashMap<SecretSource, SecretText>,
    dry_run: bool,
    prune: bool,
}

impl Asked {
    fn of(mut members: Members<LONGEST>) -> Result<Self, Problem> {
        members.only(&["files", "secrets", "dry_run", "prune"])?;
        let texts = list(members.0.remove("files"), file).filter(|texts| (1..=MOST_NAMED).contains(&texts.len()));
        let secrets = match members.0.remove("secrets") {
            None | Some(Value::Null) => Some(Vec::new()),
            said => list(said, secret),
        };
        let texts = texts.ok_or_else(|| Problem::invalid_field("files", FILES))?;
        let secrets = secrets
            .filter(|secrets| secrets.len() <= MOST_NAMED)
            .ok_or_else(|| Problem::invalid_field("secrets", SECRETS))?;
        Ok(Self {
            texts,
            secrets: secrets.into_iter().collect(),
            dry_run: members.take_bool("dry_run")?.unwrap_or_default(),
            prune: members.take_bool("prune")?.unwrap_or_default(),
        })
    }

    fn read(self) -> Result<File, Faults> {
        let secret = |source: &SecretSource| {
            self.secrets.get(source).cloned().ok_or_else(|| match source {
                SecretSource::Env(name) => {
                    format!("the request doesn't say what the environment variable {name} holds")
                }
                SecretSource::File(path) => format!("the request doesn't say what {} holds", path.display()),
            })
        };
        File::read(&self.texts, &secret)
    }
}

/// The items of a list of objects; no message repeats what stands there, since that may be a secret.
fn list<T>(said: Option<Value>, item: impl Fn(Map<String, Value>) -> Option<T>) -> Option<Vec<T>> {
    let Some(Value::Array(list)) = said else { return None };
    let object = |value| if let Value::Object(members) = value { item(members) } else { None };
    list.into_iter().map(object).collect()
}

fn file(mut members: Map<String, Value>) -> Option<(String, String)> {
    match (members.remove("name"), members.remove("text")) {
        (Some(Value::String(name)), Some(Value::String(text))) if members.is_empty() && name.len() <= LONGEST_NAME => {
            Some((name, text))
        }
        _ => None,
    }
}

fn secret(mut members: Map<String, Value>) -> Option<(SecretSource, SecretText)> {
    let Some(Value::String(value)) = members.remove("value") else { return None };
    let source = match (members.remove("env"), members.remove("file")) {
        (Some(Value::String(name)), None) => SecretSource::Env(name),
        (None, Some(Value::String(path))) => SecretSource::File(path.into()),
        _ => return None,
    };
    members.is_empty().then(|| (source, value.into()))
}

/// Everything that is wrong with files, each fault with its file and line.
fn told(Faults(faults): &Faults) -> Problem {
    let error = |fault: &Fault| FieldError { field: String::new(), message: fault.to_string() };
    Problem::invalid(faults.iter().map(error).collect())
}

/// Goes on when every organization is one that there is, or may be, for them.
fn within_reach(reach: &Reach, file: &File) -> Result<(), Problem> {
    match file.slugs().find(|slug| !reach.may_name(slug)) {
        None => Ok(()),
        Some(slug) => Err(Problem::forbidden(format!(
            "The files speak of the organization {slug:?}, which isn't yours: only owners of the organization platform make \
             or change others."
        ))),
    }
}

fn within_bounds(Size { things, passwords }: Size) -> Result<(), Problem> {
    let error = |message| Err(Problem::invalid_field("files", message));
    if things > MOST.things {
        return error(format!("they say {things} things, and one request at most {}", MOST.things));
    }
    if passwords > MOST.passwords {
        return error(format!("they give {passwords} passwords, and one request at most {}", MOST.passwords));
    }
    Ok(())
}

/// Who has a client id is nobody's business but that of who administers everything.
fn refused(error: ApplyError, reach: &Reach) -> Problem {
    match error {
        ApplyError::ClientIdsTaken(_) if reach.is_everything() => {
            Problem::conflict(format!("Nothing was changed: {error}."))
        }
        ApplyError::NotPublic(faults) => told(&faults),
        error => error.into(),
    }
}

/// Goes on when the change is one that who asks could make without a file.
fn as_for_single_things(reach: &Reach, change: &Change) -> Result<(), Problem> {
    if change.subject == Subject::Organization && change.action.to("status").is_some() {
        // Whether people may log in to an organization at all.
        reach.as_platform_owner()?;
    }
    // In quotation marks, as it is told.
    let client_id = change.action.to("client_id").map(|told| told.trim_matches('"')).unwrap_or_default();
    let of_service = matches!(change.subject, Subject::Service(_)) && !reach.is_everything();
    if of_service && is_name_of_another(&change.organization_slug, &change.name, client_id) {
        return Err(Problem::forbidden(format!(
            "The client_id {client_id:?} is kept for the service of an organization by which it is administered."
        )));
    }
    Ok(())
}

/// The organizations of the files that have an owner who can sign in.
async fn with_owner(conn: &mut PgConnection, file: &File) -> Result<Vec<(String, OrganizationId)>, Problem> {
    let mut found = Vec::new();
    for slug in file.slugs() {
        let Some(id) = organization::id_by_slug(conn, slug).await? else { continue };
        if people::has_owner(conn, id).await? {
            found.push((slug.to_owned(), id));
        }
    }
    Ok(found)
}
