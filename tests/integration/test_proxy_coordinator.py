"""Tier 4: what no shard is proved for is answered by the coordinator as one PostgreSQL would, in transactions too, or
refused with the reason. What the coordinator itself is made of: test_coordinator.py."""
import contextlib
import json
import random
import threading
import time

import psycopg
import psycopg2
import pytest
from conftest import superuser
from proxies import STANDIN, ask, eventually, make_one, one_target, start_proxy

LAB_SHARDS = 3
SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE users (id bigint PRIMARY KEY, name text, country text, feels mood, score numeric(10,2), joined timestamptz);
CREATE TABLE orders (user_id bigint, n int, amount numeric, PRIMARY KEY (user_id, n));
CREATE TABLE items (sku text PRIMARY KEY, price float8, tags text[], about jsonb);
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE notes (id int PRIMARY KEY, sku text);
CREATE VIEW rich AS SELECT id, name, score FROM users WHERE score > 20;
"""
TABLES = (" - {name: users, key: id, function: modulo}\n - {name: orders, key: user_id}\n - {name: items, key: sku}\n"
          " - {name: countries, kind: reference}\n")

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy has a coordinator")


def rows():
    generator = random.Random(4)
    moods = ["sad", "ok", "happy", None]
    yield "users", [(i, f"n{i % 9}" if i % 7 else None, generator.choice(["de", "fr", "xx", None]), generator.choice(moods),
                     generator.choice([i / 4, None]), f"2026-01-{i % 28 + 1:02d} 12:00+00") for i in range(1, 201)]
    yield "orders", [(generator.randint(1, 210), i, generator.randint(1, 9999) / 100) for i in range(400)]
    yield "items", [(sku, price, ["a", "b"][: i % 3], f'{{"n": {i}}}')
                    for i, (sku, price) in enumerate([("a", 1.5), ("B", float("nan")), ("Á", -0.0), ("ß", None), ("", 2.5)])]
    yield "countries", [("de", "Germany"), ("fr", "France")]
    yield "notes", [(1, "a"), (2, "ß"), (3, None)]


@pytest.fixture(scope="module")
def oracle(lab):
    with contextlib.closing(make_one(lab, SCHEMA)) as connection:
        yield connection


@pytest.fixture(scope="module")
def proxy(lab, oracle):
    lab.query(1, "CREATE TYPE first AS ENUM ('x')")  # so that OIDs differ between shards
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    for table, content in rows():
        for row in content:
            oracle.cursor().execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        with contextlib.closing(proxy.psycopg2()) as connection, connection.cursor() as cursor:
            for table, content in rows():
                for row in content:
                    if table == "countries":
                        lab.everywhere(cursor.mogrify("INSERT INTO countries VALUES (%s, %s)", row).decode())
                    else:
                        cursor.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
        yield proxy


def refused(run, sql, *words):
    """Is it refused with all these words somewhere?"""
    with pytest.raises(psycopg2.Error) as found:
        run(sql)
    diagnosis = found.value.diag
    said = " ".join(filter(None, [diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint]))
    assert found.value.pgcode == "0A000" and all(word in said for word in words), said


STATEMENTS = [
    "SELECT count(*), sum(score), avg(score), min(name), max(joined) FROM users",
    "SELECT feels, count(*), string_agg(name, ',' ORDER BY id) FROM users GROUP BY feels ORDER BY feels",
    "SELECT feels, count(*) FROM users GROUP BY feels ORDER BY feels DESC NULLS LAST",
    "SELECT * FROM users ORDER BY name NULLS FIRST, id LIMIT 7 OFFSET 3",
    "SELECT u.id, o.n, c.name FROM users u JOIN orders o ON o.n = u.id LEFT JOIN countries c ON c.code = u.country"
    " ORDER BY 1, 2",
    "SELECT c.name, x.id FROM countries c FULL JOIN (SELECT * FROM users WHERE id < 20) x ON x.country = c.code"
    " ORDER BY 1, 2",
    "SELECT id FROM users u WHERE EXISTS (SELECT FROM orders o WHERE o.amount > u.score) ORDER BY id",
    "SELECT id, (SELECT max(amount) FROM orders o WHERE o.n % 10 = u.id % 10) FROM users u WHERE id < 30 ORDER BY id",
    "SELECT id, x.amount FROM users, LATERAL (SELECT amount FROM orders WHERE n > id ORDER BY amount, n LIMIT 1) x"
    " ORDER BY id LIMIT 9",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5)"
    " SELECT n, (SELECT count(*) FROM users WHERE id % 5 = n) FROM r ORDER BY n",
    "SELECT country, feels, count(*), grouping(country, feels) FROM users GROUP BY GROUPING SETS ((country), (feels), ())"
    " ORDER BY 1, 2, 4",
    "SELECT id, row_number() OVER (PARTITION BY country ORDER BY score DESC NULLS LAST, id) FROM users ORDER BY id",
    "SELECT DISTINCT ON (country) country, id FROM users ORDER BY country, id DESC",
    "SELECT count(DISTINCT name), percentile_cont(0.5) WITHIN GROUP (ORDER BY score) FROM users",
    "SELECT sku, price FROM items ORDER BY sku",
    "SELECT sku, price FROM items ORDER BY price DESC, sku COLLATE \"C\"",
    "SELECT sku, tags, about->'n' FROM items WHERE tags @> '{a}' ORDER BY sku",
    "SELECT unnest(tags), count(*) FROM items GROUP BY 1 ORDER BY 1",
    "SELECT n.id, i.price FROM notes n LEFT JOIN items i USING (sku) ORDER BY 1",
    "SELECT id FROM users WHERE id IN (1, 2, 3, 500) ORDER BY id",
    "SELECT id FROM users EXCEPT SELECT user_id FROM orders INTERSECT SELECT id FROM users ORDER BY 1",
    "SELECT count(*) FROM rich r, rich s WHERE r.name = s.name",
    "SELECT coalesce(sum(score), 0), round(avg(score), 2) FROM users WHERE id > 10000",
    "SELECT 1 FROM users WHERE id < 0",
    "TABLE users ORDER BY id",
    "SELECT a.id FROM users a JOIN users b USING (id) AS j WHERE j.id < 5 ORDER BY 1",
    "SELECT id FROM users WHERE CASE WHEN (SELECT bool_and(n < 0) FROM orders) THEN id ELSE score END > -1 ORDER BY id",
    "SELECT id FROM users WHERE id >= (SELECT user_id FROM orders ORDER BY user_id, n LIMIT 1 OFFSET 2) ORDER BY id",
    "SELECT n.id FROM notes n WHERE CASE WHEN (SELECT bool_and(false) FROM items) THEN n.id ELSE 0 END > -1 ORDER BY 1",
]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_answer_is_one_postgresql_s(session, oracle, sql):
    assert repr(session(sql)) == repr(ask(oracle, sql))  # repr: NaN equals itself, and -0.0 is not 0.0
    assert not session(f"EXPLAIN (MOSAIC) {sql}")[0][0].startswith("tier 1")


@pytest.mark.parametrize("binary", [False, True])
def test_by_the_extended_protocol(lab, proxy, oracle, binary):
    direct = one_target(lab).dsn
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, psycopg.connect(direct) as one:
        for sql, parameters in [("SELECT id, name, score, joined FROM users WHERE score > %s ORDER BY id", (10,)),
                                ("SELECT feels, tags FROM users, items WHERE id = ANY(%s) ORDER BY id, sku", ([1, 2, 3],)),
                                ("SELECT count(*) FROM orders WHERE amount BETWEEN %s AND %s", (5, 50)),
                                ("SELECT max(id) FROM users WHERE name = %s", ("n3",))]:
            for _ in range(7):  # from the sixth time on psycopg prepares it
                got = connection.cursor(binary=binary).execute(sql, parameters)
                expected = one.cursor(binary=binary).execute(sql, parameters)
                assert [column.name for column in got.description] == [column.name for column in expected.description]
                assert got.fetchall() == expected.fetchall()


def test_types_are_the_home_shard_s(proxy, lab):
    with contextlib.closing(proxy.psycopg2()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT feels, count(*) FROM users GROUP BY feels")
        assert cursor.description[0].type_code == lab.query(0, "SELECT 'mood'::regtype::oid")[0][0]


def test_a_failed_transaction_of_a_session_with_locks_ends(session):
    """Its search_path is not known any more, and cannot be asked in a transaction that has failed."""
    session("BEGIN")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        session("SELECT pg_try_advisory_lock(1), 1 / 0")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        session("SELECT count(*) FROM users")
    assert session("ROLLBACK") == "ROLLBACK"
    assert session("SELECT pg_advisory_unlock_all(), count(*) FROM notes") == [("", 3)]


def test_functions_are_not_inlined_and_settings_of_the_database_are_there(lab, proxy, oracle):
    """postgres_fdw leaves implicit casts out: a function's body over char(n) would be another one there."""
    lab.everywhere("CREATE FUNCTION size_of(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT octet_length($1)'")
    oracle.cursor().execute("CREATE FUNCTION size_of(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT octet_length($1)'")
    for run in (lab.everywhere, lambda sql: oracle.cursor().execute(sql.replace(f'"{lab.name}"', "one"))):
        run("CREATE TABLE padded (id bigint PRIMARY KEY, code char(5)); INSERT INTO padded VALUES (0, 'ab')")
        run(f"ALTER DATABASE \"{lab.name}\" SET timezone = 'Asia/Tokyo'")
        run(f"ALTER DATABASE \"{lab.name}\" SET search_path = '$user', public")
    lab.run("apply", "--yes", check=True)
    sql = "SELECT count(*), max(joined)::text FROM padded, users WHERE size_of(code) = 2"
    with start_proxy(lab) as other, contextlib.closing(other.psycopg2()) as session:
        with contextlib.closing(psycopg2.connect(one_target(lab).dsn)) as one:
            assert ask(session, sql) == ask(one, sql) == [(200, "2026-01-28 21:00:00+09")]
    for shard in range(LAB_SHARDS):
        lab.query(shard, f'ALTER DATABASE "{lab.name}" RESET ALL')
    lab.run("apply", "--yes", check=True)
    with contextlib.closing(proxy.psycopg2()) as session:
        eventually(lambda: not refuses(lambda sql: ask(session, sql)), seconds=15)


