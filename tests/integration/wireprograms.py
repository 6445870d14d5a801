"""Programs of protocol messages, made from a seed, for the comparison of two connections message by message.

A program is a list of steps; a step is bytes to send and what ends its answer. A program leaves nothing behind: it
works in a transaction that is rolled back, or on the table `scratch`, which it empties first.
"""
import collections
import random
import struct

from rawwire import (bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, function_call, parse,
                     query, split, sync)

# data: what is sent. kinds, count: the answer ends with the count-th message of such a type.
Step = collections.namedtuple("Step", "data kinds count")

SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2) CHECK (price >= 0), tags text[],
                   info jsonb, feel mood DEFAULT 'ok', at timestamptz DEFAULT '2024-02-03 04:05:06+00', p pair);
INSERT INTO item SELECT i, 'item ' || i, i * 1.25, ARRAY['t' || i % 3, NULL], jsonb_build_object('n', i),
       (ARRAY['sad','ok','happy'])[1 + i % 3]::mood, '2024-01-01'::timestamptz + i * interval '1 hour', ROW(i, 'x' || i)::pair
       FROM generate_series(1, 60) i;
CREATE TABLE part (id int PRIMARY KEY, item int REFERENCES item, n posint);
INSERT INTO part SELECT i, 1 + i % 50, i FROM generate_series(1, 90) i;
CREATE TABLE scratch (id int PRIMARY KEY, v text, n int);
CREATE FUNCTION say(level text, what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    IF level = 'notice' THEN RAISE NOTICE '%', what USING DETAIL = 'a detail', HINT = 'a hint';
    ELSIF level = 'warning' THEN RAISE WARNING USING ERRCODE = '01777', MESSAGE = what;
    ELSIF level = 'info' THEN RAISE INFO '%', what;
    ELSE RAISE EXCEPTION USING ERRCODE = level, MESSAGE = what, DETAIL = 'why', HINT = 'what next', TABLE = 'item',
         COLUMN = 'name', CONSTRAINT = 'made_up', SCHEMA = 'public', DATATYPE = 'mood'; END IF;
    RETURN what; END $$;
CREATE FUNCTION addup(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE VIEW dear AS SELECT * FROM item WHERE price > 50;
"""

TYPES = {
    "bool": ["t", "f"], "int2": ["-32768", "7"], "int4": ["2147483647", "-1"], "int8": ["-9223372036854775808", "0"],
    "numeric": ["0", "-12345678901234567890.000123", "NaN", "Infinity", "1e-20"],
    "float4": ["1.5", "-0", "NaN", "1e38"],
    "float8": ["3.141592653589793", "Infinity", "5e-324"], "money": ["12.34"],
    "text": ["", "h\u00e9llo \u2603", "a'b\\c\n"],
    "varchar(5)": ["abc"], "char(6)": ["ab"], "name": ["nm"], '"char"': ["x", ""], "bytea": ["\\x00ff10", "\\x"],
    "date": ["2024-02-29", "0044-03-15 BC", "infinity"], "time": ["23:59:59.999999"], "timetz": ["12:00:00+05:30"],
    "timestamp": ["1999-12-31 23:59:59.5", "-infinity"], "timestamptz": ["2024-03-31 02:30:00+01", "infinity"],
    "interval": ["1 year 2 mons -3 days 04:05:06.7", "-1 second"], "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "json": ['{"a": [1, null]}'], "jsonb": ['{"b": 1, "a": "\\u00e9"}', "[]"], "jsonpath": ["$.a[*]"],
    "point": ["(1,2)"], "line": ["{1,-1,0}"], "lseg": ["[(0,0),(1,1)]"], "box": ["(1,1),(0,0)"],
    "path": ["((0,0),(1,1),(2,0))"], "polygon": ["((0,0),(1,1),(2,0))"], "circle": ["<(0,0),5>"],
    "inet": ["10.1.2.3/8", "::1"], "cidr": ["10.0.0.0/8"], "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"], "bit(4)": ["1010"], "varbit": ["10101", ""],
    "tsvector": ["'a':1 'cat':2A"], "tsquery": ["'a' & !'b'"], "oid": ["4294967295"], "regclass": ["pg_class"],
    "regtype": ["int4"], "pg_lsn": ["16/B374D848"], "tid": ["(3,4)"], "xid": ["42"], "int4range": ["[1,5)", "empty"],
    "numrange": ["(,2.5]"], "tstzrange": ["[2024-01-01 00:00:00+00,)"], "int4multirange": ["{[1,3),[5,8)}"],
    "mood": ["happy"], "posint": ["3"], "pair": ['(1,"a ""b")', "(,)"],
    "int4[]": ["{1,NULL,3}", "{{1,2},{3,4}}", "[2:3]={7,8}"],
    "text[]": ['{a,"b c",NULL,"NULL"}'], "mood[]": ["{sad,ok}"], "timestamptz[]": ["{2024-01-01 00:00:00+00}"],
    "jsonb[]": ['{"{\\"a\\": 1}"}'],
}

ERRORS = [
    "SELECT 1/0", "SELEC 1", "SELECT nope FROM item", "SELECT * FROM nowhere", "SELECT 'x'::int", "SELECT 1 +",
    "SELECT itme.id FROM item", "INSERT INTO item (id, name) VALUES (1, 'again')",
    "INSERT INTO item (id) VALUES (1000)",
    "INSERT INTO item (id, name, price) VALUES (1001, 'x', -1)", "INSERT INTO part VALUES (1000, 999, 1)",
    "INSERT INTO part VALUES (1000, 1, -1)", "SELECT 'glad'::mood", "SELECT nofunction(1)",
    "SELECT say('P0042', 'oh')",
    "SELECT say('23505', 'made up')", "SELECT 'unfinished", "SELECT $1", "DELETE FROM item WHERE id = 1",
    "SELECT 99999999999::int", "SELECT '2024-02-30'::date", "SELECT '{'::json", "COMMIT AND",
    "SELECT 1 FROM item GROUP",
    "UPDATE item SET id = 2 WHERE id = 1", "SELECT (SELECT id FROM item)", "SELECT ARRAY[1] || 'x'",
    "DROP TABLE item",
    "CREATE TABLE item (id int)", "SET nonsense = 1", "SET DateStyle = 'nonsense'", "SHOW nonsense", "FETCH nocursor",
    "EXECUTE noplan", "DEALLOCATE noplan", "SAVEPOINT", "ROLLBACK TO nosavepoint", "LOCK TABLE nowhere",
    "SELECT E'\\xff'",
    "SELECT repeat('x', -1) || chr(0)", "SELECT 1::posint - 1, 0::posint",
]

QUERIES = [
    "SELECT 1", "SELECT", "VALUES (1, 'a'), (2, NULL)", "TABLE dear", "SELECT * FROM item ORDER BY id LIMIT 5",
    "SELECT id, p, (p).b, tags FROM item WHERE id < 4 ORDER BY 1",
    "SELECT count(*), sum(price), avg(price) FROM item",
    "SELECT feel, count(*) FROM item GROUP BY 1 ORDER BY 1",
    "SELECT i.name, n FROM item i JOIN part p ON p.item = i.id WHERE n < 9 ORDER BY n",
    "WITH w AS (SELECT generate_series(1, 3) g) SELECT g, g * g AS square FROM w", "SELECT NULL, NULL::text, ''",
    "SELECT 1 AS a, 2 AS a", "SELECT 1 AS \"odd name\u2603\"", "EXPLAIN (COSTS off) SELECT * FROM item WHERE id = 3",
    "SHOW work_mem", "SHOW transaction_isolation", "SELECT say('notice', 'hear'), say('warning', 'hear')",
    "SELECT say('info', 'x')",
    "DO $$ BEGIN RAISE NOTICE 'within'; END $$", "SELECT '{\"a\":1}'::jsonb ->> 'a'",
    "SELECT row_number() OVER (ORDER BY id DESC), id FROM item LIMIT 3",
    "SELECT current_setting('DateStyle'), now() = now()", "/* c */ SELECT 2 -- end",
    "SELECT $$a'b$$, E'\\n', U&'\\00e9'",
    "SELECT m FROM unnest(enum_range(NULL::mood)) m",
    "SELECT x FROM xmltable('/a' PASSING '<a>1</a>'::xml COLUMNS x int PATH '.')",
    "SELECT id FROM item WHERE false", "SELECT addup(1, 2), addup(NULL, 1)", "SELECT repeat('long', 5000)",
]

WRITES = [
    "INSERT INTO item (id, name) VALUES (%d, 'new') RETURNING *",
    "INSERT INTO item (id, name) VALUES (%d, 'a'), (%d + 500, 'b')",
    "UPDATE item SET price = price + 1 WHERE id = %d RETURNING id, price", "DELETE FROM part WHERE id = %d",
    "INSERT INTO item (id, name) VALUES (%d, 'up') ON CONFLICT (id) DO UPDATE SET name = 'upped' RETURNING (xmax = 0)",
    "INSERT INTO part SELECT 500 + g, 1, 1 FROM generate_series(1, %d %% 5) g",
    "SELECT * FROM item WHERE id = %d FOR UPDATE",
    "MERGE INTO scratch s USING (SELECT %d AS id) q ON s.id = q.id WHEN MATCHED THEN DELETE "
    "WHEN NOT MATCHED THEN INSERT VALUES (q.id, 'm', 1)",
    "WITH d AS (DELETE FROM part WHERE item = %d RETURNING id) SELECT count(*) FROM d", "TRUNCATE scratch",
    "CREATE TEMP TABLE tt%d (a int, b text) ON COMMIT DROP", "CREATE TABLE made%d (a int)",
    "COMMENT ON TABLE item IS 'c%d'",
    "INSERT INTO scratch VALUES (%d, 'x', 1)",
]

SETTINGS = [
    "SET DateStyle = 'German'", "SET TIME ZONE 'Asia/Tokyo'", "SET IntervalStyle = 'iso_8601'",
    "SET application_name = 'app %d'",
    "SET LOCAL extra_float_digits = -3", "SET LOCAL DateStyle = 'SQL, DMY'", "RESET DateStyle", "RESET ALL",
    "SHOW DateStyle",
    "SHOW TIME ZONE", "SELECT now()::date > '2000-01-01', '2024-02-03'::date, '1 day 2 hours'::interval",
    "SET work_mem = '3MB'",
    "SHOW work_mem", "SET search_path = pg_catalog, public", "SHOW search_path",
    "SET SESSION bytea_output = 'escape'", "SELECT '\\x01ff'::bytea",
    "SELECT set_config('application_name', 'by function', false)", "SET my.own = '%d'",
    "SELECT nullif(current_setting('my.own', true), '')",
    "SHOW application_name", "SET statement_timeout = '30s'", "SHOW statement_timeout", "DISCARD ALL",
    "SET client_min_messages = 'warning'",
    "SELECT say('notice', 'heard?')", "RESET client_min_messages",
]


def simple(sql):
    return Step(query(sql), "Z", 1)


def extended(*messages):
    """Messages up to a Sync, which is added."""
    return Step(b"".join(messages) + sync(), "Z", 1)


def flushed(*messages, kinds, count=1):
    """Messages and a Flush: an error also ends the answer."""
    return Step(b"".join(messages) + flush(), kinds + "E", count)


def say(step):
    """A step in words."""
    parts = []
    for kind, body in split(step.data):
        names = {"Q": "Query", "P": "Parse", "B": "Bind", "D": "Describe", "E": "Execute", "C": "Close", "S": "Sync",
                 "H": "Flush", "d": "CopyData", "c": "CopyDone", "f": "CopyFail", "F": "FunctionCall"}
        shown = "" if kind in "SHc" else " " + repr(body[:160].rstrip(b"\0"))[1:]
        parts.append(names.get(kind, kind) + shown)
    return "; ".join(parts)


# ---- the kinds of programs ----


def types(binaries):
    """Each value of each type: both protocols, both formats. binaries[type, literal]: its bytes, as a server sent them."""
    steps = []
    for name, literals in TYPES.items():
        for literal in literals:
            quoted = "E'" + literal.replace("\\", "\\\\").replace("'", "''") + "'"
            steps.append(simple(f"SELECT {quoted}::{name} AS v, NULL::{name}"))
            sql = f"SELECT $1::{name} AS v"
            steps.append(extended(parse(sql), bind([literal]), describe(), execute()))
            steps.append(extended(parse(sql), describe("S"), bind([literal], results=[1]), execute()))
            if binaries.get((name, literal)) is not None:
                steps.append(extended(parse(sql), bind([binaries[name, literal]], formats=[1], results=[1]),
                                      describe(), execute()))
                steps.append(extended(parse(sql), bind([binaries[name, literal][:-1]], formats=[1]), execute()))
            steps.append(extended(parse(sql), bind([None]), execute()))
            steps.append(extended(parse(sql), bind(["no such"], formats=[0]), execute()))
    return [steps[i:i + 60] for i in range(0, len(steps), 60)]


def filled(sql, rng):
    return sql.replace("%%", "\0").replace("%d", str(rng.randrange(1, 200))).replace("\0", "%")


def once(sql):
    """A statement without parameters by the extended protocol, but for SQL's EXECUTE, which the proxy refuses there."""
    if sql.startswith("EXECUTE"):
        return simple(sql)
    return extended(parse(sql), bind(), describe(), execute())


def statements(rng):
    """Queries, writes and errors in a transaction with savepoints, by either protocol."""
    steps = [simple(rng.choice(["BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION",
                                "BEGIN READ ONLY"]))]
    for _ in range(rng.randrange(8, 20)):
        kind = rng.random()
        if kind < 0.4:
            sql = rng.choice(QUERIES)
        elif kind < 0.65:
            sql = filled(rng.choice(WRITES), rng)
        elif kind < 0.8:
            sql = rng.choice(ERRORS)
        elif kind < 0.9:
            sql = rng.choice(["SAVEPOINT a", "SAVEPOINT b", "RELEASE a"])
        else:
            sql = rng.choice(["ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b"])
        steps.append(rng.choice([simple, once])(sql))
    end = rng.choice(["ROLLBACK", "ABORT", "ROLLBACK AND NO CHAIN"])
    return steps + [simple(end), simple("ROLLBACK"), simple(rng.choice(QUERIES))]


def outside(rng):
    """Without a transaction: queries and errors, with the tags and states that follow."""
    steps = []
    for _ in range(20):
        sql = rng.choice(rng.choice([QUERIES, QUERIES, ERRORS,
                                     ["", ";", " -- nothing", "BEGIN", "COMMIT", "ROLLBACK"]]))
        if "DROP" in sql or "CREATE" in sql:
            continue
        steps.append(rng.choice([simple, once])(sql))
    return steps + [simple("ROLLBACK")]


def several(rng):
    """Several statements in one Query; the last transaction is rolled back."""
    steps = [simple("TRUNCATE scratch")]
    for _ in range(12):
        parts = []
        for _ in range(rng.randrange(2, 6)):
            parts.append(rng.choice([rng.choice(QUERIES),
                                     rng.choice(["", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a"]),
                                     f"INSERT INTO scratch VALUES ({rng.randrange(30)}, 'm', 1)",
                                     "SELECT count(*) FROM scratch",
                                     rng.choice(["SELECT 1/0", "SELECT nope", "SET LOCAL work_mem = '2MB'",
                                                 "SELEC"])]))
        parts = [part.replace("-- end", "") for part in parts]
        steps.append(simple(rng.choice(["; ", ";"]).join(parts)))
    return steps + [simple("ROLLBACK"), simple("SELECT * FROM scratch ORDER BY id")]


def settings(rng):
    steps = []
    for _ in range(25):
        sql = filled(rng.choice(SETTINGS), rng) if rng.random() < 0.75 else rng.choice(
            ["BEGIN", "COMMIT", "ROLLBACK", "SELECT 1", "SAVEPOINT a", "ROLLBACK TO a", "SELECT 1/0"])
        steps.append(rng.choice([simple, simple, once])(sql))
    return steps + [simple("ROLLBACK"), simple("RESET ALL"), simple("SHOW DateStyle")]


PREPARABLE = [("SELECT $1::int + $2::int", [23, 23], ["4", "5"]), ("SELECT * FROM item WHERE id = $1", [], ["7"]),
              ("SELECT id, name FROM item WHERE id > $1 ORDER BY id", [23], ["50"]),
              ("SELECT generate_series(1, $1::int)", [], ["6"]),
              ("INSERT INTO scratch VALUES ($1, $2, 1) RETURNING id", [], ["3", "w"]),
              ("UPDATE scratch SET n = n + 1 WHERE id = $1", [], ["3"]),
              ("SELECT 1/$1::int", [], ["0"]), ("SELECT $1::mood", [], ["sad"]), ("", [], []),
              ("SELECT now() < $1", [], ["infinity"]),
              ("SELECT say('notice', $1)", [25], ["told"]), ("VALUES (1), (2), (3)", [], []), ("BEGIN", [], []),
              ("COMMIT", [], []),
              ("SELEC", [], []), ("SELECT nope FROM item", [], []), ("SELECT 1; SELECT 2", [], []),
              ("SELECT $2::int", [], ["1", "2"]),
              ("DECLARE cu CURSOR FOR SELECT id FROM item ORDER BY id", [], []), ("FETCH 2 FROM cu", [], []),
              ("ROLLBACK", [], [])]


def pipeline(rng):
    """Sequences of extended messages that no driver would send: names used again, missing, closed; errors; row limits."""
    names, portals = ["", "s1", "s2", "s3"], ["", "p1", "p2"]
    known = {}
    steps = [simple("TRUNCATE scratch")]
    for _ in range(rng.randrange(8, 16)):
        messages = []
        for _ in range(rng.randrange(1, 12)):
            kind = rng.choice("PPBBBBDDEEEEEECcH")
            name, portal = rng.choice(names), rng.choice(portals)
            if kind == "P":
                sql, given, values = rng.choice(PREPARABLE)
                if name and name in known and rng.random() < 0.7:
                    messages.append(close("S", name))
                known[name] = values
                messages.append(parse(sql, name, given if rng.random() < 0.5 else []))
            elif kind == "B":
                values = list(known.get(name, []))
                if rng.random() < 0.08:
                    values.append("more")
                if values and rng.random() < 0.1:
                    values[0] = rng.choice([None, "bad", ""])
                if portal and rng.random() < 0.5:
                    messages.append(close("P", portal))
                messages.append(bind(values, name, portal,
                                     results=[rng.choice([0, 1])] if rng.random() < 0.3 else []))
            elif kind == "D":
                messages.append(describe(*rng.choice([("P", portal), ("S", name)])))
            elif kind == "E":
                messages.append(execute(portal, rng.choice([0, 0, 1, 2, 100])))
            elif kind == "C":
                messages.append(close("S", name))
            elif kind == "c":
                messages.append(close("P", portal))
            else:
                messages.append(flush())
        steps.append(extended(*messages))
        if rng.random() < 0.3:
            steps.append(simple(rng.choice(["BEGIN", "COMMIT", "ROLLBACK", "SELECT count(*) FROM scratch",
                                            "SELECT 1/0"])))
    return steps + [simple("ROLLBACK"), simple("SELECT * FROM scratch ORDER BY id")]


def batches(rng):
    """What drivers do: a transaction of binds and executes in one pipeline, with or without an error within."""
    steps = [simple("TRUNCATE scratch")]
    for _ in range(8):
        failing = rng.choice([None, None, rng.randrange(12)])
        messages = [parse("INSERT INTO scratch VALUES ($1, $2, $3) RETURNING id, v", "ins", [23, 25, 23])]
        for i in range(12):
            value = "1000000000000" if i == failing else str(rng.randrange(1000))
            messages += [bind([value, "v" * rng.randrange(200), None], "ins"), execute()]
            if rng.random() < 0.2:
                messages.append(flush())
        steps.append(extended(*messages))
        steps.append(extended(close("S", "ins")))
    # Several Syncs in one piece: each gets its ReadyForQuery.
    many = b"".join(parse("SELECT $1::int") + bind([str(i) if i % 5 else "x"]) + execute() + sync() for i in range(10))
    steps.append(Step(many, "Z", 10))
    one = parse("SELECT 1") + bind() + execute() + sync()
    mixed = b"".join(query(f"SELECT {i}, 1/{i % 4}") if i % 2 else one for i in range(10))
    steps.append(Step(mixed, "Z", 10))
    return steps + [simple("SELECT count(*), sum(id) FROM scratch")]


def portals(rng):
    size = rng.randrange(1, 5)
    steps = [simple("BEGIN"),
             extended(parse("SELECT id, name FROM item ORDER BY id", "rows"), bind([], "rows", "walk"))]
    for _ in range(4):
        steps.append(extended(execute("walk", size)))
    steps += [extended(describe("P", "walk"), execute("walk", 1), execute("walk", 0), execute("walk", 0)),
              extended(execute("walk")), extended(close("P", "walk"), execute("walk")), simple("ROLLBACK"),
              flushed(parse("SELECT $1::text"), kinds="1"), flushed(describe("S"), kinds="Tn"),
              flushed(bind(["x"]), describe(), execute(), kinds="Cs"), extended(),
              flushed(parse("SELECT generate_series(1, 9)"), bind(), execute("", 4), kinds="Cs"),
              flushed(execute("", 4), kinds="Cs"), extended(execute("", 4)), extended(execute()),
              flushed(parse("SELECT nope"), kinds="1"), flushed(bind(), execute(), kinds="Cs"), extended(),
              simple("BEGIN"),
              extended(parse("DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY id"), bind(), execute()),
              once("FETCH 3 FROM c"), once("FETCH BACKWARD 1 FROM c"), once("MOVE 5 IN c"),
              extended(describe("P", "c"), execute("c", 2)),
              once("FETCH ALL FROM c"), simple("CLOSE c"), simple("COMMIT"),
              simple("DECLARE h CURSOR FOR SELECT 1"), simple("BEGIN"),
              simple("DECLARE h CURSOR WITH HOLD FOR SELECT id FROM item ORDER BY 1"),
              simple("COMMIT"), simple("FETCH 2 FROM h"), simple("CLOSE h"), simple("CLOSE ALL")]
    return steps


def session(rng):
    """What lives as long as the session."""
    return [simple("PREPARE one (int) AS SELECT $1 + 1, 'one'"), simple("EXECUTE one (4)"), 
            extended(bind(["6"], "one"), execute()), extended(describe("S", "one")), simple("EXECUTE one"),
            simple("PREPARE one AS SELECT 1"), simple("DEALLOCATE one"),
            simple("EXECUTE one (1)"),
            extended(parse("SELECT $1::int AS via", "two")), simple("EXECUTE two (8)"), simple("DEALLOCATE two"),
            extended(bind(["1"], "two"), execute()), simple("PREPARE three AS SELECT id FROM item WHERE id = $1"),
            simple("EXECUTE three(3)"), simple("DEALLOCATE ALL"), simple("EXECUTE three(3)"),
            simple("CREATE TEMP TABLE mine (a int, b mood)"), simple("INSERT INTO mine VALUES (1, 'sad'), (2, NULL)"),
            simple("SELECT * FROM mine"), once("SELECT a FROM mine ORDER BY a DESC"), simple("DROP TABLE mine"),
            simple("SELECT * FROM mine"),
            simple("LISTEN chan"), simple("NOTIFY chan, 'loud'"), simple("BEGIN; NOTIFY chan, 'in'; COMMIT"),
            simple("SELECT pg_notify('chan', 'by function')"), simple("UNLISTEN *"), simple("NOTIFY chan"),
            simple("SELECT pg_advisory_lock(77)"), simple("SELECT pg_advisory_unlock(77), pg_advisory_unlock(77)"),
            simple("BEGIN; SELECT pg_advisory_xact_lock(78); SELECT 1/0"), simple("COMMIT"),
            simple("SELECT lo_create(0) > 0 AS made"), simple("SET ROLE nobody_at_all"),
            simple("SELECT current_user = session_user"),
            simple("BEGIN; CREATE TEMP TABLE gone (a int) ON COMMIT DROP; INSERT INTO gone VALUES (1); SELECT * FROM gone; COMMIT"),
            simple("SELECT * FROM gone"), simple("DISCARD PLANS"), simple("DISCARD TEMP"), simple("DISCARD ALL"),
            simple("BEGIN; DISCARD ALL"),
            simple("ROLLBACK"), simple("BEGIN; PREPARE TRANSACTION 'x'"), simple("ROLLBACK PREPARED 'x'"),
            simple("CHECKPOINT")]


def ran(sql, name="", described=True, rows=0, results=()):
    """The messages of a driver that runs a statement by the extended protocol, without a Sync."""
    return b"".join([parse(sql, name), bind((), name, results=results), describe() if described else b"",
                     execute(rows=rows)])


def sql_prepare(rng):
    """PREPARE, EXECUTE, DEALLOCATE as SQL, by the extended protocol; among them the same names by the protocol."""
    row, code = rng.choice(["one", '"One more"', "ein\u00e4"]), rng.randrange(1, 60)
    item = f"SELECT id, name, price, tags FROM item WHERE id = $1 -- {row}"
    made = f"/* \u00fc */ PREPARE {row} (int) AS {item}"
    execute_it = f"  EXECUTE  {row} ({code})"
    some = [
        extended(ran(execute_it)), extended(ran(made)), extended(ran(made)), extended(parse(execute_it), describe("S")),
        extended(ran(execute_it)), extended(ran(execute_it, results=[1])), extended(ran(execute_it, results=[0, 1, 1, 0])),
        extended(ran(execute_it, results=[1, 1])), extended(ran(f"EXECUTE {row} (1 + {code})")),
        extended(ran(f"EXECUTE {row} ($1)")), extended(ran(f"EXECUTE {row}")), extended(ran(f"EXECUTE {row} ('x')")),
        extended(ran(f"EXECUTE {row} (nothing)")), simple(f"EXECUTE {row} (nothing)"), simple(f"EXECUTE {row} (7)"),
        extended(bind(["5"], row.strip('"')), describe(), execute()), extended(describe("S", row.strip('"'))),
        extended(parse(execute_it, "run"), describe("S", "run")), extended(bind((), "run"), describe(), execute()),
        extended(bind((), "run"), execute(rows=1), execute(rows=1)), extended(bind(["1"], "run"), execute()),
        extended(bind((), "run", "p"), bind((), "run", "q"), execute("q"), execute("p"), close("P", "q"), execute("p")),
        extended(close("S", "run")),
        # In one pipeline, with errors before and behind.
        extended(ran("PREPARE two AS SELECT g FROM generate_series(1, 5) g"), ran("EXECUTE two", rows=2),
                 execute(rows=2), execute(rows=2), ran("DEALLOCATE two"), ran("EXECUTE two")),
        extended(ran("SELECT 1/0"), ran("PREPARE three AS SELECT 3")), extended(ran("EXECUTE three")),
        extended(ran("PREPARE three AS SELECT 3"), ran("SELECT 1/0"), ran("DEALLOCATE three")),
        extended(ran("EXECUTE three")), extended(ran("SELECT 1/0"), ran("DEALLOCATE ALL")),
        extended(ran("EXECUTE three"), ran("DEALLOCATE three"), ran("EXECUTE three"), ran("PREPARE three AS SELECT 4")),
        extended(ran("EXECUTE three")),
        # Texts that are wrong, under a name that is free and one that is not.
        extended(ran("PREPARE four AS SELECT nothing FROM item")), extended(ran("EXECUTE four")),
        extended(ran("PREPARE three AS SELECT nothing FROM item")), extended(ran("PREPARE three AS SELEC")),
        extended(ran("PREPARE three AS SELECT 5")), extended(ran("EXECUTE three")),
        simple("PREPARE four AS SELECT \u00fcber FROM item"), simple("PREPARE three AS SELECT nothing FROM item"),
        extended(bind(["1"]), execute()), extended(parse("PREPARE five AS SELECT 5", "make"), describe("S", "make")),
        extended(bind(["1"], "make"), execute()), extended(bind((), "make"), describe(), execute()),
        extended(bind((), "make"), execute()), extended(ran("EXECUTE five"), parse("SELECT nothing"), describe("S")),
        # Writes, and in transactions.
        extended(ran("PREPARE add (int, text) AS INSERT INTO scratch (id, v) VALUES ($1, $2) RETURNING id")),
        simple("TRUNCATE scratch"), extended(ran("BEGIN")), extended(ran("EXECUTE add (1, 'one')")),
        extended(ran("PREPARE look AS SELECT v FROM scratch ORDER BY id")), extended(ran("EXECUTE look")),
        extended(ran("EXECUTE add (1, 'again')")), extended(ran("EXECUTE look")), extended(ran("DEALLOCATE look")),
        extended(ran("PREPARE look AS SELECT 1")), extended(ran("ROLLBACK")), extended(ran("EXECUTE look")),
        extended(ran("BEGIN")), extended(ran("DEALLOCATE nothing")), simple("SELECT 1"), simple("ROLLBACK"),
        simple("BEGIN"), simple("SELECT 1"), simple("DEALLOCATE nothing"), simple("SELECT 2"), simple("ROLLBACK"),
        extended(ran("BEGIN"), ran("EXECUTE add (3, 'three')"), parse("EXECUTE look", "e"), bind((), "e", "held"),
                 execute("held", 1)), extended(execute("held")), extended(ran("COMMIT")),
        extended(execute("held")), simple("EXECUTE look"),
        flushed(parse("EXECUTE look", "f"), describe("S", "f"), kinds="T"), flushed(bind((), "f"), execute(), kinds="C"),
        extended(), extended(ran("DEALLOCATE ALL")), extended(ran("EXECUTE look")), extended(ran("DEALLOCATE look")),
        extended(ran("DEALLOCATE PREPARE ALL")), simple("EXECUTE three"), extended(bind((), "f"), execute())]
    return some


BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!II", 0, 0)


def binary_row(number, word):
    return struct.pack("!hiii", 2, 4, number, len(word)) + word


def copies(rng):
    into = "COPY scratch (id, v) FROM STDIN"

    def load(sql, *pieces, end=None):
        return Step(query(sql) + b"".join(copy_data(piece) for piece in pieces) + (end or copy_done()), "Z", 1)

    def load_extended(sql, *pieces, end=None):
        data = b"".join(copy_data(piece) for piece in pieces) + (end or copy_done())
        return Step(parse(sql) + bind() + describe() + execute() + data + sync(), "Z", 1)
    base = rng.randrange(10000)
    lines = [f"{base + i}\tline {i}\n" for i in range(40)]
    whole = "".join(lines)
    cut = rng.randrange(len(whole))
    return [simple("TRUNCATE scratch"), load(into, *lines), simple("SELECT count(*), min(id), max(v) FROM scratch"),
            load(into, whole), load(into, "x\ty\n"), load(into, "1\n"), load(into, "1\t2\t3\n"), load(into),
            load(into, whole, end=copy_fail("enough")), simple("TRUNCATE scratch"),
            load(into, whole[:cut], whole[cut:]),
            load("COPY scratch FROM STDIN (FORMAT csv, HEADER)", 'id,v,n\n70001,"a ""q"", b",5\n70002,,\n'),
            load("COPY scratch (id, v) FROM STDIN (FORMAT binary)",
                 BINARY_HEADER + binary_row(80001, b"bin") + b"\xff\xff"),
            load("COPY scratch (id, v) FROM STDIN (FORMAT binary)", b"not binary"),
            simple("SELECT * FROM scratch ORDER BY id DESC LIMIT 5"),
            load_extended(into, "90001\te\n"), load_extended(into, "bad\te\n"),
            load_extended(into, end=copy_fail("no")),
            load("COPY nowhere FROM STDIN", "1\n"), load("COPY item (id) FROM STDIN", "5000\n"),
            simple("COPY scratch TO STDOUT"),
            simple("COPY (SELECT * FROM item ORDER BY id LIMIT 7) TO STDOUT (FORMAT csv, HEADER)"),
            simple("COPY (SELECT id, v FROM scratch ORDER BY id) TO STDOUT (FORMAT binary)"),
            once("COPY (SELECT 1, NULL, 'x\ty') TO STDOUT"),
            simple("COPY (SELECT 1/(id - 3) FROM item ORDER BY id) TO STDOUT"), simple("COPY nowhere TO STDOUT"),
            simple("SELECT 1; COPY (SELECT 2) TO STDOUT; SELECT 3"),
            Step(query(f"SELECT 1; {into}; SELECT 3; {into}") + copy_data("60001\ta\n") + copy_done()
                 + copy_data("60002\tb\n") + copy_done(), "Z", 1),
            simple("BEGIN"), load(into, "60003\tx\n"), load(into, "60003\tx\n"), simple("COMMIT"),
            Step(copy_data("astray") + copy_done() + copy_fail("astray") + query("SELECT 'still here'"), "Z", 1),
            simple("SELECT count(*), sum(id) FROM scratch"), simple("TRUNCATE scratch")]


def large(rng):
    size = rng.randrange(100_000, 1_500_000)
    value = "".join(rng.choices("abcdefghij\u2603", k=1000)) * (size // 1000)
    return [simple(f"SELECT repeat('0123456789', {size // 10})"),
            extended(parse("SELECT length($1), md5($1), $1"), bind([value]), describe(), execute()),
            simple("SELECT g, repeat('x', g % 300) FROM generate_series(1, 5000) g"),
            simple("SELECT '" + value + "'"),
            simple("SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1600))),
            simple("SELECT " + ", ".join("1" for _ in range(1665))),
            extended(parse("SELECT generate_series(1, 20000)"), bind(), execute("", 15000), execute("", 15000)),
            extended(parse("SELECT " + " + ".join(f"${i}::int" for i in range(1, 2000))), bind(["1"] * 1999),
                     execute()),
            simple("COPY (SELECT g, repeat('y', 100) FROM generate_series(1, 8000) g) TO STDOUT"),
            Step(query("COPY scratch FROM STDIN") + copy_data("".join(f"{i}\t{'z' * 100}\t1\n" for i in range(100_000,
                    105_000))) + copy_fail("no"), "Z", 1),
            simple("SELECT 1")]


def calls(rng):
    """The function call protocol: int4pl is 177, int4div 154, upper(text) 871."""
    return [Step(function_call(177, [str(rng.randrange(100)), "4"]), "Z", 1),
            Step(function_call(871, ["shout"]), "Z", 1),
            Step(function_call(154, ["1", "0"]), "Z", 1), Step(function_call(177, [None, "4"]), "Z", 1),
            Step(function_call(4_000_000_000, []), "Z", 1), simple("BEGIN"),
            Step(function_call(177, ["1", "2"]), "Z", 1),
            Step(function_call(154, ["1", "0"]), "Z", 1), Step(function_call(177, ["1", "2"]), "Z", 1),
            simple("ROLLBACK")]


KINDS = {"statements": (statements, 40), "outside": (outside, 12), "several": (several, 10),
         "settings": (settings, 16),
         "pipeline": (pipeline, 50), "batches": (batches, 6), "portals": (portals, 4), "session": (session, 2),
         "copies": (copies, 5), "sql prepare": (sql_prepare, 4), "large": (large, 3), "calls": (calls, 2)}


def programs(seed, binaries, scale=1.0):
    """(name, steps) each. The same seed makes the same programs."""
    made = [(f"types {i}", steps) for i, steps in enumerate(types(binaries))]
    for kind, (make, count) in KINDS.items():
        for i in range(max(1, round(count * scale))):
            made.append((f"{kind} {i}", make(random.Random(f"{seed} {kind} {i}"))))
    return made
