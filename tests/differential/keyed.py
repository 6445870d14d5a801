"""Sharded tables whose rows are tied by their keys: by themselves, joined, in subqueries, WITH and views; and their WHERE."""
from expressions import COMMON, TYPES
from schema import COLUMN_TYPES
from sources import Item
from tree import NOTHING, Node, clause, listed

GAPS = [" "] * 10 + ["\n", "  ", " /* from */ ", " -- order by 1 limit 2\n", " /* a /* ' */ ; */ ", "\t"]
SORTABLE = {*TYPES, "ctext", "svtext", "decimal", "timestamp", "time", "int4range", "inet", "duo", "bits"}


class Keyed:
    """Sources in FROM whose rows have a key. keys: the texts of its columns."""

    def __init__(self, tree, items, keys, table):
        self.tree, self.items, self.keys, self.table = tree, items, keys, table


class KeyedSources:
    """Mixed into the generator of statements."""

    def gap(self):
        return self.random.choice(GAPS)

    # ---- FROM ----

    def odd_alias(self):
        plain = self.alias()
        return plain if self.chance(0.8) else self.pick(f'"T {plain}"', f'"from{plain}"', f"é{plain}", f'"{plain}""x"')

    def sharded_table(self):
        return self.random.choice([table for table in self.schema.tables if table.kind == "sharded"])

    def colocated(self, table):
        """Itself or another whose equal keys are on the same shard."""
        kind = "_" + table.name.split("_", 1)[1]
        return self.random.choice([each for each in self.schema.tables if each.name.endswith(kind)])

    def base(self, table, is_bare=False):
        """is_bare: columns without the alias."""
        self.sharded += table.kind != "reference"
        alias = self.odd_alias()
        if table.parted:
            self.note("partitioned table")
        columns = [(name if is_bare else f"{alias}.{name}", COLUMN_TYPES[declared]) for name, declared in table.columns]
        keys = [f"{alias}.{name}" for name in table.key]
        name = self.pick("", "", "", "public.") + table.name
        return Keyed(Node("source", [f"{name}{self.pick(' ', ' AS ', ' as ')}{alias}"]),
                     [Item(alias, columns, [f"{alias}.rid"], table)], keys, table.of)

    def same_keys(self, left, right):
        pairs = [f"{a} = {b}" if self.chance(0.7) else f"{b} = {a}" for a, b in zip(left.keys, right.keys)]
        return Node("expr:boolean", [" AND ".join(pairs)])

    def keyed_from(self):
        """(FROM, WHERE: trees; items, keys)"""
        table = self.sharded_table()
        form = self.random.random()
        if form < 0.45:
            self.note("one table")
            found = self.base(table, is_bare=self.chance(0.3))
        elif form < 0.62:
            found = self.derived_keyed(table)
        else:
            return self.joined(self.base(table) if self.chance(0.8) else self.derived_keyed(table))
        if self.chance(0.15) and "." in found.items[0].columns[0].text:
            found = self.with_reference(found)
        return self.whole_from(found, [])

    def whole_from(self, found, conditions):
        where = self.scattered_where(found, conditions)
        return Node("from", [self.gap(), self.word("FROM"), self.gap(), found.tree]), where, found.items, found.keys

    def word(self, word):
        return word if self.chance(0.8) else word.lower()

    def joined(self, left):
        self.note("joined by key")
        conditions = []
        for _ in range(self.pick(1, 1, 1, 2)):
            right = self.base(self.colocated(left.table)) if self.chance(0.8) else self.derived_keyed(self.colocated(left.table))
            left = self.join_by_key(left, right, conditions)
        if self.chance(0.15):
            left = self.with_reference(left)
        return self.whole_from(left, conditions)

    def join_by_key(self, left, right, conditions):
        items = [*left.items, *right.items]
        kind = self.pick("JOIN", "INNER JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT OUTER JOIN", "FULL JOIN", ",",
                         "LATERAL")
        keys = right.keys if kind == "RIGHT JOIN" else left.keys
        if kind == ",":
            conditions.append(self.same_keys(left, right))
            return Keyed(Node("join", [left.tree, ", ", right.tree]), items, keys, left.table)
        if kind == "LATERAL" or self.chance(0.05):
            return self.lateral_by_key(left)
        on = self.same_keys(left, right)
        if self.chance(0.2):
            on = Node("conjunct", [on, " AND ", self.condition([items], 1)])
        elif self.chance(0.15) and len(left.items) == 1 and left.items[0].table and right.items[0].table:
            self.has_using = True
            return Keyed(Node("join", [left.tree, f" {kind} ", right.tree, f" USING ({', '.join(left.table.key)})"]), items, keys,
                         left.table)
        return Keyed(Node("join", [left.tree, f" {kind} ", right.tree, self.gap(), "ON ", on]), items, keys, left.table)

    def lateral_by_key(self, left):
        self.note("lateral by key")
        inner, alias = self.base(self.colocated(left.table)), self.odd_alias()
        column = self.random.choice(inner.items[0].columns)
        query = Node("query", [f"SELECT {column.text}, ", inner.items[0].alias, ".rid FROM ", inner.tree, " WHERE ",
                               self.same_keys(left, inner), f" ORDER BY {inner.items[0].alias}.rid DESC",
                               self.pick("", " LIMIT 2")])
        item = Item(alias, [(f"{alias}.c1", column.kind), (f"{alias}.c2", "bigint")], [f"{alias}.c2"])
        return Keyed(Node("join", [left.tree, self.pick(" JOIN LATERAL (", " LEFT JOIN LATERAL ("), query,
                                   f") AS {alias}(c1, c2) ON true"]), [*left.items, item], left.keys, left.table)

    def with_reference(self, left):
        self.note("reference table")
        table = self.random.choice([each for each in self.schema.tables if each.kind == "reference"])
        right = self.base(table)
        items = [*left.items, *right.items]
        on = self.equality(left.items, right.items[0])
        return Keyed(Node("join", [left.tree, self.pick(" JOIN ", " LEFT JOIN "), right.tree, " ON ", on]), items, left.keys,
                     left.table)

    def derived_keyed(self, table):
        """A subquery or WITH query that gives the key first; or a view of a table."""
        view = next(each for each in self.schema.views if each.of != each)
        if self.colocated(view.of).key == table.key and view.of.name.split("_", 1)[1] == table.name.split("_", 1)[1]:
            self.note("view")
            return self.base(view)
        self.note("keyed subquery")
        query, kinds = self.key_query(table)
        alias = self.odd_alias()
        names = [f"c{at + 1}" for at in range(len(kinds))]
        columns = [(f"{alias}.{name}", kind) for name, kind in zip(names, kinds)]
        for kind in kinds:
            self.loosen(kind)
        item = Item(alias, columns, [text for text, kind in columns if kind in SORTABLE])
        keys = [text for text, _ in columns[:len(table.key)]]
        if self.chance(0.35):
            self.note("keyed with")
            name = self.alias("w")
            how = self.pick("", "", "MATERIALIZED ", "NOT MATERIALIZED ")
            self.with_list.append(Node("with", [f"{name}({', '.join(names)}) AS {how}(", query, ")"]))
            tree = Node("source", [f"{name} AS {alias}"])
        else:
            tree = Node("source", ["(", query, f") AS {alias}({', '.join(names)})"])
        return Keyed(tree, [item], keys, table)

    def key_query(self, table):
        """(tree, kinds): the key's columns, then others."""
        inner = self.base(table)
        form, conditions = self.random.random(), []
        if form < 0.2:
            inner = self.join_by_key(inner, self.base(self.colocated(table)), conditions)
        keys, kinds = list(inner.keys), [COLUMN_TYPES[dict(table.columns)[name]] for name in table.key]
        where = self.scattered_where(inner, conditions)
        head, tail = "SELECT ", NOTHING
        if form > 0.75:
            made = [self.summed(inner.items) for _ in range(self.pick(1, 2))]
            tail = Node("group", [" GROUP BY ", ", ".join(keys)])
            if self.chance(0.2):
                tail = Node("group", [tail, " HAVING count(*) > 1"])
        elif form > 0.65:
            call = self.pick("row_number()", "count(*)", "rank()")
            order = f" ORDER BY {inner.items[0].alias}.rid"
            made = [("bigint", Node("window", [f"{call} OVER (PARTITION BY {', '.join(keys)}{order})"]))]
        else:
            chosen = self.pick_columns(inner.items, self.random.randrange(1, 4))
            made = [(column.kind, column.text) for column in chosen]
            if self.chance(0.4):
                kind = self.random.choice(COMMON)
                made.append((kind, self.expression(kind, [inner.items], 1)))
            head = "SELECT DISTINCT " if form < 0.28 and all(kind in SORTABLE for kind, _ in made) else head
        tree = Node("query", [head, listed([*keys, *[each for _, each in made]], least=len(keys) + len(made)), " FROM ", inner.tree,
                              where, tail])
        return tree, [*kinds, *[kind for kind, _ in made]]

    # ---- WHERE ----

    def scattered_where(self, found, parts):
        """parts: conditions that it has in any case."""
        items, keys, table = found.items, found.keys, found.table
        for _ in range(self.pick(0, 0, 1, 1, 2)):
            parts.append(self.condition([items], 2))
        if self.chance(0.15):
            parts.append(self.key_list(keys, table))
        if self.chance(0.12):
            parts.append(self.correlated(keys, table, items))
        if self.point:
            parts += self.bind_keys(items)
        if not parts:
            return NOTHING
        return clause(self.gap(), self.word("WHERE"), self.gap(),
                      listed([Node("conjunct", ["(", part, ")"]) for part in parts], " AND "))

    def key_list(self, keys, table):
        self.note("list of keys")
        kinds = [COLUMN_TYPES[dict(table.columns)[name]] for name in table.key]
        values = [[self.constant(kind, is_open=self.chance(0.5)) for kind in kinds] for _ in range(self.pick(1, 2, 2, 3, 5))]
        if len(keys) == 1 and kinds[0] in ("int", "text") and self.chance(0.3):
            return Node("expr:boolean", [keys[0], " = ANY (", self.constant(kinds[0] + "[]"), ")"])
        if len(keys) == 1:
            first = listed([row[0] for row in values])
            return Node("expr:boolean", [keys[0], self.pick(" IN (", " IN (", " NOT IN ("), first, ")"])
        rows = [Node("row", ["(", listed(row, least=len(row)), ")"]) for row in values]
        return Node("expr:boolean", [f"({', '.join(keys)}) IN (", listed(rows), ")"])

    def correlated(self, keys, table, items):
        self.note("correlated by key")
        inner = self.base(self.colocated(table))
        tied = Node("clause", [" WHERE ", self.same_keys(Keyed(None, None, keys, None), inner)])
        if self.chance(0.5):
            tied = Node("clause", [tied, " AND ", self.condition([inner.items, items], 1)])
        form = self.random.random()
        if form < 0.4:
            return Node("expr:boolean", [self.pick("EXISTS (", "NOT EXISTS ("), "SELECT FROM ", inner.tree, tied, ")"])
        left = self.random.choice([column for column in items[0].columns if column.kind == "int"] or [None])
        if form < 0.7 or left is None:
            return Node("expr:boolean", ["(SELECT count(*) FROM ", inner.tree, tied, self.pick(") > 1", ") = 0", ") < 4")])
        return Node("expr:boolean", [left.text, self.pick(" IN (", " NOT IN (", " >= ALL (", " = ANY ("),
                                     f"SELECT {inner.items[0].alias}.x FROM ", inner.tree, tied, ")"])
