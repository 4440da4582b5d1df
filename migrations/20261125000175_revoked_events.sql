-- A session that ends because its account was locked or its organization suspended: the step has its event, as any other.
--
--   live ──► revoked (the account was locked, the organization was suspended) + an event `revoked`, in one transaction

-- The id of an event of now, as the program makes them: UUIDv7, 48 bits of milliseconds and 74 of chance (RFC 9562 §5.7).
CREATE FUNCTION new_event_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    -- Chance is that of a UUIDv4, whose version is 0100: two bits more make it 0111.
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

CREATE OR REPLACE FUNCTION end_sessions_of_locked_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH ended AS (
        UPDATE session SET revoked_at = clock_timestamp(), revoked_because = 'the account was locked'
            WHERE user_id = NEW.id AND revoked_at IS NULL RETURNING *)
    INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, detail)
        SELECT new_event_id(), revoked_at, 'revoked', organization_id, service_id, grant_id, id, user_id,
               jsonb_build_object('because', revoked_because) FROM ended;
    DELETE FROM browser_sign_in WHERE user_id = NEW.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION end_sessions_of_suspended_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH ended AS (
        UPDATE session SET revoked_at = clock_timestamp(), revoked_because = 'the organization was suspended'
            WHERE organization_id = NEW.id AND revoked_at IS NULL RETURNING *)
    INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, detail)
        SELECT new_event_id(), revoked_at, 'revoked', organization_id, service_id, grant_id, id, user_id,
               jsonb_build_object('because', revoked_because) FROM ended;
    DELETE FROM browser_sign_in WHERE organization_id = NEW.id;
    RETURN NULL;
END $$;
