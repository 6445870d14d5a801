"""The coordinator: what apply makes of a cluster's definitions, what can be read there, and that it stays in step.

The oracle is one database that holds the rows of all shards.
"""
import contextlib
import json
import re
import signal
import subprocess
import time

import psycopg2
import pytest

from conftest import COMMAND, environment, superuser

pytestmark = pytest.mark.light

LAB_SHARDS = 3

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE place AS (city text, mood mood);
CREATE SCHEMA "Odd";
CREATE FUNCTION doubled(a integer, b integer DEFAULT 2) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a * b';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq);
CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE COLLATION backwards (provider = icu, locale = 'und-u-co-search');
CREATE TABLE users (id bigint PRIMARY KEY, name text COLLATE "C" NOT NULL, mood mood, n positive DEFAULT 1,
    twice integer GENERATED ALWAYS AS (n * 2) STORED, home place);
CREATE TABLE members (name text PRIMARY KEY, age integer);
CREATE TABLE orders (customer integer, day date, amount numeric(10, 2), PRIMARY KEY (customer, day));
CREATE TABLE hashed (id text PRIMARY KEY, v integer);
CREATE TABLE events (day integer, what text);
CREATE TABLE customers (country text, name text);
CREATE TABLE "Odd"."T x" ("Id ""q"" x" integer, "user" text);
CREATE TABLE parted (id integer NOT NULL, at date NOT NULL, v text) PARTITION BY RANGE (at);
CREATE TABLE parted_old PARTITION OF parted FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
CREATE TABLE "parted new" PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2040-01-01');
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE INDEX ON users (mood);
"""
# Of the home shard, or of each; filled on shard 0.
REST = """
CREATE TABLE settings (k text PRIMARY KEY, v jsonb, ts tsvector);
CREATE TABLE secrets (id integer, owner name);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE TABLE nothing ();
CREATE VIEW adults AS SELECT name FROM members WHERE age >= 18;
CREATE VIEW young WITH (security_barrier) AS SELECT m.name, u.id FROM members m LEFT JOIN users u USING (name);
CREATE VIEW grouped AS SELECT id, name, count(*) FROM users GROUP BY id;
CREATE VIEW over_grouped AS SELECT id FROM grouped;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM settings;
CREATE TRIGGER noting BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION noted();
CREATE FUNCTION age_of(who text) RETURNS integer STABLE LANGUAGE sql BEGIN ATOMIC
    SELECT age FROM members WHERE name = who; END;
"""
ROWS = {
    "users(id, name, mood, n, home)":
        "SELECT i, 'n' || i % 97, (ARRAY['sad', 'ok', NULL])[1 + i % 3]::mood, 1 + abs(i % 7),"
        " ROW('c' || i, 'ok')::place FROM generate_series(-40, 800) i",
    "members(name, age)": "SELECT '@user' || i || ':example.org', i % 90 FROM generate_series(1, 500) i",
    "orders(customer, day, amount)":
        "SELECT i % 50, date '2024-01-01' + i, i * 1.25 FROM generate_series(1, 600) i",
    "hashed(id, v)": "SELECT 'ä' || i, i FROM generate_series(1, 500) i",
    "events(day, what)": "SELECT i % 30, 'e' || i FROM generate_series(1, 300) i",
    "customers(country, name)":
        "SELECT (ARRAY['de', 'fr', 'it'])[1 + i % 3], 'c' || i FROM generate_series(1, 90) i",
    '"Odd"."T x"("Id ""q"" x", "user")': "SELECT i, 'u' || i FROM generate_series(1, 200) i",
    "parted(id, at, v)": "SELECT i, date '2015-01-01' + i * 10, 'p' || i FROM generate_series(1, 500) i",
}
EVERYWHERE = "INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France'), ('xx', NULL)"
AT_HOME = """INSERT INTO settings VALUES ('a', '{"x": [1]}', 'fat cats'), ('ü', NULL, NULL);
    REFRESH MATERIALIZED VIEW counted"""
TABLES = """
  - {name: users, key: id, function: modulo}
  - {name: members, key: name, function: sha256}
  - {name: orders, key: [customer, day]}
  - {name: hashed, key: id}
  - {name: events, key: day, function: range, ranges: [{below: "10", shard: s0}, {below: "20", shard: s2}, {shard: s1}]}
  - {name: customers, key: country, function: list, lists: [{values: [de, fr], shard: s1}, {values: it, shard: s0}]}
  - {name: '"Odd"."T x"', key: 'Id "q" x', function: modulo}
  - {name: parted, key: id}
  - {name: countries, kind: reference}
