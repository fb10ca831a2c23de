-- Run after the migrations, each time: the second wall. The functions become those of a role that cannot log in, owns no
-- table and can go round no policy. Where the database forbids making that role, say so and go on: row-level security then
-- binds only if the tables' owner is subject to it (FORCE), which `keepsay doctor` looks at.
DO $secure$
DECLARE
    f record;
BEGIN
    -- It may be there: from another database, or made by somebody who may make roles for one who may not.
    IF to_regrole('__role__') IS NULL THEN
        BEGIN
            CREATE ROLE __role__ NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL; -- made just now
        END;
    END IF;
    -- USAGE and not MEMBER: from Postgres 16 on whoever makes a role is a member that may neither use nor become it.
    IF NOT pg_has_role(current_user, '__role__', 'USAGE') THEN
        GRANT __role__ TO CURRENT_USER;
    END IF;
    GRANT USAGE, CREATE ON SCHEMA __schema__ TO __role__;
    GRANT SELECT, INSERT, UPDATE, DELETE
        ON __schema__.users, __schema__.conversations, __schema__.messages, __schema__.runs, __schema__.summaries,
            __schema__.allowances
        TO __role__;
    FOR f IN
        SELECT p.oid::regprocedure AS signature, p.prosecdef AS is_door
        FROM pg_proc p
        WHERE p.pronamespace = '__schema__'::regnamespace
          AND p.proowner <> '__role__'::regrole
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.signature);
        EXECUTE format('ALTER FUNCTION %s OWNER TO __role__', f.signature);
        IF f.is_door THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO CURRENT_USER', f.signature);
        END IF;
    END LOOP;
    REVOKE CREATE ON SCHEMA __schema__ FROM __role__;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'keepsay: this role may not make the role __role__ (%); user isolation rests on the functions alone',
            SQLERRM;
        REVOKE ALL ON ALL FUNCTIONS IN SCHEMA __schema__ FROM PUBLIC;
END
$secure$;
