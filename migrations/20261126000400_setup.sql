-- The first owner: whoever opens the link that the server printed, or runs `countersign setup` on its machine.
--
--   setup_link    printed ──┬── the form, and the first code of an authenticator ──► used, by the one owner that came of it
--   (30 minutes)            ├── another was printed ──► replaced
--                           └── its time passes: expired, said by the clock and not by a stored state
--
-- There is a link only while `platform` has no owner at all. What the person typed is stored nowhere before their first code is
-- right: half a sign-up leaves nothing behind, and the link as good as it was.

CREATE TABLE setup_link (
    id           uuid PRIMARY KEY,
    -- HMAC of the token: what is stored opens nothing.
    token_mac    bytea NOT NULL CONSTRAINT setup_link_token UNIQUE CHECK (length(token_mac) = 32),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    replaced_at  timestamptz,
    used_at      timestamptz
);

CREATE FUNCTION platform_has_owner() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM app_user u JOIN organization o ON o.id = u.organization_id
                   WHERE o.slug = 'platform' AND u.role = 'owner')
$$;

-- Who makes a link or an owner waits for its turn at the organization, and looks afterwards: in a function each statement sees what
-- was committed before it. Whoever adds a person by `apply` holds the organization as well, so that they are seen too.
CREATE FUNCTION turn_at_platform() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT id FROM organization WHERE slug = 'platform' FOR UPDATE
$$;

-- A new link, which ends those before. NULL: there is an owner. Otherwise the organization's id.
CREATE FUNCTION print_setup_link(new_id uuid, mac bytea, at timestamptz, until timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    platform uuid := turn_at_platform();
BEGIN
    IF platform_has_owner() THEN
        RETURN NULL;
    END IF;
    UPDATE setup_link SET replaced_at = at WHERE replaced_at IS NULL AND used_at IS NULL;
    DELETE FROM setup_link WHERE created_at < at - interval '1 day';
    INSERT INTO setup_link (id, token_mac, created_at, expires_at) VALUES (new_id, mac, at, until);
    RETURN platform;
END $$;

-- Adds an owner, with a way to sign in by password if there is none. Says what came of it:
--
--   made    there is a new owner, and the link is used
--   owned   there was one already, and `another` isn't wanted
--   ended   the link is used, replaced or expired
--   taken   somebody of the organization has this address
--
-- Whatever it is but `made`, nothing was changed.
CREATE FUNCTION make_owner(
    new_id uuid, new_email text, new_name text, new_hash text, new_provider uuid, at timestamptz, link uuid, another boolean
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    platform uuid := turn_at_platform();
BEGIN
    IF platform_has_owner() AND NOT another THEN
        RETURN 'owned';
    END IF;
    IF EXISTS (SELECT FROM app_user WHERE organization_id = platform AND email = lower(new_email)) THEN
        RETURN 'taken';
    END IF;
    IF link IS NOT NULL THEN
        UPDATE setup_link SET used_at = at
            WHERE id = link AND used_at IS NULL AND replaced_at IS NULL AND expires_at > at;
        IF NOT FOUND THEN
            RETURN 'ended';
        END IF;
    END IF;
    -- Nobody has proved an address that was typed into a form: a provider that admits whoever has it must not hand this account to its
    -- real owner. Whoever runs the command answers for it, as whoever writes a file for `apply` does.
    INSERT INTO app_user (id, organization_id, email, email_verified, name, role, status, password_hash, created_at)
        VALUES (new_id, platform, lower(new_email), link IS NULL, new_name, 'owner', 'active', new_hash, at);
    INSERT INTO provider (id, organization_id, slug, kind, name, created_at)
        SELECT new_provider, platform,
               CASE WHEN EXISTS (SELECT FROM provider WHERE organization_id = platform AND slug = 'password')
                    THEN 'owner-password' ELSE 'password' END,
               'password', 'Password', at
        WHERE NOT EXISTS (SELECT FROM provider WHERE organization_id = platform AND kind = 'password');
    RETURN 'made';
END $$;
