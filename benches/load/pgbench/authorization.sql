-- A device asks for its codes: what the server writes for it, in one transaction.
BEGIN;
INSERT INTO device_grant (id, organization_id, service_id, user_code_mac, user_code_length, scopes, poll_interval_seconds,
    created_at, expires_at, device_name, user_agent, ip, resources, dpop_jkt)
VALUES (gen_random_uuid(), :organization::uuid, :service::uuid, sha256(gen_random_uuid()::text::bytea), 8, '{read}', 5,
    now(), now() + interval '1 hour', NULL, 'acme-cli/1.0', '127.0.0.1', '{}', NULL)
ON CONFLICT (user_code_mac) WHERE state IN ('pending', 'claimed') DO NOTHING;
INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, ip, user_agent, detail)
VALUES (gen_random_uuid(), now(), 'requested', :organization::uuid, :service::uuid, gen_random_uuid(), NULL, NULL,
    '127.0.0.1', 'acme-cli/1.0', '{}');
COMMIT;
