"""Where the coordinator, or a proof, could be led astray: isolation, pipelines, settings of one connection, functions
that nobody calls by name, what is temporary without the word, transactions that failed beside their shard."""
import contextlib

import psycopg2
import pytest
import rawwire
from proxies import STANDIN, ask, start_proxy

LAB_SHARDS = 3
SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE users (id bigint PRIMARY KEY, name text, tags text[]);
CREATE TABLE orders (user_id bigint, n int, PRIMARY KEY (user_id, n));
CREATE TABLE notes (id int PRIMARY KEY);
CREATE FUNCTION total(users) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM public.users';
CREATE FUNCTION allu(bigint) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM public.users';
CREATE FUNCTION step(bigint, bigint) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM public.users';
CREATE OPERATOR @# (rightarg = bigint, function = allu);
CREATE AGGREGATE agg(bigint) (sfunc = step, stype = bigint, initcond = '0');
"""
TABLES = " - {name: users, key: id, function: modulo}\n - {name: orders, key: user_id}\n"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy has a coordinator"), pytest.mark.light]


@pytest.fixture(scope="module")
def cluster(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    return lab


@pytest.fixture(scope="module")
def proxy(cluster):
    with start_proxy(cluster) as proxy:
        with contextlib.closing(proxy.psycopg2()) as connection, connection.cursor() as cursor:
            for key in range(1, 61):
                cursor.execute("INSERT INTO users VALUES (%s, 'n' || %s, ARRAY['x', NULL])", (key, key))
            cursor.execute("INSERT INTO notes VALUES (1), (2)")
        yield proxy


def refused(run, sql):
    with pytest.raises(psycopg2.Error) as found:
        run(sql)
    assert found.value.pgcode == "0A000", found.value
    return found.value.diag


COUNT = "SELECT count(*) FROM orders"


@pytest.mark.parametrize("begin", [
    ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT name FROM users WHERE id = 8"],
    ["BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT name FROM users WHERE id = 8"],
    ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT name FROM users WHERE id = 8", "COMMIT AND CHAIN"],
    ["BEGIN", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT name FROM users WHERE id = 8"],
    ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "BEGIN"],
    ["SELECT set_config('default_transaction_' || 'isolation', 'repeatable read', false)", "BEGIN"],
])
def test_a_snapshot_that_was_asked_for_is_not_forgotten(session, begin):
    for sql in begin:
        session(sql)
    refused(session, COUNT)
    session("ROLLBACK")


def test_the_next_transaction_is_another(session):
    session("BEGIN ISOLATION LEVEL REPEATABLE READ")
    session("SELECT name FROM users WHERE id = 8")
    session("COMMIT")
    session("BEGIN")
    assert session("SELECT count(*) FROM users") == [(60,)]
    session("ROLLBACK")


def test_several_statements_of_one_text_are_refused(session):
    assert "several statements" in refused(session, f"{COUNT}; {COUNT}").message_detail


def test_each_statement_of_a_segment_has_its_own_snapshot(cluster, proxy):
    with proxy.wire() as wire:
        wire.send(rawwire.parse(COUNT) + rawwire.bind() + rawwire.execute() + rawwire.flush())
        first = wire.until("C")
        key = next(k for k in range(1, 20) if cluster.json("route", "orders", str(k))["shard"] == "s0")
        cluster.query(0, f"INSERT INTO orders VALUES ({key}, 7777)")
        try:
            wire.send(rawwire.parse(COUNT) + rawwire.bind() + rawwire.execute() + rawwire.sync())
            second = wire.until("Z")
        finally:
            cluster.query(0, "DELETE FROM orders WHERE n = 7777")
    rows = [body for kind, body in first + second if kind == "D"]
    assert len(rows) == 2 and rows[0] != rows[1]


@pytest.mark.parametrize("sql", ["SELECT (u).ctid FROM users u", "SELECT (u).tableoid FROM users u WHERE id < 4",
                                 "SELECT (u).total FROM users u WHERE id = 5", "SELECT @# id FROM users WHERE id = 5",
                                 "SELECT agg(id) FROM users WHERE id = 5", "SELECT x.y.users.total FROM users WHERE id = 5",
                                 "SELECT current_schemas(true), count(*) FROM users",
                                 "SELECT count(*) FROM users, notes WHERE name::varchar = 'n1'::char(5)",
                                 "SELECT current_setting('jit'), count(*) FROM users",
                                 "SELECT count(*) FROM users WHERE id > 'users'::regclass::oid::bigint"])
def test_what_stands_in_no_call_is_seen(session, sql):
    refused(session, sql)


def test_a_setting_that_only_one_connection_has(session):
    assert session("SELECT set_config('time' || 'zone', 'Asia/Tokyo', false)") == [("Asia/Tokyo",)]
    assert "set_config" in refused(session, "SELECT count(*) FROM users").message_detail
    assert session("SELECT id FROM notes ORDER BY id") == [(1,), (2,)]  # that one's home shard
    outcomes = set()
    for key in range(1, 4):  # of three shards
        try:
            outcomes.add(len(session(f"SELECT id FROM users WHERE id = {key}")))
        except psycopg2.errors.FeatureNotSupported:
            outcomes.add("refused")
    assert outcomes == {1, "refused"}
    session("DISCARD ALL")
    assert session("SELECT count(*) FROM users") == [(60,)]


@pytest.mark.parametrize("setting", ["array_nulls = off", "xmloption = document"])
def test_settings_by_which_values_are_read(session, setting):
    session(f"SET {setting}")
    assert setting.split()[0] in refused(session, "SELECT DISTINCT tags FROM users").message_detail
    session(f"RESET {setting.split()[0]}")
    assert session("SELECT DISTINCT tags FROM users") == [(["x", None],)]


@pytest.mark.parametrize("sql", ["CREATE TABLE pg_temp.leak (a int)", "CREATE VIEW pg_temp.leak AS SELECT 1",
                                 "CREATE SEQUENCE pg_temp.leak", "CREATE TABLE pg_temp.leak AS SELECT 1",
                                 "SET search_path = pg_temp, public"])
def test_what_is_temporary_says_so(session, sql):
    refused(session, sql)


def test_a_session_with_temporary_tables(session):
    session("CREATE TEMP TABLE mood (a int, b int)")
    refused(session, "SELECT ('(1,2)'::mood)::text, count(*) FROM users")
    refused(session, "ALTER TABLE mood RENAME TO notes")
    assert session("SELECT count(*) FROM mood") == [(0,)]


@pytest.mark.parametrize("sql", ["CREATE TEMP TABLE users (a int)", "CREATE TEMP TABLE users AS SELECT 1",
                                 "CREATE TEMP VIEW users AS SELECT 1", "CREATE TEMP SEQUENCE users"])
def test_what_is_temporary_hides_no_table_of_several_shards(session, sql):
    """Dropped, it would still be taken for what is there: for the home shard's rows alone."""
    refused(session, sql)


