-- The browser of the person who approves.
--
--   browser_session ──┬── browser_sign_in   one account per organization
--                     ├── upstream_sign_in  on the way to a provider and back, once
--                     └── totp_enrolment    a secret shown to this browser and not yet proven

CREATE TABLE browser_session (
    id            uuid PRIMARY KEY,
    -- HMAC of the cookie's value: what is stored opens nothing.
    token_mac     bytea NOT NULL CONSTRAINT browser_session_token UNIQUE,
    -- The device grant that the pages are about: the one claimed last.
    grant_id      uuid,
    created_at    timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX browser_session_expiry ON browser_session (expires_at);

CREATE TABLE browser_sign_in (
    browser_session_id  uuid NOT NULL REFERENCES browser_session (id) ON DELETE CASCADE,
    organization_id     uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    user_id             uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    provider_id         uuid NOT NULL REFERENCES provider (id) ON DELETE CASCADE,
    auth_time           timestamptz NOT NULL,
    amr                 text[] NOT NULL,
    -- The last MFA proof in this browser, for services that let one serve several devices.
    mfa_at              timestamptz,
    mfa_amr             text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (browser_session_id, organization_id)
);
CREATE INDEX browser_sign_in_user ON browser_sign_in (user_id);

CREATE TABLE upstream_sign_in (
    id                  uuid PRIMARY KEY,
    -- HMAC of OAuth's `state`. Nonce and PKCE verifier are derived from the state and stored nowhere.
    state_mac           bytea NOT NULL CONSTRAINT upstream_sign_in_state UNIQUE,
    browser_session_id  uuid NOT NULL REFERENCES browser_session (id) ON DELETE CASCADE,
    provider_id         uuid NOT NULL REFERENCES provider (id) ON DELETE CASCADE,
    grant_id            uuid,
    created_at          timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL,
    -- Set by the one callback that counts.
    used_at             timestamptz
);
CREATE INDEX upstream_sign_in_expiry ON upstream_sign_in (expires_at);

CREATE TABLE totp_enrolment (
    browser_session_id  uuid NOT NULL REFERENCES browser_session (id) ON DELETE CASCADE,
    user_id             uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    secret_sealed       bytea NOT NULL,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (browser_session_id, user_id)
);
