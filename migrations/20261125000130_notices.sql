-- What is told of an approval afterwards, to whom, and what a person can do about it.
--
--   approved ──► notice (one per receiver) ──► mail, or webhook
--                    └── its link ──► report: "this wasn't me"

-- Where an organization's own programs hear of what happened. Known by its address.
CREATE TABLE webhook (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    url              text NOT NULL CHECK (url <> ''),
    -- What its messages are signed with, sealed for this row.
    secret_sealed    bytea NOT NULL,
    events           text[] NOT NULL CHECK (events <> '{}' AND events <@ ARRAY['approved', 'reported']),
    created_at       timestamptz NOT NULL,
    CONSTRAINT webhook_url_taken UNIQUE (organization_id, url)
);

-- One message to one receiver: the outbox. A row is written in the transaction of what it tells.
--
--            ┌─ not taken: due_at is later each time ─┐
--            ▼                                        │
--   due ──► under way (due_at is the lease's end) ────┼──► delivered
--                                                     └──► given up
--
-- A node that dies on the way lets the lease run out, and the row is due again: told at least once, always by one id.
CREATE TABLE notice (
    id               uuid PRIMARY KEY,               -- UUIDv7; by it receivers know what they have been told already
    organization_id  uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    kind             text NOT NULL CHECK (kind IN ('approved', 'reported')),
    -- No foreign key: what is told is in `content`, as it was then.
    grant_id         uuid NOT NULL,
    webhook_id       uuid REFERENCES webhook (id) ON DELETE CASCADE,
    email            text,
    content          jsonb NOT NULL,
    created_at       timestamptz NOT NULL,
    due_at           timestamptz NOT NULL,
    attempts         smallint NOT NULL DEFAULT 0,
    delivered_at     timestamptz,
    given_up_at      timestamptz,
    -- Why the last attempt failed, in words; NULL while one is under way.
    trouble          text,
    CONSTRAINT notice_one_receiver CHECK ((webhook_id IS NULL) <> (email IS NULL)),
    CONSTRAINT notice_one_end CHECK (delivered_at IS NULL OR given_up_at IS NULL)
);
CREATE INDEX notice_mail_due ON notice (due_at)
    WHERE email IS NOT NULL AND delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX notice_webhook_due ON notice (webhook_id, due_at)
    WHERE webhook_id IS NOT NULL AND delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX notice_over ON notice (coalesce(delivered_at, given_up_at))
    WHERE coalesce(delivered_at, given_up_at) IS NOT NULL;

-- Somebody said of an approval that it wasn't them. However often it is said, it is one row.
--
--   (nothing) ── "this wasn't me" ──► report
CREATE TABLE report (
    grant_id     uuid PRIMARY KEY REFERENCES device_grant (id) ON DELETE CASCADE,
    reported_at  timestamptz NOT NULL
);

-- The codes that a browser holds: they are denied with the report.
CREATE INDEX device_grant_claimed_by ON device_grant (claimed_by) WHERE state = 'claimed';
