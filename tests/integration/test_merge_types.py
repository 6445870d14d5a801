"""Merging in C (src/merge) against PostgreSQL itself: the order of every type, and aggregates of partial values.

Rows come in COPY's binary format, whose rows are bodies of DataRow; build/tests/unit/mergeprobe merges them. SEED
repeats a run.
"""
import io
import struct
import subprocess

import psycopg2
import pytest

from conftest import BUILD, environment

pytestmark = pytest.mark.plain

LAB_SHARDS = 1
ROWS = 500


def digits(rng, most):
    return "".join(rng.choice("0000123456789") for _ in range(rng.randint(1, most)))


def numeric(rng):
    if rng.random() < 0.05:
        return rng.choice(["NaN", "Infinity", "-Infinity"])
    if rng.random() < 0.4:
        return rng.choice("- ") + rng.choice(["0", "1", "1.0", "1.00", "0.00", "9999", "10000", "10000.0", "0.0001",
                                              "0.00010", "12345678.1", "12345678.10000", "123456781234567812345678",
                                              "123456781234567812345679", "1234567812345678.12345678"])
    exponent = rng.choice(["", "", f"e{rng.randint(-40, 40)}", f"e{rng.randint(-900, 900)}"])
    return rng.choice("- ") + digits(rng, 40) + rng.choice([".", ""]) + digits(rng, 30) + exponent


def floating(form):
    def value(rng):
        if rng.random() < 0.3:
            return rng.choice(["NaN", "Infinity", "-Infinity", "0", "-0", "1", "-1"])
        return repr(struct.unpack(">" + form, rng.randbytes(struct.calcsize(form)))[0]).replace("inf", "Infinity")
    return value


def integer(bits):
    return lambda rng: str(rng.choice([0, 1, -1, 2 ** (bits - 1) - 1, -2 ** (bits - 1), rng.getrandbits(bits - 1),
                                       -rng.getrandbits(bits - 1), rng.randint(-5, 5)]))


def unsigned(bits):
    return lambda rng: str(rng.choice([0, 1, 2 ** bits - 1, 2 ** (bits - 1), rng.getrandbits(bits), rng.randrange(5)]))


def text(rng):
    alphabets = ["a", "ab ", "aAbB", "äß日本語😀é", "\x01\x7f\t\n "]
    return "".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.choice([0, 1, 3, 7, 8, 9, 20])))


def date(rng):
    if rng.random() < 0.1:
        return rng.choice(["infinity", "-infinity"])
    era = rng.choice(["", "", " BC"])
    return f"{rng.choice([1, 1999, 2000, 2024, 4000]):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}{era}"


def clock(rng):
    return rng.choice(["24:00:00", "00:00:00", f"{rng.randrange(24):02}:{rng.randrange(60):02}:07.{rng.randrange(9)}",
                       f"{rng.randrange(24):02}:00:00"])


def timestamp(rng):
    day = date(rng)
    return day if "infinity" in day else day.replace(" BC", "") + " " + clock(rng) + day[10:]


def timetz(rng):
    return f"{rng.randrange(24):02}:00:00{rng.choice(['+', '-'])}{rng.randrange(15):02}:{rng.choice(['00', '30'])}"


def interval(rng):
    if rng.random() < 0.3:
        return rng.choice(["1 mon", "30 days", "720 hours", "-1 mon", "-30 days", "29 days 24 hours", "0", "1 day"])
    return (f"{rng.randint(-2000000, 2000000)} mons {rng.randint(-2 ** 31, 2 ** 31 - 1)} days "
            f"{rng.randint(-2 ** 40, 2 ** 40)} seconds")