def test_copy_and_explain(proxy, session, oracle):
    import io
    outputs = []
    for connection in (proxy.psycopg2(), oracle):
        out = io.StringIO()
        connection.cursor().copy_expert("COPY (SELECT * FROM users ORDER BY id) TO STDOUT (FORMAT csv, HEADER)", out)
        outputs.append(out.getvalue())
    assert outputs[0] == outputs[1]
    plan = "\n".join(line for line, in session("EXPLAIN (VERBOSE) SELECT name FROM users, notes WHERE score > 3"))
    assert plan.count("Remote SQL") == LAB_SHARDS + 1


@pytest.mark.parametrize("sql, asked", [
    ("SELECT u.id, n.sku FROM users u, notes n WHERE u.id = 4", 2),
    ("SELECT * FROM users u JOIN notes n ON n.id < u.id AND u.id = 4", 2),
    ("SELECT * FROM users u JOIN notes n ON true WHERE u.id = 4 -- here\n ORDER BY n.id", 2),
    ("SELECT * FROM notes n LEFT JOIN users u ON u.id = n.id AND u.id = 4", 4),
    ("SELECT * FROM users, notes WHERE users.id IN (4, 7)", 2),
    ("SELECT a.id, b.id FROM users a, users b WHERE a.id = 4 AND b.name = 'n1'", 4),
    ("SELECT a.x FROM users AS a (x), notes WHERE a.x = 4", 2)])
