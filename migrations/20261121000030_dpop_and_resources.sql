-- Tokens that only their own device can use (RFC 9449), and tokens for named APIs (RFC 8707).

ALTER TABLE service
    -- Whether keys are bound to: never, when a client proves one, or always.
    ADD COLUMN dpop       text NOT NULL DEFAULT 'optional' CHECK (dpop IN ('off', 'optional', 'required')),
    -- The absolute URIs for which tokens may be asked, as they stand in `aud`.
    ADD COLUMN resources  text[] NOT NULL DEFAULT '{}';

-- The proofs that were accepted lately: each is good once, on whatever node. A row is nobody's secret, and is swept once
-- its proof is too old to be accepted again.
--
--   (unknown) ── accepted ──► dpop_proof ── expires_at passes ──► (swept)
CREATE TABLE dpop_proof (
    -- SHA-256 of the key's thumbprint and the proof's `jti`.
    jti_hash    bytea PRIMARY KEY CHECK (octet_length(jti_hash) = 32),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX dpop_proof_expiry ON dpop_proof (expires_at);
