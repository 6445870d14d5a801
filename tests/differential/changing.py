"""Random schemas for transactions that write: tables with keys, defaults, checks and references, all without rows."""
import random

from schema import COLUMN_TYPES, KEYS, TYPES, Table

EXTRA = ["text", "varchar(20)", "char(5)", "int", "smallint", "bigint", "numeric(12,2)", "boolean", "date", "timestamptz", "uuid",
         "bytea", "mood", "amount", "label", "int[]", "text[]", "duo", "interval", "double precision"]
DEFAULTS = {"int": "7", "text": "'new'", "boolean": "true", "date": "'2024-01-01'", "numeric": "1.50", "mood": "'ok'"}
REFERENCES = ["", "", "ON DELETE CASCADE", "DEFERRABLE INITIALLY DEFERRED", "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
              None, None]
LARGEST = 90  # of v, whose CHECK says so


class Written(Table):
    """unique: the columns of its primary key, or none; computed: of a generated column, or none."""

    def __init__(self, name, kind, columns, key=(), function=None, unique=(), parent=None, computed=False, parted=False):
        super().__init__(name, kind, columns, key, function, parted=parted)
        self.unique, self.parent, self.computed, self.defaults = list(unique), parent, computed, {}

    def choose_defaults(self, rng):
        for name, declared in self.columns:
            if name not in (*self.key, *self.unique) and COLUMN_TYPES[declared] in DEFAULTS and rng.random() < 0.4:
                self.defaults[name] = DEFAULTS[COLUMN_TYPES[declared]]

    def ddl(self):
        lines = []
        for name, declared in self.columns:
            line = f"{name} {declared}{' NOT NULL' if name in self.key else ''}"
            line += f" DEFAULT {self.defaults[name]}" if name in self.defaults else ""
            lines.append(line + (f" CHECK (v < {LARGEST})" if name == "v" else ""))
        if self.computed:
            lines.append("twice int GENERATED ALWAYS AS (v * 2) STORED")
        if self.unique:
            lines.append(f"PRIMARY KEY ({', '.join(self.unique)})")
        if self.parent:
            table, how = self.parent
            names = ", ".join(self.key)
            lines.append(f"FOREIGN KEY ({names}) REFERENCES {table.name} ({', '.join(table.key)}) {how}")
        made = f"CREATE TABLE {self.name} ({', '.join(lines)})"
        if not self.parted:
            return made + ";"
        return f"{made} PARTITION BY RANGE (n);\n" \
               f"CREATE TABLE {self.name}_low PARTITION OF {self.name} FOR VALUES FROM (MINVALUE) TO (2);\n" \
               f"CREATE TABLE {self.name}_high PARTITION OF {self.name} DEFAULT;"

    def names(self):
        """Its columns that are stored as they are told."""
        return [name for name, _ in self.columns]


class ChangingSchema:
    """Everything follows from the seed. Three tables of a kind of key share shards: of one row for each key, of several,
    and without anything that is unique."""

    def __init__(self, seed):
        self.random, self.tables = random.Random(seed), []
        for kind in ["number", "hashed", "word", "pair", self.random.choice(["uuid", "day", "matrix", "code", "ranged"])]:
            self.add_group(kind)
        self.add("r0", "reference", [("id", "int")], unique=["id"])
        self.add("r1", "reference", [("id", "text")], unique=["id"])
        self.add("h0", "home", [("id", "int")], unique=["id"])
        for table in self.tables:
            table.choose_defaults(self.random)
        self.view = Written("v0", "view", self.tables[0].columns, self.tables[0].key, unique=self.tables[0].unique)
        self.view.of = self.tables[0]

    def add_group(self, kind):
        types, function = KEYS[kind]
        key = [("k", each) if at == 0 else (f"k{at + 1}", each) for at, each in enumerate(types)]
        names = [name for name, _ in key]
        one = self.add(f"a_{kind}", "sharded", key, names, function, unique=names)
        how = self.random.choice(REFERENCES)
        self.add(f"b_{kind}", "sharded", [*key, ("n", "int")], names, function, unique=[*names, "n"],
                 parent=(one, how) if how is not None else None)
        if kind in ("number", "pair") or self.random.random() < 0.5:
            self.add(f"c_{kind}", "sharded", [*key, ("n", "int")], names, function, parted=kind == "number")

    def add(self, name, kind, first, key=(), function=None, unique=(), parent=None, parted=False):
        more = self.random.sample(EXTRA, self.random.randrange(0, 3))
        columns = [("v", "int"), ("t", "text"), *zip(["c", '"E e"'], more)]
        self.random.shuffle(columns)
        self.tables.append(Written(name, kind, [*first, *columns], key, function, unique, parent,
                                   not parted and self.random.random() < 0.2, parted))
        return self.tables[-1]

    def ddl(self):
        names = ", ".join(self.view.names())
        return TYPES + "\n".join(table.ddl() for table in self.tables) + \
            f"\nCREATE VIEW v0 AS SELECT {names} FROM {self.view.of.name};"

    def yaml(self, shards):
        return "".join(table.yaml(shards) for table in self.tables)

    def colocated(self, table):
        """The tables whose equal keys share shards with those of this one, itself too."""
        kind = table.of.name.partition("_")[2]
        return [each for each in self.tables if each.kind == "sharded" and each.name.partition("_")[2] == kind]