def test_only_the_shards_of_the_keys_are_asked(session, oracle, sql, asked):
    """users is split by modulo of 3 shards: 4 and 7 are on one."""
    assert sorted(map(repr, session(sql))) == sorted(map(repr, ask(oracle, sql)))
    plan = session(f"EXPLAIN (COSTS off, FORMAT json) {sql}")[0][0]
    assert json.dumps(plan).count('"Foreign Scan"') == asked


def test_a_key_that_is_bound_prunes_too(lab, proxy):
    direct = one_target(lab).dsn
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, psycopg.connect(direct) as one:
        for key in (4, 5, 6, 4):
            for sql in ("SELECT u.id, n.sku FROM users u, notes n WHERE u.id = %s ORDER BY 2",
                        "SELECT u.id, n.sku FROM notes n LEFT JOIN users u ON u.id = %s ORDER BY 2"):
                for _ in range(7):
                    assert connection.execute(sql, (key,)).fetchall() == one.execute(sql, (key,)).fetchall()
        plan = connection.execute("EXPLAIN (COSTS off, FORMAT json) SELECT u.id FROM users u, notes n WHERE u.id = %s", (4,))
        assert json.dumps(plan.fetchone()[0]).count('"Foreign Scan"') == 2
        with pytest.raises(psycopg.errors.UndefinedColumn) as unknown:
            connection.execute("SELECT nosuch FROM users u, notes n WHERE u.id = %s", (4,))
        assert unknown.value.diag.message_primary


