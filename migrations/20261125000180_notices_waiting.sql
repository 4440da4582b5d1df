-- What waits for too long, or was tried too often, is given up by whoever tidies up (`notice::outbox::give_up`):
--
--   due ──► under way ──► due again … ──► given up: older than four days, or twenty attempts
--
-- It is looked for among what still waits, oldest first.
CREATE INDEX notice_waiting ON notice (created_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;
