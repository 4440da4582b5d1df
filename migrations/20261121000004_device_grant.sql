-- A device login in progress (RFC 8628).
--
--   pending ──► claimed ──┬──► approved ──► redeemed
--      │           │      └──► denied
--      └───────────┴── expires_at passes: expired, said by the clock and not by a stored state
--
-- Every arrow is one conditional UPDATE; the CHECKs say what a state must have to be in it.

CREATE TABLE device_grant (
    id                     uuid PRIMARY KEY,          -- UUIDv7: says when it was asked for
    organization_id        uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    service_id             uuid NOT NULL REFERENCES service (id) ON DELETE CASCADE,
    state                  text NOT NULL DEFAULT 'pending'
                           CHECK (state IN ('pending', 'claimed', 'approved', 'denied', 'redeemed')),
    -- HMAC of the normalized user code; NULL once the code is nobody's any more.
    user_code_mac          bytea,
    user_code_length       smallint NOT NULL CHECK (user_code_length IN (8, 10)),
    scopes                 text[] NOT NULL,
    resources              text[] NOT NULL DEFAULT '{}',
    -- RFC 9449: thumbprint of the key that the grant is bound to.
    dpop_jkt               text,
    poll_interval_seconds  smallint NOT NULL,
    created_at             timestamptz NOT NULL,
    expires_at             timestamptz NOT NULL,

    -- What the requesting device said, and where it was.
    device_name            text,
    user_agent             text,
    ip                     inet NOT NULL,

    -- Claimed: only this browser may act on it.
    claimed_by             uuid REFERENCES browser_session (id) ON DELETE SET NULL,
    claimed_at             timestamptz,

    -- MFA proven for this grant, and by whom.
    mfa_user_id            uuid REFERENCES app_user (id) ON DELETE SET NULL,
    mfa_at                 timestamptz,
    mfa_amr                text[] NOT NULL DEFAULT '{}',

    -- Decided.
    user_id                uuid REFERENCES app_user (id) ON DELETE CASCADE,
    auth_time              timestamptz,
    amr                    text[] NOT NULL DEFAULT '{}',
    granted_scopes         text[],
    decided_at             timestamptz,

    -- Redeemed.
    redeemed_at            timestamptz,
    session_id             uuid,

    -- Whether the audit says that its time ran out.
    expiry_noted           boolean NOT NULL DEFAULT false,

    CONSTRAINT device_grant_claimed  CHECK (state = 'pending' OR claimed_at IS NOT NULL),
    CONSTRAINT device_grant_approved CHECK (state NOT IN ('approved', 'redeemed')
        OR (user_id IS NOT NULL AND auth_time IS NOT NULL AND granted_scopes IS NOT NULL AND decided_at IS NOT NULL)),
    CONSTRAINT device_grant_denied   CHECK (state <> 'denied' OR decided_at IS NOT NULL),
    CONSTRAINT device_grant_redeemed CHECK ((state = 'redeemed') = (redeemed_at IS NOT NULL AND session_id IS NOT NULL))
);

-- A user code is unique among the codes that can still be typed. An expired one stays until it is swept or its
-- letters are drawn again; both are settled by asking again.
CREATE UNIQUE INDEX device_grant_user_code ON device_grant (user_code_mac) WHERE state IN ('pending', 'claimed');
CREATE INDEX device_grant_expiry ON device_grant (expires_at)
    WHERE state IN ('pending', 'claimed', 'approved') AND NOT expiry_noted;
CREATE INDEX device_grant_user ON device_grant (user_id) WHERE user_id IS NOT NULL;