def test_settings_of_the_session_hold_there(session):
    session("SET timezone = 'Asia/Tokyo'")
    assert str(session("SELECT max(joined)::text FROM users")[0][0]).endswith("+09")
    session("RESET timezone")
    session("SET search_path = nowhere")
    with pytest.raises(psycopg2.errors.UndefinedTable):
        session("SELECT count(*) FROM users")


@pytest.mark.parametrize("sql, why", [
    ("SELECT ctid, id FROM users", "system column"), ("SELECT tableoid FROM users", "system column"),
    ("SELECT count(*) FROM ONLY users, notes", "ONLY"), ("SELECT * FROM users TABLESAMPLE SYSTEM (5)", "TABLESAMPLE"),
    ("SELECT pg_column_size(name) FROM users", "of itself"), ("SELECT current_database() FROM users", "of itself"),
    ("SELECT relname FROM pg_class, users", "catalogs"), ("SELECT * FROM users, nosuch", "not known"),
    ("COPY users TO STDOUT (FORMAT binary)", "COPY (SELECT"),
    ("SELECT * FROM users ORDER BY id LIMIT 1 FOR UPDATE", "no condition"),
])
def test_what_it_cannot_say_is_refused(session, sql, why):
    refused(session, sql, why)


def test_a_column_that_only_a_primary_key_groups_is_refused(session):
    refused(session, "SELECT u.id, u.name, count(*) FROM users u, notes GROUP BY u.id", "GROUP BY", "primary keys")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        session("SELECT 1 / (id - 7) FROM users")


# ---- in transactions -----------------------------------------------------------------------------------------------


PAIRS = "SELECT count(*) FROM orders a JOIN orders b ON a.n = b.n"  # the coordinator's alone


def open_transactions(lab):
    """How many the shards have, of the proxy's."""
    return sum(lab.query(shard, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
                                " AND datname = current_database()")[0][0] for shard in range(LAB_SHARDS))


def test_beside_a_transaction_that_no_shard_has(session):
    session("BEGIN")
    assert session("SELECT count(*) FROM users") == [(200,)]
    session("SAVEPOINT a")
    assert session("SELECT count(*) FROM orders") == [(400,)]
    assert session("SELECT name FROM users WHERE id = 8") == [("n8",)]
    assert session("SELECT count(*) FROM orders") == [(400,)]  # within it, by the shards alone
    assert session(PAIRS) == [(400,)]
    assert session("ROLLBACK TO a") == "ROLLBACK"
    assert session("SELECT name FROM users WHERE id = 8") == [("n8",)]
    assert session("COMMIT") == "COMMIT"
    assert session("SELECT count(*) FROM users") == [(200,)]


