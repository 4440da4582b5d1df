-- Sessions that last: where a device was seen last, who may introspect tokens, and what ends a session at once.

ALTER TABLE session ADD COLUMN last_ip inet;
UPDATE session SET last_ip = ip;
ALTER TABLE session ALTER COLUMN last_ip SET NOT NULL;

-- A service whose API checks tokens of its organization's other services (RFC 7662).
ALTER TABLE service ADD COLUMN resource_server boolean NOT NULL DEFAULT false;

-- Whoever locks an account or suspends an organization, by whatever way: its sessions are over, here and in browsers.
CREATE FUNCTION end_sessions_of_locked_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE session SET revoked_at = clock_timestamp(), revoked_because = 'the account was locked'
        WHERE user_id = NEW.id AND revoked_at IS NULL;
    DELETE FROM browser_sign_in WHERE user_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER app_user_locked AFTER UPDATE OF status ON app_user
    FOR EACH ROW WHEN (NEW.status = 'locked' AND OLD.status <> 'locked')
    EXECUTE FUNCTION end_sessions_of_locked_user();

CREATE FUNCTION end_sessions_of_suspended_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE session SET revoked_at = clock_timestamp(), revoked_because = 'the organization was suspended'
        WHERE organization_id = NEW.id AND revoked_at IS NULL;
    DELETE FROM browser_sign_in WHERE organization_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER organization_suspended AFTER UPDATE OF status ON organization
    FOR EACH ROW WHEN (NEW.status = 'suspended' AND OLD.status <> 'suspended')
    EXECUTE FUNCTION end_sessions_of_suspended_organization();
