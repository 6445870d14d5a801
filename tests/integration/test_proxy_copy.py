"""COPY FROM STDIN through the proxy: rows dealt out to their shards, and what is wrong with them in PostgreSQL's words.

Everything is done twice, through the proxy and on one PostgreSQL; tags, errors with their lines, and rows must agree.
"""
import asyncio
import contextlib
import io
import os
import random
import re
import struct
import subprocess
import time

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, make_one, nothing_is_left, one_target, start_proxy
from rawwire import (bind, cancel_request, copy_data, copy_done, copy_fail, describe, error_fields, execute, flush, parse,
                     query, sync)

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE items (id bigint PRIMARY KEY, word text, n int CHECK (n < 1000), at timestamptz);
CREATE TABLE pairs (name text, part varchar(5), v text, PRIMARY KEY (name, part));
CREATE TABLE codes (code text COLLATE "C" PRIMARY KEY, v int NOT NULL DEFAULT 7, twice int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE children (id bigint REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED, n int, PRIMARY KEY (id, n));
CREATE TABLE countries (code text PRIMARY KEY, name text, at date, n int DEFAULT 3);
CREATE TABLE home (id int PRIMARY KEY, word text);
"""
TABLES = (" - {name: items, key: id, function: modulo}\n - {name: pairs, key: [name, part]}\n - {name: codes, key: code}\n"
          " - {name: parents, key: id, function: modulo}\n - {name: children, key: id, function: modulo}\n"
          " - {name: countries, kind: reference}\n")
NAMES = ("items", "pairs", "codes", "parents", "children", "countries", "home")

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(SCHEMA, TABLES)
    make_one(lab, SCHEMA).close()
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def both(proxy, lab):
    """The proxy and the one PostgreSQL, with empty tables."""
    lab.everywhere("TRUNCATE " + ", ".join(NAMES))
    one = one_target(lab)
    with contextlib.closing(one.psycopg2()) as connection:
        ask(connection, "TRUNCATE " + ", ".join(NAMES))
    yield proxy, one
    nothing_is_left(lab)


def outcome(messages):
    """The tag, or the error as far as a client goes by it; and the transaction's status."""
    for kind, body in messages:
        if kind == "E":
            fields = error_fields(body)
            return fields["C"], fields["M"], fields.get("D"), fields.get("W")
    return [body for kind, body in messages if kind == "C"], messages[-1][1]


def copied(wire, sql, data, step=None, extended=False, end=None):
    """What COPY ends by. `step`: bytes of one CopyData."""
    step = step or max(len(data), 1)
    begin = parse(sql) + bind() + describe() + execute() + sync() if extended else query(sql)
    wire.send(begin)
    messages = wire.until("GZ")
    if messages[-1][0] == "Z":
        return outcome(messages)
    pieces = b"".join(copy_data(data[i:i + step]) for i in range(0, len(data), step))
    return outcome(wire.exchange(pieces + (end or copy_done()) + (sync() if extended else b"")))


def rows(target, table):
    with contextlib.closing(target.psycopg2()) as connection:
        return sorted(ask(connection, f"SELECT * FROM {table}"), key=repr)


def same(both, sql, data, **options):
    """Through the proxy as on one PostgreSQL, by both protocols; the outcome."""
    results = []
    for target in both:
        with target.wire() as wire:
            results.append(copied(wire, sql, data, **options))
    proxied, plain = results
    assert proxied == plain
    table = re.match(r"\s*COPY (\w+)", sql)[1]
    assert rows(both[0], table) == rows(both[1], table)
    return proxied


def clean(both, *tables):
    for target in both:
        with contextlib.closing(target.psycopg2()) as connection:
            for table in tables:
                ask(connection, f"DELETE FROM {table}")


TEXT = b"1\tone\t1\t2020-01-01 00:00:00+00\n2\t\\N\t\\N\t\\N\n-3\ta\\tb\\\\c\\nd\t5\t\\N\n4\t\\x41\\101\\\nq\t6\t\\N\n"
CSV = b'1,"o""ne",1,2020-01-01 00:00:00+00\n2,,,\n-3,"a,\n\nb",5,\n"4","",6,\n'


@pytest.mark.parametrize("extended", [False, True])
def test_text_csv_and_header(both, extended):
    def done(sql, data, count):
        assert same(both, sql, data, extended=extended) == ([f"COPY {count}".encode() + b"\0"], b"I")
        clean(both, "items", "codes")
    done("COPY items FROM STDIN", TEXT, 4)
    done("COPY items FROM STDIN", TEXT[:-1], 4)
    done("COPY items FROM STDIN", TEXT.replace(b"\\\nq", b"\\nq").replace(b"\n", b"\r\n"), 4)
    done("COPY items FROM STDIN", TEXT.replace(b"\\\nq", b"\\nq").replace(b"\n", b"\r"), 4)
    done("COPY items FROM STDIN", TEXT + b"\\.\nwhat comes behind is not read\n", 4)
    done("COPY items FROM STDIN", b"", 0)
    done("COPY items (word, id) FROM STDIN", b"a\t1\nb\t2\nc\t5\n", 3)
    done("COPY items FROM STDIN (FORMAT csv)", CSV, 4)
    done("COPY items FROM STDIN WITH CSV HEADER", b'"id\n",x\n' + CSV, 4)
    done("COPY items FROM STDIN (FORMAT csv, HEADER match)", b"id,word,n,at\r\n" + CSV.replace(b"\n", b"\r\n"), 4)
    done("COPY items FROM STDIN (HEADER)", b"whatever\n" + TEXT, 4)
    done("COPY items FROM STDIN (FORMAT csv, HEADER)", b"", 0)
    done("COPY items FROM STDIN (FORMAT csv, HEADER)", b"only,this", 0)
    done("COPY items FROM STDIN (FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''', ESCAPE E'\\\\', FORCE_NOT_NULL (word))",
         b"1;'o\\'ne';1;nil\n2;nil;nil;nil\n", 2)
    done("COPY items (id, n) FROM STDIN (DELIMITER ',', NULL 'x') WHERE n > 5", b"1,5\n2,6\n3,7\n4,x\n", 2)
    done("COPY codes FROM STDIN", b"a\t1\nb\t2\n", 2)
    done("COPY codes (code) FROM STDIN (ENCODING 'utf-8')", "ä\n€\n".encode(), 2)


def test_rows_stand_on_their_owners(both, lab):
    same(both, "COPY items (id) FROM STDIN", b"".join(b"%d\n" % i for i in range(-30, 30)))
    for shard in range(LAB_SHARDS):
        assert {row[0] % LAB_SHARDS for row in lab.query(shard, "SELECT id FROM items")} == {shard}


def test_cut_at_every_byte(both):
    for sql, data in (("COPY items FROM STDIN", TEXT), ("COPY items FROM STDIN (FORMAT csv)", CSV)):
        for step in (1, 2, 3, 7):
            assert same(both, sql, data, step=step)[1] == b"I"
            clean(both, "items")


def test_messages_cut_at_every_byte(both):
    """The bytes of the protocol itself come in two pieces, cut anywhere."""
    proxy, one = both
    stream = copy_data(b"1\ta\t1\t\\N\n2\t") + copy_data(b"b\t2\t\\N\n3\tc\t3\t\\N\n") + copy_done()
    with proxy.wire() as wire:
        for cut in range(1, len(stream)):
            wire.send(query("COPY items FROM STDIN"))
            wire.until("G")
            wire.send(stream[:cut])
            time.sleep(0.002)
            wire.send(stream[cut:])
            assert outcome(wire.until("Z")) == ([b"COPY 3\0"], b"I")
            assert wire.ask("DELETE FROM items WHERE id IN (1, 2, 3)") == []


def binary(table_rows, header=b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", trailer=b"\xff\xff"):
    """Fields: None or bytes."""
    out = [header]
    for row in table_rows:
        out.append(struct.pack("!h", len(row)))
        out += [struct.pack("!i", -1) if f is None else struct.pack("!i", len(f)) + f for f in row]
    return b"".join(out) + trailer


def number(value, kind="q"):
    return struct.pack("!" + kind, value)


@pytest.mark.parametrize("extended", [False, True])
def test_binary(both, extended):
    sql, good = "COPY items (id, word) FROM STDIN (FORMAT binary)", [(number(i), b"w") for i in range(7)]
    assert same(both, sql, binary(good), step=5, extended=extended) == ([b"COPY 7\0"], b"I")
    clean(both, "items")
    assert same(both, sql, binary(good, trailer=b""), extended=extended) == ([b"COPY 7\0"], b"I")
    for bad in ([(number(9), b"a", b"b")], [(number(9),)], [(None, b"x")], [(b"abc", b"x")], [(number(5), b"twice")]):
        assert same(both, sql, binary(good[:0] + [(number(100 + i), None) for i in range(5)] + bad), extended=extended)[0] != "ok"
    for data in (b"", b"PGCOPY", b"PGCOPY\n\xff\r\n\0\0\1\0\0\0\0\0\0", binary(good) + b"more", binary(good)[:-9],
                 binary([], trailer=b"") + b"\0\2\0\0"):
        assert isinstance(same(both, sql, data, extended=extended)[0], str)


BAD = [
    ("COPY items FROM STDIN", b"x\ta\t1\t\\N\n"),  # no number
    ("COPY items FROM STDIN", b"\\N\ta\t1\t\\N\n"),  # NULL
    ("COPY items FROM STDIN", b"\ta\t1\t\\N\n"),
    ("COPY items FROM STDIN", b"99999999999999999999\ta\t1\t\\N\n"),
    ("COPY items FROM STDIN", b"10\ta\t1000\t\\N\n"),  # a check
    ("COPY items FROM STDIN", b"10\ta\tx\t\\N\n"),
    ("COPY items FROM STDIN", b"10\ta\t1\n"),  # too few
    ("COPY items FROM STDIN", b"10\ta\t1\t\\N\t5\n"),  # too many
    ("COPY items FROM STDIN", b"\n"),
    ("COPY items FROM STDIN", b"10\ta\xff\t1\t\\N\n"),
    ("COPY items FROM STDIN", b"10\ta\0\t1\t\\N\n"),
    ("COPY items FROM STDIN", b"10\ta\t1\t\\N\r\n"),
    ("COPY items FROM STDIN", b"5\ttwice\t1\t\\N\n"),
]


@pytest.mark.parametrize("sql, bad", BAD)
@pytest.mark.parametrize("place", [0, 1, 5, 29, 30])
def test_a_bad_row_in_each_place(both, sql, bad, place):
    """PostgreSQL's error, with the client's line; nothing is kept."""
    good = [b"%d\tw\t1\t\\N\n" % i for i in (*range(5), *range(5, 30))]
    if bad.startswith(b"5\t") and place <= 5:
        place = 30
    result = same(both, sql, b"".join(good[:place] + [bad] + good[place:]))
    assert isinstance(result[0], str)
    assert rows(both[0], "items") == []


@pytest.mark.parametrize("bad", [b'1,"open\n2,x\n', b'x,"a\n\nb"\n', b'7,"a""\n', b"7\n", b"7,8,9\n", b',"x"\n', b'"",x\n'])
def test_a_bad_row_of_csv_behind_rows_of_several_lines(both, bad):
    good = [b'%d,"w\n\nx"\n' % (i + 20) for i in range(10)]
    for place in (0, 3, 10):
        for header in (False, True):
            sql = f"COPY items (id, word) FROM STDIN (FORMAT csv{', HEADER' if header else ''})"
            data = b'"i\nd",word\n' if header else b""
            assert isinstance(same(both, sql, data + b"".join(good[:place] + [bad] + good[place:]))[0], str)


def test_the_first_of_several_bad_rows_is_told(both):
    good = [b"%d\tw\t1\t\\N\n" % i for i in range(600)]
    for first, second in ((100, 101), (101, 100), (7, 590), (590, 591)):
        data = list(good)
        data[max(first, second)] = data[max(first, second)].replace(b"\t1\t", b"\tz\t")
        data[min(first, second)] = data[min(first, second)].replace(b"\t1\t", b"\ty\t")
        assert f"line {min(first, second) + 1}, column n" in same(both, "COPY items FROM STDIN", b"".join(data))[3]


def test_keys_of_text_and_of_several_columns(both, lab):
    values = ["", " ", "a", "ä€", "\\", "\t", "\n", '"', "N", "\\N", ",", "it's", "x" * 500, "\r", "\x7f", "\\.", "."]
    lines = []
    for i, name in enumerate(values):
        for part in ("", "b", "\\", "'\"", "12345"):
            lines.append((name, part, f"{i}{name}"))

    def in_text(value):
        return re.sub(r"[\\\t\n\r]", lambda m: {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}[m[0]], value)

    def in_csv(value):
        return '"' + value.replace('"', '""') + '"'
    text = "".join("\t".join(map(in_text, line)) + "\n" for line in lines).encode()
    csv = "".join(",".join(map(in_csv, line)) + "\n" for line in lines).encode()
    assert same(both, "COPY pairs FROM STDIN", text, step=100)[0] == [b"COPY %d\0" % len(lines)]
    clean(both, "pairs")
    assert same(both, "COPY pairs FROM STDIN (FORMAT csv)", csv, step=13)[0] == [b"COPY %d\0" % len(lines)]
    clean(both, "pairs")
    data = binary([tuple(v.encode() for v in line) for line in lines])
    assert same(both, "COPY pairs FROM STDIN (FORMAT binary)", data, step=17)[0] == [b"COPY %d\0" % len(lines)]
    clean(both, "pairs")
    for key in ("\\N\tb\tc\n", "a\t\\N\tc\n", "a\ttoolong\tc\n", "a\n"):
        assert isinstance(same(both, "COPY pairs FROM STDIN", ("q\tq\tq\n" + key).encode())[0], str)
    # blanks that a varchar(5) cuts belong to no key
    assert same(both, "COPY pairs FROM STDIN", b"q\t12345   \tq\n")[0] == [b"COPY 1\0"]


def test_random_rows_with_every_trap(both, rng):
    """Bytes that mean something to COPY, at random: whatever PostgreSQL makes of them, so does the proxy, or refuses."""
    letters = [b"\t", b"\n", b"\\", b'"', b",", b"\r", b"a", b"1", b"\\N", b"\\.", b"\r\n", b'""', "ä".encode()]
    for round_ in range(120):
        csv = rng.random() < 0.5
        newline, separator = rng.choice([b"\n", b"\r\n", b"\r"]), b"," if csv else b"\t"
        data = b""
        for i in range(rng.randrange(6)):
            word = b"".join(rng.choice(letters) for _ in range(rng.randrange(4)))
            if rng.random() < 0.8:  # quoted as it should be
                word = b'"' + word.replace(b'"', b'""') + b'"' if csv else \
                    re.sub(rb"[\\\t\n\r]", lambda m: {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r"}[m[0]], word)
            data += b"%d" % i + separator + word + newline
        sql = f"COPY items (id, word) FROM STDIN{' (FORMAT csv)' if csv else ''}"
        results = []
        for target in both:
            with target.wire() as wire:
                results.append(copied(wire, sql, data, step=rng.choice([None, 1, 4])))
        proxied, plain = results
        assert proxied == plain or isinstance(proxied[0], str), (sql, data)
        if proxied == plain:
            assert rows(both[0], "items") == rows(both[1], "items"), (sql, data)
        else:
            assert rows(both[0], "items") == [], (sql, data)
        clean(both, "items")


def test_reference_tables_are_copied_to_all_shards(both, lab):
    data = b"code,name,at,n\nde,Germany,2020-01-01,1\nfr,,,\n"
    assert same(both, "COPY countries FROM STDIN (FORMAT csv, HEADER)", data)[0] == [b"COPY 2\0"]
    for shard in range(LAB_SHARDS):
        assert len(lab.query(shard, "SELECT * FROM countries")) == 2
    assert "line 2" in same(both, "COPY countries (code) FROM STDIN", b"it\nde\nes\n")[3]
    assert "line 2" in same(both, "COPY countries FROM STDIN", b"it\tx\t\\N\t1\nes\n")[3]
    with both[0].wire() as wire:
        refused = copied(wire, "COPY countries FROM STDIN", b"it\tx\t2020-01-01\t1\nes\tx\tToday\t1\n")
        assert refused[0] == "0A000" and "line 2" in refused[3]
    assert len(rows(both[0], "countries")) == 2


def test_moments_are_refused_unless_each_shard_may_have_its_own(both):
    with both[0].wire() as wire:
        for data in (b"1\tnow\t1\t\\N\n2\tx\t2\tnow\n", b"1\tnow\t1\t\\N\n2\tx\t2\t\\x6eow\n"):
            refused = copied(wire, "COPY items FROM STDIN", data)
            assert refused[0] == "0A000" and "line 2" in refused[3]
        assert copied(wire, "COPY items FROM STDIN (FORMAT csv)", b'1,now,1,"tomorrow"\n')[0] == "0A000"
        wire.ask("SET mosaic.clock = 'shard'")
        assert copied(wire, "COPY items FROM STDIN", b"1\tnow\t1\t\\N\n2\tx\t2\tnow\n")[0] == [b"COPY 2\0"]


def test_what_is_refused(both):
    with both[0].wire() as wire:
        for sql in ("COPY items (word) FROM STDIN", "COPY items FROM '/etc/passwd'", "COPY items FROM PROGRAM 'true'",
                    "COPY items FROM STDIN (ENCODING 'latin1')", "COPY items FROM STDIN (FORMAT csv, FORCE_NULL (id))",
                    "COPY items FROM STDIN WHERE n > random()", "COPY countries (code, n) FROM STDIN; SELECT 1",
                    "COPY items FROM STDIN; SELECT 1"):
            refused = copied(wire, sql, b"")
            assert refused[0] == "0A000", (sql, refused)
        for sql, state in (("COPY items (id, nothing) FROM STDIN", "42703"), ("COPY nothing FROM STDIN", "42P01"),
                           ("COPY items (id, id) FROM STDIN", "42701")):
            assert copied(wire, sql, b"")[0] == state
        assert copied(wire, "COPY home FROM STDIN", b"1\ta\n")[0] == [b"COPY 1\0"]


def test_the_clients_copyfail_and_cut_rows(both):
    data = b"1\ta\t1\t\\N\n2\tb\t"
    assert same(both, "COPY items FROM STDIN", data, end=copy_fail("I do not want"))[:2] == \
        ("57014", "COPY from stdin failed: I do not want")
    assert same(both, "COPY items FROM STDIN", data, extended=True, end=copy_fail("no"))[0] == "57014"
    assert same(both, "COPY items FROM STDIN", data)[0] == "22P02"


def test_within_transactions(both, lab):
    proxy, one = both
    for target in both:
        with target.wire() as wire:
            wire.ask("BEGIN")
            wire.ask("INSERT INTO items VALUES (1, 'before')")
            assert copied(wire, "COPY items (id) FROM STDIN", b"2\n3\n4\n") == ([b"COPY 3\0"], b"T")
            assert wire.ask("SELECT count(*) FROM items") == [["4"]]
            wire.ask("SAVEPOINT s")
            assert copied(wire, "COPY items (id) FROM STDIN", b"5\n6\n4\n", extended=True)[0] == "23505"
            assert copied(wire, "COPY items (id) FROM STDIN", b"7\n")[0] == "25P02"
            wire.ask("ROLLBACK TO s")
            assert copied(wire, "COPY items (id) FROM STDIN", b"8\n9\n", extended=True) == ([b"COPY 2\0"], b"T")
            wire.ask("COMMIT")
    assert rows(proxy, "items") == rows(one, "items")
    for target in both:
        with target.wire() as wire:
            wire.ask("BEGIN")
            assert copied(wire, "COPY items (id) FROM STDIN", b"20\n30\n40\n")[0] == [b"COPY 3\0"]
            wire.ask("ROLLBACK")
    assert len(rows(proxy, "items")) == 6


def test_a_deferred_constraint_fails_at_commit(both):
    for extended in (False, True):
        for end in range(9):
            result = same(both, "COPY children FROM STDIN", b"".join(b"%d\t1\n" % i for i in range(end + 1)), extended=extended)
            assert result[0] == "23503"
    same(both, "COPY parents FROM STDIN", b"1\n2\n3\n")
    assert same(both, "COPY children FROM STDIN", b"1\t1\n2\t1\n3\t3\n")[0] == [b"COPY 3\0"]


def test_sync_and_flush_among_the_data_mean_nothing(both):
    for target in both:
        with target.wire() as wire:
            begin = parse("COPY items (id) FROM STDIN") + bind() + execute()
            wire.send(begin + flush())
            wire.until("G")
            data = copy_data("1\n2") + flush() + sync() + copy_data("\n3\n") + flush()
            assert outcome(wire.exchange(data + copy_done() + sync())) == ([b"COPY 3\0"], b"I")
            assert wire.ask("SELECT count(*) FROM items") == [["3"]]


def test_all_in_one_packet(both):
    """A client that does not wait for CopyInResponse."""
    for target in both:
        with target.wire() as wire:
            everything = query("COPY items (id) FROM STDIN") + copy_data("1\n2\n") + copy_data("3\n") + copy_done()
            assert outcome(wire.exchange(everything + query("SELECT 1"), ready=1)) == ([b"COPY 3\0"], b"I")
            assert outcome(wire.until("Z")) == ([b"SELECT 1\0"], b"I")


def test_libraries(both, lab):
    proxy, one = both
    for target in both:
        with psycopg.connect(target.dsn) as connection, connection.cursor() as cursor:
            with cursor.copy("COPY items (id, word) FROM STDIN") as copy:
                for i in range(500):
                    copy.write_row((i, f"w\t{i}\n\\"))
            assert cursor.statusmessage == "COPY 500"
            with cursor.copy("COPY items (id, word) FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int8", "text"])
                for i in range(500, 700):
                    copy.write_row((i, None))
        with contextlib.closing(psycopg2.connect(target.dsn)) as connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY items (id, word) FROM STDIN WITH CSV", io.StringIO("1000,a\n1001,\"b\nc\"\n"))
            cursor.copy_from(io.StringIO("1002\tx\n"), "items", columns=("id", "word"))
            connection.commit()
        done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "\\copy items (id, word) from stdin csv"],
                              env=target.env, input="2000,p\n2001,q\n", text=True, capture_output=True, timeout=60)
        assert done.stdout == "COPY 2\n", done.stderr
    assert rows(proxy, "items") == rows(one, "items")