@pytest.mark.parametrize("ways", ["one_shard", "several"])
def test_beside_a_transaction_that_has_but_read(session, lab, ways):
    """What comes behind it is in the transaction, on shards that it had and on those that join."""
    session("BEGIN")
    assert session("SELECT name FROM users WHERE id = 8") == [("n8",)]
    if ways == "several":
        assert session("SELECT count(*) FROM users") == [(200,)]
    assert session(PAIRS) == [(400,)]
    lab.query(0, "INSERT INTO notes VALUES (100, 'new')")  # each statement has its own snapshot
    assert session(f"{PAIRS}, notes WHERE notes.id = 100") == [(400,)]
    lab.query(0, "DELETE FROM notes WHERE id = 100")
    session("SAVEPOINT a")
    assert session(PAIRS) == [(400,)]
    for key in (8, 9, 10, 11):
        session(f"UPDATE users SET name = 'within' WHERE id = {key}")
    assert session("SELECT count(*) FROM users WHERE name = 'within'") == [(4,)]
    refused(session, PAIRS, "has written")
    session("ROLLBACK TO a")
    assert session("SELECT count(*) FROM users WHERE name = 'within'") == [(0,)]
    session("UPDATE users SET name = 'within' WHERE id IN (8, 9)")
    session("ROLLBACK")
    assert session("SELECT count(*) FROM users WHERE name = 'within'") == [(0,)]
    assert eventually(lambda: open_transactions(lab) == 0)


def test_what_is_written_behind_it_is_committed_together(session, lab):
    session("BEGIN")
    assert session("SELECT id FROM users WHERE id = 8") == [(8,)]
    assert session(PAIRS) == [(400,)]
    session("UPDATE users SET score = score + 1 WHERE id = 9")
    session("UPDATE users SET score = score + 1 WHERE id = 10")
    assert session("COMMIT") == "COMMIT"
    assert eventually(lambda: open_transactions(lab) == 0)
    session("BEGIN")
    assert session("SELECT id FROM users WHERE id = 8") == [(8,)]
    assert session(PAIRS) == [(400,)]
    assert session("COMMIT AND CHAIN") == "COMMIT"
    session("UPDATE users SET score = score - 1 WHERE id IN (9, 10)")
    assert session("COMMIT") == "COMMIT"
    assert eventually(lambda: open_transactions(lab) == 0)


def test_its_error_fails_a_transaction_that_shards_have(session, lab):
    for end in ("ROLLBACK", "COMMIT"):
        session("BEGIN")
        assert session("SELECT id FROM users WHERE id = 8") == [(8,)]
        session("SAVEPOINT a")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            session("SELECT 1 / (a.n - b.n) FROM orders a JOIN orders b ON a.n = b.n")
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            session("SELECT id FROM users WHERE id = 9")
        session("ROLLBACK TO a")
        assert session(PAIRS) == [(400,)]
        session("UPDATE users SET name = 'within' WHERE id = 9")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            session("SELECT 1 / (id - 9) FROM users WHERE id = 9")
        assert session(end) == "ROLLBACK"
        assert session("SELECT count(*) FROM users WHERE name = 'within'") == [(0,)]
        assert eventually(lambda: open_transactions(lab) == 0)


def test_a_cancel_of_it_fails_a_transaction_that_shards_have(proxy, lab):
    with contextlib.closing(proxy.psycopg2()) as connection:
        ask(connection, "BEGIN")
        ask(connection, "SELECT id FROM users WHERE id = 8")
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            ask(connection, "SELECT count(*) FROM users a, users b, users c, users d WHERE a.name < b.name || c.name || d.name")
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            ask(connection, "UPDATE users SET name = 'within' WHERE id = 8")
        ask(connection, "ROLLBACK")
        assert ask(connection, "SELECT name FROM users WHERE id = 8") == [("n8",)]
    assert eventually(lambda: open_transactions(lab) == 0)


def test_a_coordinator_that_is_lost_fails_a_transaction_that_shards_have(proxy, lab):
    def stop():
        with superuser(lab, 0) as cursor:
            eventually(lambda: cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s AND datname = %s",
                ("%users a, users b, users c, users d%", f"{lab.name}_coordinator")) or cursor.fetchall())

    with contextlib.closing(proxy.psycopg2()) as connection:
        ask(connection, "BEGIN")
        ask(connection, "SELECT id FROM users WHERE id = 8")
        killer = threading.Thread(target=stop)
        killer.start()
        with pytest.raises(psycopg2.Error):
            ask(connection, "SELECT count(*) FROM users a, users b, users c, users d WHERE a.name < b.name || c.name || d.name")
        killer.join()
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            ask(connection, "UPDATE users SET name = 'within' WHERE id = 8")
        ask(connection, "ROLLBACK")
        assert ask(connection, "SELECT name FROM users WHERE id = 8") == [("n8",)]
        assert ask(connection, PAIRS) == [(400,)]
    assert eventually(lambda: open_transactions(lab) == 0)


