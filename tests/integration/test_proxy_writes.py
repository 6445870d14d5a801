"""Writes on several shards at once: rows of INSERT dealt out, UPDATE and DELETE without a key, reference tables."""
import concurrent.futures
import contextlib
import io
import random
import re
import time

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, eventually, nothing_is_left, start_proxy, together
from rawwire import bind, describe, execute, flush, kinds, parse, query, sync

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text, score int CHECK (score < 1000), at timestamptz DEFAULT now());
CREATE TABLE orders (user_id bigint REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED, n int, amount numeric,
                     PRIMARY KEY (user_id, n));
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE plain (id bigint PRIMARY KEY, word text);
CREATE TABLE dated (id int PRIMARY KEY, at timestamptz DEFAULT now());
CREATE TYPE mood AS ENUM ('ok', 'happy');
CREATE TABLE tags (id serial PRIMARY KEY, name varchar(9) UNIQUE, made timestamptz DEFAULT clock_timestamp(),
                   mood mood DEFAULT 'ok', token uuid DEFAULT gen_random_uuid(), ratio float8 DEFAULT random(),
                   long int GENERATED ALWAYS AS (length(name)) STORED, also bigint GENERATED ALWAYS AS IDENTITY);
"""
TABLES = (" - {name: users, key: id, function: modulo}\n - {name: orders, key: user_id, function: modulo}\n"
          " - {name: plain, key: id, function: modulo}\n - {name: countries, kind: reference}\n"
          " - {name: tags, kind: reference}\n - {name: dated, kind: reference}\n")

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards")


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(SCHEMA, TABLES)
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def one(proxy, lab):
    """A connection; twelve rows of plain."""
    lab.everywhere("TRUNCATE users, orders, countries, plain, tags RESTART IDENTITY")
    with contextlib.closing(proxy.psycopg2()) as connection:
        assert tag(connection, "INSERT INTO plain VALUES " + ", ".join(f"({i}, 'w{i}')" for i in range(12))) == "INSERT 0 12"
        yield connection
    nothing_is_left(lab)


def tag(connection, sql):
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.statusmessage


def plain(lab):
    return sorted(row for i in range(LAB_SHARDS) for row in lab.query(i, "SELECT id, word FROM plain"))


def test_rows_of_an_insert_go_to_their_owners(lab, one):
    assert plain(lab) == [(i, f"w{i}") for i in range(12)]
    for shard in range(LAB_SHARDS):
        assert lab.query(shard, "SELECT count(*) FROM plain") == [(4,)]
    returned = ask(one, "INSERT INTO plain VALUES (21, 'a'), (20, 'b'), (19, 'c'), (24, 'd'), (22, 'e') RETURNING id, word")
    assert returned == [(21, "a"), (20, "b"), (19, "c"), (24, "d"), (22, "e")]


def test_what_shards_say_at_length_is_told(one):
    """Of an error the first megabyte, and that without half a character; a notice as it is."""
    rows = "(1, 'a', repeat('é', 1000000)::int), (2, 'b', 1), (3, 'c', repeat('ü', 1000000)::int)"
    for sql in ("SELECT repeat('é', 1000000)::int", f"INSERT INTO users VALUES {rows}"):
        with pytest.raises(psycopg2.errors.InvalidTextRepresentation) as told:
            ask(one, sql)
        message = told.value.diag.message_primary
        assert re.fullmatch('invalid input syntax for type integer: "(é+|ü+)', message), message[:200]
        assert len(message) > 500000
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation, match="invalid input syntax"), one.cursor() as cursor:
        cursor.copy_expert("COPY users (id, score) FROM STDIN", io.StringIO("1\t5\n2\t" + "x" * 2000000 + "\n3\t5\n"))
    assert ask(one, "SELECT count(*) FROM users") == [(0,)]
    ask(one, "SET mosaic.shard = 's0'")
    ask(one, "DO $$BEGIN RAISE NOTICE '%', repeat('é', 1000000); END$$")
    assert one.notices[-1] == f"NOTICE:  {'é' * 1000000}\n"


def test_update_and_delete_without_a_key(lab, one):
    assert tag(one, "UPDATE plain SET word = upper(word) WHERE id > 2") == "UPDATE 9"
    assert tag(one, "DELETE FROM plain WHERE id % 2 = 0") == "DELETE 6"
    assert sorted(ask(one, "DELETE FROM plain WHERE id IN (1, 3, 5, 77) RETURNING word, id")) == [("W3", 3), ("W5", 5), ("w1", 1)]
    assert plain(lab) == [(7, "W7"), (9, "W9"), (11, "W11")]
    assert tag(one, "UPDATE plain SET word = 'x' WHERE false") == "UPDATE 0"


def test_an_error_on_one_shard_undoes_all(lab, one):
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask(one, "INSERT INTO plain VALUES (30, 'x'), (31, 'x'), (5, 'x'), (32, 'x')")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        ask(one, "UPDATE plain SET word = (1 / (id - 7))::text")
    assert plain(lab) == [(i, f"w{i}") for i in range(12)]
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):  # at COMMIT
        ask(one, "INSERT INTO orders VALUES (1, 1, 2.5), (2, 1, 2.5)")
    assert ask(one, "SELECT count(*) FROM orders") == [(0,)]
    assert ask(one, "SELECT 1") == [(1,)]


def test_within_a_transaction_with_savepoints(lab, one):
    ask(one, "BEGIN")
    assert tag(one, "UPDATE plain SET word = 'a' WHERE id = 3") == "UPDATE 1"
    assert tag(one, "UPDATE plain SET word = word || '!'") == "UPDATE 12"
    ask(one, "SAVEPOINT s")
    assert tag(one, "DELETE FROM plain") == "DELETE 12"
    assert ask(one, "SELECT word FROM plain WHERE id = 3") == []
    with pytest.raises(psycopg2.errors.DivisionByZero):
        ask(one, "INSERT INTO plain VALUES (1, 'x'), (2, (1 / (2 - 2))::text), (3, 'z')")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        ask(one, "UPDATE plain SET word = 'never'")
    ask(one, "ROLLBACK TO s")
    assert ask(one, "SELECT word FROM plain WHERE id = 3") == [("a!",)]
    assert tag(one, "INSERT INTO plain VALUES (100, 'new'), (101, 'new')") == "INSERT 0 2"
    ask(one, "COMMIT")
    assert plain(lab) == [(i, "a!" if i == 3 else f"w{i}!") for i in range(12)] + [(100, "new"), (101, "new")]


def test_reads_over_shards_see_what_the_transaction_wrote(lab, one):
    ask(one, "BEGIN")
    ask(one, "DELETE FROM plain WHERE id < 6")
    assert ask(one, "SELECT count(*), min(id) FROM plain") == [(6, 6)]
    ask(one, "UPDATE plain SET word = 'zz' WHERE id = 10")
    assert ask(one, "SELECT id FROM plain ORDER BY word DESC, id LIMIT 3") == [(10,), (9,), (8,)]
    assert sorted(ask(one, "SELECT id FROM plain")) == [(i,) for i in range(6, 12)]
    assert ask(one, "SELECT id FROM plain ORDER BY id DESC OFFSET 1 LIMIT 2") == [(10,), (9,)]
    assert ask(one, "SELECT word, count(*) FROM plain GROUP BY word ORDER BY 2, 1 LIMIT 2") == [("w11", 1), ("w6", 1)]
    ask(one, "ROLLBACK")
    assert ask(one, "SELECT count(*) FROM plain") == [(12,)]


def test_reference_tables_are_written_on_all_shards(lab, one):
    assert tag(one, "INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France')") == "INSERT 0 2"
    assert ask(one, "UPDATE countries SET name = 'Gaul' WHERE code = 'fr' RETURNING name") == [("Gaul",)]
    for shard in range(LAB_SHARDS):
        assert sorted(lab.query(shard, "SELECT * FROM countries")) == [("de", "Germany"), ("fr", "Gaul")]
    assert tag(one, "DELETE FROM countries WHERE code = 'de'") == "DELETE 1"
    lab.query(1, "DELETE FROM countries")
    with pytest.raises(psycopg2.errors.DataCorrupted) as found:
        ask(one, "UPDATE countries SET name = 'x'")
    assert "differ" in found.value.diag.message_detail
    assert lab.query(0, "SELECT * FROM countries") == [("fr", "Gaul")]


def copies(lab):
    """What all copies of tags are alike."""
    found = [lab.query(shard, "SELECT * FROM tags ORDER BY id") for shard in range(LAB_SHARDS)]
    assert found[0] == found[1] == found[2]
    return found[0]


def test_defaults_of_a_reference_table_are_one_shards(proxy, lab, one):
    """A sequence's numbers, random ones and the time: the first shard's, given to all others."""
    lab.query(0, "SELECT setval('tags_id_seq', 100)")
    assert ask(one, "INSERT INTO tags (name) VALUES ('a') RETURNING id, long, also, name || '!'") == [(101, 1, 1, "a!")]
    assert tag(one, "INSERT INTO tags AS t (name, mood) VALUES ('bb', DEFAULT), ('ccc', 'happy')") == "INSERT 0 2"
    assert ask(one, "INSERT INTO tags (name) VALUES ('a'), ('d') ON CONFLICT DO NOTHING RETURNING tags.name") == [("d",)]
    assert tag(one, "INSERT INTO tags (name) VALUES ('a') ON CONFLICT (name) DO NOTHING") == "INSERT 0 0"
    assert ask(one, "INSERT INTO tags (name) VALUES ('a') ON CONFLICT DO NOTHING RETURNING id") == []
    assert tag(one, "INSERT INTO tags DEFAULT VALUES") == "INSERT 0 1"
    assert ask(one, "INSERT INTO tags (name) SELECT 'n' || i FROM generate_series(1, 3) i RETURNING long") == [(2,)] * 3
    for sql, error in (("INSERT INTO tags (name) VALUES ('a')", psycopg2.errors.UniqueViolation),
                       ("INSERT INTO tags (name) VALUES ('new'), ('long for it')", psycopg2.errors.StringDataRightTruncation),
                       ("INSERT INTO tags (nam) VALUES ('a')", psycopg2.errors.UndefinedColumn),
                       ("INSERT INTO tags (name, mood) VALUES ('x', 'sad')", psycopg2.errors.InvalidTextRepresentation)):
        with pytest.raises(error):
            ask(one, sql)
    assert [row[1] for row in copies(lab)] == ["a", "bb", "ccc", "d", None, "n1", "n2", "n3"]
    for binary in (False, True):
        with psycopg.connect(proxy.dsn, prepare_threshold=0) as connection:
            cursor = connection.cursor(binary=binary)
            for number in range(3):
                cursor.execute("INSERT INTO tags (name, mood, ratio) VALUES (%s, %s, DEFAULT) RETURNING id, name, token",
                               (f"p{number}{binary}"[:4], "happy"))
                assert (cursor.statusmessage, len(cursor.fetchall())) == ("INSERT 0 1", 1)
            cursor.execute("SAVEPOINT s")
            cursor.execute("INSERT INTO tags (name) VALUES ('undone')")
            cursor.execute("ROLLBACK TO s")
            cursor.executemany("INSERT INTO tags (name) VALUES (%s)", [(f"m{i}{binary}"[:4],) for i in range(3)])
    assert len(copies(lab)) == 20


def test_many_that_insert_into_a_reference_table(proxy, lab, one):
    def work(number):
        with contextlib.closing(proxy.psycopg2()) as connection:
            for i in range(5):
                ask(connection, f"INSERT INTO tags (name) VALUES ('{number}-{i}'), ('{number}+{i}') RETURNING id")

    together(work, range(5))
    assert len(copies(lab)) == 50


def waits_for_a_lock(lab, text):
    return lab.query(0, f"SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '{text}%'")


def test_what_a_write_of_copies_reads_of_others_is_the_same_everywhere(proxy, lab, one):
    """The write that reads has read on the first shard, and waits there, when the table that it reads is written."""
    ask(one, "INSERT INTO countries VALUES ('de', 'old')")
    ask(one, "INSERT INTO tags (name) VALUES ('x')")
    update = "UPDATE tags SET name = (SELECT name FROM countries WHERE code = 'de')"
    with contextlib.closing(proxy.psycopg2()) as other, lab.connect(0) as blocker, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        blocker.cursor().execute("BEGIN; SELECT * FROM tags FOR UPDATE")
        first = pool.submit(ask, one, update)
        eventually(lambda: waits_for_a_lock(lab, "UPDATE tags"))
        second = pool.submit(ask, other, "UPDATE countries SET name = 'new' WHERE code = 'de'")
        time.sleep(0.5)  # it is done by then, or waits
        blocker.cursor().execute("ROLLBACK")
        assert first.result(20) == second.result(20) == "UPDATE 1"
    assert {tuple(lab.query(shard, "SELECT name FROM tags")) for shard in range(LAB_SHARDS)} == {(("old",),)}


def test_many_that_write_copies_of_what_others_write(proxy, lab, one):
    ask(one, "INSERT INTO countries SELECT chr(97 + i), i::text FROM generate_series(0, 4) i")
    ask(one, "INSERT INTO tags (name) SELECT chr(97 + i) FROM generate_series(0, 4) i")
    statements = ["UPDATE tags SET mood = 'happy' WHERE name IN (SELECT code FROM countries WHERE name > '{n}')",
                  "UPDATE tags SET mood = 'ok' WHERE name IN (SELECT code FROM countries WHERE name > '{n}')",
                  "UPDATE countries SET name = ((name::int + {n}) % 7)::text WHERE name > '{n}'",
                  "INSERT INTO countries SELECT code || '{w}{n}', name FROM countries WHERE length(code) = 1",
                  "DELETE FROM countries WHERE length(code) > 1 AND name > '{n}'"]

    def work(number):
        rng = random.Random(number)
        with contextlib.closing(proxy.psycopg2()) as connection:
            for i in range(15):
                ask(connection, rng.choice(statements).format(n=rng.randrange(7), w=f"-{number}-{i}-"))

    together(work, range(6))
    for sql in ("SELECT name, mood::text FROM tags ORDER BY 1", "SELECT code, name FROM countries ORDER BY 1"):
        assert len({tuple(lab.query(shard, sql)) for shard in range(LAB_SHARDS)}) == 1, sql


def test_with_parameters_of_each_kind(proxy, lab, one):
    for binary in (False, True):
        with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
            cursor = connection.cursor(binary=binary)
            cursor.execute("INSERT INTO plain VALUES (%s, %s), (%s, %s), (%s, %s) RETURNING id, word",
                           (201 + binary * 10, "x", 200 + binary * 10, None, 202 + binary * 10, "z"))
            assert cursor.fetchall() == [(201 + binary * 10, "x"), (200 + binary * 10, None), (202 + binary * 10, "z")]
            cursor.execute("UPDATE plain SET word = %s WHERE id >= %s", ("up", 200 + binary * 10))
            assert cursor.statusmessage == "UPDATE 3"
            with pytest.raises(psycopg.errors.UniqueViolation):
                cursor.execute("INSERT INTO plain VALUES (%s, 'q'), (%s, 'q')", (900, 201 + binary * 10))
            cursor.execute("DELETE FROM plain WHERE word = %s", ("up",))
            assert cursor.statusmessage == "DELETE 3"
    assert len(plain(lab)) == 12
    with psycopg.connect(proxy.dsn) as connection:
        connection.execute("UPDATE plain SET word = %s", ("t",))
        connection.rollback()
        connection.execute("UPDATE plain SET word = %s WHERE id <> %s", ("t", 4))
        connection.commit()
    assert plain(lab) == [(i, "w4" if i == 4 else "t") for i in range(12)]


def test_in_one_segment_up_to_sync(proxy, lab, one):
    """What comes before Sync is one transaction, as PostgreSQL has it."""
    update = parse("UPDATE plain SET word = 's'") + bind() + describe() + execute()
    read = parse("SELECT word FROM plain WHERE id = 5") + bind() + execute()
    with proxy.wire() as wire:
        got = wire.exchange(update + read + sync())
        assert kinds(got) == list("12nC12DCZ") and got[-1][1] == b"I"
        assert plain(lab) == [(i, "s") for i in range(12)]
        fails = parse("SELECT 1 / 0") + bind() + execute()
        got = wire.exchange(parse("DELETE FROM plain") + bind() + execute() + fails + sync())
        assert kinds(got) == list("12C1EZ") and got[-1][1] == b"I"
        assert len(plain(lab)) == 12
        got = wire.exchange(parse("INSERT INTO plain VALUES (50, 'x'), (51, 'x')") + bind() + execute() +
                            parse("UPDATE plain SET word = 'y' WHERE id IN (50, 3)") + bind() + execute() + sync())
        assert kinds(got) == list("12C12CZ")
        assert [row for row in plain(lab) if row[1] == "y"] == [(3, "y"), (50, "y")]
        got = wire.exchange(parse("INSERT INTO orders VALUES (1, 1, 1), (2, 2, 2)") + bind() + execute() + sync())
        assert kinds(got) == list("12CEZ") and got[-1][1] == b"I"  # the deferred constraint, at Sync
        assert kinds(wire.exchange(query("SELECT 1"))) == list("TDCZ")


def test_what_is_bound_and_not_executed_writes_nothing(proxy, lab, one):
    with proxy.wire() as wire:
        got = wire.exchange(parse("DELETE FROM plain") + bind() + sync())
        assert "E" in kinds(got) and len(plain(lab)) == 12
        wire.send(parse("DELETE FROM plain") + bind() + flush())
        assert "E" in kinds(wire.until("E"))
        wire.exchange(sync())
        got = wire.exchange(parse("DELETE FROM plain RETURNING id") + bind() + execute(rows=3) + sync())
        assert "E" in kinds(got) and len(plain(lab)) == 12


FAILURES = ["INSERT INTO plain VALUES (1, 'x'), (102, 'z'), (103, 'z')", "UPDATE plain SET word = statement_timestamp()::text",
            "UPDATE plain SET word = (1 / (id - 7))::text", "lost"]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("first", ["UPDATE plain SET word = 'first'", "UPDATE plain SET word = 'first' WHERE id = 1", "SELECT 1"])
def test_an_end_that_is_prepared_when_the_transaction_has_failed(proxy, lab, one, first, failure):
    """A server that is asked to parse it must not tell that the transaction is well: it would be committed in part."""
    ends = [("COMMIT", False), ("COMMIT", True), ("ROLLBACK TO a", False), ("ROLLBACK TO a", True)]
    for number, (end, in_one) in enumerate(ends):
        with proxy.wire() as wire:
            for text in ("BEGIN", "SAVEPOINT a", first):
                assert wire.exchange(query(text))[-1][1] == b"T"
            if failure == "lost":
                lab.query(1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' "
                             "AND datname = current_database()")
            got = wire.exchange(query("UPDATE plain SET word = 'second'" if failure == "lost" else failure))
            if got[-1][1] == b"T":
                continue  # that shard was not in the transaction
            new = f"{end} -- {failure[:9]} {first[-3:]} {number}"  # no server has it
            run = bind(statement="s") + execute() + sync()
            prepared = parse(new, "s") + describe("S", "s")
            if in_one:
                got = wire.exchange(prepared + run)
            else:
                assert wire.exchange(prepared + sync())[-1][1] == b"E"
                got = wire.exchange(run)
            if end == "COMMIT":
                assert got[-2][1] == b"ROLLBACK\0" and got[-1][1] == b"I"
            elif failure != "lost":
                assert got[-2][1] == b"ROLLBACK\0" and got[-1][1] == b"T"
                wire.exchange(query("UPDATE plain SET word = 'w' || id WHERE id < 3"))
                assert wire.exchange(query("COMMIT"))[-2][1] == b"COMMIT\0"
            else:
                assert got[-1][1] == b"E"
                assert wire.exchange(query("COMMIT"))[-2][1] == b"ROLLBACK\0"
        assert plain(lab) == [(i, f"w{i}") for i in range(12)]


def test_a_request_to_stop_does_not_reach_the_next_statement(lab, one):
    """Where one shard fails the others are told to stop; what the transaction does next must not hear of it."""
    for _ in range(40):
        ask(one, "BEGIN")
        ask(one, "SAVEPOINT a")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            ask(one, "INSERT INTO plain VALUES (1, 'x'), (102, 'z'), (103, 'z')")
        ask(one, "ROLLBACK TO a")
        assert tag(one, "UPDATE plain SET word = 'w' || id") == "UPDATE 12"
        ask(one, "COMMIT")
    nothing_is_left(lab)


def test_executes_that_come_late(proxy, lab, one):
    import time
    with proxy.wire() as wire:
        wire.send(parse("UPDATE plain SET word = 'late'") + bind())
        time.sleep(0.2)
        assert len([row for row in plain(lab) if row[1] == "late"]) == 0
        assert kinds(wire.exchange(describe() + execute() + sync())) == list("12nCZ")
        assert plain(lab) == [(i, "late") for i in range(12)]


def test_a_thousand_rows(lab, one):
    values = ", ".join(f"({i}, 'word {i} (it''s)')" for i in range(1000, 2000))
    assert len(ask(one, f"INSERT INTO plain (id, word) VALUES {values} RETURNING id")) == 1000
    assert ask(one, "SELECT count(*), sum(id) FROM plain WHERE id >= 1000") == [(1000, sum(range(1000, 2000)))]


def test_on_conflict(lab, one):
    assert tag(one, "INSERT INTO plain VALUES (1, 'n'), (2, 'n'), (60, 'n') ON CONFLICT DO NOTHING") == "INSERT 0 1"
    assert ask(one, "INSERT INTO plain VALUES (1, 'm'), (2, 'm'), (61, 'm') ON CONFLICT (id) DO UPDATE "
                    "SET word = excluded.word RETURNING id, word") == [(1, "m"), (2, "m"), (61, "m")]


def test_the_time_of_a_default_is_one_in_all_copies(lab, one):
    """One shard inserts the rows and gives them to the others; what cannot be done so is refused."""
    def copies():
        return {str(lab.query(shard, "SELECT * FROM dated ORDER BY id")) for shard in range(3)}
    ask(one, "INSERT INTO dated (id) VALUES (1), (2)")
    ask(one, "INSERT INTO dated VALUES (3, DEFAULT)")
    ask(one, "INSERT INTO dated (id) SELECT 4")
    assert len(copies()) == 1
    for text in ("UPDATE dated SET at = DEFAULT", "INSERT INTO dated SELECT id + 9 FROM dated", "COPY dated (id) FROM STDIN",
                 "INSERT INTO dated VALUES (1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
                 "INSERT INTO dated VALUES (1, '2024-01-01') ON CONFLICT (id) DO UPDATE SET at = DEFAULT",
                 "INSERT INTO dated (id) SELECT id + 9 FROM plain"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
            ask(one, text)
        assert "mosaic.clock" in found.value.diag.message_hint, text
    ask(one, "INSERT INTO dated VALUES (1, '2024-01-01') ON CONFLICT (id) DO UPDATE SET at = excluded.at")
    assert len(copies()) == 1
    ask(one, "SET mosaic.clock = 'shard'")
    assert ask(one, "UPDATE dated SET at = DEFAULT") == "UPDATE 4"
    ask(one, "DELETE FROM dated")


def test_the_clock_is_one_for_all(proxy, lab, one):
    """Shards are told the moment at which the transaction began; what asks for the time otherwise is refused."""
    ask(one, "INSERT INTO users VALUES " + ", ".join(f"({i}, 'n', 1, now())" for i in range(6)))
    at = "SELECT DISTINCT at FROM users"
    assert len(ask(one, at)) == 1
    ask(one, "SET timezone = 'Asia/Kathmandu'")
    ask(one, "UPDATE users SET at = CURRENT_TIMESTAMP(1), name = LOCALTIMESTAMP(0)::text "
             "|| pg_catalog . now()::date || CURRENT_DATE")
    (moment, name), = ask(one, "SELECT DISTINCT at, name FROM users")
    assert moment.microsecond % 100000 == 0
    assert name[:10] == name[19:29] == name[29:] == moment.date().isoformat()
    assert abs(ask(one, "SELECT extract(epoch FROM clock_timestamp())")[0][0] - int(moment.timestamp())) < 60
    ask(one, "BEGIN")
    ask(one, "UPDATE users SET at = now() WHERE id > 2")
    ask(one, "SELECT pg_sleep(0.05)")
    ask(one, "UPDATE users SET at = transaction_timestamp() WHERE id <= 2")
    assert len(ask(one, at)) == 1
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        ask(one, "UPDATE users SET at = now() WHERE id = 1")  # of one shard, which has a moment of its own
    ask(one, "ROLLBACK")
    ask(one, "BEGIN")
    ask(one, "INSERT INTO users VALUES (20, 'n', 1, now())")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        ask(one, "UPDATE users SET at = now()")
    ask(one, "ROLLBACK")
    for text in ("UPDATE users SET at = 'now'", "UPDATE users SET at = name::timestamptz", "UPDATE users SET name = age(at)::text",
                 "DELETE FROM users WHERE at < now() - age(at)", "DELETE FROM users RETURNING now()",
                 "DELETE FROM users RETURNING current_timestamp",
                 "UPDATE users SET at = (SELECT now FROM (SELECT now()) x)",  # columns that are named by it
                 "UPDATE users SET at = x.now FROM (SELECT CASE WHEN true THEN NULL ELSE now() END) x",
                 "WITH x AS (SELECT current_timestamp::timestamptz) UPDATE users SET at = x.current_timestamp FROM x",
                 "INSERT INTO users (id, at) SELECT id, now() FROM plain ORDER BY now"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
            ask(one, text)
        assert "mosaic.clock" in found.value.diag.message_hint, text
    ask(one, "SET mosaic.clock = 'shard'")
    assert tag(one, "UPDATE users SET at = now()") == "UPDATE 6"
    ask(one, "RESET mosaic.clock")
    assert tag(one, "DELETE FROM users WHERE at < CURRENT_TIMESTAMP") == "DELETE 6"
    ask(one, "INSERT INTO countries VALUES ('de', now()::text)")
    assert len({lab.query(shard, "SELECT name FROM countries")[0] for shard in range(LAB_SHARDS)}) == 1
    with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("INSERT INTO users VALUES (%s, %s, 1, now()), (%s, %s, 2, now())", (1, "a", 2, "b"))
        for _ in range(3):
            (number, told), = connection.execute(
                "UPDATE users SET name = %s, at = now() WHERE id = (SELECT id FROM users WHERE at < now() ORDER BY at, id "
                "LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, at", ("x",)).fetchall()
            assert number in (1, 2) and told is not None
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask(one, "INSERT INTO users VALUES (3, 'n', 1, now()), (2, 'n', 1, now())")


def test_many_at_once_do_not_mix(proxy, lab, one):
    def work(number):
        with contextlib.closing(proxy.psycopg2()) as connection:
            for turn in range(15):
                base = 10000 + number * 1000 + turn * 3
                ask(connection, f"INSERT INTO plain VALUES ({base}, 't'), ({base + 1}, 't'), ({base + 2}, 't')")
                assert tag(connection, f"UPDATE plain SET word = 'u' WHERE id BETWEEN {base} AND {base + 2}") == "UPDATE 3"

    together(work, range(8))
    assert ask(one, "SELECT count(*) FROM plain WHERE word = 'u'") == [(8 * 15 * 3,)]


def test_a_shard_that_goes_down_undoes_all(proxy, lab, one):
    ask(one, "BEGIN")
    ask(one, "UPDATE plain SET word = 'gone'")
    lab.query(1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' "
                 "AND datname = current_database()")
    with pytest.raises(psycopg2.Error):
        ask(one, "COMMIT")
    one.cursor().execute("ROLLBACK")
    assert plain(lab) == [(i, f"w{i}") for i in range(12)]


def test_explain_shows_the_plan_and_each_shard_s_own(proxy, lab, one):
    for sql, said in (("UPDATE plain SET word = 'x' WHERE id > 2", "Update on plain"),
                      ("INSERT INTO plain VALUES (20, 'a'), (21, 'b'), (22, 'c') RETURNING *", "Insert on plain"),
                      ("DELETE FROM countries", "Delete on countries"),
                      ("DELETE FROM plain WHERE id = (SELECT id FROM plain LIMIT 1 FOR UPDATE)", "Delete on plain"),
                      ("DELETE FROM plain WHERE id = (SELECT id FROM plain ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)",
                       "Limit")):
        lines = [line for line, in ask(one, "EXPLAIN (COSTS off) " + sql)]
        assert lines[0] == "tier 2: writes on all 3 shards: s0, s1, s2"
        places = [lines.index(f"  shard s{number}") for number in range(LAB_SHARDS)]
        assert places == sorted(places) and all(lines[place + 1].strip() == said for place in places)
    assert plain(lab) == [(i, f"w{i}") for i in range(12)]


def test_explain_analyze_does_it(proxy, lab, one):
    sql = "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) UPDATE plain SET word = 'x' WHERE id < 4"
    ask(one, "BEGIN")
    lines = [line for line, in ask(one, sql)]
    assert sum("Update on plain (actual rows=0" in line for line in lines) == LAB_SHARDS
    assert ask(one, "SELECT count(*) FROM plain WHERE word = 'x'") == [(4,)]
    ask(one, "ROLLBACK")
    assert plain(lab) == [(i, f"w{i}") for i in range(12)]
    assert tag(one, sql) == "EXPLAIN"
    assert sum(word == "x" for _, word in plain(lab)) == 4
    ask(one, "EXPLAIN ANALYZE INSERT INTO countries VALUES ('de', 'Germany')")
    assert [lab.query(shard, "SELECT * FROM countries") for shard in range(LAB_SHARDS)] == [[("de", "Germany")]] * LAB_SHARDS
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        found = connection.execute("EXPLAIN ANALYZE INSERT INTO plain VALUES (%s, %s), (%s, %s)", (31, "a", 32, "b"))
        assert found.fetchone() == ("tier 2: writes on 2 of 3 shards: s1, s2",) and found.statusmessage == "EXPLAIN"
        assert connection.execute("EXPLAIN UPDATE plain SET word = %s", ("z",)).statusmessage == "EXPLAIN"
    assert len(plain(lab)) == 14
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask(one, "EXPLAIN ANALYZE INSERT INTO plain VALUES (32, 'c'), (33, 'd')")
    for refused in ("EXPLAIN ANALYZE DELETE FROM plain WHERE id = (SELECT id FROM plain LIMIT 1 FOR UPDATE)",
                    "EXPLAIN UPDATE plain SET id = 101 WHERE id = 3"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            ask(one, refused)
    assert len(plain(lab)) == 14


MERGE = ("MERGE INTO plain p USING users u ON p.id = u.id WHEN MATCHED AND u.score > 500 THEN DELETE "
         "WHEN MATCHED THEN UPDATE SET word = p.word || u.name WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.name)")


@pytest.fixture
def merging(one):
    """Users 6 to 17, of whom the last six are not in plain; one of the others has a high score."""
    assert tag(one, "INSERT INTO users VALUES " + ", ".join(f"({i}, 'u{i}', {600 if i == 7 else i})" for i in range(6, 18)))
    return one


MERGED = ([(i, f"w{i}") for i in range(6)] + [(i, f"w{i}u{i}") for i in (6, 8, 9, 10, 11)]
          + [(i, f"u{i}") for i in range(12, 18)])


def test_merge_of_rows_that_share_their_keys(lab, merging):
    ask(merging, "BEGIN")
    assert tag(merging, MERGE) == "MERGE 12"
    assert ask(merging, "SELECT count(*), max(id) FROM plain") == [(17, 17)]
    ask(merging, "ROLLBACK")
    assert plain(lab) == [(i, f"w{i}") for i in range(12)]
    assert tag(merging, MERGE) == "MERGE 12"
    assert plain(lab) == MERGED
    for shard in range(LAB_SHARDS):
        assert lab.query(shard, f"SELECT count(*) FROM plain WHERE id % {LAB_SHARDS} <> {shard}") == [(0,)]
    with pytest.raises(psycopg2.errors.DivisionByZero):
        ask(merging, "MERGE INTO plain p USING users u ON p.id = u.id WHEN MATCHED THEN UPDATE SET word = (1 / (p.id - 8))::text")
    assert plain(lab) == MERGED


def test_merge_of_a_reference_table_s_rows(lab, one):
    ask(one, "INSERT INTO countries VALUES ('w1', 'Germany'), ('w2', 'France'), ('w5', 'Spain'), ('w77', 'Nowhere')")
    merge = "MERGE INTO plain p USING countries c ON p.word = c.code WHEN MATCHED THEN UPDATE SET word = name"
    assert tag(one, merge + " WHEN NOT MATCHED THEN DO NOTHING") == "MERGE 3"
    assert [row for row in plain(lab) if row[0] in (1, 2, 5)] == [(1, "Germany"), (2, "France"), (5, "Spain")]
    ask(one, "INSERT INTO countries VALUES ('w', 'x'), ('w3', 'y')")
    with pytest.raises(psycopg2.errors.CardinalityViolation):
        ask(one, "MERGE INTO plain p USING countries c ON p.word LIKE c.code || '%' WHEN MATCHED THEN DELETE")
    assert len(plain(lab)) == 12
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
        ask(one, merge + " WHEN NOT MATCHED THEN INSERT VALUES (1, name)")
    assert "the key that it inserts is no column of its source" in caught.value.diag.message_detail


def test_merge_with_parameters_and_explained(proxy, lab, merging):
    with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            for number in (1, 2):
                cursor.execute("MERGE INTO plain p USING users u ON p.id = u.id AND u.id < %s WHEN MATCHED THEN UPDATE "
                               "SET word = %s WHEN NOT MATCHED AND u.id > %s THEN INSERT VALUES (u.id, %s)",
                               (9, f"{number}{binary}", 16, "new"))
                assert cursor.statusmessage == ("MERGE 4" if (number, binary) == (1, False) else "MERGE 3")
                if (number, binary) == (1, False):
                    ask(merging, "DELETE FROM users WHERE id = 17")
    assert [row for row in plain(lab) if 5 < row[0] < 9 or row[0] > 11] == [(6, "2True"), (7, "2True"), (8, "2True"), (17, "new")]
    assert ("tier 2: writes on all 3 shards: s0, s1, s2",) in ask(merging, "EXPLAIN (MOSAIC) " + MERGE)
    found = [line for line, in ask(merging, "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) " + MERGE)]
    assert sum("Merge on plain p" in line for line in found) == 3 and len(plain(lab)) == 17