def test_asyncpg(both):
    asyncpg = pytest.importorskip("asyncpg")

    async def run(target):
        connection = await asyncpg.connect(host=target.host, port=target.port, user=target.user, password=target.password,
                                           database=target.database, statement_cache_size=0)
        async with connection.transaction():
            await connection.copy_to_table("items", source=io.BytesIO(b"1,a\n2,b\n3,c\n"), columns=["id", "word"], format="csv")
        records = [(i, "w" * (i % 50)) for i in range(100, 900)]
        assert await connection.copy_records_to_table("items", records=records, columns=["id", "word"]) == "COPY 800"
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.copy_records_to_table("items", records=records, columns=["id", "word"])
        await connection.close()
    for target in both:
        asyncio.run(run(target))
    assert rows(both[0], "items") == rows(both[1], "items")


def test_many_rows_and_the_line_of_a_late_error(both):
    data = b"".join(b"%d\tword %d\t%d\t\\N\n" % (i, i, i % 999) for i in range(200_000))
    assert same(both, "COPY items FROM STDIN", data, step=100_000)[0] == [b"COPY 200000\0"]
    clean(both, "items")
    cut = data.index(b"\n150000\t") + 1
    bad = data[:cut] + b"150000\tx\ty\t\\N\n" + data[cut:]
    assert "line 150001, column n" in same(both, "COPY items FROM STDIN", bad, step=100_000)[3]