def test_in_a_pipeline_all_stays_in_the_transaction(proxy, lab):
    """Messages up to one Sync: the coordinator's server is left for the next statement, and never has the transaction."""
    texts = ["SELECT id FROM users WHERE id = 8", PAIRS, "SAVEPOINT a", "UPDATE users SET name = 'within' WHERE id = 9",
             "ROLLBACK TO a", "SELECT count(*) FROM users WHERE id = 9 AND name = 'within'", "SAVEPOINT b"]
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        for before in ([], ["SELECT id FROM users WHERE id = 10"]):
            with connection.pipeline():
                cursors = [connection.execute(sql) for sql in ["BEGIN", *before, *texts]]
                assert cursors[-2].fetchall() == [(0,)]
                connection.execute("UPDATE users SET name = 'within' WHERE id = 9")
                connection.execute("ROLLBACK")
            with connection.pipeline():
                for sql in ["BEGIN", *before, PAIRS, "COMMIT"]:
                    connection.execute(sql)
            with connection.pipeline():
                last = [connection.execute(sql) for sql in ["BEGIN", PAIRS, "SAVEPOINT a", *before, PAIRS, "ROLLBACK"]][-2]
                assert last.fetchall() == [(400,)]
            assert connection.execute("SELECT count(*) FROM users WHERE name = 'within'").fetchall() == [(0,)]
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert eventually(lambda: open_transactions(lab) == 0)


@pytest.mark.parametrize("begin, why", [
    ("BEGIN; SELECT 1 FROM users WHERE id = 8 FOR SHARE", "has written, locked or set"),
    ("BEGIN; SELECT 1 FROM users WHERE id < 8 FOR SHARE", "has written, locked or set"),
    ("BEGIN; LOCK TABLE users IN SHARE MODE", "has written, locked or set"),
    ("BEGIN; SELECT id FROM users WHERE id = 8; SET LOCAL enable_hashjoin = off", "has written, locked or set"),
    ("BEGIN; SELECT id FROM users WHERE id = 8; SET enable_hashjoin = off", "has written, locked or set"),
    ("BEGIN; SELECT id FROM users WHERE id = 8; SELECT set_config('enable_hashjoin', 'off', true)", ""),
    ("BEGIN; UPDATE users SET score = score WHERE id > 500", "has written, locked or set"),
    ("BEGIN; SAVEPOINT a; DELETE FROM users WHERE id = 999; ROLLBACK TO a", "has written, locked or set"),
    ("BEGIN; SELECT pg_advisory_xact_lock(1)", "has written, locked or set"),
    ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM users WHERE id = 8", "one snapshot"),
    ("SET mosaic.allow_per_shard_snapshots = on; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM users WHERE id = 8",
     "one snapshot"),
    ("SET mosaic.commit = one_shard_only; BEGIN; SELECT id FROM users WHERE id = 8", "one_shard_only"),
])
def test_a_transaction_that_has_done_more_than_read_is_refused_it(session, begin, why):
    for each in begin.split("; "):
        session(each)
    refused(session, PAIRS, why)
    session("ROLLBACK")
    session("RESET ALL")


def test_each_statement_sees_what_is_committed_by_then(session, lab):
    session("BEGIN")
    before = session("SELECT count(*) FROM orders")[0][0]
    with contextlib.ExitStack() as stack:
        for shard in range(LAB_SHARDS):
            stack.enter_context(lab.connect(shard)).cursor().execute("DELETE FROM orders WHERE n = 399")
    assert session("SELECT count(*) FROM orders")[0][0] == before - 1
    session("ROLLBACK")


def test_after_a_write_it_is_refused_and_the_transaction_goes_on_from_its_savepoint(session):
    session("BEGIN")
    session("SAVEPOINT a")
    session("UPDATE users SET name = 'changed' WHERE id = 9")
    assert session("SELECT count(*) FROM users WHERE name = 'changed'") == [(1,)]
    refused(session, "SELECT count(*) FROM users a JOIN users b ON a.name = b.name", "has written")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        session("SELECT 1")
    session("ROLLBACK TO a")
    assert session("SELECT name FROM users WHERE id = 9") == [("n0",)]
    assert session("ROLLBACK") == "ROLLBACK"
    assert session("SELECT count(*) FROM users WHERE name = 'changed'") == [(0,)]


