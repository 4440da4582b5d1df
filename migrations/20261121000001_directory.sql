-- The directory: who may log in, to what, and how.
--
--   organization ──┬── service     (OAuth's client: a tool that people log in to)
--                  ├── provider    (a way to sign in: password, oidc, github, …)
--                  └── app_user ──── identity   (provider, subject)
--
--   organization:  active ⇄ suspended
--   app_user:      invited → active ⇄ locked

CREATE TABLE organization (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL CONSTRAINT organization_slug_taken UNIQUE
                CONSTRAINT organization_slug_form CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    name        text NOT NULL CHECK (name <> ''),
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    mfa         text NOT NULL DEFAULT 'required' CHECK (mfa IN ('required', 'if_enrolled', 'off')),
    created_at  timestamptz NOT NULL
);

CREATE TABLE service (
    id                          uuid PRIMARY KEY,
    organization_id             uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    slug                        text NOT NULL
                                CONSTRAINT service_slug_form CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    name                        text NOT NULL CHECK (name <> ''),
    -- One name space for the whole installation: a token request names nothing else.
    client_id                   text NOT NULL CONSTRAINT service_client_id_taken UNIQUE CHECK (client_id <> ''),
    -- HMAC of the secret under the installation's secret; NULL is a public client.
    client_secret_mac           bytea,
    device_login                boolean NOT NULL DEFAULT false,
    -- [["read", "Read your projects"], …], in the order in which the person is asked.
    scopes                      jsonb NOT NULL DEFAULT '[]',
    default_scopes              text[] NOT NULL DEFAULT '{}',
    required_scopes             text[] NOT NULL DEFAULT '{}',
    code_lifetime_seconds       integer NOT NULL DEFAULT 900 CHECK (code_lifetime_seconds BETWEEN 60 AND 3600),
    poll_interval_seconds       smallint NOT NULL DEFAULT 5 CHECK (poll_interval_seconds BETWEEN 1 AND 255),
    access_token_lifetime_seconds integer NOT NULL DEFAULT 900 CHECK (access_token_lifetime_seconds BETWEEN 60 AND 86400),
    refresh                     text NOT NULL DEFAULT 'offline_access'
                                CHECK (refresh IN ('offline_access', 'always', 'never')),
    refresh_idle_seconds        integer NOT NULL DEFAULT 2592000 CHECK (refresh_idle_seconds > 0),
    refresh_absolute_seconds    integer NOT NULL DEFAULT 7776000 CHECK (refresh_absolute_seconds > 0),
    prefill                     boolean NOT NULL DEFAULT true,
    proximity                   text NOT NULL DEFAULT 'warn' CHECK (proximity IN ('off', 'warn', 'block')),
    -- NULL: as the organization says. Otherwise the stricter of the two counts.
    mfa                         text CHECK (mfa IN ('required', 'if_enrolled', 'off')),
    -- How old a proof of this browser may be for another device; NULL: each device asks again.
    mfa_max_age_seconds         integer CHECK (mfa_max_age_seconds > 0),
    id_token_algorithm          text NOT NULL DEFAULT 'RS256' CHECK (id_token_algorithm IN ('RS256', 'ES256')),
    -- The organization's own activation page; NULL is ours.
    activation_uri              text,
    created_at                  timestamptz NOT NULL,
    CONSTRAINT service_slug_taken UNIQUE (organization_id, slug)
);

CREATE TABLE provider (
    id                    uuid PRIMARY KEY,
    organization_id       uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    slug                  text NOT NULL
                          CONSTRAINT provider_slug_form CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')
                          CONSTRAINT provider_slug_reserved
                          CHECK (slug NOT IN ('device', 'token', 'revoke', 'introspect', 'userinfo', 'admin')),
    kind                  text NOT NULL CHECK (kind IN ('github', 'google', 'microsoft', 'gitlab', 'oidc', 'password')),
    name                  text NOT NULL CHECK (name <> ''),
    -- OpenID Connect issuer, or the base URL of GitHub or GitLab; NULL is the public one.
    issuer                text,
    -- GitHub's API, where it isn't at the usual place beside the base URL.
    api_url               text,
    client_id             text,
    client_secret_sealed  bytea,
    extra_scopes          text[] NOT NULL DEFAULT '{}',
    admission             text NOT NULL DEFAULT 'invited'
                          CHECK (admission IN ('invited', 'domains', 'groups', 'anyone')),
    -- Domains or groups, as the admission needs them.
    admitted              text[] NOT NULL DEFAULT '{}',
    groups_claim          text NOT NULL DEFAULT 'groups',
    trust_mfa             boolean NOT NULL DEFAULT false,
    created_at            timestamptz NOT NULL,
    CONSTRAINT provider_slug_taken UNIQUE (organization_id, slug),
    CONSTRAINT provider_has_client CHECK (kind = 'password' OR client_id IS NOT NULL),
    CONSTRAINT provider_has_issuer CHECK (kind <> 'oidc' OR issuer IS NOT NULL)
);

CREATE TABLE app_user (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    -- Lower case. NULL: the provider told none that it had verified.
    email            text CHECK (email = lower(email)),
    email_verified   boolean NOT NULL DEFAULT false,
    name             text NOT NULL DEFAULT '',
    role             text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin', 'owner')),
    status           text NOT NULL DEFAULT 'active' CHECK (status IN ('invited', 'active', 'locked')),
    -- argon2id, PHC form.
    password_hash    text,
    created_at       timestamptz NOT NULL,
    CONSTRAINT app_user_email_taken UNIQUE (organization_id, email)
);

CREATE TABLE identity (
    id               uuid PRIMARY KEY,
    user_id          uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    provider_id      uuid NOT NULL REFERENCES provider (id) ON DELETE CASCADE,
    subject          text NOT NULL CHECK (subject <> ''),
    created_at       timestamptz NOT NULL,
    last_sign_in_at  timestamptz NOT NULL,
    CONSTRAINT identity_taken UNIQUE (provider_id, subject)
);
CREATE INDEX identity_user ON identity (user_id);