def test_a_large_row(both):
    data = b"1\t" + b"x" * 9_000_000 + b"\t1\t\\N\n2\ty\t2\t\\N\n"
    assert same(both, "COPY items FROM STDIN", data, step=65_000)[0] == [b"COPY 2\0"]
    with both[0].wire() as wire:
        wire.send(query("COPY items FROM STDIN"))
        wire.until("G")
        piece = copy_data(b"3\t" + b"x" * (1 << 20))
        for _ in range(66):
            wire.send(piece)
        refused = outcome(wire.until("Z"))
        assert refused[0] == "54000" and "line 1" in refused[3]
        wire.send(copy_done())
        assert wire.ask("SELECT count(*) FROM items") == [["2"]]


def wait_for(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_client_that_goes_in_the_middle(both, lab):
    proxy = both[0]
    wire = proxy.wire()
    wire.send(query("COPY items FROM STDIN"))
    wire.until("G")
    wire.send(copy_data(TEXT) * 1 + copy_data(b"10\tx"))
    time.sleep(0.2)
    wire.socket.close()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND datname = current_database() AND query ~ '^COPY'"
    for shard in range(LAB_SHARDS):
        wait_for(lambda: lab.query(shard, busy) == [(0,)])
    assert rows(proxy, "items") == []
    with proxy.wire() as wire:
        assert copied(wire, "COPY items FROM STDIN", TEXT)[0] == [b"COPY 4\0"]


def test_cancel_and_locks(both, lab):
    """One shard's rows wait for a lock: the client is not read for long, and can cancel."""
    proxy = both[0]
    with lab.connect(1) as other:
        cursor = other.cursor()
        other.autocommit = False
        cursor.execute("INSERT INTO items VALUES (1)")
        with proxy.wire() as wire:
            before = proxy.memory()
            wire.send(query("COPY items (id, word) FROM STDIN"))
            wire.until("G")
            wire.socket.settimeout(3)
            sent = 0
            with contextlib.suppress(TimeoutError):
                for i in range(400):
                    wire.send(copy_data(b"".join(b"%d\t%s\n" % (i * 1000 + j, b"w" * 500) for j in range(1000))))
                    sent += 1
            assert sent < 300
            assert proxy.memory() - before < (60_000_000 if "asan" in os.environ.get("PGMOSAIC_BUILD", "") else 20_000_000)
            with contextlib.closing(__import__("socket").create_connection((proxy.host, proxy.port))) as second:
                second.sendall(cancel_request(wire.pid, wire.key))
                second.recv(1)
            wire.socket.settimeout(20)
            assert outcome(wire.until("Z"))[0] == "57014"
        other.rollback()
    assert rows(proxy, "items") == []
