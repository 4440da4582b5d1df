-- Tries at passwords and second factors, counted for each account, known browser and network: how many wrong ones there
-- were lately, and from when the next may come. A try counts from before it is checked until it turns out to be right.
--
--   (no row) ── try ──► level 1 ── … ──► level = free ──► closed until not_before ──► open for one ──► closed for longer
--       ▲                  │ right: level - 1, and open                                       │
--       └─ forgotten ──────┴──────────── time passes: level falls, and is 0 at forget_at ─────┘
--
-- Whose tries they are is an HMAC: the table holds no address that somebody typed, whether or not it is an account's.

CREATE TABLE attempt (
    subject_mac  bytea PRIMARY KEY CHECK (length(subject_mac) = 32),
    -- Wrong tries and those that are being checked, less what time has taken away until counted_at.
    level        double precision NOT NULL CHECK (level >= 0),
    counted_at   timestamptz NOT NULL,
    not_before   timestamptz NOT NULL,
    forget_at    timestamptz NOT NULL,
    -- Whether the audit knows that somebody was told to wait for not_before: once is enough.
    told         boolean NOT NULL DEFAULT false
);
CREATE INDEX attempt_forgotten ON attempt (forget_at);

-- The level after one more try: a level is forgotten in every `leak` seconds, and past `most` nothing changes any more.
CREATE FUNCTION attempt_level(
    level double precision, counted_at timestamptz, at timestamptz, leak double precision, most double precision
) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT least(most, 1 + greatest(0, level - greatest(0, extract(epoch FROM at - counted_at)::float8) / leak))
$$;

-- How long the next try has to wait: not at all below `free`, then 1, 2, 4 … seconds, and `longest` at most.
CREATE FUNCTION attempt_delay(level double precision, free double precision, longest double precision)
    RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT make_interval(secs => CASE WHEN round(level) < free THEN 0 ELSE least(longest, 2 ^ (round(level) - free)) END)
$$;
