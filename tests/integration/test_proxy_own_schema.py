"""Data statements behind changes of the schema, in one transaction: they are understood by the schema as it is there."""
import contextlib

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, eventually, nothing_is_left, start_proxy
from rawwire import bind, describe, execute, parse, query, row_values as rows, error_fields, sync

LAB_SHARDS = 3
COMMON = """
CREATE TABLE users (id bigint PRIMARY KEY, name text, score int);
CREATE TABLE orders (user_id bigint REFERENCES users (id), n int, total numeric(8,2), PRIMARY KEY (user_id, n));
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE notes (id int PRIMARY KEY, word text);
"""
TABLES = (" - {name: users, key: id, function: modulo}\n - {name: orders, key: user_id, function: modulo}\n"
          " - {name: countries, kind: reference}\n")
ROWS = """
INSERT INTO users SELECT i, 'u' || i, i % 4 FROM generate_series(1, 12) i;
INSERT INTO orders SELECT i, n, i * n FROM generate_series(1, 12) i, generate_series(1, 2) n;
INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France');
INSERT INTO notes VALUES (1, 'one'), (2, 'two')
"""

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(COMMON, TABLES)
    with start_proxy(lab, {"schema_check_interval": "1h"}) as proxy:
        yield proxy


def outcome(connection, sql):
    """Rows with the names and types of their columns, or a tag; or an error's SQLSTATE."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            if not cursor.description:
                return cursor.statusmessage
            kinds = [each.name if each.type_code >= 16384 else (each.name, each.type_code) for each in cursor.description]
            return kinds, sorted(map(repr, cursor.fetchall()))
    except psycopg2.Error as error:
        return error.pgcode


@pytest.fixture
def both(proxy, whole, lab):
    """The proxy's connection and one PostgreSQL's, with equal rows; definitions go back to what they were."""
    with contextlib.closing(proxy.psycopg2()) as connection:
        for each in (connection, whole):
            ask(each, "TRUNCATE users, orders")
            ask(each, "TRUNCATE countries")
            ask(each, "TRUNCATE notes")
            for statement in ROWS.split(";"):
                ask(each, statement)
        yield connection, whole
        for each in (connection, whole):
            ask(each, "ROLLBACK")
    nothing_is_left(lab)


def same(both, statements, least=2):
    """Each statement's outcome, in a transaction that is rolled back, and the tables in it at its end."""
    counted = 0
    for sql in ("BEGIN", *statements, "SELECT * FROM users", "SELECT * FROM countries", "SELECT * FROM notes", "ROLLBACK",
                "SELECT * FROM users", "SELECT * FROM countries", "SELECT * FROM notes"):
        through, one = (outcome(connection, sql) for connection in both)
        assert through == one, sql
        counted += isinstance(through, tuple) or through.startswith(("INSERT", "UPDATE", "DELETE"))
    assert counted >= 6 + least


def test_a_new_column_is_filled_and_read(both):
    same(both, ["ALTER TABLE users ADD COLUMN seen date DEFAULT '2024-01-02'", "UPDATE users SET seen = seen + score",
                "UPDATE users SET seen = NULL WHERE id = 5", "SELECT * FROM users WHERE id = 7",
                "SELECT seen, count(*) FROM users GROUP BY seen", "SELECT * FROM users ORDER BY seen DESC NULLS LAST, id LIMIT 3",
                "INSERT INTO users (id, seen) VALUES (20, '2025-01-01'), (21, NULL), (22, DEFAULT) RETURNING *",
                "INSERT INTO users (id, seen) SELECT id + 100, seen FROM users WHERE score = 2 RETURNING seen",
                "DELETE FROM users WHERE seen > '2024-12-31' RETURNING id",
                "ALTER TABLE users ALTER COLUMN seen TYPE text, ADD COLUMN other int",
                "SELECT seen, other FROM users WHERE id < 9",
                "UPDATE users SET (seen, other) = ('x' || id, id) WHERE id IN (3, 4, 5)",
                "SELECT max(seen), sum(other) FROM users",
                "ALTER TABLE users DROP COLUMN seen", "SELECT * FROM users WHERE id = 3",
                "SAVEPOINT s", "SELECT seen FROM users WHERE id = 3", "ROLLBACK TO s"], 12)