def test_an_error_of_the_coordinator_fails_the_transaction_and_a_savepoint_mends_it(session):
    session("BEGIN")
    session("SAVEPOINT a")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        session("SELECT 1 / (id - 8) FROM users")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        session("SELECT id FROM users WHERE id = 8")
    session("ROLLBACK TO a")
    assert session("SELECT count(*) FROM countries, users WHERE code = country") != [(0,)]
    assert session("SELECT id FROM users WHERE id = 8") == [(8,)]
    assert session("COMMIT") == "COMMIT"
    session("BEGIN")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        session("SELECT 1 / (id - 8) FROM users")
    assert session("COMMIT AND CHAIN") == "ROLLBACK"
    assert session("SELECT id FROM users WHERE id = 8") == [(8,)]
    assert session("COMMIT") == "COMMIT"


@pytest.mark.parametrize("begin, sql, why", [
    ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM users", "one snapshot"),
    ("BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM users", "one snapshot"),
    ("SET default_transaction_isolation = 'repeatable read'; BEGIN", "SELECT count(*) FROM users", "one snapshot"),
    ("BEGIN; SET LOCAL timezone = 'Asia/Tokyo'", "SELECT max(joined)::text FROM users", "settings of its own"),
    ("BEGIN", "SELECT now(), count(*) FROM users", "time at which"),
    ("BEGIN", "SELECT count(*) FROM users WHERE joined < 'yesterday'", "time at which"),
    ("BEGIN", "SELECT count(*) FROM users; COMMIT", "several statements"),
])
def test_what_a_transaction_wants_and_it_has_not(session, begin, sql, why):
    for each in begin.split("; "):
        session(each)
    refused(session, sql, why)
    session("ROLLBACK")
    session("RESET ALL")


def test_words_that_only_look_like_a_time_are_no_reason(session):
    session("BEGIN")
    assert session("SELECT count(*) FROM users WHERE name = 'known as snow'") == [(0,)]
    session("ROLLBACK")


def test_pipelines_stay_in_order(proxy):
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, connection.pipeline():
        cursors = [connection.execute(sql) for sql in ("SELECT count(*) FROM users", "SELECT max(id) FROM users")]
        connection.execute("SELECT 1")
        assert [cursor.fetchall() for cursor in cursors] == [[(200,)], [(200,)]]


# ---- when something is not there -----------------------------------------------------------------------------------