# Type → a random value's text.
TYPES = {
    "boolean": lambda rng: rng.choice("tf"),
    "bytea": lambda rng: "\\x" + bytes(rng.choice([0, 0, 1, 97, 128, 255]) for _ in range(rng.randrange(12))).hex(),
    '"char"': lambda rng: rng.choice("aAzß~ 日"),
    "name": lambda rng: text(rng)[:15],
    "bigint": integer(64),
    "smallint": integer(16),
    "integer": integer(32),
    "text": text,
    "oid": unsigned(32),
    "real": floating("f"),
    "double precision": floating("d"),
    "money": lambda rng: f"{rng.randint(-10 ** 16, 10 ** 16)}.{rng.randrange(100):02}",
    "bpchar": text,
    "varchar": text,
    "date": date,
    "time": clock,
    "timestamp": timestamp,
    "timestamptz": timestamp,
    "interval": interval,
    "timetz": timetz,
    "numeric": numeric,
    "uuid": lambda rng: bytes(rng.choice([0, 0, 1, 255]) for _ in range(16)).hex(),
    "pg_lsn": lambda rng: f"{rng.choice([0, 1, 2 ** 31, 2 ** 32 - 1]):X}/{rng.choice([0, 7, 2 ** 32 - 1]):X}",
    "xid8": unsigned(64),
}
TEXTS = ("text", "bpchar", "varchar", "name")


@pytest.fixture(scope="module")
def database(lab):
    connection = psycopg2.connect(lab.conninfo(0))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET extra_float_digits = 1; SET timezone = 'UTC'")
    yield cursor
    connection.close()


@pytest.fixture(scope="module")
def oids(database):
    database.execute("SELECT name, name::regtype::oid FROM unnest(%s) AS t(name)", (list(TYPES),))
    return dict(database.fetchall())


def collated(name):
    return f'{name} COLLATE "C"' if name in TEXTS else name


def rows_of(cursor, query):
    """Rows in COPY's binary format, each as bytes."""
    file = io.BytesIO()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", file)
    data, at, rows = file.getvalue(), 19, []
    while data[at:at + 2] != b"\xff\xff":
        start, (count,) = at, struct.unpack_from(">h", data, at)
        at += 2
        for _ in range(count):
            at += 4 + max(0, struct.unpack_from(">i", data, at)[0])
        rows.append(data[start:at])
    return rows


def fields(row):
    """A row's fields: bytes, or None."""
    (count,), at, values = struct.unpack_from(">h", row), 2, []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", row, at)
        at += 4
        values.append(None if size < 0 else row[at:at + size])
        at += max(0, size)
    return values


def probe(way, legs, limit, offset, columns):
    """Merges lists of rows; what comes out as rows. A failure is its message."""
    given = b"".join(struct.pack(">HI", leg, len(row)) + row for leg, rows in enumerate(legs) for row in rows)
    done = subprocess.run([BUILD / "tests/unit/mergeprobe", way, str(len(legs)), str(limit), str(offset), *columns],
                          input=given, capture_output=True, timeout=120, env=environment())
    if done.returncode:
        return done.stderr.decode()
    at, rows = 0, []
    while at < len(done.stdout):
        (size,) = struct.unpack_from(">I", done.stdout, at + 1)
        assert done.stdout[at:at + 1] == b"D"
        rows.append(done.stdout[at + 5:at + 1 + size])
        at += 1 + size
    return rows


# ---- order ------------------------------------------------------------------------------------------------------


