-- The life of a signing key.
--
--   published ── active_from ──► signing ── a successor's active_from ──► verifying only ── the longest token died ──► deleted
--        └──────────────────────────┴── retired_at (by hand, at once: it is no longer trusted)

ALTER TABLE signing_key ADD COLUMN active_from timestamptz;
UPDATE signing_key SET active_from = created_at;
ALTER TABLE signing_key ALTER COLUMN active_from SET NOT NULL;
ALTER TABLE signing_key ADD COLUMN retired_at timestamptz;
DROP INDEX signing_key_current;

ALTER TABLE service DROP CONSTRAINT service_id_token_algorithm_check;
ALTER TABLE service ADD CONSTRAINT service_id_token_algorithm_check
    CHECK (id_token_algorithm IN ('RS256', 'ES256', 'EdDSA'));
