"""Random statements that write, and SELECTs between them, each with one answer: nothing in them depends on the order of rows."""
import schema
from changing import LARGEST
from schema import COLUMN_TYPES
from tree import NOTHING, Constant, Node, clause, listed, quote, stretched

KEY_VALUES = {"int": [str(n) for n in range(-2, 12)], "bigint": [str(n) for n in range(-2, 12)] + ["5000000000"],
              "text": ["a", "b", "B", "é", "", "a ", "x'y", "日本", "co-op", "c", "d"],
              "uuid": [f"0000000{n % 4}-0000-4000-8000-00000000000{n}" for n in range(8)],
              "date": [f"2024-01-{n:02}" for n in range(1, 10)]}
WRONG = {"int": ["'x1'", "'1.5'", "99999999999"], "boolean": ["'maybe'"], "date": ["'2024-02-30'"], "uuid": ["'zz'"],
         "mood": ["'glad'"], "numeric": ["'one'", "12345678901234.5"], "bigint": ["'x'", "1e30"], "int[]": ["'{a}'"]}


class Statement:
    """classes: names under which it is counted; order: "all" where its rows come in one order."""

    def __init__(self, tree, classes, order=None):
        self.tree, self.classes, self.order = tree, classes, order

    def text(self, parameters=None):
        return stretched(self.tree.text(parameters))


