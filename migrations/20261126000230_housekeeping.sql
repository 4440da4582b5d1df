-- What is over is deleted, some hundreds of rows at a time (src/server/housekeeping.rs):
--
--   device_grant   never approved:  its code's time is over ── retention.grants ──► deleted
--                  approved:        … as long as "This wasn't me" is good, if that is longer ──► deleted, with its report
--   session        revoked, or its longest life is over ── retention.sessions ──► deleted
--
-- Ids are UUIDv7, so that the primary key has grants in the order of their time. No index is written for a new code.

-- Those that were never approved lie among those that were, which stay longer.
CREATE INDEX device_grant_over ON device_grant (id) WHERE granted_scopes IS NULL AND (expiry_noted OR state = 'denied');

-- Neither of them changes when a session is refreshed.
CREATE INDEX session_over ON session ((coalesce(revoked_at, expires_at)));

-- A browser's session takes with it what belongs to it: that has to be found. A grant only names the browser that claimed it, and
-- goes on naming it: no grant is looked for, nor locked, when a session is deleted.
CREATE INDEX upstream_sign_in_browser_session ON upstream_sign_in (browser_session_id);
ALTER TABLE device_grant DROP CONSTRAINT device_grant_claimed_by_fkey;
