"""Random schemas and their rows: for SQL, for mosaic.yaml, and for the generator of statements."""
import json
import random

TEXTS = ["a", "b", "B", "A", "Á", "á", "ß", "ss", "", " ", "a ", " a", "ab", "a b", "aB", "Ab", "é", "zz", "Z", "_x", "10", "9",
         "%", "O'x", "back\\slash", "ａ", "ä", "ae", "-", "naïve", "日本", "😀", "co-op", "coop"]
MOODS = ["sad", "ok", "happy"]
JSONS = [{"n": 1, "t": "a", "a": [1, 2]}, {"n": 2}, {"t": "B", "a": []}, {"a": ["x"], "o": {"k": 1}}, {}, {"n": -3, "t": "Á"},
         {"o": {"k": "v"}, "n": 7}]
# How a column is declared → what the generator takes it for.
COLUMN_TYPES = {
    "int": "int", "bigint": "bigint", "smallint": "int", "numeric(12,2)": "numeric", "numeric": "numeric", "boolean": "boolean",
    "double precision": "float8", "real": "float8", "text": "text", "varchar(20)": "text", "char(5)": "text",
    "date": "date", "timestamptz": "timestamptz", "interval": "interval", "uuid": "uuid", "bytea": "bytea", "jsonb": "jsonb",
    "mood": "mood", "amount": "int", "label": "text", "int[]": "int[]", "text[]": "text[]", "mood[]": "mood[]",
    "timestamp": "timestamp", "time": "time", "int4range": "int4range", "inet": "inet", "duo": "duo",
    'text COLLATE "C"': "ctext", 'text COLLATE "sv-x-icu"': "svtext",  # texts of another collation are not compared with others
    "decimal": "decimal", "bit(4)": "bits"}
# Kind of key → (columns' types, function), for tables whose equal keys may share a shard.
KEYS = {"number": (["bigint"], "modulo"), "hashed": (["int"], "hash"), "word": (["text"], "hash"),
        "pair": (["int", "text"], "hash"), "uuid": (["uuid"], "hash"), "day": (["date"], "hash"),
        "matrix": (["text"], "sha256"), "code": (["varchar(20)"], "hash"),
        "ranged": (["int"], "range")}
TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN amount AS int CHECK (VALUE > -1000);
CREATE DOMAIN label AS text;
CREATE TYPE duo AS (one int, two text);
"""


def value(rng, kind, nulls=0.08):
    """A value of the generator's type in PostgreSQL's text form; few different ones, so that joins find partners."""
    if rng.random() < nulls:
        return None
    if kind in ("int", "bigint"):
        return str(rng.choice([0, 1, 1, 2, 2, 3, 4, 5, 7, 10, -1, -5, rng.randrange(-50, 100)]))
    if kind == "numeric":
        return rng.choice(["0.00", "1.00", "1.50", "2.25", "-3.10", "10.00", f"{rng.randrange(-5000, 5000) / 100:.2f}"])
    if kind == "float8":
        return rng.choice(["NaN", "-0", "0", "0.25", "1", "-2.5", "100.75", "Infinity", str(rng.randrange(-400, 400) / 4)])
    if kind == "decimal":  # what is computed of it, is of any value
        return rng.choice(["NaN", "Infinity", "-Infinity", "0", "0.000", "1.5", "1.50", "-7.125", "12345678901234567890.5", "3"])
    if kind == "bits":
        return f"{rng.randrange(16):04b}"
    if kind in ("text", "ctext", "svtext"):
        return rng.choice(TEXTS if rng.random() < 0.6 else TEXTS[:6])
    if kind == "boolean":
        return rng.choice(["t", "f"])
    if kind == "date":
        return f"2024-{rng.randrange(1, 4):02}-{rng.randrange(1, 29):02}" if rng.random() < 0.5 else rng.choice(
            ["2024-01-01", "2024-02-29", "2023-12-31"])
    if kind in ("timestamptz", "timestamp"):
        return f"2024-01-0{rng.randrange(1, 5)} {rng.randrange(0, 24):02}:30:00" + ("+00" if kind == "timestamptz" else "")
    if kind == "interval":
        return rng.choice(["1 day", "2:30:00", "1 mon", "-3 days", "36:00:00"])
    if kind == "time":
        return f"{rng.randrange(24):02}:{rng.randrange(4) * 15:02}:00"
    if kind == "int4range":
        return rng.choice(["empty", "[1,5)", "[3,)", "(,2)", "[2,3)"])
    if kind == "inet":
        return rng.choice(["10.0.0.1", "10.0.0.0/8", "::1", "192.168.1.5"])
    if kind == "duo":
        return rng.choice(['(1,a)', '(,)', '(2,"a b")', '(1,)', '(-3,Á)'])
    if kind == "uuid":
        return f"0000000{rng.randrange(4)}-0000-4000-8000-00000000000{rng.randrange(3)}"
    if kind == "bytea":
        return rng.choice(["\\x", "\\x00", "\\x61", "\\xff00", "\\x6162"])
    if kind == "jsonb":
        return json.dumps(rng.choice(JSONS), ensure_ascii=False)
    if kind == "mood":
        return rng.choice(MOODS)
    inside = {"int[]": ["1", "2", "3", "NULL", "-5"], "text[]": ["a", "B", '""', "NULL", "á", '" "'],
              "mood[]": [*MOODS, "NULL"]}[kind]
    return "{" + ",".join(rng.choice(inside) for _ in range(rng.choice([0, 1, 2, 2, 3]))) + "}"


class Table:
    """name; kind: sharded, reference, home; columns: [(name, declared type)]; key: names. A view is one of kind view."""

    def __init__(self, name, kind, columns, key=(), function=None, text=None, parted=False, skew=0.5):
        self.name, self.kind, self.columns, self.key, self.function = name, kind, columns, list(key), function
        self.text, self.parted, self.skew, self.rows = text, parted, skew, []
        self.of = self  # a view with the rows of one table: that

    def ddl(self):
        if self.text:
            return self.text
        columns = ", ".join(f"{name} {kind}{' NOT NULL' if name in (*self.key, 'rid') else ''}" for name, kind in self.columns)
        made = f"CREATE TABLE {self.name} ({columns})"
        if not self.parted:
            return made + ";"
        return f"{made} PARTITION BY RANGE (rid);\n" \
               f"CREATE TABLE {self.name}_low PARTITION OF {self.name} FOR VALUES FROM (MINVALUE) TO (9);\n" \
               f"CREATE TABLE {self.name}_high PARTITION OF {self.name} DEFAULT;"

    def yaml(self, shards):
        """Its line in mosaic.yaml of a cluster of so many shards."""
        if self.kind == "reference":
            return f" - {{name: {self.name}, kind: reference}}\n"
        if self.kind != "sharded":
            return ""
        more = ""
        if self.function == "range":
            ends = [f"{{below: {-20 + 40 * at // shards}, shard: s{at}}}" for at in range(shards - 1)]
            more = f", ranges: [{', '.join([*ends, f'{{shard: s{shards - 1}}}'])}]"
        return f" - {{name: {self.name}, key: [{', '.join(self.key)}], function: {self.function}{more}}}\n"

    def copy_text(self, backwards=False):
        """The rows as COPY's text format has them."""
        escape = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n"})
        return "".join("\t".join("\\N" if each is None else each.translate(escape) for each in row) + "\n"
                       for row in (reversed(self.rows) if backwards else self.rows))


