-- Whoever enters a user code paid for it before it was looked up and had it back when it was right: two writes to rows at which
-- everybody meets, for each login. Now a right code writes nothing. What keeps a thousand guesses that come at once within their
-- budgets is that they wait for each other, each for as long as one statement takes.

-- PostgreSQL plans a function in SQL anew for each statement that calls it; of one in PL/pgSQL a connection keeps the plan.
CREATE OR REPLACE FUNCTION spent_since(spent_at timestamptz[], spent bigint[], since timestamptz) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT coalesce(sum(s.cost), 0)::bigint FROM unnest(spent_at, spent) AS s (at, cost) WHERE s.at > since);
END
$$;

-- Looks for a code that can still be typed: by anybody, or by the browser session that claimed it. The arrays are budgets: what was
-- spent of each counts since `since`, and what is paid now from `moments` until `over_at`.
--
--   this browser's own ──────────────────────► 0, paid nothing
--   else: one budget has less left than a try costs ──► its place in the arrays; nobody is told whether the code was right
--   else: right, and its service may log in ─► 0, paid nothing
--   else: wrong ─────────────────────────────► 0, paid from every budget
CREATE FUNCTION try_user_code(
    macs bytea[], browser uuid, now timestamptz,
    purposes text[], subjects text[], moments timestamptz[], over_at timestamptz[], costs bigint[], limits bigint[],
    since timestamptz
) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    already bigint;
BEGIN
    IF EXISTS (SELECT FROM device_grant g
               WHERE g.user_code_mac = ANY (macs) AND g.state = 'claimed' AND g.claimed_by = browser AND g.expires_at > now)
    THEN
        RETURN 0;
    END IF;
    -- For this transaction, which is the statement alone. Nobody is to wait until a disk has written what somebody else paid: what a
    -- crash of PostgreSQL may forget of it are the costs of its last second. And who holds the turn and is lost must not make
    -- everybody else wait.
    PERFORM set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '2s', true);
    -- Who has too little left is refused before they wait for a turn, or has too little left when it comes.
    FOR pass IN 1 .. 2 LOOP
        IF pass = 2 THEN
            PERFORM pg_advisory_xact_lock(hashtext('countersign user codes'));
        END IF;
        FOR i IN 1 .. cardinality(purposes) LOOP
            SELECT spent_since(b.spent_at, b.spent, since) INTO already
            FROM budget b WHERE b.purpose = purposes[i] AND b.subject = subjects[i];
            IF coalesce(already, 0) > limits[i] - costs[i] THEN
                RETURN i;
            END IF;
        END LOOP;
    END LOOP;
    IF EXISTS (SELECT FROM device_grant g JOIN service s ON s.id = g.service_id JOIN organization o ON o.id = g.organization_id
               WHERE g.user_code_mac = ANY (macs) AND g.state = 'pending' AND g.expires_at > now
                 AND s.device_login AND o.status = 'active')
    THEN
        RETURN 0;
    END IF;
    FOR i IN 1 .. cardinality(purposes) LOOP
        INSERT INTO budget AS b (purpose, subject, spent_at, spent, over_at)
        VALUES (purposes[i], subjects[i], ARRAY[moments[i]], ARRAY[costs[i]], try_user_code.over_at[i])
        ON CONFLICT (purpose, subject) DO UPDATE
        SET (spent_at, spent) = (
                SELECT array_agg(s.at ORDER BY s.at), array_agg(s.cost ORDER BY s.at)
                FROM (SELECT k.at, sum(k.cost)::bigint AS cost
                      FROM unnest(b.spent_at || moments[i], b.spent || costs[i]) AS k (at, cost)
                      WHERE k.at > since GROUP BY k.at) s),
            over_at = greatest(b.over_at, excluded.over_at);
    END LOOP;
    RETURN 0;
END
$$;