"""


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


@contextlib.contextmanager
def connected(conninfo, **more):
    connection = psycopg2.connect(conninfo, **more)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def coordinator_of(lab, **more):
    """A cursor on the coordinator's database."""
    return connected(lab.conninfo(0), dbname=lab.name + "_coordinator", **more)


def fill(cursor, owned):
    """The rows that a shard owns, by its own constraint; all of them where there is none."""
    cursor.execute(EVERYWHERE)
    for table, select in ROWS.items():
        name, _, columns = table.partition("(")
        condition = "true"
        if owned:
            condition = rows(cursor, f"SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname ="
                                     f" 'mosaic_owner' AND conrelid = '{name}'::regclass")[0][0]
        cursor.execute(f"INSERT INTO {table} SELECT * FROM ({select}) x({columns} WHERE {condition}")


@pytest.fixture(scope="module")
def cluster(lab):
    """The lab with all tables, applied and filled; and the oracle, a database with all rows on shard 1's server."""
    lab.everywhere(TYPES)
    lab.query(0, REST)
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
            cursor.execute("CREATE ROLE owner_of_some")
            cursor.execute(f"GRANT owner_of_some TO {lab.name}")
            cursor.execute("GRANT CREATE ON SCHEMA public TO owner_of_some")
    lab.query(0, 'GRANT SELECT ON members, adults, countries TO reader; GRANT SELECT (id, name) ON users TO reader;'
                 ' REVOKE ALL ON FUNCTION doubled FROM PUBLIC; ALTER VIEW adults OWNER TO owner_of_some;'
                 ' GRANT SELECT ON members TO owner_of_some')
    lab.add_tables(TABLES)
    done = lab.run("apply", "--yes", check=True)
    assert re.search(r"\+ table .*\n(.*\n)*  ~ coordinator: definitions of \d+ tables are brought up to date", done.stdout)
    assert "tier 4 is not available" not in done.stderr
    for shard in range(LAB_SHARDS):
        with lab.connect(shard) as connection, connection.cursor() as cursor:
            fill(cursor, owned=True)
    lab.query(0, AT_HOME)
    with superuser(lab, 1) as cursor:
        cursor.execute(f"CREATE DATABASE oracle OWNER {lab.name}")
    with connected(lab.conninfo(1), dbname="oracle") as cursor:
        cursor.execute(TYPES + REST)
        fill(cursor, owned=False)
        cursor.execute(AT_HOME)
    return lab


@pytest.fixture
def here(cluster):
    with coordinator_of(cluster) as cursor:
        yield cursor


@pytest.fixture
def oracle(cluster):
    with connected(cluster.conninfo(1), dbname="oracle") as cursor:
        yield cursor


def test_an_apply_in_step_shows_and_does_nothing(cluster, here):
    built = rows(here, "SELECT built, lacks FROM mosaic.coordinator")
    done = cluster.run("apply", "--yes", check=True)
    assert "coordinator" not in done.stdout + done.stderr
    assert rows(here, "SELECT built, lacks FROM mosaic.coordinator") == built
    assert built[0][1] is None
    assert rows(here, "SELECT shard, cluster, epoch FROM mosaic.epoch") == [("@coordinator", cluster.name, 1)]


@pytest.mark.parametrize("table", [*(name.partition("(")[0] for name in ROWS), "countries", "settings", "counted", "nothing",
                                   "parted_old", '"parted new"', "adults", "young"])
def test_every_row_is_seen_once(table, here, oracle):
    sql = f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text COLLATE \"C\""
    expected = rows(oracle, sql)
    assert rows(here, sql) == expected
    assert expected or table == "nothing"