class Schema:
    """Everything follows from the seed."""

    def __init__(self, seed, rows=24):
        self.random, self.rows = random.Random(seed), rows
        self.tables = []
        kinds = ["number", "number", "hashed", "word", "pair"] + self.random.sample(
            ["uuid", "day", "matrix", "code", "hashed", "ranged"], 3)
        for at, kind in enumerate(kinds):
            self.add_sharded(f"s{at}_{kind}", kind, parted=at in (1, 6))
        for name, kind in (("r0", "reference"), ("r1", "reference"), ("h0", "home"), ("h1", "home")):
            self.tables.append(Table(name, kind, [("rid", "bigint"), ("x", "int"), *self.some_columns(3)]))
        for table in self.tables:
            self.fill(table)
        self.views = list(self.make_views())

    def some_columns(self, count):
        names = ["c", "d", '"E e"', '"order"', '"a""b"', "é", "n", "p"]
        types = ["text", "int", *self.random.sample(list(COLUMN_TYPES), count)]
        self.random.shuffle(types)
        return list(zip(names, types[:max(count, 2)]))

    def add_sharded(self, name, kind, parted):
        types, function = KEYS[kind]
        key = [("k", each) if at == 0 else (f"k{at + 1}", each) for at, each in enumerate(types)]
        columns = [*key, ("rid", "bigint"), ("x", "int"), *self.some_columns(self.random.randrange(2, 6))]
        self.tables.append(Table(name, "sharded", columns, [name for name, _ in key], function, parted=parted))

    def fill(self, table):
        count = self.random.choice([self.rows, self.rows, self.rows // 2, self.rows + 5])
        if table.name == "h1":
            count = 0  # one table without rows
        for rid in range(1, count + 1):
            row = []
            for name, declared in table.columns:
                nulls = 0 if name in (*table.key, "rid") else 0.12
                if name == "rid":
                    row.append(str(rid))
                elif name in table.key and self.random.random() < table.skew:
                    row.append({"text": "a", "uuid": "00000001-0000-4000-8000-000000000001", "date": "2024-01-01"}.get(
                        COLUMN_TYPES[declared], "2"))
                else:
                    row.append(value(self.random, COLUMN_TYPES[declared], nulls))
            table.rows.append(self.narrowed(table, row))
        for row in self.random.sample(table.rows, len(table.rows) // 6):  # the same again under another rid
            rid = str(len(table.rows) + 1)
            table.rows.append([rid if name == "rid" else each for each, (name, _) in zip(row, table.columns)])

    @staticmethod
    def narrowed(table, row):
        """What does not fit a narrow type is cut."""
        return [each[:5] if each and declared == "char(5)" else each for each, (_, declared) in zip(row, table.columns)]

    def make_views(self):
        one, two, three = self.random.sample([table for table in self.tables if table.kind == "sharded"], 3)
        plain = Table("v_plain", "view", list(one.columns), one.key, text=f"CREATE VIEW v_plain AS SELECT * FROM {one.name};")
        plain.of = one
        yield plain
        columns = [("rid", "bigint"), ("x", "int"), ("y", "int")]
        yield Table("v_join", "view", columns, text=f"CREATE VIEW v_join AS SELECT a.rid * 1000 + b.rid AS rid, a.x, b.x AS y "
                    f"FROM {two.name} a LEFT JOIN {three.name} b ON a.x = b.x;")
        yield Table("v_group", "view", [("rid", "int"), ("n", "bigint"), ("m", "int")],
                    text=f"CREATE VIEW v_group AS SELECT x AS rid, count(*) AS n, max(rid)::int AS m FROM {three.name} GROUP BY x;")
        yield Table("v_over", "view", columns[:2], text="CREATE VIEW v_over AS SELECT rid, x FROM v_join WHERE y IS NOT NULL "
                    "UNION ALL SELECT rid, x FROM h0;")

    def ddl(self):
        return TYPES + "\n".join(table.ddl() for table in [*self.tables, *self.views])

    def yaml(self, shards):
        return "".join(table.yaml(shards) for table in self.tables)
