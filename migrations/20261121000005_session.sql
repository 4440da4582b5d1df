-- A signed-in device: what a redeemed grant becomes. It holds the current generation of its refresh token and no token.
--
--   live ──► revoked (by the person, an administrator, a replayed code or a reused refresh token)
--     └────► ended   (idle_expires_at or expires_at passed)

CREATE TABLE session (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    service_id       uuid NOT NULL REFERENCES service (id) ON DELETE CASCADE,
    user_id          uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    -- One grant, one session: the database's word for "tokens, once".
    grant_id         uuid NOT NULL CONSTRAINT session_of_grant UNIQUE,
    scopes           text[] NOT NULL,
    resources        text[] NOT NULL DEFAULT '{}',
    dpop_jkt         text,
    auth_time        timestamptz NOT NULL,
    amr              text[] NOT NULL,
    name             text NOT NULL,
    user_agent       text,
    ip               inet NOT NULL,
    created_at       timestamptz NOT NULL,
    last_seen_at     timestamptz NOT NULL,
    generation       integer NOT NULL DEFAULT 0,
    rotated_at       timestamptz,
    idle_expires_at  timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    revoked_at       timestamptz,
    revoked_because  text,
    CONSTRAINT session_revoked CHECK ((revoked_at IS NULL) = (revoked_because IS NULL))
);
CREATE INDEX session_of_user ON session (user_id);
