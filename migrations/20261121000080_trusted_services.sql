-- What somebody who decides is told of a service.

ALTER TABLE service
    -- Somebody responsible has looked at it; of any other the decision page says that nobody has.
    ADD COLUMN verified          boolean NOT NULL DEFAULT false,
    -- From here devices may ask however far away their people are, and for many people: jump hosts, build machines.
    ADD COLUMN trusted_networks  cidr[] NOT NULL DEFAULT '{}';

-- Countersign's own command line is part of this program.
UPDATE service SET verified = true WHERE client_id = 'platform-admin-cli';