JOINS = [
    "SELECT count(*), sum(u.id) FROM users u JOIN orders o ON u.n = o.customer",
    "SELECT u.mood, count(*), sum(o.amount), max(o.day) FROM users u JOIN orders o ON u.id = o.customer GROUP BY u.mood"
    " ORDER BY u.mood",
    "SELECT m.age, array_agg(u.id ORDER BY u.id) FROM members m JOIN users u ON u.n = m.age GROUP BY 1 ORDER BY 1",
    "SELECT c.name, k.name, count(*) FROM customers c LEFT JOIN countries k ON k.code = c.country GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT id, name FROM users u WHERE NOT EXISTS (SELECT FROM orders o WHERE o.customer = u.id) ORDER BY id LIMIT 20",
    "WITH RECURSIVE r(id) AS (SELECT id FROM users WHERE id = 1 UNION ALL SELECT u.id FROM users u JOIN r ON u.id = r.id * 2)"
    " SELECT * FROM r ORDER BY 1",
    "SELECT country, count(*), grouping(country) FROM customers GROUP BY ROLLUP (country) ORDER BY 3, 1",
    "SELECT h.id, x.total FROM hashed h, LATERAL (SELECT sum(v) AS total FROM hashed i WHERE i.v < h.v) x ORDER BY h.v LIMIT 9",
    "SELECT doubled(n::integer), total(n) FROM users GROUP BY 1 ORDER BY 1",
    "SELECT (home).city, home FROM users WHERE (home).city = 'c17'",
    "SELECT id, rank() OVER (PARTITION BY mood ORDER BY name, id) FROM users ORDER BY id",
    "SELECT v FROM parted WHERE at BETWEEN '2019-06-01' AND '2020-06-01' ORDER BY id",
    "SELECT age_of('@user7:example.org'), (SELECT v FROM settings WHERE k = 'a')",
    "SELECT count(*) FROM users WHERE id === 5 OR n === 3",
    "SELECT name FROM members WHERE mod(age, 7) = 0 ORDER BY name COLLATE backwards",
]


@pytest.mark.parametrize("sql", JOINS)
def test_what_only_one_postgresql_can_answer(sql, here, oracle):
    if "===" in sql:
        sql = sql.replace("id ===", "id::integer ===")
    expected = rows(oracle, sql)
    assert rows(here, sql) == expected
    assert expected


def test_the_condition_prunes_and_changes_nothing(here):
    keyed = "SELECT count(*) FROM users WHERE id = 5"
    condition = re.search(r"LIST \(\((.*)\)\)$", rows(here, "SELECT pg_get_partkeydef('users'::regclass)")[0][0]).group(1)

    def parts(sql):
        return set(re.findall(r"Foreign Scan on (\S+)", "\n".join(line for line, in rows(here, "EXPLAIN " + sql))))
    assert len(parts(keyed)) == 3
    part = rows(here, f"SELECT DISTINCT {condition} FROM users WHERE id = 5")[0][0]
    assert len(parts(f"{keyed} AND {condition} = {part}")) == 1
    assert rows(here, f"{keyed} AND {condition} = {part}") == [(1,)]


@pytest.mark.parametrize("sql, state", [
    ("SELECT v FROM settings", "42501"),
    ("SELECT * FROM users", "42501"),
    ("SELECT mood FROM users", "42501"),
    ("SELECT doubled(1)", "42501"),
    ("SELECT * FROM young", "42501"),
    ('SELECT * FROM "Odd"."T x"', "42501"),
    ("SELECT * FROM mosaic_parts.users_0", "42501"),
    ("SELECT id, name FROM users", None),
    ("SELECT * FROM members", None),
    ("SELECT * FROM adults", None),
])
def test_grants_are_those_of_a_shard(cluster, sql, state):
    with coordinator_of(cluster, user="reader", password="reader", passfile="/dev/null") as there, \
            connected(cluster.conninfo(0), user="reader", password="reader", passfile="/dev/null") as shard:
        for cursor in (there,) if "mosaic_parts" in sql else (there, shard):
            try:
                cursor.execute(sql)
                assert state is None
            except psycopg2.Error as error:
                assert error.pgcode == state, error


def test_no_password_of_a_shard_is_to_be_seen(cluster):
    with coordinator_of(cluster, user="reader", password="reader", passfile="/dev/null") as cursor:
        assert {options for options, in rows(cursor, "SELECT umoptions FROM pg_user_mappings")} == {None}
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM pg_user_mapping")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("CREATE FOREIGN TABLE pg_temp.mine (id bigint) SERVER mosaic_s1 OPTIONS (table_name 'users')")


