-- What a login has to prove is asked with each claim, approval and redemption. PostgreSQL plans a function in SQL anew for each
-- statement that calls it, which took longer than the rest of the statement; of one in PL/pgSQL a connection keeps the plans.
-- The same four functions, word for word.

CREATE OR REPLACE FUNCTION mfa_needed(of_organization text, of_service text, person uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
    SELECT CASE
        WHEN 'required' IN (of_organization, of_service) THEN true
        WHEN 'if_enrolled' IN (of_organization, of_service)
            THEN EXISTS (SELECT FROM totp_factor WHERE user_id = person)
        ELSE false
    END);
END $$;

CREATE OR REPLACE FUNCTION asked_max_age(s service, asked text[]) RETURNS integer LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
    SELECT least(s.max_age_seconds, min((scope->2->>'max_age')::integer))
    FROM jsonb_array_elements(s.scopes) scope WHERE scope->>0 = ANY (asked));
END $$;

CREATE OR REPLACE FUNCTION asked_factor(s service, asked text[]) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
    SELECT greatest(s.factor COLLATE "C", max(scope->2->>'factor' COLLATE "C"))
    FROM jsonb_array_elements(s.scopes) scope WHERE scope->>0 = ANY (asked));
END $$;

CREATE OR REPLACE FUNCTION proven_as_asked(
    g device_grant, s service, of_organization text, person uuid,
    signed_in timestamptz, signed_in_for uuid, at timestamptz
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
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
    FROM needed);
END $$;
