-- Fresh proof: what a service, or one of its scopes, asks of who approves besides the policy on second factors.
--
--   service.max_age_seconds, service.factor ──┐
--   service.scopes [["deploy", "…",           ├─ the strictest ── at the claim ──► device_grant.max_age_seconds, .factor
--      {"max_age": 300, "factor": "mfa"}], …] ┘                                                │
--   the same again at the decision and at the redemption ──────────── the stricter of both ────┴──► proven_as_asked
--
-- Ages are those of the moment of the decision. An age of 0 means: proven for this very login.

ALTER TABLE service
    -- How old a proof may be. NULL: a sign-in as old as the browser's session, a second factor as `mfa_max_age` says.
    ADD COLUMN max_age_seconds  integer CHECK (max_age_seconds >= 0),
    -- NULL: what the policies on second factors say. `mfa`: any second factor; `otp`: an authenticator's own code.
    ADD COLUMN factor           text CHECK (factor IN ('mfa', 'otp'));

ALTER TABLE browser_sign_in
    -- When the person proved who they are; NULL: their provider doesn't say.
    ADD COLUMN proven_at  timestamptz,
    -- For which device login they did.
    ADD COLUMN grant_id   uuid;
UPDATE browser_sign_in b SET proven_at = b.auth_time FROM provider p WHERE p.id = b.provider_id AND p.kind = 'password';

ALTER TABLE device_grant
    -- What was asked when the code was claimed: what becomes laxer later changes nothing for this login.
    ADD COLUMN max_age_seconds  integer CHECK (max_age_seconds >= 0),
    ADD COLUMN factor           text CHECK (factor IN ('mfa', 'otp')),
    -- Whether the second factor was proven for another login of this browser (`mfa_max_age`).
    ADD COLUMN mfa_borrowed     boolean NOT NULL DEFAULT false,
    -- Of the sign-in that approved it: when it was proven, and for which login.
    ADD COLUMN proven_at        timestamptz,
    ADD COLUMN proven_for       uuid;

-- How old a proof may be for these scopes; NULL: nobody asks.
CREATE FUNCTION asked_max_age(s service, asked text[]) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT least(s.max_age_seconds, min((scope->2->>'max_age')::integer))
    FROM jsonb_array_elements(s.scopes) scope WHERE scope->>0 = ANY (asked)
$$;

-- Which factor they ask for; NULL: nobody asks. The words are in the alphabet's order by chance, and so in that of strictness.
CREATE FUNCTION asked_factor(s service, asked text[]) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT greatest(s.factor COLLATE "C", max(scope->2->>'factor' COLLATE "C"))
    FROM jsonb_array_elements(s.scopes) scope WHERE scope->>0 = ANY (asked)
$$;

-- Whether what `person` proved for the grant was enough at some moment. `signed_in` is when they proved who they are
-- (NULL: nobody says), `signed_in_for` the grant for which they did.
CREATE FUNCTION proven_as_asked(
    g device_grant, s service, of_organization text, person uuid,
    signed_in timestamptz, signed_in_for uuid, at timestamptz
) RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH asked AS (
        SELECT least(g.max_age_seconds, asked_max_age(s, g.scopes)) AS max_age,
               greatest(g.factor COLLATE "C", asked_factor(s, g.scopes) COLLATE "C") AS factor
    ), needed AS (
        SELECT max_age,
               -- The oldest moment that counts.
               CASE WHEN max_age = 0 THEN g.claimed_at ELSE at - make_interval(secs => max_age) END AS since,
               CASE
                   -- What isn't known to be fresh is made good by an authenticator.
                   WHEN max_age IS NOT NULL AND signed_in IS NULL THEN 'otp'
                   WHEN factor IS NOT NULL THEN factor
                   WHEN mfa_needed(of_organization, s.mfa, person) THEN 'mfa'
               END AS factor
        FROM asked
    )
    SELECT (max_age IS NULL OR signed_in IS NULL OR (signed_in >= since AND (max_age > 0 OR signed_in_for = g.id)))
       AND (factor IS NULL OR (g.mfa_user_id IS NOT DISTINCT FROM person
            AND (factor = 'mfa' OR 'otp' = ANY (g.mfa_amr))
            AND (max_age IS NULL OR (g.mfa_at >= since AND (max_age > 0 OR NOT g.mfa_borrowed)))))
    FROM needed
$$;