def test_an_error_beside_a_transaction_ends_the_segment(cluster, proxy, session):
    def program(sql):
        return rawwire.parse(sql) + rawwire.bind() + rawwire.execute()
    for begin in ("BEGIN", "BEGIN; SAVEPOINT a"):
        with proxy.wire() as wire:
            for sql in begin.split("; "):
                wire.ask(sql)
            wire.send(program("SELECT 1 / (id - 8) FROM users") + program("INSERT INTO orders VALUES (8, 9999)") +
                      rawwire.sync())
            answer = wire.until("Z")
            assert [kind for kind, _ in answer if kind in "ECZ"] == ["E", "Z"] and answer[-1][1] == b"E"
            assert [body for kind, body in wire.exchange(rawwire.query("COMMIT")) if kind == "C"] == [b"ROLLBACK\0"]
    assert session("SELECT count(*) FROM orders WHERE user_id = 8 AND n = 9999") == [(0,)]


def test_the_end_of_a_failed_transaction_with_more_behind_it(session):
    session("BEGIN")
    refused(session, "SELECT ctid FROM users")
    refused(session, "ROLLBACK; INSERT INTO orders VALUES (3, 9999)")
    assert session("ROLLBACK") == "ROLLBACK"
    assert session("SELECT count(*) FROM orders WHERE user_id = 3 AND n = 9999") == [(0,)]


def test_what_comes_behind_the_coordinator_is_in_the_transaction(session):
    """Shards of two keys, after the coordinator was asked beside it: both have the transaction."""
    for first in ("SELECT count(*) FROM users", "SELECT 1"):
        session("BEGIN")
        session(first)
        session("SELECT count(*) FROM users")
        session("INSERT INTO orders VALUES (8, 4444)")
        session("INSERT INTO orders VALUES (7, 4444)")
        assert session("SELECT count(*) FROM orders WHERE user_id = 7 AND n = 4444") == [(1,)]
        session("ROLLBACK")
        assert session("SELECT count(*) FROM orders WHERE n = 4444") == [(0,)]


@pytest.mark.parametrize("mode, first", [("session", "SELECT 1"), ("transaction", "SELECT pg_advisory_lock(5)")])
def test_connections_of_its_own_keep_no_transaction(cluster, proxy, mode, first):
    with start_proxy(cluster, {"pool_mode": mode}) as other, contextlib.closing(other.psycopg2()) as connection:
        ask(connection, first)
        ask(connection, "BEGIN")
        with pytest.raises(psycopg2.Error):
            ask(connection, "SELECT 1 / (id - 8) FROM users")
        ask(connection, "ROLLBACK")
        ask(connection, "BEGIN")
        assert ask(connection, "SELECT id FROM users WHERE id = 8") == [(8,)]
        with pytest.raises(psycopg2.Error):
            ask(connection, "SELECT 1 / (id - 8) FROM users")
        ask(connection, "ROLLBACK")
        ask(connection, "INSERT INTO orders VALUES (8, 5555)")
        connection.close()
    with contextlib.closing(proxy.psycopg2()) as connection:
        assert ask(connection, "DELETE FROM orders WHERE user_id = 8 AND n = 5555") == "DELETE 1"


def test_a_config_that_lacks_a_table_of_the_cluster_is_not_served(cluster, module_directory):
    """It would be taken for a home table, and a part of it for all."""
    import pathlib
    text = pathlib.Path(cluster.config).read_text()
    older = module_directory / "older.yaml"
    older.write_text(text.replace(" - {name: orders, key: user_id}\n", ""))
    done = cluster.run("proxy", "-c", older, "--listen", "127.0.0.1:1", timeout=20)
    assert done.returncode != 0 and "does not name table public.orders" in done.stderr
