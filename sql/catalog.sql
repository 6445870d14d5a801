-- The schema `mosaic`, as `pgmosaic apply` makes it. docs/design/catalog.md tells why it looks so.
-- Every statement may run again at any time and then changes nothing. No extension, no superuser.

-- part: schema
-- On every shard. Only sent where it is missing: it would need CREATE on the database even where it does nothing.

CREATE SCHEMA IF NOT EXISTS mosaic;

-- part: shard
-- On every shard.

-- Which shard of which cluster this database is, and its own copy of the epoch: a stale router finds out here.
CREATE TABLE IF NOT EXISTS mosaic.epoch (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    schema_version integer NOT NULL,
    cluster text NOT NULL,
    shard text NOT NULL,
    catalog text NOT NULL, -- name of the shard that has the catalog
    epoch bigint NOT NULL CHECK (epoch >= 0),
    changed timestamptz NOT NULL DEFAULT now()
);

-- For every role: a proxy's connection is its client's, and must see at which epoch its shard is.
GRANT USAGE ON SCHEMA mosaic TO PUBLIC;
GRANT SELECT ON mosaic.epoch TO PUBLIC;

-- part: decision
-- On every shard, behind the part above; also alone, where a commit over several shards comes before the first apply.

GRANT USAGE ON SCHEMA mosaic TO PUBLIC;

-- Outcomes of two-phase commits that this shard decides (docs/design/two-phase.md).
CREATE TABLE IF NOT EXISTS mosaic.decision (
    gid text PRIMARY KEY,
    outcome text NOT NULL CHECK (outcome IN ('committed', 'aborted')),
    participants text[] NOT NULL DEFAULT '{}',
    decider_xid xid8,
    created timestamptz NOT NULL DEFAULT now(),
    decided_by text NOT NULL DEFAULT session_user
);
-- A table of before that column. Looked for: ADD COLUMN IF NOT EXISTS waits for whoever reads the table, and commits behind it.
DO '
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                   WHERE attrelid = ''mosaic.decision''::pg_catalog.regclass AND attname = ''decided_by'') THEN
        ALTER TABLE mosaic.decision ADD COLUMN decided_by text NOT NULL DEFAULT session_user;
    END IF;
END';

-- For every role, which decides in its own transaction. The xid of a gid is its decider's: nobody can decide for another.
CREATE OR REPLACE FUNCTION mosaic.decide(gid text, xid pg_catalog.xid8, participants text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS '
BEGIN
    IF (xid = pg_current_xact_id_if_assigned()
        AND gid ~ (''^mosaic:[0-9a-f]{32}:[^:]+:'' || xid::text || ''$'')) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = ''invalid_parameter_value'',
            MESSAGE = ''a transaction decides nothing but its own commit'';
    END IF;
    INSERT INTO mosaic.decision (gid, outcome, participants, decider_xid, created)
    VALUES ($1, ''committed'', $3, $2, clock_timestamp());
END';
GRANT EXECUTE ON FUNCTION mosaic.decide(text, pg_catalog.xid8, text[]) TO PUBLIC;

-- Once every participant has acknowledged. Gids are seen by all (pg_prepared_xacts): another role's word stays.
CREATE OR REPLACE FUNCTION mosaic.forget(gid text) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS '
    DELETE FROM mosaic.decision d WHERE d.gid = $1 AND d.outcome = ''committed'' AND d.decided_by = session_user';
GRANT EXECUTE ON FUNCTION mosaic.forget(text) TO PUBLIC;

-- Tables that an apply has made here and whose rows it has brought, before the catalog says so: who finds one, and
-- not in the catalog, knows that the apply was cut off and that the rows are still the home shard's.
CREATE TABLE IF NOT EXISTS mosaic.arrival (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    began timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, table_name)
);

-- part: ids
-- On every shard, where mosaic.shard_number() says which it is (src/catalog/ids.c).

-- The highest block, a millisecond since 2024 began, from which ids may be given; only who has the lock changes it.
CREATE SEQUENCE IF NOT EXISTS mosaic.id_block AS bigint MINVALUE 0 START 0;
-- The last id given: its block, and 12 bits within it.
CREATE SEQUENCE IF NOT EXISTS mosaic.id_value AS bigint MINVALUE 0 START 0;

-- 63 bits: 41 of milliseconds since 2024 began, 10 of the shard, 12 of a count. Sorted by time, as far as a second,
-- without asking any other shard. docs/design/catalog.md proves that no id comes twice, whatever the clock does.
CREATE OR REPLACE FUNCTION mosaic.next_id() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog AS '
DECLARE
    shard CONSTANT bigint := mosaic.shard_number();
    opened bigint;
    now_ms bigint;
    used bigint := -1; -- a block that has no more ids
    given bigint;
