-- A person's factors. One TOTP generator and one set of ten recovery codes each.
--
--   (nothing) ── enrolment shown ──► totp_enrolment ── first code ──► totp_factor + recovery_code ×10

CREATE TABLE totp_factor (
    user_id        uuid PRIMARY KEY REFERENCES app_user (id) ON DELETE CASCADE,
    secret_sealed  bytea NOT NULL,
    -- RFC 6238 §5.2: a code is accepted once; steps up to this one are spent.
    last_step      bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL
);

CREATE TABLE recovery_code (
    user_id  uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    number   smallint NOT NULL CHECK (number BETWEEN 1 AND 10),
    -- argon2id, PHC form; the ten of a set share a salt, so that a try costs one hash and not ten.
    hash     text NOT NULL,
    used_at  timestamptz,
    PRIMARY KEY (user_id, number)
);

-- Whether a person must prove a second factor: the stricter policy of organization and service counts.
CREATE FUNCTION mfa_needed(of_organization text, of_service text, person uuid) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN 'required' IN (of_organization, of_service) THEN true
        WHEN 'if_enrolled' IN (of_organization, of_service)
            THEN EXISTS (SELECT FROM totp_factor WHERE user_id = person)
        ELSE false
    END
$$;
