-- An event is written with each step of a login, and each index is written with it. An organization's events are found by
-- its links, in their order: audit_link (organization_id, position). Nothing looks for them in any other way.
DROP INDEX audit_event_organization;
