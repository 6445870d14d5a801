"""The sharding functions in C against PostgreSQL itself, against hashlib, and against the SQL that says them.

The C side is build/tests/unit/keyprobe, a filter over the internal library. SEED repeats a run.
"""
import hashlib
import io
import subprocess

import psycopg2
import pytest

from conftest import BUILD, environment

pytestmark = pytest.mark.light

LAB_SHARDS = 1
KEYS = 10_000
TYPES = ["int2", "int4", "int8", "text", "varchar", "bpchar", "uuid", "bytea", "date", "timestamp", "timestamptz",
         "numeric"]


@pytest.fixture(scope="module")
def database(lab):
    connection = psycopg2.connect(lab.conninfo(0))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("CREATE SCHEMA IF NOT EXISTS mosaic")
    for name in TYPES:
        cursor.execute(f"""CREATE FUNCTION pg_temp.same_{name}(k text, b int, relation regclass) RETURNS text
            LANGUAGE plpgsql AS $$ BEGIN
                RETURN CASE WHEN satisfies_hash_partition(relation, 65536, b, k::{name}) THEN 'same' ELSE 'differs' END;
            EXCEPTION WHEN data_exception THEN RETURN 'refused';
            END $$""")
        cursor.execute(f"CREATE TEMP TABLE form_{name} (k {name}) PARTITION BY HASH (k)")
    yield cursor
    connection.close()


def escape(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unescape(text):
    plain = {"t": "\t", "n": "\n", "r": "\r"}
    out, characters = [], iter(text)
    for character in characters:
        if character == "\\":
            character = next(characters)
            character = plain.get(character, character)
        out.append(character)
    return "".join(out)


def probe(lines):
    """One answer for each request (a list of fields)."""
    text = "".join("\t".join(escape(str(field)) for field in line) + "\n" for line in lines)
    done = subprocess.run([BUILD / "tests/unit/keyprobe"], input=text.encode(), capture_output=True, check=True,
                          timeout=120, env=environment())
    answers = [unescape(line) for line in done.stdout.decode(errors="replace").split("\n")[:-1]]
    assert len(answers) == len(lines)
    return answers


def buckets_of(function, types, buckets, rows):
    answers = probe([["bucket", function, ",".join(types), buckets, *row] for row in rows])
    wrong = [(row, answer) for row, answer in zip(rows, answers) if not answer.isdigit()]
    assert not wrong, wrong[:5]
    return [int(answer) for answer in answers]


# ---- random keys ------------------------------------------------------------------------------------------------


def random_text(rng, blanks=True):
    alphabets = ["ab \\'\"", "abcdefghijklmnopqrstuvwxyz0123456789@:._-", "äß日本語😀\u0301\u200dé", "\x01\x7f\t\n\r "]
    text = "".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.choice([0, 1, 3, 11, 12, 13, 24, 30, 100])))
    return text + " " * rng.randrange(4) if blanks else text


def random_date(rng, years):
    year = rng.choice([rng.randint(1, years), rng.randint(1900, 2100)])
    return f"{year:04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def random_timestamp(rng):
    time = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    fraction = rng.choice(["", ".5", f".{rng.randrange(10**6):06}", f".{rng.randrange(10**9):09}", ".9999995"])
    return random_date(rng, 290000) + rng.choice("T ") + time + fraction


def random_offset(rng):
    hour, minute = rng.randrange(15), rng.randrange(60)
    return rng.choice(["Z", "+00", f"+{hour:02}", f"-{hour:02}:{minute:02}", f"+{hour:02}{minute:02}",
                       f" -{hour:02}:{minute:02}:{minute:02}"])


def random_numeric(rng):
    digits = "".join(rng.choice("0000123456789") for _ in range(rng.choice([1, 4, 5, 9, 40, 300])))
    point = rng.randrange(len(digits) + 1)
    exponent = rng.choice(["", "", f"e{rng.randint(-40, 40)}", f"E+{rng.randrange(300)}"])
    return rng.choice(["", "-", "+"]) + digits[:point] + rng.choice([".", ".", ""]) + digits[point:] + exponent


