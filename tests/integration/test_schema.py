"""The schema as it is read from servers: what stands there, compared with what PostgreSQL's own catalogs say."""
import re
import subprocess

import pytest

from conftest import BUILD, superuser

LAB_SHARDS = 3

SCHEMA = """
CREATE SCHEMA app;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN app.positive AS numeric(10,2) DEFAULT 1 CHECK (VALUE > 0);
CREATE DOMAIN app.token AS uuid DEFAULT gen_random_uuid(); CREATE DOMAIN app.token2 AS app.token;
CREATE DOMAIN app.token3 AS app.token DEFAULT NULL; CREATE DOMAIN app.moment AS timestamptz DEFAULT now();
CREATE TYPE app.place AS (city text, mood mood);
CREATE COLLATION app.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE users (id bigint PRIMARY KEY, name text COLLATE app.blind, mood mood DEFAULT 'ok', gone int);
ALTER TABLE users DROP COLUMN gone;
ALTER TABLE users ADD COLUMN email varchar(80) COLLATE "C" NOT NULL DEFAULT '';
CREATE TABLE app.orders (user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE RESTRICT, n int,
  price app.positive, twice numeric GENERATED ALWAYS AS (n * 2) STORED, moods mood[], PRIMARY KEY (user_id, n));
CREATE TABLE events (id bigint NOT NULL, day date NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2025-01-01') PARTITION BY HASH (id);
CREATE TABLE app.events_old_0 PARTITION OF events_old FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE countries (code char(2) PRIMARY KEY);
CREATE FUNCTION app.stamp() RETURNS timestamptz IMMUTABLE LANGUAGE sql AS 'SELECT ''2020-01-01''::timestamptz';
CREATE TABLE plain (a int DEFAULT -1, b text[] DEFAULT '{}', c varchar(9) DEFAULT 'it''s f(', d jsonb DEFAULT '{"now": 1}',
  e numeric(8, 2) DEFAULT 1.5, f boolean DEFAULT false, g timestamptz DEFAULT now(), h date DEFAULT CURRENT_DATE,
  i timestamp(3) DEFAULT LOCALTIMESTAMP(3), j timestamp DEFAULT (now() AT TIME ZONE 'utc'),
  k timestamptz DEFAULT date_trunc('day', now()) + interval '1 day', l int[] DEFAULT ARRAY[1, 2], m mood DEFAULT 'ok'::mood);
CREATE TABLE other (a serial, b uuid DEFAULT gen_random_uuid(), c text DEFAULT current_user, d timestamptz DEFAULT app.stamp(),
  e timestamptz DEFAULT clock_timestamp(), f int GENERATED ALWAYS AS IDENTITY, g float8 DEFAULT random() + 1,
  h text DEFAULT upper('x'), i timestamptz DEFAULT statement_timestamp());
CREATE TABLE settings (k text PRIMARY KEY, owner name);
CREATE TABLE audit (what text);
CREATE TABLE audit_child (more text) INHERITS (audit);
CREATE VIEW app.rich AS SELECT u.id, count(*) FROM users u JOIN app.orders o ON u.id = o.user_id GROUP BY u.id;
CREATE MATERIALIZED VIEW heap AS SELECT k FROM settings;
CREATE FUNCTION app.allowed(bigint, text DEFAULT 'x') RETURNS boolean STABLE STRICT LANGUAGE sql AS 'SELECT $1 > 0';
CREATE FUNCTION app.many() RETURNS SETOF users LANGUAGE sql AS 'SELECT * FROM users';
CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noted BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.note();
CREATE TRIGGER emptied AFTER DELETE OR TRUNCATE ON app.orders FOR EACH STATEMENT EXECUTE FUNCTION app.note();
CREATE RULE quiet AS ON DELETE TO settings DO INSTEAD NOTHING;
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON app.orders USING (user_id IN (SELECT id FROM users) AND app.allowed(user_id));
CREATE FUNCTION app.same(mood, text) RETURNS boolean LANGUAGE sql AS 'SELECT $1::text = $2';
CREATE OPERATOR app.= (LEFTARG = mood, RIGHTARG = text, FUNCTION = app.same);
"""


