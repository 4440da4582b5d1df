-- What happened, one row per step, never changed. No foreign keys: an event outlives what it speaks of.

CREATE TABLE audit_event (
    id               uuid PRIMARY KEY,               -- UUIDv7: in order of time
    at               timestamptz NOT NULL,
    kind             text NOT NULL,
    organization_id  uuid,
    service_id       uuid,
    grant_id         uuid,
    session_id       uuid,
    user_id          uuid,
    ip               inet,
    user_agent       text,
    detail           jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_event_organization ON audit_event (organization_id, id);
CREATE INDEX audit_event_grant ON audit_event (grant_id) WHERE grant_id IS NOT NULL;

CREATE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_event is append-only';
END $$;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_is_append_only();
