-- A second click on "Sign in", and how old a sign-in may be that sets up a second factor.

ALTER TABLE browser_session ADD COLUMN previous_token_mac bytea;
ALTER TABLE browser_session ADD COLUMN renewed_at timestamptz;
CREATE INDEX browser_session_previous_token ON browser_session (previous_token_mac)
    WHERE previous_token_mac IS NOT NULL;

ALTER TABLE browser_sign_in ADD COLUMN signed_in_at timestamptz;
UPDATE browser_sign_in SET signed_in_at = auth_time;
ALTER TABLE browser_sign_in ALTER COLUMN signed_in_at SET NOT NULL;

-- The organization whose owners administer the installation, and the service that is Countersign's own command line.
-- Nobody can sign in to it before a provider or a person is written down.
INSERT INTO organization (id, slug, name, mfa, created_at)
    VALUES (gen_random_uuid(), 'platform', 'Platform', 'required', now())
    ON CONFLICT ON CONSTRAINT organization_slug_taken DO NOTHING;
INSERT INTO service (id, organization_id, slug, name, client_id, device_login, scopes, default_scopes, created_at)
    SELECT gen_random_uuid(), id, 'admin-cli', 'Countersign administration', 'platform-admin-cli', true,
           '[["admin:read", "See everything that you may administer"],
             ["admin:write", "Change everything that you may administer"]]',
           '{admin:read}', now()
    FROM organization WHERE slug = 'platform'
    ON CONFLICT DO NOTHING;