def probe(lab, *options, file=None):
    words = [BUILD / "tests/unit/schemaprobe", *options, lab.config, *([file] if file else [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def lines(lab):
    lab.query(1, "CREATE TYPE first AS ENUM ('x')")  # so that OIDs differ from here on
    with superuser(lab, 2) as cursor:  # and here they do not: as many OIDs as the coordinator's database took on s0
        cursor.execute("CREATE DATABASE as_on_s0")
        cursor.execute("CREATE EXTENSION postgres_fdw")
    lab.everywhere(SCHEMA)
    lab.add_tables(" - {name: users, key: id}\n - {name: app.orders, key: user_id}\n - {name: events, key: id}\n"
                   " - {name: countries, kind: reference}\n")
    lab.run("apply", "--yes", check=True)
    lab.query(0, "INSERT INTO settings VALUES ('a', $$it's; \\.$$)")
    return probe(lab)


def having(lines, start):
    return [line for line in lines if line.startswith(start)]


def test_relations_have_their_kind_place_and_hidden_readers(lines):
    relations = dict(line.removeprefix("relation ").split(" ", 1) for line in having(lines, "relation "))
    assert relations == {
        "public.users": "r sharded", "app.orders": "r sharded triggers truncate_triggers rls policy_function",
        "public.events": "p sharded", "public.events_old": "p sharded partition",
        "app.events_old_0": "r sharded partition", "public.countries": "r reference",
        "public.settings": "r home rules", "public.plain": "r home", "public.other": "r home",
        "public.other_a_seq": "S home", "public.other_f_seq": "S home", "public.audit": "r home", "public.audit_child": "r home",
        "app.rich": "v home", "public.heap": "m home", "app.place": "c home"}
    assert having(lines, "policy_reads ") == ["policy_reads app.orders public.users"]
    assert having(lines, "parent ") == ["parent public.events_old public.events",
                                        "parent app.events_old_0 public.events_old",
                                        "parent public.audit_child public.audit"]
    assert len(having(lines, "child ")) == 3
    assert having(lines, "namespace ") == ["namespace app", "namespace public"]


def test_columns_have_type_modifier_and_what_an_insert_must_know(lines):
    columns = having(lines, "column public.users.") + having(lines, "column app.orders.")
    assert columns == [
        "column public.users.id pg_catalog.int8 -1 not_null",
        "column public.users.name pg_catalog.text -1 nondeterministic",
        "column public.users.mood public.mood -1 default",
        "column public.users.email pg_catalog.varchar 84 not_null default bytewise",
        "column app.orders.user_id pg_catalog.int8 -1 not_null",
        "column app.orders.n pg_catalog.int4 -1 not_null",
        "column app.orders.price app.positive -1 default",  # the domain's
        "column app.orders.twice pg_catalog.numeric -1 generated",
        "column app.orders.moods public._mood -1"]


def test_defaults_are_the_same_everywhere_or_not(lines):
    plain = dict(line.split(".", 2)[2].split(" ", 1) for line in having(lines, "column public.plain."))
    other = dict(line.split(".", 2)[2].split(" ", 1) for line in having(lines, "column public.other."))
    assert "".join(name for name, said in plain.items() if " default" in said and "elsewhere" not in said) == "abcdefghijklm"
    assert "".join(name for name, said in plain.items() if " clock" in said) == "dghijk"
    assert "".join(name for name, said in other.items() if " default_elsewhere" in said) == "abcdefghi"
    assert "".join(name for name, said in other.items() if " clock" in said) == "i"


def test_foreign_keys_stand_on_both_sides(lines):
    assert having(lines, "key ") == ["key public.users app.orders -> public.users rc",
                                     "key app.orders app.orders -> public.users rc"]


def test_views_are_texts_with_qualified_names(lines, lab):
    text = "\n".join(lines)
    view = re.search(r"^view app\.rich (.*?)\n(?=relation|type)", text, re.M | re.S)[1]
    assert "public.users u" in view and "app.orders o" in view
    lab.query(0, f"SELECT * FROM ({view.rstrip().rstrip(';')}) v")


def test_types_functions_and_operators(lines):
    types = "\n".join(having(lines, "type "))
    assert "type app.positive d N base pg_catalog.numeric 655366 element - array app._positive row -" in types
    assert "type public.mood e E base - -1 element - array public._mood row -" in types
    assert "type public._mood b A base - -1 element public.mood array - row -" in types
    assert "type app.place c C base - -1 element - array app._place row app.place" in types
    assert having(lines, "function ") == [
        "function app.allowed(pg_catalog.int8, pg_catalog.text) pg_catalog.bool fs strict",
        "function app.many() public.users fv set",
        "function app.note() pg_catalog.trigger fv",
        "function app.same(public.mood, pg_catalog.text) pg_catalog.bool fv",
        "function app.stamp() pg_catalog.timestamptz fi"]
    assert having(lines, "operator ") == ["operator app.= public.mood pg_catalog.text"]


def test_oids_of_types_are_those_of_each_shard(lines, lab):
    said = {(shard, name): int(oid) for shard, name, oid in
            re.findall(r"^oid (s\d) (\S+) (\d+) and back$", "\n".join(lines), re.M)}
    assert not any(" s2 public.mood" in line for line in lines)  # there it is the same
    for name in ("public.mood", "app.place", "app._positive", "public._users"):
        assert said["s1", name] == lab.query(1, f"SELECT '{name}'::regtype::oid")[0][0]
    assert "oid s1 mosaic.cluster 0 gone" in lines  # the catalog is on the home shard alone


def test_a_shard_that_is_down_is_reported_and_its_types_are_missing(lines, lab):
    assert not having(lines, "silent")
    lab.run("lab", "stop", lab.name, "s1", check=True)
    try:
        now = probe(lab)
    finally:
        lab.run("lab", "start", lab.name, "s1", check=True)
    assert len(having(now, "silent 1 s1: ")) == 1
    assert "oid s1 public.mood 0 gone" in now
    assert having(now, "relation ") == having(lines, "relation ")


def facts(lines):
    """What a file and a server must agree about: all but texts of views, and the OIDs of this database."""
    kept = [line for line in lines if re.match(r"(namespace|relation|column|parent|child|policy_reads|key|type|function|"
                                               r"operator) ", line)]
    return sorted(line for line in kept if line != "namespace mosaic")


def test_a_schema_from_its_ddl_is_the_server_s_own(lines, lab, directory):
    written = directory / "schema.sql"
    written.write_text(SCHEMA)
    assert facts(probe(lab, file=written)) == facts(lines)


def test_a_schema_from_pg_dump_is_the_server_s_own(lines, lab, directory):
    dumped = directory / "dump.sql"
    with open(dumped, "w") as out:
        subprocess.run(["pg_dump", lab.conninfo(0), "--exclude-schema=mosaic"], stdout=out, check=True, timeout=60)
    assert "COPY public.settings" in dumped.read_text()
    assert facts(probe(lab, file=dumped)) == facts(lines)


# What is done, and whether the proxy must read the schema again.
CHANGES = [
    ("VACUUM", False), ("ANALYZE", False), ("TRUNCATE audit", False), ("INSERT INTO audit VALUES ('a')", False),
    ("GRANT SELECT ON audit TO PUBLIC", False), ("CREATE INDEX ON audit (what)", False),
    ("CREATE TEMP TABLE mine (a int PRIMARY KEY, b mood)", False),
    ("ALTER TABLE audit ADD COLUMN c int", True), ("ALTER TABLE audit RENAME TO audits", True),
    ("ALTER TABLE audits ALTER what SET NOT NULL", True), ("ALTER TABLE audits ENABLE ROW LEVEL SECURITY", True),
    ("CREATE OR REPLACE FUNCTION app.many() RETURNS SETOF users IMMUTABLE LANGUAGE sql AS 'SELECT * FROM users'", True),
    ("CREATE OR REPLACE VIEW app.rich AS SELECT id, 1::bigint AS count FROM users", True),
    ("CREATE POLICY other ON users USING (true)", True), ("DROP TRIGGER noted ON app.orders", True),
    ("ALTER TABLE audit_child NO INHERIT audits", True), ("CREATE SCHEMA further", True),
    ("DROP OPERATOR app.= (mood, text)", True), ("DROP RULE quiet ON settings", True),
    ("ALTER TABLE app.orders DROP CONSTRAINT orders_user_id_fkey", True), ("ALTER TYPE mood RENAME TO feeling", True),
    ("ALTER TABLE audits SET SCHEMA app", True), ("CREATE SEQUENCE numbers", True),
]


def test_the_stamp_differs_after_what_matters_alone(lab, lines):
    with lab.connect(0) as connection, connection.cursor() as cursor:
        before = probe(lab)[0]
        assert probe(lab, "--stamp") == [before]
        for sql, matters in CHANGES:
            cursor.execute(sql)
            after, = probe(lab, "--stamp")
            assert (after != before) == matters, sql
            before = after
