-- How long the audit is kept, and the one way in which events go.
--
--   audit_event + audit_link ── older than audit_retention.days, and first of its chain ──► deleted, by prune_audit
--
-- The server's role reads the retention and calls the function, and can do neither's work by itself: it may not write the one, and of
-- the other it can't choose what goes. The owner writes it, when a server starts (`retention.audit`).

CREATE TABLE audit_retention (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- NULL: for ever.
    days  integer CHECK (days >= 90)
);
INSERT INTO audit_retention DEFAULT VALUES;

-- Nobody deletes by mistake, not even the owner. Who could set this by hand may not delete.
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('countersign.pruning', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;

-- Deletes events past retention with their links, at most so many, and says how many. Of each chain the oldest go, up to the first
-- that is younger or missing, and never the last, from which the chain goes on. So what is left of a chain has no gap.
--
-- `told` is the caller's time, which can only make it later: what is old is for the database's own clock to say.
CREATE FUNCTION prune_audit(told timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    border timestamptz;
    chain uuid;
    deleted bigint;
    pruned bigint := 0;
BEGIN
    SELECT least(told, clock_timestamp()) - greatest(days, 90) * interval '24 hours' INTO border
        FROM audit_retention WHERE days IS NOT NULL;
    IF border IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM set_config('countersign.pruning', 'on', true);
    FOR chain IN
        -- Each chain once, by a step in the primary key for each.
        WITH RECURSIVE chains AS (
            (SELECT organization_id AS id FROM audit_link ORDER BY organization_id LIMIT 1)
            UNION ALL
            SELECT (SELECT l.organization_id FROM audit_link l WHERE l.organization_id > c.id
                    ORDER BY l.organization_id LIMIT 1)
            FROM chains c WHERE c.id IS NOT NULL)
        SELECT c.id FROM chains c WHERE (
            SELECT e.at FROM audit_link l LEFT JOIN audit_event e ON e.id = l.event_id
            WHERE l.organization_id = c.id ORDER BY l.position LIMIT 1) < border
    LOOP
        WITH first AS MATERIALIZED (
            SELECT l.position, l.event_id, coalesce(e.at < border, false) AS is_old
            FROM audit_link l LEFT JOIN audit_event e ON e.id = l.event_id
            WHERE l.organization_id = chain
              AND l.position < (SELECT max(position) FROM audit_link WHERE organization_id = chain)
            ORDER BY l.position LIMIT most - pruned
        ), old AS (
            SELECT position, event_id FROM (
                SELECT position, event_id, bool_and(is_old) OVER (ORDER BY position) AS goes FROM first) each WHERE goes
        ), unlinked AS (
            DELETE FROM audit_link l USING old WHERE l.organization_id = chain AND l.position = old.position
            RETURNING l.event_id
        )
        DELETE FROM audit_event e USING unlinked WHERE e.id = unlinked.event_id;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        pruned := pruned + deleted;
        EXIT WHEN pruned >= most;
    END LOOP;
    PERFORM set_config('countersign.pruning', 'off', true);
    RETURN pruned;
END $$;
REVOKE EXECUTE ON FUNCTION prune_audit(timestamptz, integer) FROM PUBLIC;

-- Whoever calls it has a search path and temporary tables of their own, and neither counts.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION prune_audit(timestamptz, integer) SET search_path = pg_catalog, %I, pg_temp',
                   current_schema());
END $$;
