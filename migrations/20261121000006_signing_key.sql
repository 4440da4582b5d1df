-- Keys that sign tokens. The private half is sealed under the installation's secret.

CREATE TABLE signing_key (
    kid             text PRIMARY KEY,
    algorithm       text NOT NULL CHECK (algorithm IN ('ES256', 'RS256', 'EdDSA')),
    private_sealed  bytea NOT NULL,
    public_jwk      jsonb NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX signing_key_current ON signing_key (algorithm, created_at DESC);
