-- A session is refreshed: its generation is counted up, and the event written. Each client has sessions of its own.
\set i :i + 1
\set n :base + :client_id * 1000 + :i % :each
\set generation :i / :each
BEGIN;
UPDATE session s
SET generation = s.generation + 1, rotated_at = now(), idle_expires_at = now() + interval '30 days', last_seen_at = now(),
    last_ip = '127.0.0.1'
FROM app_user u, organization o
WHERE s.id = ('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid AND s.service_id = :service::uuid
  AND s.generation = :generation AND s.revoked_at IS NULL AND s.idle_expires_at > now() AND s.expires_at > now()
  AND u.id = s.user_id AND u.status = 'active' AND o.id = s.organization_id AND o.status = 'active'
RETURNING s.*, u.status, o.status;
INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, ip, user_agent, detail)
VALUES (gen_random_uuid(), now(), 'refreshed', :organization::uuid, :service::uuid, gen_random_uuid(), gen_random_uuid(),
    :person::uuid, '127.0.0.1', 'acme-cli/1.0', '{}');
COMMIT;