def test_names_that_are_given_anew(both):
    same(both, ["ALTER TABLE users RENAME COLUMN name TO title", "UPDATE users SET title = upper(title) WHERE score > 1",
                "SELECT title FROM users u WHERE u.id = 2", "ALTER TABLE users ADD COLUMN name int",
                "UPDATE users SET name = score",
                "SELECT sum(name) FROM users", "SAVEPOINT s", "SELECT name || 'x' FROM users WHERE id = 1", "ROLLBACK TO s",
                "SELECT name + 1 FROM users WHERE id = 1"], 6)


def test_back_to_a_savepoint(both):
    same(both, ["SAVEPOINT s", "ALTER TABLE users ADD COLUMN seen int DEFAULT 4", "SELECT * FROM users WHERE id < 4",
                "ROLLBACK TO s",
                "SELECT * FROM users WHERE id < 4", "UPDATE users SET score = 9 WHERE id < 4",
                "ALTER TABLE users ADD COLUMN seen text DEFAULT 'a'", "SAVEPOINT s", "ALTER TABLE users DROP COLUMN name",
                "SELECT * FROM users WHERE id = 2", "ROLLBACK TO s", "SELECT * FROM users WHERE id = 2"], 5)


def test_tables_that_are_made_and_home_tables(both):
    same(both, ["ALTER TABLE countries ADD COLUMN size int", "UPDATE countries SET size = 1 WHERE code = 'de'",
                "INSERT INTO countries VALUES ('it', 'Italy', 3)", "SELECT * FROM countries",
                "CREATE TABLE more (id int, word text)", "INSERT INTO more SELECT id, word FROM notes RETURNING *",
                "SELECT m.word FROM more m JOIN notes USING (id)", "INSERT INTO notes SELECT id + 10, word FROM more",
                "ALTER TABLE notes ADD COLUMN extra int", "UPDATE notes SET extra = id", "SELECT sum(extra) FROM notes"], 8)


def test_a_view_that_means_another_table(both):
    for each in both:
        ask(each, "CREATE VIEW shown AS SELECT id FROM notes")
    same(both, ["CREATE VIEW many AS SELECT id, name FROM users", "SELECT count(*) FROM many", "DROP VIEW many",
                "SELECT * FROM shown", "DROP VIEW shown", "CREATE VIEW shown AS SELECT id FROM users",
                "SELECT count(*) FROM shown",
                "CREATE OR REPLACE VIEW shown AS SELECT id FROM users WHERE score > 1", "SELECT id FROM shown"], 4)
    for each in both:
        ask(each, "DROP VIEW shown")


def test_types_and_functions_of_its_own(both):
    same(both, ["CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE DOMAIN small AS int CHECK (VALUE < 100)",
                "ALTER TABLE users ADD COLUMN mood mood DEFAULT 'ok', ADD COLUMN low small",
                "UPDATE users SET mood = 'sad', low = id WHERE score = 1",
                "SELECT id, mood, low FROM users ORDER BY mood, id LIMIT 7",
                "SELECT * FROM users WHERE mood = 'sad' AND id > 2",
                "INSERT INTO users (id, mood) VALUES (31, 'sad'), (32, 'ok'), (33, NULL) RETURNING mood",
                "CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'",
                "SELECT twice(score) FROM users WHERE id = 3", "SELECT count(*) FROM users WHERE twice(id::int) > 7",
                "SAVEPOINT s", "UPDATE users SET low = 500 WHERE id = 2",
                "ROLLBACK TO s"], 6)


def test_a_type_that_the_coordinator_has_not_yet(both):
    for sql in ("BEGIN", "CREATE TYPE mood AS ENUM ('sad', 'ok')", "ALTER TABLE users ADD COLUMN mood mood DEFAULT 'ok'"):
        ask(both[0], sql)
    assert outcome(both[0], "SELECT mood, count(*) FROM users GROUP BY mood") == "0A000"


