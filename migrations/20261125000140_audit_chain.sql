-- The audit as a chain, one for each organization and one for the events of none.
--
--   audit_event ── committed ──► unlinked ── the linker, within a second or so ──► audit_link
--
-- A link says which place an event has, and what the events before it were: its hash covers the event and the hash before,
-- its seal is a MAC of that hash under the installation's secret (src/audit/line.rs). Events are linked afterwards, so that
-- transactions that append events never wait for each other.

-- The order of events: those of one moment, and of one transaction, had none. Rows that are there get numbers in the order in
-- which they are stored, which is that of their writing.
ALTER TABLE audit_event ADD COLUMN sequence bigint GENERATED ALWAYS AS IDENTITY;

-- Who wrote it. A number of `sequence` is given before its transaction commits, so that a lower one may become visible
-- later; of transactions PostgreSQL tells which are all over (src/audit/linker.rs).
ALTER TABLE audit_event ADD COLUMN transaction_id bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX audit_event_transaction ON audit_event (transaction_id, sequence);

CREATE TABLE audit_link (
    organization_id  uuid NOT NULL,                  -- the nil UUID: the chain of events of no organization
    position         bigint NOT NULL CHECK (position > 0),
    event_id         uuid NOT NULL CONSTRAINT audit_link_event UNIQUE,
    previous_hash    bytea NOT NULL CHECK (length(previous_hash) = 32),   -- of position - 1; zeros before the first
    hash             bytea NOT NULL CHECK (length(hash) = 32),
    seal             bytea NOT NULL CHECK (length(seal) = 32),
    PRIMARY KEY (organization_id, position)
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
DROP TRIGGER audit_event_append_only ON audit_event;
DROP FUNCTION audit_event_is_append_only();
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_link_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_link
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
