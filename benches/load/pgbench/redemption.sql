-- A device polls with an approved code: the grant is looked at, and redeemed in one transaction. Each client has its own.
\set i :i + 1
\set n :base + :client_id * 100000 + :i
SELECT * FROM device_grant WHERE id = ('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid;
BEGIN;
UPDATE device_grant g SET state = 'redeemed', redeemed_at = now(), session_id = g.id
FROM service s, organization o, app_user u
WHERE g.id = ('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid AND g.state = 'approved' AND g.expires_at > now()
  AND s.id = g.service_id AND s.device_login AND o.id = g.organization_id AND o.status = 'active'
  AND u.id = g.user_id AND u.status = 'active' AND g.verification_number IS NULL
  AND proven_as_asked(g, s, o.mfa, u.id, g.proven_at, g.proven_for, g.decided_at);
INSERT INTO session (id, organization_id, service_id, user_id, grant_id, scopes, resources, dpop_jkt, auth_time, amr, name,
    user_agent, ip, last_ip, created_at, last_seen_at, generation, idle_expires_at, expires_at)
VALUES (('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid, :organization::uuid, :service::uuid,
    :person::uuid, ('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid, '{read}', '{}', NULL, now(), '{pwd}',
    'Acme CLI', 'acme-cli/1.0', '127.0.0.1', '127.0.0.1', now(), now(), 0, now() + interval '30 days',
    now() + interval '90 days');
INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, ip, user_agent, detail)
VALUES (gen_random_uuid(), now(), 'redeemed', :organization::uuid, :service::uuid, gen_random_uuid(), gen_random_uuid(),
    :person::uuid, '127.0.0.1', 'acme-cli/1.0', '{}');
COMMIT;