def test_a_cancel_reaches_all(proxy):
    with contextlib.closing(proxy.psycopg2()) as connection:
        timer = threading.Timer(0.5, connection.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            ask(connection, "SELECT count(*) FROM users a, users b, users c, users d WHERE a.name < b.name || c.name || d.name")
        assert time.monotonic() - started < 10
        assert ask(connection, "SELECT count(*) FROM users") == [(200,)]


def test_another_role_may_what_it_may_on_the_shards(lab, module_directory):
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute("CREATE ROLE guest LOGIN PASSWORD 'guests'")
            cursor.execute("GRANT SELECT (id, name) ON users TO guest; GRANT SELECT ON rich TO guest")
    lab.run("apply", "--yes", check=True)
    users = module_directory / "users.txt"
    users.write_text('"guest" "guests"\n')
    users.chmod(0o600)
    with start_proxy(lab, {"auth_file": users, "auth_type": "scram-sha-256"}) as proxy:
        guest = psycopg2.connect(host="127.0.0.1", port=proxy.port, user="guest", password="guests", dbname=lab.name)
        guest.autocommit = True
        assert ask(guest, "SELECT count(id), count(name) FROM users") == [(200, 172)]
        assert ask(guest, "SELECT count(*) > 0 FROM rich a, rich b") == [(True,)]  # its owner may read what it reads
        for sql in ("SELECT max(score) FROM users", "SELECT count(*) FROM orders, users"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                ask(guest, sql)
        guest.close()
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute("ALTER ROLE guest SET lc_monetary = 'C'")
    with start_proxy(lab, {"auth_file": users, "auth_type": "scram-sha-256"}) as proxy:
        guest = psycopg2.connect(host="127.0.0.1", port=proxy.port, user="guest", password="guests", dbname=lab.name)
        refused(lambda sql: ask(guest, sql), "SELECT count(*) FROM rich a, rich b", "lc_monetary")
        guest.close()


def test_while_the_coordinator_is_behind_it_is_not_asked(session, lab, proxy):
    with superuser(lab, 0, f"{lab.name}_coordinator") as cursor:  # only apply mends it
        cursor.execute(f"REVOKE USAGE ON FOREIGN DATA WRAPPER postgres_fdw FROM {lab.name}")
        lab.everywhere("ALTER TABLE notes ADD COLUMN more int")
        try:
            eventually(lambda: refuses(session), seconds=15)
            assert session("SELECT count(*) FROM users WHERE id = 8") == [(1,)]
            session("BEGIN")
            with pytest.raises(psycopg2.errors.FeatureNotSupported) as refusal:
                session("DECLARE c CURSOR FOR SELECT name, count(*) FROM users GROUP BY name")
            assert "The coordinator could, but it is not ready" in refusal.value.diag.message_detail
            session("ROLLBACK")
        finally:
            cursor.execute(f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {lab.name}")
            lab.run("apply", "--yes", check=True)
    eventually(lambda: not refuses(session), seconds=15)
    assert session("SELECT count(more) FROM notes, users") == [(0,)]


def test_what_was_changed_on_the_shards_it_follows_by_itself(session, lab):
    lab.everywhere("ALTER TABLE notes ADD COLUMN followed int")
    assert eventually(lambda: asks(session, "SELECT count(followed) FROM notes, users"), seconds=60) == [(0,)]


def asks(session, sql):
    """None: the change is not seen yet, or the coordinator is not ready, which is tried again."""
    with contextlib.suppress(psycopg2.errors.UndefinedColumn, psycopg2.errors.FeatureNotSupported):
        return session(sql)


def refuses(session):
    try:
        session("SELECT count(*) FROM users a, users b WHERE a.id = b.id + 1")  # what the coordinator alone can say
        return False
    except psycopg2.errors.FeatureNotSupported as error:
        assert "is not ready: the coordinator was made from other definitions" in error.diag.message_detail
        if "could not make it anew" not in error.diag.message_detail:
            return False
        assert "may not use postgres_fdw" in error.diag.message_detail and "run pgmosaic apply" in error.diag.message_detail
        return True


def test_a_shard_that_is_down_is_named_and_the_others_go_on(lab, session):
    key = next(key for key in range(1, 50) if lab.json("route", "users", str(key))["shard"] == "s2")
    other = next(key for key in range(1, 50) if lab.json("route", "users", str(key))["shard"] == "s1")
    lab.run("lab", "stop", lab.name, "s2", check=True)
    try:
        with pytest.raises(psycopg2.Error) as down:
            session("SELECT count(*) FROM users")
        assert down.value.pgcode.startswith("08") and "s2" in str(down.value)
        assert session(f"SELECT id FROM users WHERE id = {other}") == [(other,)]
        assert session("SELECT count(*) FROM notes, countries") == [(6,)]
    finally:
        lab.run("lab", "start", lab.name, "s2", check=True)
    assert eventually(lambda: counts(session), seconds=20) == [(200,)]
    assert session(f"SELECT id FROM users WHERE id = {key}") == [(key,)]


def counts(session):
    with contextlib.suppress(psycopg2.Error):
        return session("SELECT count(*) FROM users")


def test_operators_see_it(proxy):
    admin = proxy.psycopg2(dbname="pgmosaic")
    roles = {row[0]: row[-1] for row in ask(admin, "SHOW SHARDS")}
    assert roles["@coordinator"] == "coordinator" and list(roles.values()).count("home") == 1
    counted = {row[1]: row[2] for row in ask(admin, "SHOW STATS_TOTALS")}
    assert counted["@coordinator"] > 0
    admin.close()