class Writes:
    """All from one random.Random."""

    def __init__(self, made, rng):
        self.schema, self.random, self.classes = made, rng, set()
        self.sharded = [table for table in made.tables if table.kind == "sharded"]

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def note(self, name):
        self.classes.add(name)

    def statement(self):
        self.classes = set()
        kinds = {self.insert: 34, self.update: 22, self.delete: 12, self.insert_select: 9, self.insert_moved: 7,
                 self.select: 20, self.with_write: 3}
        tree, order = self.random.choices(list(kinds), list(kinds.values()))[0]()
        return Statement(tree, sorted(self.classes), order)

    # ---- what is written to, and values ----

    def table(self):
        """Sharded ones mostly."""
        if self.chance(0.76):
            self.note("sharded")
            return self.random.choice(self.sharded)
        if self.chance(0.12):
            self.note("view")
            return self.schema.view
        found = self.random.choice([table for table in self.schema.tables if table.kind != "sharded"])
        self.note(found.kind)
        return found

    def constant(self, declared, value, is_open=True):
        """A value as a literal, or a parameter whose type is what stands beside it."""
        kind = COLUMN_TYPES[declared]
        bare = "NULL" if value is None else value if kind in ("int", "bigint") and value.isdigit() else quote(value)
        return Constant(f"expr:{kind}", declared, value, bare if is_open else f"{bare}::{declared}", is_open)

    def key_value(self, declared):
        return self.random.choice(KEY_VALUES.get(COLUMN_TYPES[declared], KEY_VALUES["text"]))

    def key_constant(self, declared):
        return self.constant(declared, self.key_value(declared), self.chance(0.8))

    def value(self, table, name, declared):
        """What a row of INSERT has for a column."""
        if name in table.key or name == "id":
            return self.odd_key(declared) if self.chance(0.02) else self.key_constant(declared)
        if name == "n":
            return self.constant(declared, str(self.random.randrange(4)))
        if name == "v":
            return self.number()
        if self.chance(0.015) and COLUMN_TYPES[declared] in WRONG:
            self.note("wrong value")
            return Node("expr:wrong", [self.random.choice(WRONG[COLUMN_TYPES[declared]])])
        if self.chance(0.07):
            return Node("expr:default", ["DEFAULT"])
        found = schema.value(self.random, COLUMN_TYPES[declared])
        return self.constant(declared, found[:5] if found and declared == "char(5)" and self.chance(0.9) else found)

    def odd_key(self, declared):
        self.note("key of NULL")
        return self.pick(Node("expr:null", ["NULL"]), self.constant(declared, None), Node("expr:default", ["DEFAULT"]))

    def number(self):
        """For v: seldom one that its CHECK does not let in."""
        pick = self.random.random()
        if pick < 0.025:
            self.note("check")
            return self.constant("int", str(LARGEST + self.random.randrange(9)))
        if pick < 0.75:
            return self.constant("int", self.pick(None, *[str(n) for n in range(9)]))
        if pick < 0.83:
            return Node("expr:default", ["DEFAULT"])
        return Node("expr:int", [self.pick("1 + 2", "length('),(')", "(SELECT max(v) FROM r0)", "(SELECT count(*)::int FROM r1)",
                                           "greatest(1, 2)", "CASE WHEN true THEN 3 END", "abs(-4)", "-1", "8 / 2")])

    # ---- INSERT ----

    def insert(self):
        self.note("INSERT")
        table = self.table()
        columns = list(table.columns)
        if self.chance(0.35):
            needed = {*table.key, *table.unique}
            columns = [each for each in columns if each[0] in needed or self.chance(0.6)]
            self.random.shuffle(columns)
        names = "" if columns == table.columns and not table.computed and self.chance(0.6) else \
            f" ({', '.join(name for name, _ in columns)})"
        count = self.pick(1, 1, 1, 2, 2, 3, 4, 6, 6, self.pick(10, 25))
        self.note("one row" if count == 1 else "several rows")
        rows = [Node("row", ["(", listed([self.value(table, *column) for column in columns], least=len(columns)), ")"])
                for _ in range(count)]
        if count > 1 and self.chance(0.05):
            rows.append(rows[0])
        conflict, returning = self.conflict(table, columns), self.returning(table)
        alias = " AS t" if conflict is not NOTHING or self.chance(0.1) else ""
        said = conflict.text()
        order = None if "NOTHING" in said or "WHERE" in said else "all"  # of rows that are left out nobody knows which
        return Node("insert", [f"INSERT INTO {table.name}{alias}{names} VALUES ", listed(rows), conflict, returning]), order

    def conflict(self, table, columns):
        if not table.unique or not self.chance(0.45):
            return NOTHING
        self.note("ON CONFLICT")
        target = f" ({', '.join(table.unique)})"
        if self.chance(0.4):
            return clause(" ON CONFLICT", target if self.chance(0.5) else "", " DO NOTHING")
        changed = self.pick("v = excluded.v", "v = t.v + 1", "v = coalesce(t.v, 0) + coalesce(excluded.v, 0), t = excluded.t",
                            "t = t.t || '+'", "(v, t) = (excluded.v, 'both')", "v = DEFAULT", "v = (SELECT max(v) FROM r0)")
        where = self.pick("", "", " WHERE t.v > 2", " WHERE t.v IS DISTINCT FROM excluded.v")
        return clause(" ON CONFLICT", target, f" DO UPDATE SET {changed}{where}")

    def returning(self, table, alias=None):
        if not self.chance(0.5):
            return NOTHING
        self.note("RETURNING")
        prefix = f"{alias}." if alias else ""
        names = [prefix + name for name in table.names()]
        some = ", ".join(self.random.sample(names, self.random.randrange(1, len(names) + 1)))
        computed = f"{names[0]}, {prefix}v * 2 AS double, upper({prefix}t)"
        return clause(" RETURNING ", self.pick(f"{prefix}*", some, computed, f"{prefix}v"))

    def insert_select(self):
        self.note("INSERT … SELECT")
        table = self.table()
        if table.kind in ("reference", "home"):
            return self.insert_from_reference(table)
        target = table.of
        source = self.random.choice(self.schema.colocated(target)) if self.chance(0.85) else self.random.choice(self.sharded)
        keys = source.key if len(source.key) == len(target.key) else [*source.key, "t"][:len(target.key)]
        columns, chosen = list(target.key), [f"s.{name}" for name in keys]
        if any(name == "n" for name, _ in target.columns):
            columns.append("n")
            chosen.append(str(self.random.randrange(4)))
        columns.append("v")
        chosen.append(self.pick("5", "NULL", "(SELECT count(*)::int FROM r0)"))
        rows = f"SELECT DISTINCT {', '.join(chosen)} FROM {source.name} s" if self.chance(0.4) else \
            f"SELECT {', '.join(chosen)} FROM {source.name} s"
        where = clause(" WHERE ", self.condition(source, "s")) if self.chance(0.6) else NOTHING
        conflict = clause(" ON CONFLICT DO NOTHING") if target.unique and self.chance(0.7) else NOTHING
        returning = self.returning(target)
        return Node("insert", [f"INSERT INTO {target.name} ({', '.join(columns)}) ", rows, where, conflict, returning]), None

    def insert_from_reference(self, table):
        other = self.pick("r0", "r1", "h0") if table.kind == "home" else self.pick("r0", "r1")
        chosen = {("int", "text"): "length(s.id)", ("text", "int"): "s.id::text || 'x'"}.get(
            (dict(table.columns)["id"], "text" if other == "r1" else "int"), "s.id")
        chosen += " + 20" if chosen.endswith("id") and other != "r1" else ""
        conflict = clause(" ON CONFLICT DO NOTHING") if self.chance(0.5) and "length" not in chosen else NOTHING
        return Node("insert", [f"INSERT INTO {table.name} (id, v) SELECT {chosen}, s.v FROM {other} s",
                               clause(f" WHERE s.v < {self.random.randrange(1, 6)}"), conflict, self.returning(table)]), None

    # What a key may be made of: of v, which may be NULL, of t, which may be, too. One that no row has is a literal.
    MADE = {"int": ["coalesce(s.v, 0) + 3", "coalesce(length(s.t), 9)", "s.v"], "bigint": ["coalesce(s.v, 0) + 3", "s.v * 2.4"],
            "smallint": ["coalesce(s.v, 0)", "coalesce(s.v, 1) * 4000"], "numeric": ["coalesce(s.v, 0) + 0.5"],
            "text": ["coalesce(s.t, 'z') || '_'", "'k' || coalesce(s.v, 0)", "coalesce(s.v, 5)"],
            "uuid": ["md5(coalesce(s.t, ''))::uuid"], "date": ["date '2024-01-01' + coalesce(s.v, 0)"]}

    def insert_moved(self):
        """Of rows that belong elsewhere: read, then given to their shards."""
        self.note("INSERT … SELECT, elsewhere")
        target = self.random.choice([each for each in self.schema.tables if each is not self.schema.view])
        source = self.random.choice(self.sharded if self.chance(0.8) else self.schema.tables)
        kinds = dict(target.columns)
        columns = [*(target.key or ["id"]), *(["n"] if "n" in kinds and "n" not in target.key else [])]
        made = [self.pick(*self.MADE.get(COLUMN_TYPES[kinds[name]], [])) if COLUMN_TYPES[kinds[name]] in self.MADE and
                self.chance(0.9) else self.key_constant(kinds[name]) for name in columns]
        where = clause(" WHERE ", self.condition(source, "s")) if source.kind == "sharded" and self.chance(0.5) else NOTHING
        if self.chance(0.3):
            rows = ["SELECT DISTINCT ", listed(made, least=len(made)), f" FROM {source.name} s", where]
        elif self.chance(0.3):
            rows = ["SELECT ", listed(made, least=len(made)), ", count(*), max(s.t)", f" FROM {source.name} s", where,
                    " GROUP BY s.v, s.t"]
            columns += ["v", "t"]
        elif self.chance(0.3):
            rows = ["SELECT ", listed(made, least=len(made)), ", o.v", f" FROM {source.name} s JOIN r0 o ON o.id = s.v", where]
            columns.append("v")
        elif self.chance(0.5):
            rows = ["SELECT ", listed(made, least=len(made)), ", s.v, s.t", f" FROM {source.name} s", where,
                    f" ORDER BY {', '.join(str(at + 1) for at in range(len(made) + 2))} LIMIT {self.pick(1, 2, 5)}"]
            columns += ["v", "t"]
        else:
            rows = ["SELECT ", listed(made, least=len(made)), ", s.v, 'new'", f" FROM {source.name} s", where]
            columns += ["v", "t"]
        conflict = self.conflict(target, columns) if self.chance(0.4) else NOTHING
        if "DO NOTHING" in conflict.text() and (rows[0] != "SELECT DISTINCT " or len(columns) > len(target.key)):
            conflict = NOTHING  # of rows that conflict with each other any may come first
        alias = " AS t" if conflict is not NOTHING else ""
        return Node("insert", [f"INSERT INTO {target.name}{alias} ({', '.join(columns)}) ", *rows, conflict,
                               self.returning(target)]), None

    # ---- WHERE ----

    def with_key(self, table, alias):
        """Its whole key, which is on one shard, or the id of a table that is not sharded."""
        names, kinds = table.key or ["id"], dict(table.columns)
        return Node("expr:boolean", [part for at, name in enumerate(names) for part in
                                     ([" AND "] if at else []) + [f"{alias}.{name} = ", self.key_constant(kinds[name])]])

    def some_keys(self, table, alias):
        name = (table.key or ["id"])[0]
        kind = dict(table.columns)[name]
        if len(table.key) > 1:
            return Node("expr:boolean", ["(", self.with_key(table, alias), " OR ", self.with_key(table, alias), ")"])
        keys = listed([self.key_constant(kind) for _ in range(self.pick(1, 2, 3, 5))])
        return Node("expr:boolean", [f"{alias}.{name} IN (", keys, ")"])

    @staticmethod
    def keys_of(table, alias):
        return ", ".join(f"{alias}.{name}" for name in table.key)

    @staticmethod
    def tied(alias, other, table):
        return " AND ".join(f"{other}.{name} = {alias}.{name}" for name in table.key)

    def condition(self, table, alias):
        pick = self.random.random()
        if pick < 0.3:
            return self.with_key(table, alias)
        if pick < 0.45:
            return self.some_keys(table, alias)
        if pick < 0.75 or not table.key:
            value = self.constant("int", str(self.random.randrange(8)))
            text = self.pick("v > ", "v < ", "v = ", "v <> ", "v % 3 = ", "length(t) < ", "v IS DISTINCT FROM ",
                             "v IN (SELECT v FROM r0) OR length(t) = ")
            text = text.replace("v ", f"{alias}.v ", 1).replace("(t)", f"({alias}.t)")
            return Node("expr:boolean", ["(", text, value, ")"])
        self.note("subquery")
        other = self.random.choice(self.schema.colocated(table))
        tied = self.tied(alias, "i", table)
        return Node("expr:boolean", [self.pick(
            f"EXISTS (SELECT 1 FROM {other.name} i WHERE {tied} AND i.v > 2)",
            f"NOT EXISTS (SELECT 1 FROM {other.name} i WHERE {tied})",
            f"({self.keys_of(table, alias)}) IN (SELECT {', '.join(table.key)} FROM {other.name} WHERE v < 5)",
            f"{alias}.v < (SELECT max(i.v) FROM {other.name} i WHERE {tied})",
            f"{alias}.v IN (SELECT id FROM r0)", f"EXISTS (SELECT 1 FROM r0 WHERE r0.id = {alias}.v)",
            f"{alias}.v = (SELECT max(v) FROM r0)", f"{alias}.v >= (SELECT avg(v) FROM {other.name})")])

    def where(self, table, alias, share=0.85):
        if not self.chance(share):
            return NOTHING
        parts = [self.condition(table, alias) for _ in range(self.pick(1, 1, 1, 2))]
        return clause(" WHERE ", listed(parts, self.pick(" AND ", " AND ", " OR ")))

    # ---- UPDATE, DELETE ----

    def update(self):
        self.note("UPDATE")
        table = self.table()
        if self.chance(0.2):
            return self.update_from(table), None
        sets = [self.assignment(table)]
        if self.chance(0.3):
            further = self.assignment(table)
            sets += [further] if not {sets[0].text().split()[0], "(v,"} & {further.text().split()[0]} \
                and "(v," not in sets[0].text() else []
        return Node("update", [f"UPDATE {table.name} AS u SET ", listed(sets), self.where(table, "u"),
                               self.returning(table, "u")]), None

    def assignment(self, table):
        kinds = dict(table.columns)
        pick = self.random.random()
        if pick < 0.04 and table.key:
            self.note("SET key")
            name = self.random.choice(table.key)
            return Node("set", [f"{name} = ", self.pick(f"u.{name}", self.key_constant(kinds[name]))])
        if pick < 0.1 and "n" in kinds:
            return Node("set", ["n = ", self.constant("int", str(self.random.randrange(4)))])
        if pick < 0.3:
            return Node("set", ["v = ", self.number()])
        if pick < 0.5:
            return Node("set", [self.pick("v = u.v + 1", "v = coalesce(u.v, 0) * 2", "v = 10 - u.v", "v = length(u.t)",
                                          "v = 12 / u.v")])
        if pick < 0.62 and table.key:
            self.note("subquery")
            other, tied = self.random.choice(self.schema.colocated(table)), self.tied("u", "i", table)
            return Node("set", [self.pick(f"v = (SELECT max(i.v) FROM {other.name} i WHERE {tied})",
                                          f"v = (SELECT count(*)::int FROM {other.name} i WHERE {tied})",
                                          f"(v, t) = (SELECT min(i.v), max(i.t COLLATE \"C\") FROM {other.name} i WHERE {tied})",
                                          "v = (SELECT r0.v FROM r0 WHERE r0.id = u.v)",
                                          f"v = (SELECT count(*)::int FROM {other.name})")])
        name, declared = self.random.choice([each for each in table.columns if each[0] not in (*table.key, *table.unique, "id")])
        if name == "t" and self.chance(0.4):
            return Node("set", [self.pick("t = u.t || '!'", "t = upper(u.t)", "t = u.v::text", "t = DEFAULT", "t = left(u.t, 3)")])
        return Node("set", [f"{name} = ", self.value(table, name, declared)])

    def update_from(self, table):
        """Of each row of the target at most one row of the other stands beside it."""
        self.note("FROM")
        if table.key and self.chance(0.6):
            other = next(each for each in self.schema.colocated(table) if each.unique == each.key)
            joined = self.tied("u", "o", table)
        else:
            other, joined = next(each for each in self.schema.tables if each.name == "r0"), "o.id = u.v"
        changed = self.pick("v = o.v", "v = coalesce(u.v, 0) + coalesce(o.v, 0)", "t = o.t, v = 3", "t = u.t || coalesce(o.t, '')")
        more = Node("more", [" AND ", self.condition(table, "u")], optional=True) if self.chance(0.5) else NOTHING
        returning = self.pick("", " RETURNING u.*", " RETURNING u.v, o.t")
        return Node("update", [f"UPDATE {table.name} u SET {changed} FROM {other.name} o WHERE {joined}", more, clause(returning)])

    def delete(self):
        self.note("DELETE")
        table = self.table()
        if table.key and self.chance(0.2):
            self.note("USING")
            other = self.random.choice(self.schema.colocated(table))
            return Node("delete", [f"DELETE FROM {table.name} u USING {other.name} o WHERE {self.tied('u', 'o', table)} AND ",
                                   self.pick("o.v > 3", self.condition(table, "u")), self.returning(table, "u")]), None
        return Node("delete", [f"DELETE FROM {table.name} AS u", self.where(table, "u", 0.96), self.returning(table, "u")]), None

    def with_write(self):
        """WITH, before and around writes."""
        self.note("WITH")
        table = self.random.choice(self.sharded)
        keys, kinds = ", ".join(table.key), dict(table.columns)
        picked = listed([self.key_constant(kinds[name]) for name in table.key], least=len(table.key))
        form = self.random.randrange(4)
        if form == 0:
            return Node("with", [f"WITH w AS (SELECT {keys} FROM {table.name} WHERE v > 2) DELETE FROM {table.name} u USING w "
                                 f"WHERE {self.tied('u', 'w', table)} RETURNING u.*"]), None
        if form == 1:
            return Node("with", [f"WITH w AS (DELETE FROM {table.name} s WHERE ({self.keys_of(table, 's')}) = (", picked,
                                 ") RETURNING s.*) SELECT count(*), max(v) FROM w"]), "all"
        if form == 2:
            return Node("with", [f"WITH w AS (UPDATE {table.name} s SET v = 6 WHERE s.v = 2 RETURNING s.*) "
                                 f"SELECT {keys}, v FROM w"]), None
        return Node("with", [f"WITH w AS (SELECT max(v) AS m FROM r0) UPDATE {table.name} u SET v = w.m FROM w "
                             "WHERE u.v > 1"]), None

    # ---- SELECT ----

    def reads(self):
        """Some SELECTs, of which the coordinator answers one or two at least."""
        made = []
        for build in self.pick([self.select, self.pairs], [self.select, self.select, self.pairs],
                               [self.select, self.pairs, self.select, self.pairs]):
            self.classes = set()
            tree, order = build()
            made.append(Statement(tree, sorted(self.classes), order))
        return made

    def pairs(self):
        """Joined by no key."""
        self.note("coordinator")
        table, other = self.random.choice(self.sharded), self.random.choice(self.sharded)
        return Node("select", [f"SELECT count(*), sum(u.v), max(o.v) FROM {table.name} u "
                               f"{self.pick('JOIN', 'LEFT JOIN', 'FULL JOIN')} {other.name} o ON u.v = o.v",
                               self.where(table, "u", 0.4)]), "all"

    def select(self):
        self.note("SELECT")
        table = self.schema.view if self.chance(0.05) else self.random.choice(self.schema.tables)
        where = self.where(table, "u", 0.6)
        form = self.random.random()
        if form < 0.35:
            return Node("select", [f"SELECT * FROM {table.name} u", where]), None
        if form < 0.5:
            shown = [each for each in table.columns if each[0] in (*(table.key or ["id"]), "n", "v", "t")]
            order = ", ".join(f"u.{name}" + ' COLLATE "C"' * (COLUMN_TYPES[declared] == "text") for name, declared in shown)
            names = ", ".join(f"u.{name}" for name, _ in shown)
            return Node("select", [f"SELECT {names} FROM {table.name} u", where, f" ORDER BY {order}",
                                   clause(f" LIMIT {self.random.randrange(1, 9)}")]), "all"
        if form < 0.7:
            return Node("select", ["SELECT count(*), sum(v), min(v), max(v), count(DISTINCT t) FROM ", table.name, " u",
                                   where]), "all"
        if form < 0.8:
            return Node("select", [f"SELECT v, count(*), sum(length(t)) FROM {table.name} u", where, " GROUP BY v"]), None
        if form < 0.86 and table.key:
            return Node("select", [f"SELECT * FROM {table.name} u WHERE ", self.with_key(table, "u"),
                                   self.pick(" FOR UPDATE", " FOR SHARE", " FOR NO KEY UPDATE OF u")]), None
        if not table.key:
            other = self.random.choice(self.sharded)
            return Node("select", [f"SELECT u.v, (SELECT count(*) FROM {other.name}) FROM {table.name} u"]), None
        other = self.random.choice(self.schema.colocated(table))
        return Node("select", [f"SELECT u.v, o.t FROM {table.name} u {self.pick('JOIN', 'LEFT JOIN')} {other.name} o ON "
                               f"{self.tied('u', 'o', table)}", where]), None