def test_a_dropped_table_made_anew(both):
    same(both, ["DROP TABLE orders", "SELECT count(*) FROM users",
                "CREATE TABLE orders (user_id bigint, item text, PRIMARY KEY (user_id, item))",
                "INSERT INTO orders VALUES (1, 'a'), (2, 'b'), (3, 'c') RETURNING *",
                "SELECT o.item FROM orders o JOIN users ON id = user_id"],
         3)


def test_a_function_that_the_coordinator_has_as_it_was(both):
    for each in both:
        ask(each, "CREATE FUNCTION thrice(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT 3 * $1'")
    sql = "SELECT id % 2, thrice(sum(score)) FROM users GROUP BY 1"
    eventually(lambda: outcome(both[0], sql) == outcome(both[1], sql))
    for end, text in (("SAVEPOINT s", sql), ("ROLLBACK", "SELECT thrice(id) FROM users WHERE id = 4")):
        for change in ("BEGIN",
                    "CREATE OR REPLACE FUNCTION thrice(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT 0.5 * $1'"):
            ask(both[0], change), ask(both[1], change)
        through, one = (outcome(connection, text) for connection in both)
        assert through == ("0A000" if text == sql else one)
        ask(both[0], "ROLLBACK"), ask(both[1], "ROLLBACK")
    for each in both:
        ask(each, "DROP FUNCTION thrice(numeric)")


def test_changes_of_the_home_shard_alone(both):
    same(both, ["CREATE RULE r AS ON INSERT TO notes DO INSTEAD NOTHING", "SAVEPOINT s"], 0)
    for sql in ("BEGIN", "CREATE RULE r AS ON INSERT TO notes DO INSTEAD NOTHING"):
        ask(both[0], sql)
    assert outcome(both[0], "INSERT INTO notes (id, word) SELECT id + 50, name FROM users") == "0A000"  # COPY knows no rules
    for each in both:
        ask(each, "ROLLBACK")
        ask(each, "CREATE SCHEMA app")
        ask(each, "CREATE TABLE app.users (id int, word text)")
        ask(each, "INSERT INTO app.users VALUES (1, 'app')")
        ask(each, "SET search_path = app, public")
    try:
        same(both, ["SELECT count(*) FROM users", "DROP TABLE app.users", "SELECT count(*) FROM users",
                    "CREATE TABLE app.countries (code text)",
                    "INSERT INTO countries VALUES ('xx')", "SELECT * FROM countries",
                    "DELETE FROM public.countries WHERE code = 'fr'"], 5)
        same(both, ["DROP TABLE app.users", "DROP SCHEMA app", "SELECT count(*) FROM users", "CREATE SCHEMA app",
                    "CREATE VIEW app.users AS SELECT id FROM notes", "SELECT count(*) FROM users"], 2)
    finally:
        for each in both:
            ask(each, "RESET search_path")
            ask(each, "DROP SCHEMA app CASCADE")


def test_a_change_that_has_failed(both):
    same(both, ["SAVEPOINT s", "ALTER TABLE users ADD COLUMN name text", "ROLLBACK TO s", "SELECT * FROM users",
                    "UPDATE users SET score = 1",
                "SAVEPOINT s", "ALTER TABLE users ADD COLUMN seen int, ADD COLUMN name text", "ROLLBACK TO s",
                "SELECT count(*) FROM users WHERE score = 1"], 3)


