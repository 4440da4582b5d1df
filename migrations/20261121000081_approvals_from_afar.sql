-- One machine for which many people elsewhere approve codes: the signature of a phishing kit.

ALTER TABLE device_grant
    -- Approved from another network than the device's, which isn't a trusted one.
    ADD COLUMN approved_from_afar  boolean NOT NULL DEFAULT false,
    -- When the approver was first warned of the signature.
    ADD COLUMN suspected_at        timestamptz;

-- How many people elsewhere approved devices of one address (or one /64) for one service since some time: a range of
-- this index, which has the people too. It has an entry for approvals from afar only, of which most services see few.
CREATE INDEX device_grant_from_afar ON device_grant (service_id, ip, decided_at) INCLUDE (user_id)
    WHERE approved_from_afar AND state IN ('approved', 'redeemed');
