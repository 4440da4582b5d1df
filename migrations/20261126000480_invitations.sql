-- Whoever is invited may be told by mail, through the same outbox as approvals:
--
--   invited ──► notice (to their address) ──► mail
--                 └── they are deleted before it was sent: it goes with them
--
-- Such a notice is about a person, all others about a device login.

ALTER TABLE notice
    DROP CONSTRAINT notice_kind_check,
    ADD CONSTRAINT notice_kind_check CHECK (kind IN ('approved', 'reported', 'invited')),
    ADD COLUMN user_id uuid REFERENCES app_user (id) ON DELETE CASCADE,
    ALTER COLUMN grant_id DROP NOT NULL,
    ADD CONSTRAINT notice_one_subject CHECK ((kind = 'invited') = (user_id IS NOT NULL) AND (user_id IS NULL) <> (grant_id IS NULL));
CREATE INDEX notice_user ON notice (user_id) WHERE user_id IS NOT NULL;