EDGES = {
    "int2": ["0", "-1", "1", "32767", "-32768", " 7 ", "+7", "-0"],
    "int4": ["0", "-1", "2147483647", "-2147483648", "\t12\n", "0007"],
    "int8": ["0", "-1", "9223372036854775807", "-9223372036854775808", "4294967296", "-4294967296", "2147483648"],
    "text": ["", " ", "a", "a ", "a  ", "\\", "\\\\", "\\x41", "\\101", "'", "日本語", "😀" * 20],
    "uuid": ["00000000-0000-0000-0000-000000000000", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
             "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "ffffffffffffffffffffffffffffffff"],
    "bytea": ["", "\\x", "\\x00", "\\xDE ad be EF", "abc", "a\\000b", "\\\\", "\\377", "é"],
    "date": ["infinity", "-infinity", "0001-01-01", "0001-01-01 BC", "4714-11-24 BC", "5874897-12-31", "2000-01-01",
             "1999-12-31", "2000-02-29", "1900-02-28", "0004-02-29", "0005-02-28 BC", "0001-02-29 BC", "2024-1-5", " 2024-01-05 "],
    "timestamp": ["infinity", "-infinity", "2000-01-01", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999",
                  "2024-12-31 24:00:00", "2024-12-31 23:59:60", "2024-12-31 23:59:59.9999999", "0044-03-15 12:00 BC",
                  "2024-01-05 10:00+02", "2024-01-05t1:02", "0001-01-01 BC", "2024-01-05 10:00:00.0000005"],
    "timestamptz": ["infinity", "-INFINITY", "2000-01-01 00:00Z", "4714-11-24 00:00:00+00 BC",
                    "294276-12-31 23:59:59.999999+00", "2024-01-05 10:00:00 +5", "2024-01-05 10:00 +530",
                    "2024-01-05T10:00:00.123456-15:59:59", "0044-03-15 12:00:00+02 BC", "0044-03-15 12:00:00z AD"],
    "numeric": ["0", "-0", "0.000", "1", "1.0", "1.000000", "-1", "10000", "9999", "0.0001", "0.00010", "1e4", "1E-4",
                "NaN", "nan", "Infinity", "-inf", "+INFINITY", "1e1000", "1e-1000", "123456789.987654321000", ".5", "5.",
                "100000000000000000000000000000000000000000", "9" * 1000 + "." + "9" * 1000, "1e131071", "0e5"],
}
EDGES["varchar"] = EDGES["bpchar"] = EDGES["text"]

RANDOM = {
    "int2": lambda rng: str(rng.randint(-32768, 32767)),
    "int4": lambda rng: str(rng.randint(-2**31, 2**31 - 1) >> rng.randrange(32)),
    "int8": lambda rng: str(rng.randint(-2**63, 2**63 - 1) >> rng.randrange(64)),
    "text": random_text,
    "varchar": random_text,
    "bpchar": random_text,
    "uuid": lambda rng: rng.choice(["{}", "{{{}}}"]).format("-".join(f"{rng.getrandbits(16):04x}" for _ in range(8))),
    "bytea": lambda rng: "\\x" + rng.randbytes(rng.choice([0, 1, 4, 12, 16, 50])).hex(),
    "date": lambda rng: rng.choice([random_date(rng, 5874897), random_date(rng, 4713) + " BC"]),
    "timestamp": random_timestamp,
    "timestamptz": lambda rng: random_timestamp(rng) + random_offset(rng),
    "numeric": random_numeric,
}


def random_keys(rng, name, count=KEYS):
    edges = EDGES[name]
    return edges + [RANDOM[name](rng) for _ in range(count - len(edges))]


def random_rows(rng, types, count=KEYS):
    """Each column has its edge values, in another order."""
    columns = [random_keys(rng, name, count) for name in types]
    for column in columns[1:]:
        rng.shuffle(column)
    return list(zip(*columns))


# ---- PostgreSQL's side --------------------------------------------------------------------------------------------


def fill(database, types, rows, buckets):
    """TEMP TABLE keyed: n, k0, k1 … of these types, and b, the bucket that C gave."""
    columns = ", ".join(f"k{i} {name}" for i, name in enumerate(types))
    database.execute("DROP TABLE IF EXISTS keyed")
    database.execute(f"CREATE TEMP TABLE keyed (n serial, {columns}, b int)")
    text = "".join("\t".join([*map(escape, row), str(bucket)]) + "\n" for row, bucket in zip(rows, buckets))
    names = ", ".join(f"k{i}" for i in range(len(types)))
    database.copy_expert(f"COPY keyed ({names}, b) FROM STDIN", io.BytesIO(text.encode()))


def assert_none(database, types, rows, condition):
    database.execute(f"SELECT n, b FROM keyed WHERE ({condition}) IS NOT FALSE ORDER BY n")
    wrong = database.fetchall()
    examples = [(rows[n - 1], bucket) for n, bucket in wrong[:5]]
    assert not wrong, f"{len(wrong)} of {len(rows)} keys of {types} differ, as {examples}"


def assert_sql_bucket(database, function, types, buckets, rows):
    names = [f"k{i}" for i in range(len(types))]
    sql, support = probe([["sql", function, ",".join(types), buckets, *names],
                          ["support", function, ",".join(types), buckets]])
    if support:
        database.execute(support)
    assert_none(database, types, rows, f"({sql}) IS DISTINCT FROM b")
    if len(types) < 5:  # else pg_index can't hold it
        database.execute(f"CREATE INDEX ON keyed (({sql}))")  # only what is immutable can be indexed
    return sql


def assert_sql_owned(database, function, types, buckets, rows, maps):
    """maps: (number of shards, "initial" or the owners' pattern). Each shard's expression against the owner of b."""
    names = [f"k{i}" for i in range(len(types))]
    for shards, pattern in maps:
        for shard in range(shards):
            owned, = probe([["owned", function, ",".join(types), buckets, shards, shard, pattern, *names]])
            owner = f"b % {shards}"
            if pattern != "initial":
                owners = pattern.split(",")
                owner = f"(ARRAY[{pattern}])[b % {len(owners)} + 1]"
            assert_none(database, types, rows, f"({owned}) IS DISTINCT FROM ({owner} = {shard})")
            nothing = ", ".join(f"NULL::{name} AS {column}" for name, column in zip(types, names))
            database.execute(f"SELECT {owned} FROM (SELECT {nothing}) AS nothing")
            assert database.fetchone() == (False,), "a NULL key must be refused"


MAPS = [(1, "initial"), (2, "initial"), (4, "initial"), (3, "initial"), (3, "0,1,2,2,1"), (5, "0,0,3,1,2,1,2,3,0")]


# ---- hash ---------------------------------------------------------------------------------------------------------

COMPOSITES = [("int8", "int8"), ("text", "int4"), ("uuid", "numeric"), ("timestamptz", "bytea"), ("bpchar", "date"),
              ("int8", "text", "uuid"), ("int2", "timestamp", "varchar"), ("numeric", "timestamptz", "bytea"),
              ("date", "int4", "int8", "text")]


def assert_hash(database, types, buckets, rng, count=KEYS):
    rows = random_rows(rng, types, count)
    answers = buckets_of("hash", types, buckets, rows)
    fill(database, types, rows, answers)
    names = ", ".join(f"k{i}" for i in range(len(types)))
    columns = ", ".join(f"k{i} {name}" for i, name in enumerate(types))
    database.execute("DROP TABLE IF EXISTS partitioned")
    database.execute(f"CREATE TEMP TABLE partitioned ({columns}) PARTITION BY HASH ({names})")
    assert_none(database, types, rows, f"NOT satisfies_hash_partition('partitioned'::regclass, {buckets}, b, {names})")
    return rows


@pytest.mark.parametrize("types", [(name,) for name in TYPES] + COMPOSITES, ids="-".join)
def test_hash_and_its_sql(database, rng, types):
    rows = assert_hash(database, types, 4096, rng)
    assert_sql_bucket(database, "hash", types, 4096, rows)
    assert_sql_owned(database, "hash", types, 4096, rows, MAPS if len(types) < 3 else MAPS[2:5])


@pytest.mark.parametrize("buckets", [1, 8, 65536])
def test_hash_with_other_bucket_counts(database, rng, buckets):
    for types in [("int8",), ("text",), ("timestamptz", "int4")]:
        rows = assert_hash(database, types, buckets, rng, 1000)
        assert_sql_bucket(database, "hash", types, buckets, rows)


def test_hash_of_many_columns(database, rng):
    for types, buckets in [(("int4",) * 7, 65536), (("int8",) * 8, 4096), (("text", "bytea") * 3, 65536)]:
        rows = assert_hash(database, types, buckets, rng, 500)
        assert_sql_bucket(database, "hash", types, buckets, rows)


def test_rows_of_a_partitioned_table_lie_where_the_initial_map_says(database, rng):
    rows = random_rows(rng, ("int8",), 2000)
    fill(database, ("int8",), rows, buckets_of("hash", ("int8",), 4096, rows))
    database.execute("DROP TABLE IF EXISTS partitioned")
    database.execute("CREATE TEMP TABLE partitioned (k0 int8, b int) PARTITION BY HASH (k0)")
    for i in range(4):
        database.execute(f"CREATE TEMP TABLE part_{i} PARTITION OF partitioned FOR VALUES WITH (MODULUS 4, REMAINDER {i})")
    database.execute("INSERT INTO partitioned SELECT k0, b FROM keyed")
    database.execute("SELECT count(*), count(*) FILTER (WHERE tableoid <> ('part_' || b % 4)::regclass) FROM partitioned")
    assert database.fetchone() == (len(rows), 0)


# ---- modulo and sha256 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["int2", "int4", "int8"])
@pytest.mark.parametrize("buckets", [1024, 1536, 1])
def test_modulo(database, rng, name, buckets):
    rows = random_rows(rng, (name,))
    answers = buckets_of("modulo", (name,), buckets, rows)
    assert answers == [int(key) % buckets for key, in rows]  # Python's % is the mathematical one
    fill(database, (name,), rows, answers)
    assert_sql_bucket(database, "modulo", (name,), buckets, rows)
    if buckets > 1:
        assert_sql_owned(database, "modulo", (name,), buckets, rows, MAPS)


@pytest.mark.parametrize("name", ["text", "varchar", "bpchar"])
@pytest.mark.parametrize("buckets", [16, 1024, 1536, 1280, 65535])
def test_sha256(database, rng, name, buckets):
    rows = random_rows(rng, (name,), KEYS // 4)
    answers = buckets_of("sha256", (name,), buckets, rows)
    plain = [key.rstrip(" ") if name == "bpchar" else key for key, in rows]
    assert answers == [int.from_bytes(hashlib.sha256(key.encode()).digest(), "little") % buckets for key in plain]
    fill(database, (name,), rows, answers)
    assert_sql_bucket(database, "sha256", (name,), buckets, rows)
    shards = 3 if buckets % 3 == 0 else 4
    assert_sql_owned(database, "sha256", (name,), buckets, rows, [(shards, "initial"), (3, "0,1,2,2,1")])


# ---- range and list -----------------------------------------------------------------------------------------------

BOUNDS = {
    "int2": ["-5", "0", "100"], "int4": ["-100000", "0", "7"], "int8": ["-9000000000", "-1", "4294967296"],
    "text": ["", "a", "a ", "b'\\c", "日"], "varchar": ["a", "b"], "bpchar": ["a", "ab"],
    "uuid": ["40000000-0000-0000-0000-000000000000", "{c000000000000000c000000000000000}"],
    "bytea": ["\\x40", "\\x8000", "\\xff"], "date": ["-infinity", "0001-01-01", "2000-01-01", "infinity"],
    "timestamp": ["0001-01-01", "2000-01-01 12:00"], "timestamptz": ["0001-01-01 00:00Z", "2000-01-01 12:00+02"],
    "numeric": ["-Infinity", "-10", "0", "0.5", "1e10", "Infinity", "NaN"],
}


@pytest.mark.parametrize("name", TYPES)
def test_range(database, rng, name):
    function = "range:" + "|".join(BOUNDS[name])
    rows = random_rows(rng, (name,), 2000) + [(bound,) for bound in BOUNDS[name]]
    answers = buckets_of(function, (name,), 0, rows)
    fill(database, (name,), rows, answers)
    order = f'k0::{"text" if name == "varchar" else name}' + (' COLLATE "C"' if name in ("text", "varchar", "bpchar") else "")
    below = " + ".join(f"({order} >= {literal(bound)}::{name})::int" for bound in BOUNDS[name])
    assert_none(database, (name,), rows, f"({below}) <> b".replace("%", "%%"))
    assert_sql_bucket(database, function, (name,), 0, rows)
    assert_sql_owned(database, function, (name,), 0, rows, [(3, "0,1,2"), (2, "0,0,1"), (1, "0")])


def test_a_range_in_many_pieces_is_said_by_a_bitmap(database, rng):
    function = "range:" + "|".join(str(bound) for bound in range(0, 600, 10))
    rows = [(str(rng.randint(-50, 700)),) for _ in range(1000)]
    fill(database, ("int4",), rows, buckets_of(function, ("int4",), 0, rows))
    assert_sql_owned(database, function, ("int4",), 0, rows, [(2, "0,1"), (3, "0,1,2")])


@pytest.mark.parametrize("name", TYPES)
def test_list(database, rng, name):
    values = list(BOUNDS[name])
    function = "list:" + "|".join(values)
    rows = [(rng.choice(values),) for _ in range(200)]
    fill(database, (name,), rows, buckets_of(function, (name,), 0, rows))
    assert_none(database, (name,), rows, "(" + " AND ".join(
        f"NOT (b = {i} AND k0 = {literal(value)}::{name})" for i, value in enumerate(values)) + ")")
    assert_sql_bucket(database, function, (name,), 0, rows)
    assert_sql_owned(database, function, (name,), 0, rows, [(2, "0,1"), (1, "0")])


def test_a_key_that_no_list_entry_names_is_refused(database):
    answer, owned = probe([["bucket", "list:a|b", "text", 0, "c"], ["owned", "list:a|b", "text", 0, 1, 0, "initial", "k"]])
    assert answer.startswith("error: no entry")
    database.execute(f"SELECT {owned} FROM (SELECT 'c'::text AS k) AS one")
    assert database.fetchone() == (False,)


# ---- what is read, and what is refused ------------------------------------------------------------------------------

TELLING = ["-", "+", ".", ":", " ", "T", "Z", "e", "0", "1", "9", "99", "00", "BC", "/", "_", "x", "{", "}", "\\", "infinity",
           "nan", "\t", "'", ",", "12", "60", "24", " +02", "é", "a"]


def mutate(rng, text):
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + rng.choice(TELLING) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + 1:]
        elif kind == 2:
            text = text[:at] + rng.choice(TELLING) + text[at + 1:]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:at] + text[other:]
    return text


