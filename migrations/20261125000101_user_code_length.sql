-- How many letters new user codes have, one row for all servers.
--
--   8 ──► 10   when eight could be guessed, or when guesses leave too few to people who mistype
--   10 ──► 8   when that is over
--
-- Each arrow is one conditional UPDATE (src/device/live.rs).

CREATE TABLE user_code_length (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    letters  smallint NOT NULL CHECK (letters IN (8, 10)),
    since    timestamptz
);
INSERT INTO user_code_length (letters) VALUES (8);

-- Live codes are counted every few seconds: of each length, of each service, of each address. They are the end of the
-- index by which expiry is noted, which holds now what the count needs, so that a new code still has as many indexes.
DROP INDEX device_grant_expiry;
CREATE INDEX device_grant_expiry ON device_grant (expires_at) INCLUDE (state, service_id, user_code_length, ip)
    WHERE state IN ('pending', 'claimed', 'approved') AND NOT expiry_noted;
