-- Who is locked, or whose organization is suspended, loses what they approved and no device has come for, too: unlocked a moment later,
-- they would give it after all.
--
--   approved ──► denied (the account was locked, the organization was suspended) + an event `denied`, in the same transaction
--
-- Sign-ins go first and sessions last: an approval or a redemption under way is waited for, and found.

-- Ends all that a person has, or all people of an organization; the other one is NULL.
CREATE FUNCTION end_everything_of(person uuid, tenant uuid, because text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM browser_sign_in WHERE user_id = person OR organization_id = tenant;
    WITH denied AS (
        UPDATE device_grant SET state = 'denied'
            WHERE state = 'approved' AND NOT expiry_noted AND (user_id = person OR organization_id = tenant) RETURNING *),
    told AS (SELECT pg_notify('countersign_decision', id::text) FROM denied)
    INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, user_id, detail)
        SELECT new_event_id(), clock_timestamp(), 'denied', organization_id, service_id, id, user_id,
               jsonb_build_object('because', because) FROM denied WHERE (SELECT count(*) FROM told) > 0;
    WITH ended AS (
        UPDATE session SET revoked_at = clock_timestamp(), revoked_because = because
            WHERE revoked_at IS NULL AND (user_id = person OR organization_id = tenant) RETURNING *)
    INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, detail)
        SELECT new_event_id(), revoked_at, 'revoked', organization_id, service_id, grant_id, id, user_id,
               jsonb_build_object('because', because) FROM ended;
END $$;

CREATE OR REPLACE FUNCTION end_sessions_of_locked_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM end_everything_of(NEW.id, NULL, 'the account was locked');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION end_sessions_of_suspended_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM end_everything_of(NULL, NEW.id, 'the organization was suspended');
    RETURN NULL;
END $$;