@pytest.mark.parametrize("settings", ["ISO, MDY; UTC", "SQL, DMY; Asia/Kolkata", "German, YMD; America/Sao_Paulo"])
@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("text", "varchar", "bpchar")])
def test_whatever_is_read_is_read_as_postgresql_does(database, rng, name, settings):
    """Malformed keys by the thousand: what C takes, PostgreSQL takes as the same value, under every DateStyle and TimeZone."""
    style, zone = settings.split("; ")
    database.execute("SELECT set_config('DateStyle', %s, false), set_config('TimeZone', %s, false)", (style, zone))
    keys = sorted({mutate(rng, key) for key in random_keys(rng, name, 4000)})
    answers = probe([["bucket", "hash", name, 65536, key] for key in keys])
    taken = [(key, int(answer)) for key, answer in zip(keys, answers) if answer.isdigit()]
    assert len(taken) > 100, "too few mutations were still keys"
    database.execute("DROP TABLE IF EXISTS form")
    database.execute("CREATE TEMP TABLE form (k text, b int)")
    text = "".join(f"{escape(key)}\t{bucket}\n" for key, bucket in taken)
    database.copy_expert("COPY form FROM STDIN", io.BytesIO(text.encode()))
    database.execute(f"SELECT k, v FROM (SELECT k, pg_temp.same_{name}(k, b, 'form_{name}') AS v FROM form) AS f "
                     "WHERE v <> 'same' LIMIT 10")
    assert database.fetchall() == []


