-- Each organization is administered with a service of its own, as `platform` is: people sign in to their own organization
-- only, and its tokens reach no further than they do. Where something has that name or that client id already, it stays as it
-- is, and the organization's files say what the service is to be.
INSERT INTO service (id, organization_id, slug, name, client_id, device_login, scopes, default_scopes, verified, created_at)
    SELECT gen_random_uuid(), o.id, 'admin-cli', 'Countersign administration', o.slug || '-admin-cli', true,
           '[["admin:read", "See everything that you may administer"],
             ["admin:write", "Change everything that you may administer"]]',
           '{admin:read}', true, now()
    FROM organization o
    ON CONFLICT DO NOTHING;

-- What administrators look through, page by page.
CREATE INDEX app_user_of_organization ON app_user (organization_id, id);
CREATE INDEX session_of_organization ON session (organization_id, id);
