-- An event is written with each step of a login, and each index is written with it. An organization's events are found by
-- its links, in their order: audit_link (organization_id, position). Nothing looks for them in any other way.

-- Behind whoever reads the audit at this moment, an export for one, the servers that still run would wait with each event: rather
-- the upgrade is tried again.
SET LOCAL lock_timeout = '5s';
DROP INDEX audit_event_organization;
