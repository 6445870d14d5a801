"""UPDATE that gives rows another key: they leave their shard for that of the new one, as one PostgreSQL would show it."""
import contextlib
import random

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, nothing_is_left, start_proxy, together
from rawwire import bind, describe, error_fields, execute, kinds, parse, sync

LAB_SHARDS = 3
COMMON = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN small AS int CHECK (VALUE < 1000);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE items (id bigint NOT NULL, n int, word varchar(5), ratio float8 DEFAULT 0.5, at timestamptz, price numeric(8,2),
    mood mood, moods mood[], tags text[], data jsonb, raw bytea, low small, twice int GENERATED ALWAYS AS (n * 2) STORED,
    UNIQUE (id, n), CHECK (n <> 13));
CREATE TABLE parents (id bigint PRIMARY KEY, word text);
CREATE TABLE children (parent_id bigint REFERENCES parents (id) DEFERRABLE, n int, PRIMARY KEY (parent_id, n));
CREATE TABLE watched (id bigint PRIMARY KEY, n int);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER watch BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE pairs (id bigint PRIMARY KEY, pair pair);
CREATE TABLE events (id bigint, day date, what text) PARTITION BY RANGE (day);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2040-01-01');
"""
BY_ID = ("items", "parents", "watched", "pairs", "events")
TABLES = ("".join(f" - {{name: {name}, key: id, function: modulo}}\n" for name in BY_ID) +
          " - {name: children, key: parent_id, function: modulo}\n")
SEED = 20260801
ROWS = """
INSERT INTO items (id, n, word, ratio, at, price, mood, moods, tags, data, raw, low) VALUES
  (1, 1, 'a', 0.1, '2024-01-02 03:04:05.678901+02', 1.5, 'ok', '{sad,happy}', '{x,NULL,"a b"}', '{"a": [1, 2]}', '\\x00ff', 7),
  (1, 2, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (1, 3, 'c''d', 1e-300, 'infinity', 99999.99, 'happy', '{}', '{}', '[]', '', -5),
  (2, 1, 'two', 2, '2000-01-01', 2, 'sad', NULL, NULL, NULL, NULL, 2),
  (4, 1, 'four', 4, NULL, 4, 'ok', NULL, NULL, NULL, NULL, 4);
INSERT INTO parents VALUES (1, 'a'), (2, 'b'), (3, 'c');
"""

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(COMMON, TABLES)
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def both(proxy, whole, lab):
    """The proxy's connection and one PostgreSQL's, with equal rows."""
    tables = "items, parents, children, watched, pairs, events"
    lab.everywhere(f"TRUNCATE {tables}")
    ask(whole, f"TRUNCATE {tables}")
    with contextlib.closing(proxy.psycopg2()) as connection:
        for statement in ROWS.strip().split(";\n"):
            if statement.strip(" ;\n"):
                ask(connection, statement.strip().rstrip(";"))
                ask(whole, statement.strip().rstrip(";"))
        yield connection, whole
    nothing_is_left(lab)


def shown(row):
    return repr([bytes(value) if isinstance(value, memoryview) else value for value in row])


def outcome(connection, sql):
    """Rows or a tag; or an error's SQLSTATE."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            rows = sorted(map(shown, cursor.fetchall())) if cursor.description else None
            return cursor.statusmessage, rows, [column.name for column in cursor.description or ()]
    except psycopg2.Error as error:
        return error.pgcode


def same(both, sql):
    moved, one = (outcome(connection, sql) for connection in both)
    assert moved == one, sql
    for table in ("items", "events", "parents"):
        assert outcome(both[0], f"SELECT * FROM {table}") == outcome(both[1], f"SELECT * FROM {table}"), sql
    return moved


def test_rows_go_to_the_shard_of_their_new_key(lab, both):
    assert same(both, "UPDATE items SET id = 5 WHERE id = 1 AND n = 1 RETURNING *")[0] == "UPDATE 1"
    assert same(both, "UPDATE items SET id = 6 WHERE id = 1")[0] == "UPDATE 2"
    assert same(both, "UPDATE items SET id = 7 WHERE id = 1 RETURNING id, word")[0] == "UPDATE 0"
    assert lab.query(2, "SELECT id, n FROM items ORDER BY id, n") == [(2, 1), (5, 1)]
    assert lab.query(0, "SELECT id, n FROM items ORDER BY id, n") == [(6, 2), (6, 3)]


def test_other_columns_are_set_as_well(both):
    for sql in ("UPDATE items x SET n = n + 10, id = 3, word = upper(word), price = price * 1.5 "
                "WHERE x.id = 1 AND n < 3 RETURNING x.*, n + 1 AS m",
                "UPDATE items SET id = 8, ratio = n, price = 1.005, n = 2.5, at = '2020-01-01', mood = 'sad', low = n "
                "WHERE id = 3 AND n = 11",
                "UPDATE items AS set SET id = 10, word = CASE WHEN n > 2 THEN 'x' ELSE word END, "
                "tags = array_append(tags, 'z') WHERE set.id = 8 RETURNING id",
                'UPDATE "items" SET "id" = 12, data = data || \'{"b": null}\', raw = raw || \'\\x01\', moods = NULL '
                "WHERE id = 10 AND word IS DISTINCT FROM 'q'",
                "UPDATE items SET id = 13, price = low WHERE id = 12; ",
                "/* c */ UPDATE public.items SET id = 14 -- d\n WHERE id = 13"):
        assert isinstance(same(both, sql), tuple), sql


def test_errors_are_those_of_one_postgresql(both):
    for sql in ("UPDATE items SET id = 2 WHERE id = 1",                    # UNIQUE
                "UPDATE items SET id = 2, n = 13 WHERE id = 1 AND n = 2",  # CHECK
                "UPDATE items SET id = 2, n = 9, word = 'too long' WHERE id = 1 AND n = 2",
                "UPDATE items SET id = 2, n = 9, word = word || 'longer' WHERE id = 1 AND n = 1",
                "UPDATE items SET id = 2, n = 9, low = 1000 WHERE id = 1 AND n = 2",
                "UPDATE items SET id = 2, n = 9, low = n * 500 WHERE id = 1 AND n = 2",
                "UPDATE items SET id = 2, n = 1 / (n - 1) WHERE id = 1",
                "UPDATE items SET id = 2, n = word WHERE id = 1",
                "UPDATE items SET id = 2, twice = 3 WHERE id = 1",
                "UPDATE items SET id = 2, nowhere = 3 WHERE id = 1",
                "UPDATE items SET id = 2, mood = 'angry' WHERE id = 1 AND n = 2",
                "UPDATE items SET id = 2, id = 3 WHERE id = 1"):
        assert len(same(both, sql)) == 5, sql


def test_what_would_see_the_difference_is_refused(both):
    moved = both[0]
    ask(moved, "INSERT INTO pairs VALUES (1, '(1,a)')")
    for sql, words in (("UPDATE watched SET id = 2 WHERE id = 1", "triggers"),
                       ("UPDATE parents SET id = 5 WHERE id = 1", "foreign key"),
                       ("UPDATE pairs SET id = 2 WHERE id = 1", "pair is of a type"),
                       ("UPDATE items SET id = 2, ratio = DEFAULT WHERE id = 1", "default"),
                       ("UPDATE items SET (id, n) = (2, 5) WHERE id = 1", "change the key"),
                       ("UPDATE items SET id = 2, ratio = random() WHERE id = 1", "volatile"),
                       ("UPDATE items SET id = 2, at = 'now' WHERE id = 1", "time"),
                       ("UPDATE items SET id = 2 WHERE id = 1 AND n = (SELECT max(n) FROM items x WHERE x.id = 1)",
                        "more than the rows"),
                       ("UPDATE items SET id = id + 1 WHERE id = 1", "change the key"),
                       ("UPDATE items SET id = 2 WHERE id IN (1, 4)", "key"),
                       ("UPDATE items SET id = 2, mood = coalesce(mood, 'ok') WHERE id = 1 AND n = 2", "type of your own"),
                       ("UPDATE ONLY items SET id = 2 WHERE id = 1", "ONLY")):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
            ask(moved, sql)
        assert words in str(found.value), (sql, str(found.value))
    assert outcome(moved, "SELECT * FROM items") == outcome(both[1], "SELECT * FROM items")


def test_a_row_that_moves_may_take_the_moment_along(both):
    moved = both[0]
    before, count = ask(moved, "SELECT clock_timestamp(), count(*) FROM items WHERE id = 1")[0]
    assert ask(moved, "UPDATE items SET id = 20, at = now() WHERE id = 1") == f"UPDATE {count}"
    assert ask(moved, f"SELECT count(*) FROM items WHERE id = 20 AND at BETWEEN '{before}' AND clock_timestamp()") == [(count,)]
    assert ask(moved, "SELECT count(DISTINCT at) FROM items WHERE id = 20") == [(1,)]


def test_a_new_key_of_the_same_shard_is_that_shards(lab, both):
    assert same(both, "UPDATE items SET id = 7 WHERE id = 1 RETURNING id, n")[0] == "UPDATE 3"
    assert same(both, "UPDATE parents SET id = 6 WHERE id = 3")[0] == "UPDATE 1"
    assert lab.query(1, "SELECT count(*) FROM items WHERE id = 7") == [(3,)]


def test_a_row_that_is_written_whole_keeps_its_key(proxy, both):
    """As what saves objects does it: every column is set, and the row is named by another one than the key."""
    for sql in ("UPDATE items SET id = 1, n = 1, word = 'w' WHERE word = 'a' RETURNING id, n, word",
                "UPDATE parents SET id = 2, word = 'x' WHERE word = 'b'", "UPDATE items SET id = 3 WHERE word = 'nobody'",
                "UPDATE items SET id = 1, n = 2 WHERE word = 'w'", "UPDATE items SET id = 4, n = 1 WHERE price = 4"):
        same(both, sql)
    with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
        sql = "UPDATE items SET id = %s, n = %s WHERE price = %s"
        assert [connection.execute(sql, (4, n, 4)).statusmessage for n in (5, 6)] == ["UPDATE 1"] * 2
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute(sql, (5, 7, 4))
    for connection in both:
        ask(connection, "BEGIN")
        ask(connection, "UPDATE items SET id = 4, n = 8 WHERE price = 4")
        ask(connection, "COMMIT")
    assert same(both, "DELETE FROM items WHERE price = 4 AND n = 6")[0] == "DELETE 0"
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        ask(both[0], "UPDATE items SET id = NULL WHERE word = 'nobody'")  # no row would get it
    moved = ask(both[0], "UPDATE items SET id = 12, at = now() WHERE id = 1 RETURNING at = now() AS same")
    assert set(moved) == {(True,)}


def test_a_row_of_another_shard_does_not_get_the_key_of_this_one(lab, both):
    moved = both[0]

    def refused():
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
            ask(moved, "UPDATE items SET id = 5, n = 9 WHERE word = 'a'")
        assert "row of items" in str(found.value) and "on shard s1" in str(found.value)
        assert outcome(moved, "SELECT * FROM items") == outcome(both[1], "SELECT * FROM items")

    refused()
    lab.query(1, "ALTER TABLE items DROP CONSTRAINT mosaic_owner")  # then the count of rows says so
    try:
        refused()
    finally:
        lab.run("apply", "--yes", check=True)


def test_partitions(both):
    for connection in both:
        ask(connection, "INSERT INTO events VALUES (1, '2010-01-01', 'a'), (1, '2030-01-01', 'b')")
    sql = "UPDATE events SET id = 2, what = what || '!', day = day + 3600 WHERE id = 1 RETURNING *"
    assert same(both, sql)[0] == "UPDATE 2"


def test_in_a_transaction_with_savepoints(lab, both):
    for connection in both:
        for sql in ("BEGIN", "UPDATE items SET id = 5 WHERE id = 1 AND n = 1", "SAVEPOINT s",
                    "UPDATE items SET id = 6 WHERE id = 5"):
            ask(connection, sql)
        with pytest.raises(psycopg2.errors.UniqueViolation):
            ask(connection, "UPDATE items SET id = 2, n = 1 WHERE id = 6")
        for sql in ("ROLLBACK TO s", "UPDATE items SET id = 9 WHERE id = 5 RETURNING n", "COMMIT"):
            ask(connection, sql)
    same(both, "UPDATE items SET id = 10 WHERE id = 9")
    assert lab.query(1, "SELECT id, n FROM items WHERE id > 4") == [(10, 1)]


def test_with_parameters_of_each_kind(proxy, both):
    moved, one = both
    sql = ("UPDATE items SET id = %s, n = n + %s, word = %s WHERE id = %s AND n >= %s "
           "RETURNING id, n, word, price, mood::text")
    key = 1
    for binary in (False, True):
        for target in (5, 6):
            with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
                cursor = connection.cursor(binary=binary)
                cursor.execute(sql, (target, 20, "w", key, 1))
                assert cursor.statusmessage == "UPDATE 3"
                rows = sorted(cursor.fetchall())
                with one.cursor() as plain:
                    plain.execute(sql, (target, 20, "w", key, 1))
                    assert rows == sorted(plain.fetchall())
                key = target
    assert outcome(moved, "SELECT * FROM items") == outcome(one, "SELECT * FROM items")


def test_a_parameter_used_twice_has_one_type(proxy, both):
    """WHERE makes an integer of it, and so it is stored."""
    connection, _ = both
    ask(connection, "INSERT INTO items (id, n) VALUES (100, 7)")
    with proxy.wire() as wire:
        messages = wire.exchange(parse("UPDATE items SET id = $1, word = $2 WHERE id = $3 AND n = $2") +
                                 bind(["102", "007", "100"]) + execute() + sync())
        assert "C" in kinds(messages) and "E" not in kinds(messages)
    assert ask(connection, "SELECT word FROM items WHERE id = 102") == [("7",)]


def test_in_one_segment(proxy, lab, both):
    update = parse("UPDATE items SET id = 5 WHERE id = 1 RETURNING id") + bind() + describe() + execute()
    empty = parse("UPDATE items SET id = 6 WHERE id = 77") + bind() + describe() + execute()
    with proxy.wire() as wire:
        got = wire.exchange(update + empty + sync())
        assert kinds(got) == list("12TDDDC12nCZ") and got[-1][1] == b"I"
    assert lab.query(2, "SELECT count(*) FROM items WHERE id = 5") == [(3,)]


def test_many_rows_and_no_more_than_memory_allows(lab, both):
    moved = both[0]
    rows = ", ".join(f"(100, {i}, '\"{'x' * 100}\"')" for i in range(100, 5100))
    ask(moved, f"INSERT INTO items (id, n, data) VALUES {rows}")
    assert ask(moved, "UPDATE items SET id = 101, n = -n WHERE id = 100") == "UPDATE 5000"
    assert len(ask(moved, "UPDATE items SET id = 102 WHERE id = 101 RETURNING n")) == 5000
    assert lab.query(0, "SELECT count(*), sum(n) FROM items WHERE id = 102") == [(5000, -sum(range(100, 5100)))]


def test_parameters_that_go_with_each_row_count_as_memory(proxy, both):
    ask(both[0], "INSERT INTO items (id, n) SELECT 100, i FROM generate_series(100, 1099) i")
    with proxy.wire() as wire:
        messages = wire.exchange(parse("UPDATE items SET id = 101, raw = $1 WHERE id = 100") +
                                 bind(["x" * 100_000]) + execute() + sync())
        assert [error_fields(body)["C"] for kind, body in messages if kind == "E"] == ["54000"]
    assert ask(both[0], "SELECT count(*) FROM items WHERE id = 100") == [(1000,)]


def test_settings_do_not_change_values(both):
    moved = both[0]
    for sql in ("SET extra_float_digits = -10", "SET DateStyle = 'SQL, DMY'", "SET bytea_output = 'escape'"):
        ask(moved, sql)
    ask(moved, "UPDATE items SET id = 2, n = 50, ratio = ratio / 3 WHERE id = 1 AND n = 1")
    ask(both[1], "UPDATE items SET id = 2, n = 50, ratio = ratio / 3 WHERE id = 1 AND n = 1")
    for sql in ("RESET extra_float_digits", "RESET DateStyle", "RESET bytea_output"):
        ask(moved, sql)
    assert outcome(moved, "SELECT * FROM items") == outcome(both[1], "SELECT * FROM items")


def test_random_moves_leave_what_one_postgresql_leaves(both):
    dice = random.Random(SEED)
    sets = ("n = n + 1", "word = 'w'", "price = price + 0.01", "low = 3", "ratio = ratio * 3", "mood = 'happy'",
            "tags = array_append(tags, word::text)", "at = at + interval '1 day'", "data = to_jsonb(n)",
            "word = left(word, 2)", "n = NULL", "price = '7.005'")
    wheres = ("", " AND n > 1", " AND word IS NOT NULL", " AND price < 3", " AND (mood = 'ok' OR n = 2)")
    returns = ("", " RETURNING *", " RETURNING n, word || '!' AS w", " RETURNING id")
    changed = 0
    for _ in range(150):
        parts = [f"id = {dice.randrange(7)}"] + dice.sample(sets, dice.randrange(3))
        names = [part.split()[0] for part in parts]
        if len(set(names)) < len(names):
            continue
        dice.shuffle(parts)
        sql = f"UPDATE items SET {', '.join(parts)} WHERE id = {dice.randrange(7)}{dice.choice(wheres)}{dice.choice(returns)}"
        changed += isinstance(same(both, sql), tuple)
    assert changed > 60


def test_two_that_move_one_row_do_it_once(proxy, lab, both):
    def work(target):
        with contextlib.closing(proxy.psycopg2()) as connection:
            return ask(connection, f"UPDATE items SET id = {target} WHERE id = 1 AND n = 1")

    for _ in range(5):
        assert sorted(together(work, (2 + 18, 3 + 18, 5 + 18))) == ["UPDATE 0", "UPDATE 0", "UPDATE 1"]
        rows = [row for shard in range(3) for row in lab.query(shard, "SELECT id FROM items WHERE id > 18")]
        assert len(rows) == 1
        ask(both[0], f"UPDATE items SET id = 1 WHERE id = {rows[0][0]}")
