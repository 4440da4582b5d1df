-- A person's second factors go, and with them all that was proven by them: as before, in the order in which others lock.
--
-- A browser that sets an authenticator up holds its sign-in first. So it is finished before and its authenticator goes, or it
-- finds itself signed out.

CREATE OR REPLACE FUNCTION reset_mfa(person uuid, at timestamptz) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM browser_sign_in WHERE user_id = person;
    DELETE FROM totp_enrolment WHERE user_id = person;
    DELETE FROM totp_factor WHERE user_id = person;
    DELETE FROM recovery_code WHERE user_id = person;
    -- Proven but not decided: to be proven anew. Approved but not redeemed: over, however lax the policy is.
    UPDATE device_grant SET mfa_user_id = NULL, mfa_at = NULL, mfa_amr = '{}'
        WHERE mfa_user_id = person AND state = 'claimed';
    PERFORM pg_notify('countersign_decision', id::text) FROM device_grant
        WHERE user_id = person AND state = 'approved';
    UPDATE device_grant SET state = 'denied' WHERE user_id = person AND state = 'approved';
    RETURN QUERY UPDATE session SET revoked_at = at, revoked_because = 'the second factor of the account was reset'
        WHERE user_id = person AND revoked_at IS NULL RETURNING id;
END $$;