def test_in_one_segment_of_several(both, proxy):
    with proxy.wire() as wire:
        def segment(*texts):
            got = wire.exchange(b"".join(parse(text) + bind() + execute() for text in texts) + sync())
            said = {"D": rows, "C": lambda body: body[:-1].decode(), "E": lambda body: error_fields(body)["C"],
                    "Z": bytes.decode}
            return [said[kind](body) for kind, body in got if kind in said]
        for _ in range(2):
            wire.exchange(query("BEGIN"))
            assert segment("ALTER TABLE users ADD a int", "UPDATE users SET a = id WHERE id < 3", "SELECT sum(a) FROM users") == \
                ["ALTER TABLE", "UPDATE 2", ["3"], "SELECT 1", "T"]
            assert segment("ALTER TABLE notes ADD word text", "UPDATE users SET a = 1") == ["42701", "E"]
            assert segment("ROLLBACK") == ["ROLLBACK", "I"]
            wire.exchange(query("BEGIN"))
            wire.exchange(query("ALTER TABLE users ADD a int"))
            assert segment("INSERT INTO notes VALUES (1, 'twice')", "UPDATE users SET a = 1") == ["23505", "E"]
            assert segment("ROLLBACK") == ["ROLLBACK", "I"]
            wire.exchange(query("BEGIN"))
            wire.exchange(query("ALTER TABLE users ADD a int"))
            assert segment("INSERT INTO notes VALUES (9, 'once')", "UPDATE users SET a = 1", "SELECT count(a) FROM users") == \
                ["INSERT 0 1", "UPDATE 12", ["12"], "SELECT 1", "T"]
            assert segment("ROLLBACK") == ["ROLLBACK", "I"]


def test_described_before_it_is_bound(both, proxy, lab):
    with proxy.wire() as wire:
        wire.exchange(query("BEGIN"))
        wire.exchange(query("CREATE TYPE hue AS ENUM ('red', 'blue')"))
        wire.exchange(query("ALTER TABLE users ADD COLUMN hue hue DEFAULT 'red'"))
        got = wire.exchange(query("SELECT 'hue'::regtype::oid"))
        home = next(rows(body) for kind, body in got if kind == "D")[0]
        for key in range(1, 7):
            wire.exchange(query(f"UPDATE users SET score = 1 WHERE id = {key + 3}"))  # another shard is linked
            got = wire.exchange(parse("SELECT hue FROM users WHERE id = $1", f"p{key}") + describe("S", f"p{key}") + sync())
            assert int(home).to_bytes(4, "big") in next(body for kind, body in got if kind == "T"), key
            got = wire.exchange(bind([str(key)], statement=f"p{key}") + execute() + sync())
            assert [kind for kind, _ in got] == ["2", "D", "C", "Z"] and got[-1][1] == b"T", got
        wire.exchange(query("ROLLBACK"))


def test_what_is_prepared_is_not_shared_behind_it(both, proxy):
    """The types of parameters, and results, are those of the schema by which they were found."""
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, psycopg.connect(proxy.dsn, autocommit=True) as other:
        everything = "SELECT * FROM users WHERE id > %s ORDER BY id"
        for _ in range(2):
            assert len(connection.execute(everything, (10,), prepare=True).fetchall()[0]) == 3
        with connection.transaction(force_rollback=True):
            connection.execute("ALTER TABLE users ADD COLUMN more int")
            assert len(connection.execute(everything + " ", (10,), prepare=True).fetchall()[0]) == 4
            connection.execute("SAVEPOINT s")
            with pytest.raises(psycopg.errors.FeatureNotSupported, match="must not change result type"):
                connection.execute(everything, (10,), prepare=True)
            connection.execute("ROLLBACK TO s")
            connection.execute("ALTER TABLE users ALTER COLUMN score TYPE text")
            found = connection.execute("SELECT id FROM users WHERE score < %s ORDER BY id LIMIT 2", ["2"], prepare=True)
            assert found.fetchall() == [(1,), (4,)]
        for each in (connection, other):
            found = each.execute("SELECT id FROM users WHERE score < %s ORDER BY id LIMIT 2", [2], prepare=True)
            assert found.fetchall() == [(1,), (4,)]
            assert len(each.execute(everything + " ", (10,), prepare=True).fetchall()[0]) == 3


