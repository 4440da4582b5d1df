-- Nodes remember services, and what holds of their organizations. Whatever changes one makes all nodes forget them.
--
-- The payload is empty and PostgreSQL sends equal notifications of a transaction once, however many rows it changed.

CREATE FUNCTION notify_directory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('countersign_directory', '');
    RETURN NULL;
END $$;

CREATE TRIGGER service_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON service
    FOR EACH STATEMENT EXECUTE FUNCTION notify_directory();
CREATE TRIGGER organization_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON organization
    FOR EACH STATEMENT EXECUTE FUNCTION notify_directory();