@pytest.mark.parametrize("sql", [
    "INSERT INTO members VALUES ('x', 1)", "UPDATE settings SET v = NULL", "DELETE FROM users WHERE id = 5",
    "TRUNCATE settings", "INSERT INTO counted VALUES (1)"])
def test_nothing_can_be_written(cluster, here, sql):
    with pytest.raises(psycopg2.Error) as refused:
        here.execute(sql)
    assert refused.value.pgcode in ("55000", "0A000", "25006"), refused.value


@pytest.mark.parametrize("view, why", [("grouped", "must appear in the GROUP BY clause"), ("secrets", "row level security"),
                                       ("over_grouped", "must appear in the GROUP BY clause")])
def test_what_cannot_be_read_there_says_so(here, view, why):
    for sql in (f"SELECT * FROM {view}", f"SELECT count(*) FROM {view} WHERE id = 1",
                f"SELECT 1 FROM members LEFT JOIN {view} ON id = age LIMIT 1"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as refused:
            here.execute(sql)
        assert why in refused.value.diag.message_detail


def test_owners_are_kept(here):
    assert rows(here, "SELECT tableowner FROM pg_tables WHERE tablename = 'users' UNION ALL"
                      " SELECT viewowner FROM pg_views WHERE viewname = 'adults'")[1] == ("owner_of_some",)


def state(lab):
    return json.loads(lab.run("status", "--json").stdout)["coordinator"]


@pytest.mark.parametrize("change, undo, check", [
    ("ALTER TABLE settings ADD COLUMN extra integer", "ALTER TABLE settings DROP COLUMN extra", "SELECT extra FROM settings"),
    ("ALTER TYPE mood ADD VALUE 'new'", None, "SELECT 'new'::mood"),
    ("CREATE FUNCTION later() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION later()", "SELECT later()"),
    ("CREATE OR REPLACE VIEW adults AS SELECT name FROM members WHERE age >= 21", None,
     "SELECT 1 / count(*) FROM pg_views WHERE definition LIKE '%21%'"),
    ("GRANT SELECT ON settings TO reader", "REVOKE SELECT ON settings FROM reader",
     "SELECT 1 / has_table_privilege('reader', 'settings', 'SELECT')::integer"),
    ("GRANT SELECT (mood) ON users TO reader", "REVOKE SELECT (mood) ON users FROM reader",
     "SELECT 1 / has_column_privilege('reader', 'users', 'mood', 'SELECT')::integer"),
    ("CREATE DOMAIN fresh AS text", "DROP DOMAIN fresh", "SELECT 'x'::fresh"),
    ("ALTER TABLE settings OWNER TO owner_of_some", None,
     "SELECT 1 / count(*) FROM pg_class WHERE relname = 'settings' AND relowner = 'owner_of_some'::regrole"),
    ("CREATE SCHEMA later; CREATE TABLE later.t (a integer)", "DROP SCHEMA later CASCADE", "SELECT * FROM later.t"),
    ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "GRANT USAGE ON SCHEMA public TO PUBLIC",
     "SELECT 1 / (1 - has_schema_privilege('reader', 'public', 'USAGE')::integer)"),
])
def test_after_a_change_it_is_behind_until_the_next_apply(cluster, change, undo, check):
    with superuser(cluster, 0) as cursor:  # in the lab's database; public's owner is not the lab's role
        cursor.execute(change if "SCHEMA public" in change else "SELECT 1")
    if "SCHEMA public" not in change:
        cluster.query(0, change)
    assert state(cluster)["state"] == "behind"
    dry = cluster.run("apply", "--dry-run", check=True).stdout
    assert "~ coordinator: definitions of" in dry
    cluster.run("apply", "--yes", check=True)
    assert state(cluster)["state"] == "in step"
    with coordinator_of(cluster) as cursor:
        cursor.execute(check)
    if undo:
        with superuser(cluster, 0) as cursor:
            cursor.execute(undo)
        assert state(cluster)["state"] == "behind"
        cluster.run("apply", "--yes", check=True)
        with coordinator_of(cluster) as cursor:
            with pytest.raises(psycopg2.Error):
                cursor.execute(check)