def test_what_was_prepared(both, proxy):
    """By one that is not the transaction's; and the same text in it, which others do not share."""
    text = "SELECT name, score FROM users WHERE id = %s"
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, psycopg.connect(proxy.dsn, autocommit=True) as other:
        for each in (connection, other):
            assert each.execute(text, (7,), prepare=True).fetchall() == [("u7", 3)]
        with connection.transaction(force_rollback=True):
            connection.execute("ALTER TABLE users RENAME COLUMN score TO was")
            connection.execute("ALTER TABLE users ADD COLUMN score text DEFAULT 'new'")
            for binary in (False, True):
                cursor = connection.cursor(binary=binary)
                assert cursor.execute("SELECT name, score FROM users u WHERE id = %s", (7,), prepare=True).fetchall() == [("u7",
                "new")]
                assert cursor.execute("UPDATE users SET score = %s WHERE id = ANY (%s) RETURNING score",
                                      ("x", [1, 2, 3]), prepare=True).fetchall() == [("x",)] * 3
        for each in (other, connection):
            assert each.execute("SELECT name, score FROM users u WHERE id = %s", (7,), prepare=True).fetchall() == [("u7", 3)]
            assert each.execute("UPDATE users SET score = %s WHERE id = ANY (%s) RETURNING score",
                                (5, [1, 2, 3]), prepare=True).fetchall() == [(5,)] * 3


def test_types_in_binary_and_copy(both, proxy):
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        with connection.transaction(force_rollback=True):
            connection.execute("CREATE TYPE size AS ENUM ('small', 'large')")
            connection.execute("ALTER TABLE users ADD COLUMN size size, ADD COLUMN sizes size[]")
            with connection.cursor().copy("COPY users (id, size, sizes) FROM STDIN") as copy:
                for at in range(40, 46):
                    copy.write_row((at, "large" if at % 2 else "small", "{small,large}"))
            home = connection.execute("SELECT 'size'::regtype::oid, 'size[]'::regtype::oid").fetchone()
            for at in range(40, 46):
                cursor = connection.cursor(binary=True)
                cursor.execute("SELECT size, sizes FROM users WHERE id = %s", (at,))
                assert (cursor.description[0].type_code, cursor.description[1].type_code) == home
                row = cursor.fetchone()
                assert row[0] == (b"large" if at % 2 else b"small") and home[0].to_bytes(4, "big") in bytes(row[1])
            with connection.cursor().copy("COPY (SELECT id, size FROM users WHERE id >= 40) TO STDOUT") as copy:
                assert sorted(row.decode() for row in copy.rows() for row in [b",".join(str(v).encode() for v in row)]) \
                    == sorted(f"{at},{'large' if at % 2 else 'small'}" for at in range(40, 46))
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (12,)


def test_it_is_committed_and_others_know_it(both, proxy):
    through = both[0]
    with contextlib.closing(proxy.psycopg2()) as other:
        for sql in ("BEGIN", "ALTER TABLE users ADD COLUMN seen int", "UPDATE users SET seen = score * 2 WHERE score > 0"):
            ask(through, sql)
        assert ask(other, "SELECT sum(score) FROM countries, (VALUES (3)) v (score)") == [(6,)]
        ask(through, "COMMIT")
        assert ask(other, "SELECT sum(seen) FROM users") == [(36,)]
        ask(other, "ALTER TABLE users DROP COLUMN seen")
        assert len(ask(through, "SELECT * FROM users WHERE id = 1")[0]) == 3


def test_a_reading_that_fails_fails_the_statement(both, lab):
    through = both[0]
    for sql in ("BEGIN", "ALTER TABLE users ADD COLUMN seen int", "SET LOCAL statement_timeout = 1", "SAVEPOINT s"):
        ask(through, sql)
    assert outcome(through, "SELECT seen FROM users") in ("57014", "25P02")
    assert outcome(through, "SELECT 1") == "25P02"
    ask(through, "ROLLBACK TO s")
    ask(through, "SET LOCAL statement_timeout = 0")
    assert len(ask(through, "SELECT seen FROM users")) == 12
    ask(through, "ROLLBACK")


def test_a_server_that_is_lost_meanwhile(both, lab):
    through = both[0]
    for sql in ("BEGIN", "ALTER TABLE users ADD COLUMN seen int"):
        ask(through, sql)
    lab.query(0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
    eventually(lambda: outcome(through, "SELECT seen FROM users") == "25P02")
    ask(through, "ROLLBACK")
    assert outcome(through, "SELECT seen FROM users") == "42703"
