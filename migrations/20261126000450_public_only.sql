-- Who wrote an address. The server sends requests to those of providers and webhooks, from inside the installation's network.
--
--   a file on the machine ── apply ──► false: it may be anywhere
--   the administration API ──────────► true: requests go to public addresses, and to those that outbound.allow names
--
-- What there is came from files.
ALTER TABLE provider ADD COLUMN public_only boolean NOT NULL DEFAULT false;
ALTER TABLE webhook ADD COLUMN public_only boolean NOT NULL DEFAULT false;
