-- Of a sign-in of which nobody says how recent it is, an authenticator makes up for a recent one only if it was the person's
-- when the code was claimed. Whoever sits at a browser that was left signed in can set up one of their own meanwhile.
--
--   sign-in        max_age    authenticator set up    what is asked
--   dated          asked      whenever                the sign-in is recent, the factor by policy
--   undated        asked      before the claim        its code, recent
--   undated        asked      after it, or never      can't be proven: no approval, no tokens
--   any            none       whenever                the factor by policy

-- Whether what `person` proved for the grant was enough at some moment. `signed_in` is when they proved who they are
-- (NULL: nobody says), `signed_in_for` the grant for which they did.
CREATE OR REPLACE FUNCTION proven_as_asked(
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
       AND (max_age IS NULL OR signed_in IS NOT NULL OR EXISTS (
            SELECT FROM totp_factor f WHERE f.user_id = person AND f.created_at <= g.claimed_at))
       AND (factor IS NULL OR (g.mfa_user_id IS NOT DISTINCT FROM person
            AND (factor = 'mfa' OR 'otp' = ANY (g.mfa_amr))
            AND (max_age IS NULL OR (g.mfa_at >= since AND (max_age > 0 OR NOT g.mfa_borrowed)))))
    FROM needed
$$;