def fill(database, rng, one, two):
    """A table of two columns with many equal values and NULLs."""
    database.execute(f"DROP TABLE IF EXISTS t; CREATE TEMP TABLE t (v {collated(one)}, w {collated(two)})")
    pools = [[TYPES[name](rng) for _ in range(ROWS // 5)] + [None] * 10 for name in (one, two)]
    values = [[rng.choice(pool) for _ in range(ROWS)] for pool in pools]
    database.execute(f"INSERT INTO t SELECT v::{one}, w::{two} FROM unnest(%s::text[], %s::text[]) AS u(v, w)", values)
    if one in ("real", "double precision"):  # a NaN whose sign bit is set, as the processor makes it
        database.execute(f"INSERT INTO t SELECT 'Infinity'::{one} - 'Infinity'::{one} FROM generate_series(1, 9)")


@pytest.mark.parametrize("name", TYPES)
def test_rows_come_in_the_order_of_postgresql(database, oids, rng, name):
    for down, first in ((False, False), (True, True), (True, False), (False, True)):
        other = rng.choice(list(TYPES))
        second_down, second_first = rng.random() < 0.5, rng.random() < 0.5
        fill(database, rng, name, other)
        order = (f"v {'DESC' if down else 'ASC'} NULLS {'FIRST' if first else 'LAST'}, "
                 f"w {'DESC' if second_down else 'ASC'} NULLS {'FIRST' if second_first else 'LAST'}")
        rows = rows_of(database, f"SELECT (dense_rank() OVER (ORDER BY {order}))::int, v, w FROM t ORDER BY {order}")
        legs = [[] for _ in range(rng.choice([1, 2, 4, 7]))]
        for row in rows:
            rng.choice(legs).append(row)
        columns = [f"{oids[of]}:{'desc' if d else 'asc'}:{'first' if f else 'last'}:bytes"
                   for of, d, f in ((name, down, first), (other, second_down, second_first))]
        merged = probe("order", legs, "none", 0, columns)
        assert isinstance(merged, list), (merged, order, other)
        ranks = [fields(row)[0] for row in rows]
        assert [fields(row) for row in merged] == [[rank] for rank in ranks], (order, other)
        # of equal rows the first leg's come first, in their order
        limit, offset = rng.randrange(60), rng.randrange(60)
        assert probe("order", legs, limit, offset, columns) == merged[offset:offset + limit]


def test_a_text_of_another_collation_is_refused(oids):
    for name in TEXTS:
        assert "cannot be put in the order" in probe("order", [[]], "none", 0, [f"{oids[name]}:asc:last"])


# ---- aggregates -------------------------------------------------------------------------------------------------


def shown(expression):
    """A value's text as its output function writes it."""
    return f"CASE WHEN {expression} IS NULL THEN NULL ELSE format('%s', {expression}) END"


def check_aggregates(database, aggregates, leg_count):
    """aggregates: (function, argument, OID of the result). Table t has a column leg. What is merged of the legs' values
    must be what PostgreSQL says of all rows, in text and in binary."""
    calls = ", ".join(f"{function}({argument}) AS a{i}" for i, (function, argument, _) in enumerate(aggregates))
    names = [f"a{i}" for i in range(len(aggregates))]
    for form in ("text", "binary"):
        visible = ", ".join(map(shown, names) if form == "text" else names)
        legs = [rows_of(database, f"SELECT {visible}, {', '.join(names)} FROM (SELECT {calls} FROM t WHERE leg = {leg}) s")
                for leg in range(leg_count)]
        columns = [f"{function}:{oid}:{form}:bytes" for function, _, oid in aggregates]
        merged = probe("aggregates", legs, "none", 0, columns)
        assert isinstance(merged, list), merged
        (whole,) = rows_of(database, f"SELECT {visible} FROM (SELECT {calls} FROM t) s")
        (got,) = map(fields, merged)
        for i, (function, argument, oid) in enumerate(aggregates):
            want = fields(whole)[i]
            if got[i] == want or function not in ("min", "max"):
                assert got[i] == want, (form, function, argument)
                continue
            # which of equal values is the least depends on the order of rows: it must be an equal one of a leg's
            assert got[i] in [fields(leg[0])[i] for leg in legs], (form, function, argument)
            if form == "text":
                database.execute("SELECT typname FROM pg_type WHERE oid = %s", (oid,))
                (name,), = database.fetchall()
                database.execute(f"SELECT %s::{name} = %s::{name}", (got[i].decode(), want.decode()))
                assert database.fetchone() == (True,), (function, argument, got[i], want)


def test_least_and_greatest_of_every_type(database, oids, rng):
    database.execute("""SELECT DISTINCT t.oid FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
        JOIN pg_type t ON t.oid = p.prorettype WHERE p.proname = 'min'""")
    known = {oid for oid, in database.fetchall()}
    names = [name for name in TYPES if oids[name] in known]
    assert len(names) > 12
    for _ in range(20):
        leg_count = rng.randint(1, 5)
        database.execute("DROP TABLE IF EXISTS t; CREATE TEMP TABLE t (leg int, " +
                         ", ".join(f"c{i} {collated(name)}" for i, name in enumerate(names)) + ")")
        empty = rng.random()
        for _ in range(rng.randrange(12)):
            values = [None if rng.random() < empty else TYPES[name](rng) for name in names]
            database.execute("INSERT INTO t SELECT %s, " + ", ".join(f"%s::text::{name}" for name in names),
                             [rng.randrange(leg_count), *values])
        check_aggregates(database, [(function, f"c{i}", oids[name]) for i, name in enumerate(names)
                                         for function in ("min", "max")], leg_count)


def amounts(rng):
    """A random value of numeric, of one of several sorts of sets."""
    kind = rng.randrange(4)
    if kind == 0:
        return lambda: f"{rng.randint(-10 ** 9, 10 ** 9)}.{rng.randrange(100):02}"
    if kind == 1:
        return lambda: rng.choice("- ") + rng.choice(["0", "0.0", "9999.9999", "0.00000001", "99999999", "1", "1.000"])
    if kind == 2:
        return lambda: numeric(rng)
    return lambda: rng.choice("- ") + rng.choice(["1e131000", "1e-16000", "123.456e900", "5e-7", "9e131060"])


def test_sums_counts_and_bits(database, oids, rng):
    numbers, int8, int4, int2, boolean = (oids[name] for name in ("numeric", "bigint", "integer", "smallint", "boolean"))
    for _ in range(60):
        leg_count, amount, empty = rng.randint(1, 6), amounts(rng), rng.random()
        database.execute("DROP TABLE IF EXISTS t; CREATE TEMP TABLE t (leg int, n numeric, l bigint, i int, s smallint, b bool)")
        for _ in range(rng.randrange(30)):
            values = [amount(), integer(64)(rng), integer(32)(rng), integer(16)(rng), rng.choice("tf")]
            database.execute("INSERT INTO t VALUES (%s, %s::numeric, %s::bigint, %s::int, %s::smallint, %s::bool)",
                             [rng.randrange(leg_count), *(None if rng.random() < empty else value for value in values)])
        check_aggregates(database, [
            ("count", "*", int8), ("count", "n", int8), ("sum", "n", numbers), ("sum", "l", numbers), ("sum", "i", int8),
            ("sum", "s", int8), ("bool_and", "b", boolean), ("bool_or", "b", boolean), ("bit_and", "l", int8),
            ("bit_or", "i", int4), ("bit_xor", "s", int2), ("bit_xor", "l", int8), ("bit_and", "s", int2)], leg_count)


def test_a_sum_that_overflows_numeric(database, oids):
    database.execute("DROP TABLE IF EXISTS t; CREATE TEMP TABLE t AS SELECT 9.5e131071::numeric AS n FROM generate_series(1, 2)")
    with pytest.raises(psycopg2.errors.NumericValueOutOfRange) as raised:
        database.execute("SELECT sum(n) FROM t")
    rows = rows_of(database, "SELECT 'seen', n FROM t LIMIT 1")
    message = probe("aggregates", [rows, rows], "none", 0, [f"sum:{oids['numeric']}:text"])
    assert str(raised.value).strip() in message


def test_sums_of_floats_are_refused(oids):
    for name in ("real", "double precision", "money", "interval"):
        assert "cannot be combined exactly" in probe("aggregates", [[]], "none", 0, [f"sum:{oids[name]}:text"])