BEGIN
    LOOP
        SELECT last_value INTO opened FROM mosaic.id_block; -- before nextval: the proof needs it
        now_ms := floor(date_part(''epoch'', clock_timestamp()) * 1000)::bigint - 1704067200000;
        IF opened < now_ms OR opened <= used THEN
            CONTINUE WHEN mosaic.open_id_block(now_ms, opened, opened <= used OR opened < now_ms - 1000);
        END IF;
        given := nextval(''mosaic.id_value'');
        IF given >> 12 = opened THEN
            RETURN ((given >> 12) << 22) | (shard << 12) | (given & 4095);
        END IF;
        used := opened;
    END LOOP;
END';

-- Opens the block of now, or the one behind the last. False: somebody else is at it, and it need not be waited for.
-- The lock goes with the block of code that took it, which the exception undoes; what is done to sequences stays.
CREATE OR REPLACE FUNCTION mosaic.open_id_block(now_ms bigint, seen bigint, waits boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS '
DECLARE
    opened bigint;
BEGIN
    IF waits THEN
        PERFORM pg_advisory_xact_lock(hashtext(''pgmosaic next_id''), 0);
    ELSIF NOT pg_try_advisory_xact_lock(hashtext(''pgmosaic next_id''), 0) THEN
        RETURN false;
    END IF;
    SELECT last_value INTO opened FROM mosaic.id_block;
    IF opened = seen THEN
        PERFORM setval(''mosaic.id_value'', greatest(now_ms, seen + 1) << 12, false);
        PERFORM setval(''mosaic.id_block'', greatest(now_ms, seen + 1));
    END IF;
    RAISE SQLSTATE ''MOSID'';
EXCEPTION
    WHEN SQLSTATE ''MOSID'' THEN
        RETURN true;
END';
REVOKE ALL ON FUNCTION mosaic.open_id_block(bigint, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mosaic.next_id() TO PUBLIC;

-- part: catalog
-- In the catalog database only: the first shard of the first apply.

CREATE TABLE IF NOT EXISTS mosaic.cluster (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    schema_version integer NOT NULL,
    name text NOT NULL,
    engine text NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0)
);

CREATE TABLE IF NOT EXISTS mosaic.shard (
    id smallint PRIMARY KEY CHECK (id >= 0),
    name text NOT NULL UNIQUE,
    address text NOT NULL,  -- host:port/dbname, as last applied; to recognise a shard that was renamed
    identity text NOT NULL, -- system identifier and OID of the database, or '' where the role may not read it
    added timestamptz NOT NULL DEFAULT now()
);

-- One map for all tables with the same function, buckets, bounds and kind of key: equal keys share a shard.
CREATE TABLE IF NOT EXISTS mosaic.colocation (
    id integer PRIMARY KEY,
    function text NOT NULL,    -- with version: modulo.1
    key_class text[] NOT NULL, -- of each key column; types of one class hash alike
    bounds text[] NOT NULL,    -- range and list
    owners smallint[] NOT NULL CHECK (cardinality(owners) > 0) -- shard id of bucket 0, 1, 2 ...
);

CREATE TABLE IF NOT EXISTS mosaic.relation (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('sharded', 'reference')),
    key_columns text[] NOT NULL,
    key_types text[] NOT NULL,
    colocation integer REFERENCES mosaic.colocation,
    PRIMARY KEY (schema_name, table_name),
    CHECK ((kind = 'sharded') = (colocation IS NOT NULL))
);

CREATE TABLE IF NOT EXISTS mosaic.history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT session_user,
    client text NOT NULL, -- version of pgmosaic, host and user that ran it
    epoch_before bigint NOT NULL,
    epoch_after bigint NOT NULL,
    plan text NOT NULL
);

-- part: coordinator
-- In the coordinator's database only, which has mosaic.epoch too; it says there that it is shard '@coordinator'.

-- What the definitions were made from (src/catalog/coordinator.h), and what is missing, in words.
CREATE TABLE IF NOT EXISTS mosaic.coordinator (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    fingerprint text NOT NULL,
    built timestamptz NOT NULL DEFAULT now(),
    lacks text[] -- NULL: it is whole
);
GRANT SELECT ON mosaic.coordinator TO PUBLIC;

-- Stands behind a relation that may not be read here. Neither its rows nor that there are none can be assumed.
CREATE OR REPLACE FUNCTION mosaic.refused(relation text, reason text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog AS '
BEGIN
    RAISE EXCEPTION USING ERRCODE = ''feature_not_supported'', MESSAGE = relation || '' cannot be read over all shards'',
        DETAIL = reason;
END';
