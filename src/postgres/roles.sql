-- Gives the server's role what the program needs, and nothing of the audit that could change it. Run by the owner after each
-- migration. `countersign.server_role` names the role, `countersign.schema` where the tables are. What is as it should be
-- stays untouched, and so does what isn't the owner's: an extension's tables. The search path holds pg_catalog only.
DO $$
DECLARE
    server name := current_setting('countersign.server_role');
    schema name := current_setting('countersign.schema');
    -- Of these it may read and append rows.
    append_only constant text[] := '{audit_event,audit_link}';
    -- Of these it may read only.
    read_only constant text[] := '{_sqlx_migrations,audit_retention}';
    thing record;
    needed text[];
    columns text;
    privilege text;
BEGIN
    IF NOT has_schema_privilege(server, schema, 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', schema, server);
    END IF;

    FOR thing IN SELECT c.oid, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = schema AND c.relkind IN ('r', 'p', 'v', 'm')
                   AND pg_has_role(current_user, c.relowner, 'USAGE') ORDER BY c.oid
    LOOP
        needed := CASE
            WHEN thing.relname = 'audit_event' OR thing.relname = ANY (read_only) OR thing.relkind IN ('v', 'm')
                THEN '{SELECT}'
            WHEN thing.relname = ANY (append_only) THEN '{SELECT,INSERT}'
            ELSE '{SELECT,INSERT,UPDATE,DELETE}' END;
        FOREACH privilege IN ARRAY ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] LOOP
            IF privilege = ANY (needed) AND NOT has_table_privilege(server, thing.oid, privilege) THEN
                EXECUTE format('GRANT %s ON %I.%I TO %I', privilege, schema, thing.relname, server);
            ELSIF privilege <> ALL (needed) AND has_table_privilege(server, thing.oid, privilege) THEN
                EXECUTE format('REVOKE %s ON %I.%I FROM %I', privilege, schema, thing.relname, server);
            END IF;
        END LOOP;
    END LOOP;

    -- Of an event it writes what happened. Its number, and which transaction wrote it, are PostgreSQL's to say.
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
        WHERE attrelid = format('%I.audit_event', schema)::regclass AND attnum > 0 AND NOT attisdropped
          AND attname NOT IN ('sequence', 'transaction_id')
          AND NOT has_column_privilege(server, attrelid, attnum, 'INSERT');
    IF columns IS NOT NULL THEN
        EXECUTE format('GRANT INSERT (%s) ON %I.audit_event TO %I', columns, schema, server);
    END IF;

    FOR thing IN SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = schema AND c.relkind = 'S' AND pg_has_role(current_user, c.relowner, 'USAGE')
                 ORDER BY c.oid
    LOOP
        -- To read one is what pg_dump needs. An identity column's number is drawn without any privilege.
        IF NOT has_sequence_privilege(server, thing.oid, 'SELECT') THEN
            EXECUTE format('GRANT SELECT ON SEQUENCE %I.%I TO %I', schema, thing.relname, server);
        END IF;
        IF thing.relname NOT LIKE 'audit\_%' AND NOT has_sequence_privilege(server, thing.oid, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %I.%I TO %I', schema, thing.relname, server);
        END IF;
    END LOOP;

    FOR thing IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                 WHERE n.nspname = schema AND p.prokind = 'f' AND NOT has_function_privilege(server, p.oid, 'EXECUTE')
                   AND pg_has_role(current_user, p.proowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', thing.oid::regprocedure, server);
    END LOOP;
END $$;
