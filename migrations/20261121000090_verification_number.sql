-- The request-initiation check: after the approval the page shows a number, and tokens come only when the device sends it.

ALTER TABLE service ADD COLUMN verification text NOT NULL DEFAULT 'off' CHECK (verification IN ('off', 'number'));

-- Drawn at the approval; worth nothing without the device code. NULL: none is asked for.
ALTER TABLE device_grant ADD COLUMN verification_number smallint CHECK (verification_number BETWEEN 10 AND 99);
-- Wrong numbers so far; with the third one the grant is denied.
ALTER TABLE device_grant ADD COLUMN wrong_numbers smallint NOT NULL DEFAULT 0 CHECK (wrong_numbers BETWEEN 0 AND 3);
