-- What may be spent within an hour, shared by every server.
--
--   no row ──► spent ──► spent more … ──► the last of it is an hour old: as good as no row, and deleted
--                 ╰──── given back ────╯
--
-- One row per purpose and subject, so that however many spend at once, they wait for each other at the row. The two
-- arrays go together: so much was spent at that moment. What is older than an hour is dropped with the next spending.

CREATE TABLE budget (
    purpose   text NOT NULL,
    -- Of whom: an id, an address or its /64, a keyed hash; empty for the installation.
    subject   text NOT NULL,
    spent_at  timestamptz[] NOT NULL,
    spent     bigint[] NOT NULL CHECK (cardinality(spent) = cardinality(spent_at) AND 0 < ALL (spent)),
    -- When the last of it is an hour old.
    over_at   timestamptz NOT NULL,
    -- When the audit last said that it is exhausted.
    noted_at  timestamptz,
    PRIMARY KEY (purpose, subject)
);
CREATE INDEX budget_over ON budget (over_at);

-- How much of a budget was spent since some moment.
CREATE FUNCTION spent_since(spent_at timestamptz[], spent bigint[], since timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(sum(s.cost), 0)::bigint FROM unnest(spent_at, spent) AS s (at, cost) WHERE s.at > since
$$;