def test_indexes_statistics_and_rows_do_not_count(cluster):
    cluster.query(0, "CREATE INDEX ON settings (v); ANALYZE; INSERT INTO settings VALUES ('z'); DELETE FROM settings"
                     " WHERE k = 'z'")
    cluster.query(0, "VACUUM")
    assert state(cluster)["state"] == "in step"


def test_readers_meanwhile_see_old_or_new(cluster):
    cluster.query(0, "ALTER TABLE settings ADD COLUMN while_read integer")
    with coordinator_of(cluster) as reader:
        command = subprocess.Popen([COMMAND, "apply", "--yes"], env=environment({"PGMOSAIC_CONFIG": cluster.config}),
                                   cwd=cluster.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        seen = set()
        while command.poll() is None:
            seen.add(rows(reader, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM members)")[0])
        assert command.returncode == 0, command.stderr.read()
        assert seen == {(841, 500)}
        rows(reader, "SELECT while_read FROM settings")


def test_a_reader_that_stays_is_waited_for(cluster):
    """Its locks are not queued behind for long: another reader goes on meanwhile."""
    cluster.query(0, "ALTER TABLE settings DROP COLUMN while_read")
    with coordinator_of(cluster) as reader, coordinator_of(cluster) as other:
        reader.execute("BEGIN; SELECT count(*) FROM users")
        command = subprocess.Popen([COMMAND, "apply", "--yes"], env=environment({"PGMOSAIC_CONFIG": cluster.config}),
                                   cwd=cluster.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            start = time.monotonic()
            rows(other, "SELECT count(*) FROM users")
            assert time.monotonic() - start < 2
        assert command.poll() is None
        reader.execute("ROLLBACK")
        assert command.wait(30) == 0
    assert state(cluster)["state"] == "in step"


@pytest.mark.parametrize("point", ["coordinator.begun", "coordinator.before_commit"])
def test_killed_in_the_middle_it_leaves_the_old_one(cluster, control_points, point):
    cluster.query(0, f'ALTER TABLE settings ADD COLUMN "{point}" integer')
    done = cluster.run("apply", "--yes", env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
    assert done.returncode == -signal.SIGKILL
    with coordinator_of(cluster) as cursor:
        assert rows(cursor, "SELECT count(*) FROM users") == [(841,)]
        with pytest.raises(psycopg2.errors.UndefinedColumn):
            cursor.execute(f'SELECT "{point}" FROM settings')
        cluster.run("apply", "--yes", check=True)
        cursor.execute(f'SELECT "{point}" FROM settings')


def test_a_changed_password_is_carried(cluster):
    with superuser(cluster, 2) as cursor:
        cursor.execute(f"ALTER ROLE {cluster.name} PASSWORD 'another'")
    passfile = re.search(r"passfile=(\S+)", cluster.conninfo(2)).group(1)
    port = re.search(r"port=(\d+)", cluster.conninfo(2)).group(1)
    with open(passfile) as file:
        before = file.read()
    with open(passfile, "w") as file:
        file.write(f"*:{port}:*:{cluster.name}:another\n" + before)
    assert state(cluster)["why"] == "the way to a shard, or its login, has changed"
    cluster.run("apply", "--yes", check=True)
    assert state(cluster)["state"] == "in step"
    with coordinator_of(cluster) as cursor:
        assert rows(cursor, "SELECT count(*) FROM users") == [(841,)]


def test_out_of_reach_it_keeps_nothing_else_from_being_applied(cluster):
    text = open(cluster.config).read()
    try:
        with open(cluster.config, "w") as file:
            file.write(text.replace("engine: postgres\n", 'engine: postgres\ncoordinator: "host=127.0.0.1 port=1 dbname=x"\n'))
        done = cluster.run("apply", "--yes", check=True)
        assert "tier 4 is not available: the coordinator: " in done.stderr
        assert state(cluster)["state"] == "out of reach"
        assert "warning" in cluster.run("doctor").stdout
        with open(cluster.config, "w") as file:
            file.write(text.replace("engine: postgres\n", "engine: postgres\ncoordinator: none\n"))
        assert "coordinator" not in cluster.run("apply", "--yes", check=True).stderr
        assert state(cluster)["state"] == "none"
    finally:
        with open(cluster.config, "w") as file:
            file.write(text)


def test_a_database_of_somebody_else_is_left_alone(cluster):
    text = open(cluster.config).read()
    oracle = re.sub(r"dbname=\S+", "dbname=oracle", cluster.conninfo(1))
    try:
        with open(cluster.config, "w") as file:
            file.write(text.replace("engine: postgres\n", f'engine: postgres\ncoordinator: "{oracle}"\n'))
        done = cluster.run("apply", "--yes", check=True)
        assert "has tables of its own" in done.stderr
        with connected(cluster.conninfo(1), dbname="oracle") as cursor:
            assert rows(cursor, "SELECT count(*) FROM users") == [(841,)]
    finally:
        with open(cluster.config, "w") as file:
            file.write(text)


def test_what_an_administrator_must_do_is_said_as_sql(make_lab):
    lab = make_lab(2, name="bare")
    with superuser(lab, 0) as cursor:
        cursor.execute("DROP DATABASE bare_coordinator")
    lab.everywhere("CREATE TABLE users (id bigint PRIMARY KEY)")
    lab.add_tables("  - {name: users, key: id}\n")
    done = lab.run("apply", "--yes", check=True)
    assert "there is no database bare_coordinator, and role bare may not make it" in done.stderr
    assert state(lab)["state"] == "unfit"
    sql = re.findall(r"^      (\S.*)$", done.stderr, re.M)
    with superuser(lab, 0) as cursor:
        cursor.execute("ALTER ROLE bare CREATEDB")
        directory, port = rows(cursor, "SELECT current_setting('unix_socket_directories'), current_setting('port')")[0]
    assert "+ coordinator: database bare_coordinator" in lab.run("apply", "--dry-run", check=True).stdout
    done = lab.run("apply", "--yes", check=True)
    assert "role bare may not use postgres_fdw in database bare_coordinator" in done.stderr
    with superuser(lab, 0) as cursor:
        cursor.execute("DROP DATABASE bare_coordinator")
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", directory, "-p", port, "-U", "postgres", "postgres"],
                   input="\n".join(sql), text=True, check=True, env=environment())
    done = lab.run("apply", "--yes", check=True)
    assert "tier 4 is not available" not in done.stderr
    assert state(lab)["state"] == "in step"


def test_what_is_lacking_turns_it_off_and_is_named(make_lab):
    lab = make_lab(2, name="lacking")
    with superuser(lab, 0) as cursor:
        cursor.execute("CREATE EXTENSION pageinspect")
        cursor.execute('CREATE TABLE "no""t" (id integer); CREATE VIEW over_it AS SELECT id FROM "no""t"')
        cursor.execute("GRANT SELECT ON over_it TO lacking")
        cursor.execute("CREATE FUNCTION owned() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user'")
    lab.everywhere("CREATE TABLE users (id bigint PRIMARY KEY)")
    lab.add_tables("  - {name: users, key: id}\n")
    done = lab.run("apply", "--yes", check=True)
    assert 'the coordinator lacks what could not be made: CREATE EXTENSION IF NOT EXISTS "pageinspect"' in done.stderr
    assert "is not whole" in state(lab)["why"]
    with coordinator_of(lab) as cursor:  # its owner's rights are not the lab's: nobody may call it
        assert rows(cursor, "SELECT proacl::text FROM pg_proc WHERE proname = 'owned'") == [("{lacking=X/lacking}",)]
    with superuser(lab, 0) as cursor:
        directory, port = rows(cursor, "SELECT current_setting('unix_socket_directories'), current_setting('port')")[0]
    with connected(f"host={directory} port={port} user=postgres dbname=lacking_coordinator") as cursor:
        cursor.execute("CREATE EXTENSION pageinspect")
    lab.run("apply", "--yes", check=True)
    assert state(lab)["state"] == "in step"
    with coordinator_of(lab) as cursor:
        for table in ('"no""t"', "over_it"):
            with pytest.raises(psycopg2.errors.FeatureNotSupported, match="cannot be read over all shards"):
                cursor.execute(f"SELECT * FROM {table}")