@pytest.mark.parametrize("name,text", [
    ("int8", "0x1F"), ("int8", "1_000"), ("int4", "0b1"), ("int2", "0o7"), ("int4", ""), ("int4", "1 2"), ("int8", "--1"),
    ("int2", "32768"), ("int4", "-2147483649"), ("int8", "9223372036854775808"), ("int8", "1.0"),
    ("uuid", " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), ("uuid", "a0eebc99"), ("uuid", "a0eebc999c0b4ef8bb6d6bb9bd380a11-"),
    ("bytea", "\\x1"), ("bytea", "\\8"), ("date", "01/02/2024"), ("date", "2024-02-30"), ("date", "now"), ("date", "0000-01-01"),
    ("date", "24-01-02"), ("timestamp", "today"), ("timestamp", "2024-01-05 25:00"), ("timestamptz", "2024-01-05 10:00"),
    ("timestamptz", "2024-01-05 10:00 Europe/Berlin"), ("timestamptz", "2024-01-05 10:00 EST"), ("timestamptz", "2024-01-05"),
    ("timestamptz", "2024-01-05 10:00+053015"), ("numeric", "1_0"), ("numeric", "0x10"), ("numeric", "1e"), ("numeric", "-nan"),
    ("numeric", "1e131072"), ("numeric", "1e-16384"), ("numeric", ""), ("numeric", "1 2"),
])
def test_refused_with_the_type_and_the_text(name, text):
    answer, = probe([["bucket", "hash", name, 16, text]])
    assert answer.startswith("error: key k: ") and f'"{text}"' in answer and "is no value of type" in answer
