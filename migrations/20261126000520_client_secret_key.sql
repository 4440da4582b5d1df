-- A client's secret is kept as a MAC under a secret of the installation, and nobody but the client may have it: so it can't be told
-- from the MAC for whom an older secret of the installation has to stay. This says which one made it, by the name that what it sealed
-- has in its second to fifth byte.
--
--   an older one's ──┬── the client proves itself ──────────────► the current one's
--   NULL: not known ─┘   apply, or it gets another secret ──────► the current one's
--
-- NULL is also what it is for who has no secret. What there is was made before this was written down.
ALTER TABLE service ADD COLUMN client_secret_key bytea CHECK (length(client_secret_key) = 4);
