"""Changes of the schema through the proxy: on every shard that has the table, in one transaction, or on none."""
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time

import psycopg
import psycopg2
import pytest
from conftest import PATIENCE, superuser
from proxies import STANDIN, ask, eventually, nothing_is_left, start_proxy, together
from rawwire import bind, describe, execute, kinds, parse, query, sync

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text, score int);
CREATE TABLE orders (user_id bigint REFERENCES users (id), n int, PRIMARY KEY (user_id, n));
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE parts (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
"""
TABLES = (" - {name: users, key: id, function: modulo}\n - {name: orders, key: user_id, function: modulo}\n"
          " - {name: parts, key: id, function: modulo}\n - {name: countries, kind: reference}\n"
          " - {name: later, key: id, function: modulo}\n")
LATER = "CREATE TABLE later (id bigint PRIMARY KEY, word text)"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.query(0, "CREATE TABLE home (id int PRIMARY KEY, word text)")
    lab.apply_tables(SCHEMA + LATER, TABLES)
    with start_proxy(lab, {"schema_check_interval": "1h"}) as proxy:
        yield proxy


@pytest.fixture
def one(proxy, lab):
    with contextlib.closing(proxy.psycopg2()) as connection:
        yield connection
    nothing_is_left(lab)


def everywhere(lab, sql):
    """What all shards say alike."""
    said = [lab.query(shard, sql) for shard in range(LAB_SHARDS)]
    assert all(rows == said[0] for rows in said), said
    return said[0]


def column(lab, table, name):
    return everywhere(lab, f"SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{table}'::regclass "
                           f"AND attname = '{name}' AND NOT attisdropped")


@pytest.mark.parametrize(("do", "check", "undo"), [
    ("ALTER TABLE users ADD COLUMN extra int DEFAULT 3",
     "SELECT 1 FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'extra'", "ALTER TABLE users DROP extra"),
    ("ALTER TABLE users ADD CONSTRAINT positive CHECK (score > 0)",
     "SELECT 1 FROM pg_constraint WHERE conname = 'positive'", "ALTER TABLE users DROP CONSTRAINT positive"),
    ("ALTER TABLE orders ADD CONSTRAINT again FOREIGN KEY (user_id) REFERENCES users",
     "SELECT 1 FROM pg_constraint WHERE conname = 'again'", "ALTER TABLE orders DROP CONSTRAINT again"),
    ("ALTER TABLE countries ADD CONSTRAINT named UNIQUE (name)",
     "SELECT 1 FROM pg_constraint WHERE conname = 'named'", "ALTER TABLE countries DROP CONSTRAINT named"),
    ("CREATE INDEX users_name ON users (name)", "SELECT 1 FROM pg_class WHERE relname = 'users_name'",
     "DROP INDEX users_name"),
    ("CREATE INDEX CONCURRENTLY users_beside ON users (name)",
     "SELECT 1 FROM pg_index WHERE indexrelid = 'users_beside'::regclass AND indisvalid",
     "DROP INDEX CONCURRENTLY users_beside"),
    ("CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
     "SELECT 1 FROM pg_constraint WHERE conrelid = 'parts_2026'::regclass AND conname = 'mosaic_owner'",
     "DROP TABLE parts_2026"),
    ("CREATE VIEW named AS SELECT id, name FROM users", "SELECT 1 FROM pg_class WHERE relname = 'named'", "DROP VIEW named"),
    ("CREATE TYPE mood AS ENUM ('sad', 'glad')", "SELECT 1 FROM pg_type WHERE typname = 'mood'", "DROP TYPE mood"),
    ("CREATE DOMAIN percent AS int CHECK (VALUE < 101)", "SELECT 1 FROM pg_type WHERE typname = 'percent'",
     "DROP DOMAIN percent"),
    ("CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'",
     "SELECT 1 FROM pg_proc WHERE proname = 'twice'", "DROP FUNCTION twice(int)"),
    ("CREATE SCHEMA more", "SELECT 1 FROM pg_namespace WHERE nspname = 'more'", "DROP SCHEMA more"),
    ("CREATE EXTENSION pg_trgm", "SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'", "DROP EXTENSION pg_trgm"),
    ("CREATE POLICY own ON users USING (id > 0)", "SELECT 1 FROM pg_policy WHERE polname = 'own'",
     "DROP POLICY own ON users"),
    ("ALTER TABLE users ENABLE ROW LEVEL SECURITY",
     "SELECT 1 FROM pg_class WHERE oid = 'users'::regclass AND relrowsecurity",
     "ALTER TABLE users DISABLE ROW LEVEL SECURITY"),
    ("GRANT SELECT ON users, countries TO PUBLIC",
     "SELECT 1 FROM pg_class WHERE oid = 'users'::regclass AND relacl::text LIKE '%{=r/%' OR oid = 'users'::regclass "
     "AND relacl::text LIKE '%,=r/%'", "REVOKE SELECT ON users, countries FROM PUBLIC"),
    ("COMMENT ON COLUMN users.name IS 'theirs'",
     "SELECT 1 WHERE col_description('users'::regclass, 2) = 'theirs'", "COMMENT ON COLUMN users.name IS NULL"),
])
def test_every_shard_does_it(lab, one, do, check, undo):
    words = do.split()
    assert ask(one, do).split()[0] == words[0]
    assert everywhere(lab, check) == [(1,)]
    assert ask(one, undo).split()[0] == undo.split()[0]
    with contextlib.suppress(psycopg.errors.UndefinedTable, psycopg2.errors.UndefinedTable):  # of a regclass
        assert everywhere(lab, check) == []


def test_roles_are_made_once_a_server(lab, one):
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as connection:
            connection.execute("ALTER ROLE demo CREATEROLE")
    assert ask(one, "CREATE ROLE ddl_reader") == "CREATE ROLE"
    try:
        assert everywhere(lab, "SELECT 1 FROM pg_roles WHERE rolname = 'ddl_reader'") == [(1,)]
        ask(one, "GRANT SELECT ON users TO ddl_reader")
        assert everywhere(lab, "SELECT has_table_privilege('ddl_reader', 'users', 'SELECT')") == [(True,)]
        ask(one, "REVOKE SELECT ON users FROM ddl_reader")
    finally:
        assert ask(one, "DROP ROLE ddl_reader") == "DROP ROLE"


def test_a_rollback_undoes_it_on_all_shards(lab, one):
    ask(one, "BEGIN")
    ask(one, "ALTER TABLE users ADD COLUMN gone int")
    ask(one, "CREATE INDEX users_gone ON users (gone)")
    ask(one, "SAVEPOINT s")
    ask(one, "ALTER TABLE countries ADD COLUMN gone int")
    ask(one, "ROLLBACK TO s")
    ask(one, "ROLLBACK")
    assert column(lab, "users", "gone") == column(lab, "countries", "gone") == []
    ask(one, "BEGIN")
    ask(one, "ALTER TABLE users ADD COLUMN stays int")
    ask(one, "SAVEPOINT s")
    ask(one, "ALTER TABLE countries ADD COLUMN gone int")
    ask(one, "ROLLBACK TO s")
    ask(one, "COMMIT")
    assert column(lab, "users", "stays") == [("integer",)]
    assert column(lab, "countries", "gone") == []
    ask(one, "ALTER TABLE users DROP COLUMN stays")


def test_a_failure_on_one_shard_undoes_all(lab, one):
    lab.query(1, "INSERT INTO users VALUES (1, 'x', -5)")
    try:
        with pytest.raises(psycopg2.errors.CheckViolation) as found:
            ask(one, "ALTER TABLE users ADD CONSTRAINT positive CHECK (score > 0)")
        assert "shard s1" in found.value.diag.context
        assert everywhere(lab, "SELECT 1 FROM pg_constraint WHERE conname = 'positive'") == []
    finally:
        lab.query(1, "DELETE FROM users")


def test_a_mistyped_table_is_postgresqls_own_error(one):
    for text in ("ALTER TABLE usres ADD COLUMN x int", "DROP TABLE usres", "TRUNCATE usres", "CREATE INDEX ON usres (x)",
                 "COMMENT ON TABLE usres IS 'x'", "GRANT SELECT ON usres TO PUBLIC", "VACUUM usres"):
        with pytest.raises(psycopg2.errors.UndefinedTable):
            ask(one, text)
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        ask(one, "ALTER TABLE users DROP COLUMN nosuch")
    with pytest.raises(psycopg2.errors.UndefinedObject):
        ask(one, "DROP INDEX nosuch")
    assert ask(one, "DROP TABLE IF EXISTS usres") == "DROP TABLE"


def test_what_could_not_hold_is_refused_with_the_fix(one):
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
        ask(one, "ALTER TABLE users ADD UNIQUE (name)")
    assert "sharding key (id)" in str(found.value) and found.value.diag.message_hint == "Put id into it."
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
        ask(one, "SELECT 1; ALTER TABLE users ADD COLUMN a int")
    assert "by itself" in found.value.diag.message_hint


def tags(proxy, text):
    with proxy.wire() as wire:
        return [body.rstrip(b"\0").decode() for kind, body in wire.exchange(query(text)) if kind == "C"]


def test_several_in_one_text(proxy, lab, one):
    def exists(name):
        return [lab.query(shard, f"SELECT to_regclass('{name}') IS NOT NULL")[0][0] for shard in range(LAB_SHARDS)]

    ask(one, "DROP TABLE later")
    assert tags(proxy, f"CREATE TABLE x (a int); {LATER}; -- made\nCREATE INDEX later_word ON later (word);"
                       "CREATE VIEW both_x AS SELECT a FROM x; ALTER TABLE users ADD COLUMN a int;") == [
        "CREATE TABLE", "CREATE TABLE", "CREATE INDEX", "CREATE VIEW", "ALTER TABLE"]
    assert exists("x") == exists("both_x") == [True, False, False] and exists("later_word") == [True] * LAB_SHARDS
    assert everywhere(lab, "SELECT convalidated FROM pg_constraint WHERE conrelid = 'later'::regclass AND conname = "
                           "'mosaic_owner'") == [(True,)]
    assert "mosaic_owner" not in lab.run("apply", "--dry-run", check=True).stdout
    ask(one, "INSERT INTO later VALUES (1, 'a'), (2, 'b')")
    assert ask(one, "SELECT count(a) FROM users") == [(0,)]
    lab.query(1, "CREATE INDEX in_the_way ON users (a)")
    with pytest.raises(psycopg2.errors.DuplicateTable) as found:
        ask(one, "DROP VIEW both_x; CREATE INDEX in_the_way ON users (a); DROP TABLE x")
    assert "shard s1" in found.value.diag.context and exists("both_x") == [True, False, False]
    lab.query(1, "DROP INDEX in_the_way")
    ask(one, "BEGIN")
    ask(one, "DROP VIEW both_x; ALTER TABLE users DROP COLUMN a")
    ask(one, "ROLLBACK")
    assert len(column(lab, "users", "a")) == 1
    with pytest.raises(psycopg2.errors.FeatureNotSupported):  # where the second one is to be is the first one's to say
        ask(one, "CREATE VIEW spread AS SELECT id FROM users; CREATE VIEW over AS SELECT id FROM spread")
    assert tags(proxy, "DROP VIEW both_x; DROP TABLE x; ALTER TABLE users DROP a") == ["DROP VIEW", "DROP TABLE", "ALTER TABLE"]
    assert exists("x") == [False] * LAB_SHARDS
    ask(one, "DROP INDEX later_word")
    ask(one, "TRUNCATE later")


def test_others_see_the_new_schema(proxy, lab, one):
    with proxy.session() as other, psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as third:
        assert third.execute("SELECT * FROM users WHERE id = %s", (7,)).fetchall() == []
        other("SELECT * FROM users")
        ask(one, "ALTER TABLE users ADD COLUMN shown text DEFAULT 'yes'")
        other("INSERT INTO users (id) VALUES (7), (8)")
        assert other("SELECT id, shown FROM users ORDER BY id") == [(7, "yes"), (8, "yes")]
        assert third.execute("SELECT shown FROM users WHERE id = %s", (7,)).fetchall() == [("yes",)]
        ask(one, "CREATE VIEW seen AS SELECT id, shown FROM users")
        assert sorted(other("SELECT id FROM seen")) == [(7,), (8,)]
        ask(one, "CREATE OR REPLACE VIEW seen AS SELECT id, shown FROM users WHERE id = 8")
        assert other("SELECT id FROM seen") == [(8,)]
        ask(one, "DROP VIEW seen")
        ask(one, "ALTER TABLE users DROP COLUMN shown")
        assert sorted(other("SELECT * FROM users")) == [(7, None, None), (8, None, None)]
        assert ask(one, "TRUNCATE users, orders") == "TRUNCATE TABLE"
        assert other("SELECT count(*) FROM users") == [(0,)]


def test_a_view_that_reads_no_table_is_the_home_shards(proxy, lab, one):
    """On other shards one of its name may be another one, or none."""
    ask(one, "INSERT INTO users (id) VALUES (10), (11), (12)")
    ask(one, "CREATE VIEW series AS SELECT g FROM generate_series(1, 2) g")
    try:
        for read in ("SELECT id, g FROM users, series", "SELECT id, g FROM series, users WHERE id IN (10, 11, 12)",
                     "SELECT id, g FROM users, (SELECT g FROM series) s"):
            assert sorted(ask(one, read)) == [(id, g) for id in (10, 11, 12) for g in (1, 2)], read
        lab.query(1, "CREATE VIEW series AS SELECT g FROM generate_series(1, 5) g")
        assert ask(one, "SELECT count(*) FROM users, series") == [(6,)]
        assert ask(one, "SELECT count(*) FROM users, series WHERE id = 10") == [(2,)]
        ask(one, "CREATE OR REPLACE VIEW series AS SELECT g, g * 2 AS twice FROM generate_series(1, 3) g")
        assert ask(one, "SELECT sum(twice) FROM users, series") == [(36,)]
    finally:
        lab.query(1, "DROP VIEW IF EXISTS series")
        ask(one, "DROP VIEW series")
        ask(one, "DELETE FROM users")


def test_within_a_segment_rows_of_shards_wait_for_its_end(proxy, lab):
    """Nobody has said BEGIN: test_proxy_own_schema.py has what a transaction may do behind a change."""
    with proxy.wire() as wire:
        change = parse("ALTER TABLE users ADD COLUMN y int") + bind() + execute()
        for text in ("SELECT * FROM users WHERE id = 1", "SELECT count(*) FROM countries"):
            got = wire.exchange(change + parse(text) + bind() + execute() + sync())
            assert b"C0A000\0" in got[-2][1] and b"Sync" in got[-2][1] and kinds(got)[-2:] == ["E", "Z"], got
    assert column(lab, "users", "y") == []
    nothing_is_left(lab)


def test_by_the_extended_protocol(proxy, lab):
    with proxy.wire() as wire:
        got = wire.exchange(parse("ALTER TABLE users ADD COLUMN z int") + bind() + describe() + execute() + sync())
        assert kinds(got) == list("12nCZ") and got[-2][1] == b"ALTER TABLE\0"
        got = wire.exchange(parse("VACUUM users") + bind() + execute() + sync())
        assert kinds(got) == list("12CZ")
        assert kinds(wire.exchange(parse("ALTER TABLE users DROP COLUMN z") + bind() + execute() + sync())) == list("12CZ")
    assert column(lab, "users", "z") == []


def test_what_cannot_be_within_a_transaction(lab, one):
    for text, tag in (("VACUUM", "VACUUM"), ("VACUUM (ANALYZE) users, countries", "VACUUM"), ("ANALYZE users", "ANALYZE"),
                      ("REINDEX TABLE users", "REINDEX"), ("REINDEX TABLE CONCURRENTLY users", "REINDEX"),
                      ("CLUSTER users USING users_pkey", "CLUSTER")):
        assert ask(one, text) == tag
    ask(one, "BEGIN")
    with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
        ask(one, "VACUUM users")
    ask(one, "ROLLBACK")
    with pytest.raises(psycopg2.errors.NoActiveSqlTransaction):
        ask(one, "LOCK TABLE users")
    ask(one, "BEGIN")
    assert ask(one, "LOCK TABLE users IN EXCLUSIVE MODE") == "LOCK TABLE"
    assert everywhere(lab, "SELECT count(*) FROM pg_locks WHERE relation = 'users'::regclass AND mode = 'ExclusiveLock'") \
        == [(1,)]
    ask(one, "ROLLBACK")


def test_an_index_that_fails_on_one_shard(lab, one):
    lab.query(1, "INSERT INTO users VALUES (1, 'x', 0)")
    with pytest.raises(psycopg2.errors.DivisionByZero) as found:
        ask(one, "CREATE INDEX CONCURRENTLY users_odd ON users ((1 / score))")
    assert "shard s1\ndone on s0, s2" in found.value.diag.context and "IF NOT EXISTS" in found.value.diag.message_hint
    assert lab.query(1, INDEX) == []
    lab.query(1, "DELETE FROM users")
    assert ask(one, "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_odd ON users ((1 / score))") == "CREATE INDEX"
    assert everywhere(lab, INDEX) == [(True,)]
    with pytest.raises(psycopg2.errors.DuplicateTable) as found:
        ask(one, "CREATE INDEX CONCURRENTLY users_odd ON users (score)")
    assert "done on no shard" in found.value.diag.context
    with pytest.raises(psycopg2.errors.UndefinedColumn):  # no leftover, but somebody's index
        ask(one, "CREATE INDEX CONCURRENTLY users_odd ON users (nosuch)")
    assert everywhere(lab, INDEX) == [(True,)]
    ask(one, "DROP INDEX CONCURRENTLY users_odd")


INDEX = "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname = 'users_odd'"


def test_a_unique_index_that_one_shard_violates(lab, one):
    lab.query(1, "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE; INSERT INTO users VALUES (1, 'x', 0), (1, 'x', 1)")
    try:
        with pytest.raises(psycopg2.errors.UniqueViolation) as found:
            ask(one, "CREATE UNIQUE INDEX CONCURRENTLY users_odd ON users (id)")
        assert "done on s0, s2" in found.value.diag.context
        assert lab.query(1, INDEX) == []
        ask(one, "DROP INDEX CONCURRENTLY IF EXISTS users_odd")
        assert everywhere(lab, INDEX) == []
    finally:
        lab.query(1, "TRUNCATE users, orders; ALTER TABLE users ADD PRIMARY KEY (id); "
                     "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id)")


def test_an_index_whose_connection_is_lost_is_made_by_sending_it_again(lab, one):
    create = "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_odd ON users (name)"
    with lab.connect(1) as blocker, concurrent.futures.ThreadPoolExecutor(1) as pool:
        cursor = blocker.cursor()
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO users VALUES (1, 'x', 0)")  # its end is waited for
        made = pool.submit(ask, one, create)
        assert eventually(lambda: lab.query(1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE "
                                               "'CREATE INDEX CONC%' AND wait_event_type = 'Lock'"), seconds=10)
        with pytest.raises(psycopg2.Error) as found:
            made.result(20 * PATIENCE)
        assert "done on s0, s2" in found.value.diag.context
        cursor.execute("ROLLBACK")
    assert lab.query(1, INDEX) == [(False,)]
    assert ask(one, create) == "CREATE INDEX"
    assert everywhere(lab, INDEX) == [(True,)]
    ask(one, "DROP INDEX CONCURRENTLY users_odd")


def test_a_configured_table_is_dropped_and_made_anew(lab, one):
    ask(one, "INSERT INTO later VALUES (1, 'a'), (2, 'b')")
    assert ask(one, "DROP TABLE IF EXISTS later, nosuch") == "DROP TABLE"
    assert everywhere(lab, "SELECT to_regclass('later')") == [(None,)]
    assert "later" in lab.run("status").stdout
    with pytest.raises(psycopg2.errors.UndefinedTable):
        ask(one, "SELECT * FROM later")
    assert ask(one, LATER) == "CREATE TABLE"
    assert ask(one, "INSERT INTO later VALUES (3, 'c'), (4, 'd')") == "INSERT 0 2"
    assert sorted(ask(one, "SELECT * FROM later")) == [(3, "c"), (4, "d")]
    owner = "SELECT convalidated FROM pg_constraint WHERE conrelid = 'later'::regclass AND conname = 'mosaic_owner'"
    assert everywhere(lab, owner) == [(True,)]
    assert "mosaic_owner" not in lab.run("apply", "--dry-run", check=True).stdout
    with pytest.raises(psycopg2.errors.CheckViolation):
        lab.query(0, "INSERT INTO later SELECT i, 'x' FROM generate_series(1, 3) i")
    assert ask(one, LATER.replace("TABLE", "TABLE IF NOT EXISTS")) == "CREATE TABLE"
    ask(one, "BEGIN")
    ask(one, "DROP TABLE later")
    with pytest.raises(psycopg2.errors.UndefinedObject):
        ask(one, "CREATE TABLE later (id bigint PRIMARY KEY, word nosuch)")
    ask(one, "ROLLBACK")
    ask(one, "BEGIN")
    ask(one, "DROP TABLE later")
    ask(one, LATER.replace("TABLE", "TABLE IF NOT EXISTS"))
    ask(one, "COMMIT")
    assert everywhere(lab, owner) == [(True,)]
    assert "mosaic_owner" not in lab.run("apply", "--dry-run", check=True).stdout


def test_two_at_a_time(proxy, lab):
    def work(number):
        with contextlib.closing(proxy.psycopg2()) as connection:  # a login, too, waits while the schema is read, and no longer
            for turn in range(2):
                ask(connection, f"ALTER TABLE users ADD COLUMN c{number}_{turn} int")
                ask(connection, f"ALTER TABLE users DROP COLUMN c{number}_{turn}")

    together(work, range(4))
    nothing_is_left(lab)


@pytest.mark.parametrize("tables", ["", "_configured"])
def test_pgbench_makes_its_tables(lab, make_lab, tables):
    names = [f"pgbench_{name}" for name in ("accounts", "branches", "tellers", "history")]
    other = make_lab(shards=2, name=f"bench{tables}") if tables else lab
    if tables:
        other.everywhere("".join(f"CREATE TABLE {name} (bid int, {'aid int, ' * (name == names[0])}x int);" for name in names))
        other.add_tables("".join(f" - {{name: {name}, key: bid, function: modulo}}\n" for name in names))
        other.run("apply", "--yes", check=True)
    with start_proxy(other, {"schema_check_interval": "1h"}) as proxy:
        steps = "dt" if tables else "dtp"  # its keys are aid, tid: none over shards
        done = subprocess.run(["pgbench", "-i", "-I", steps], env=proxy.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        with proxy.session() as session:
            assert session("SELECT count(*) FROM pgbench_accounts") == [(0,)]
    there = [other.query(shard, "SELECT to_regclass('pgbench_accounts') IS NOT NULL") for shard in range(other.shards)]
    assert there == [[(bool(tables) or shard == 0,)] for shard in range(other.shards)]
    if not tables:
        lab.query(0, "DROP TABLE " + ", ".join(names))


def test_drift_is_shown(lab, one):
    lab.query(1, "ALTER TABLE users ADD COLUMN drifted int")
    try:
        with pytest.raises(psycopg2.errors.DuplicateColumn) as found:
            ask(one, "ALTER TABLE users ADD COLUMN drifted int")
        assert "shard s1" in found.value.diag.context
        status = lab.run("status")
        assert "drifted" in status.stdout + status.stderr
    finally:
        lab.query(1, "ALTER TABLE users DROP COLUMN drifted")


def test_a_shard_that_goes_down_undoes_all(lab, one):
    ask(one, "BEGIN")
    ask(one, "ALTER TABLE users ADD COLUMN lost int")
    lab.query(1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' "
                 "AND datname = current_database()")
    with pytest.raises(psycopg2.Error):
        ask(one, "COMMIT")
    one.cursor().execute("ROLLBACK")
    time.sleep(0.2)
    assert column(lab, "users", "lost") == []


OPEN = "state = 'idle in transaction' AND datname = current_database()"


def test_a_shard_that_goes_down_while_another_is_asked_what_names_mean(lab, one):
    """Behind a change of the schema the search_path is asked for anew: here while it is, the transaction breaks."""
    ask(one, "BEGIN")
    ask(one, "ALTER TABLE users ADD COLUMN lost int")
    asked = [pid for shard in (0, 2) for pid, in lab.query(shard, f"SELECT pid FROM pg_stat_activity WHERE {OPEN}")]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for pid in asked:
            os.kill(pid, signal.SIGSTOP)
        try:
            committed = pool.submit(ask, one, "COMMIT")
            time.sleep(0.2)
            lab.query(1, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OPEN}")
            time.sleep(0.2)
        finally:
            for pid in asked:
                os.kill(pid, signal.SIGCONT)
        with pytest.raises(psycopg2.Error):
            committed.result(20 * PATIENCE)
        assert pool.submit(ask, one, "ROLLBACK").result(20 * PATIENCE) == "ROLLBACK"
    eventually(lambda: column(lab, "users", "lost") == [])


HARD = "SELECT count(b.{0}) FROM users a JOIN users b ON a.id = b.id + 1"  # what the coordinator alone can say
COMBINED = "SELECT count(DISTINCT {0}), avg(id) FROM users"


def test_the_coordinator_follows(proxy, one):
    with proxy.session() as other:
        ask(one, "ALTER TABLE users ADD COLUMN late int DEFAULT 4")
        ask(one, "INSERT INTO users VALUES " + ", ".join(f"({i}, 'n', {i})" for i in range(1, 21)))
        assert ask(one, HARD.format("late")) == [(19,)]
        assert other(COMBINED.format("late")) == [(1, 10.5)]
        ask(one, "CREATE VIEW tardy AS SELECT id, late FROM users WHERE id < 11")
        assert other("SELECT count(*) FROM tardy a JOIN tardy b ON a.id = b.id + 1") == [(9,)]
        ask(one, "CREATE OR REPLACE VIEW tardy AS SELECT id, late FROM users WHERE id < 6")
        assert other("SELECT count(*) FROM tardy a JOIN tardy b ON a.id = b.id + 1") == [(4,)]
        ask(one, "DROP VIEW tardy")
        ask(one, "ALTER TABLE users DROP COLUMN late")
        for text in (HARD, COMBINED):
            with pytest.raises(psycopg2.errors.UndefinedColumn):
                other(text.format("late"))
        ask(one, "CREATE TABLE fresh (id int)")
        ask(one, "INSERT INTO fresh VALUES (1), (2)")
        assert other("SELECT count(*) FROM fresh JOIN users ON users.id = fresh.id + 1") == [(2,)]
        ask(one, "DROP TABLE fresh")
        ask(one, "TRUNCATE users, orders")
        with pytest.raises(psycopg2.errors.UndefinedTable):
            other("SELECT count(*) FROM fresh")


def test_a_change_does_not_wait_for_the_coordinator(proxy, lab, one):
    """pg_dump has locks of all tables, and waits for one of a view: it lets go of them."""
    waits = ("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'pg_dump' "
             "AND NOT l.granted AND l.relation = 'in_use'::regclass")
    with lab.connect(0) as holder, holder.cursor() as cursor:
        for _ in range(5):  # until the view is locked before the coordinator has it
            ask(one, "CREATE VIEW in_use AS SELECT id FROM users")
            cursor.execute("BEGIN; ALTER VIEW in_use SET (security_barrier)")
            with contextlib.suppress(AssertionError):
                eventually(lambda: lab.query(0, waits) == [(1,)], 5)
                break
            cursor.execute("ROLLBACK")
            ask(one, "DROP VIEW in_use")
        assert lab.query(0, waits) == [(1,)]
        began = time.monotonic()
        ask(one, "BEGIN")
        ask(one, "ALTER TABLE users ADD COLUMN hasty int")
        assert time.monotonic() - began < 4
        ask(one, "ROLLBACK")
        cursor.execute("ROLLBACK")
    ask(one, "DROP VIEW in_use")
    assert ask(one, HARD.format("id")) == [(0,)]


@pytest.fixture(scope="module")
def second(proxy, lab):
    with start_proxy(lab, {"schema_check_interval": "1h"}) as second:
        yield second


@pytest.fixture
def filled(lab, one):
    ask(one, "INSERT INTO users SELECT i, 'n', i FROM generate_series(1, 9) i")
    yield
    ask(one, "TRUNCATE users, orders, parts")


def test_what_one_proxy_makes_another_one_knows(lab, second, one, filled):
    with second.session() as other:
        ask(one, "CREATE VIEW all_named AS SELECT id, name FROM users")
        assert other("SELECT count(*) FROM all_named") == [(9,)]
        ask(one, "CREATE TABLE parts_2031 PARTITION OF parts FOR VALUES FROM ('2031-01-01') TO ('2032-01-01')")
        other("ALTER TABLE parts_2031 ADD CONSTRAINT late CHECK (id > 0)")
        assert everywhere(lab, "SELECT 1 FROM pg_constraint WHERE conname = 'late'") == [(1,)]
        other("DROP TABLE parts_2031")
        other("DROP VIEW all_named")
        assert everywhere(lab, "SELECT 1 FROM pg_class WHERE relname IN ('parts_2031', 'all_named')") == []
        with pytest.raises(psycopg2.errors.UndefinedTable):
            ask(one, "SELECT * FROM all_named")


def test_what_one_proxy_changes_another_one_knows(second, one, filled):
    with second.session() as other:
        ask(one, "CREATE VIEW few AS SELECT id FROM users WHERE id = 7")
        for _ in range(2):
            ask(one, "CREATE OR REPLACE VIEW few AS SELECT id FROM users WHERE id = 7")
            assert other("SELECT id FROM few") == [(7,)]
            ask(one, "CREATE OR REPLACE VIEW few AS SELECT id FROM users")
            assert other("SELECT count(*) FROM few") == [(9,)]
        for text in ("BEGIN", "DROP VIEW few", "CREATE VIEW few AS SELECT id, name FROM users WHERE id < 4", "COMMIT"):
            ask(one, text)
        assert sorted(other("SELECT * FROM few")) == [(1, "n"), (2, "n"), (3, "n")]
        ask(one, "CREATE FUNCTION least_of(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'")
        assert other("SELECT count(*) FROM users WHERE score >= least_of(2)") == [(8,)]
        ask(one, "ALTER FUNCTION least_of(int) VOLATILE")
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            other("SELECT count(*) FROM users WHERE score >= least_of(2)")
        ask(one, "DROP FUNCTION least_of(int)")
        ask(one, "DROP VIEW few")


def test_a_name_that_nobody_has_announced_is_looked_for(lab, second, filled):
    with second.session() as other:
        lab.everywhere("CREATE VIEW by_hand AS SELECT id FROM users")
        try:
            assert other("SELECT count(*) FROM by_hand") == [(9,)]
        finally:
            lab.everywhere("DROP VIEW by_hand")
        for _ in range(2):
            with pytest.raises(psycopg2.errors.UndefinedTable):
                other("SELECT count(*) FROM nobody_s")


def test_two_proxies_change_at_a_time(proxy, second, lab, filled):
    def work(number):
        with (proxy, second)[number].session() as run, (second, proxy)[number].session() as other:
            for turn in range(2):
                run(f"CREATE VIEW of_{number} AS SELECT id FROM users WHERE id <= {turn + 1}")
                assert other(f"SELECT count(*) FROM of_{number}") == [(turn + 1,)]
                other(f"DROP VIEW of_{number}")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, i) for i in range(2)]:
            done.result(60)
    nothing_is_left(lab)


@contextlib.contextmanager
def schema_lock(lab):
    """Nobody else has his turn to change the schema within the block."""
    with contextlib.closing(psycopg2.connect(lab.conninfo(0))) as holder, holder.cursor() as run:
        run.execute("SELECT pg_advisory_lock(7881700, 1)")
        yield
        run.execute("SELECT pg_advisory_unlock(7881700, 1)")


def test_a_plan_of_an_older_schema_is_made_anew(lab, second):
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 7881700 AND objid = 1"
    with second.session() as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        for begin in ("", "BEGIN"):
            other("CREATE VIEW moved AS SELECT id FROM users")
            if begin:
                other(begin)
            with schema_lock(lab):
                dropped = pool.submit(other, "DROP VIEW moved")
                assert eventually(lambda: lab.query(0, waiting))
                lab.everywhere("DROP VIEW moved")
                lab.query(0, "CREATE VIEW moved AS SELECT id FROM home")
            if begin:
                with pytest.raises(psycopg2.errors.SerializationFailure, match="the schema has changed since"):
                    dropped.result(20 * PATIENCE)
                other("ROLLBACK")
                other("DROP VIEW moved")
            else:
                assert dropped.result(20 * PATIENCE) == "DROP VIEW"
    assert everywhere(lab, "SELECT 1 FROM pg_class WHERE relname = 'moved'") == []
    nothing_is_left(lab)
