"""What stands in FROM and in subqueries: tables, views, joins of every kind, LATERAL, VALUES, set functions, WITH."""
from expressions import COMMON, TYPES
from schema import COLUMN_TYPES
from templates import SET_FUNCTIONS
from tree import NOTHING, Node, clause, listed


WIDER = {"int": "bigint", "bigint": "numeric", "numeric": "float8", "date": "timestamptz"}  # in a set operation


class Column:
    def __init__(self, text, kind):
        self.text, self.kind = text, kind


class Item:
    """Something in FROM. columns: (text, kind) pairs; order: texts that order its rows up to equal ones."""

    def __init__(self, alias, columns, order, table=None, is_grouped=False):
        self.alias, self.order, self.table, self.is_grouped = alias, order, table, is_grouped
        self.columns = [Column(text, kind) for text, kind in columns]

    def has(self, name):
        return any(column.text == f"{self.alias}.{name}" for column in self.columns)


def visible(scopes):
    """The scopes that a subquery may refer to: not the groups of a query, which are no columns below."""
    return [scope for scope in scopes if not any(item.is_grouped for item in scope)]


class Sources:
    """Mixed into the generator of statements."""

    # ---- subqueries in expressions ----

    def scalar_subquery(self, kind, scopes, depth):
        self.note("scalar subquery")
        self.wide -= 1
        outer = visible(scopes)
        tables, scope = self.from_clause(min(depth, 0), outer)
        inner = [scope, *outer]
        where = self.where(inner, 1)
        if kind in ("int[]", "text[]") and self.chance(0.7):
            element = self.expression(kind[:-2], inner, 1)
            return Node(f"expr:{kind}", ["ARRAY(SELECT ", element, tables, where, " ORDER BY 1)"])
        made, tree = self.aggregate([scope], 1, kind)  # of outer columns alone it would be the outer query's
        if made == kind:
            return Node(f"expr:{kind}", ["(", Node("query", ["SELECT ", tree, tables, where]), ")"])
        first = Node("query", ["SELECT ", self.expression(kind, inner, 1), tables, where, " ORDER BY ",
                               listed(self.total_order(scope)), " LIMIT 1"])
        return Node(f"expr:{kind}", ["(", first, ")"])

    def subquery_condition(self, scopes, depth):
        outer = visible(scopes)
        form = self.random.random()
        if form < 0.35:
            self.note("exists")
            tables, scope = self.from_clause(0, outer)
            query = Node("query", ["SELECT 1", tables, self.where([scope, *outer], 1)])
            return Node("expr:boolean", [self.pick("EXISTS (", "EXISTS (", "NOT EXISTS ("), query, ")"])
        kind = self.random.choice(["int", "text", "bigint", "int", "mood", "date"])
        left = self.expression(kind, scopes, 1)
        query, _, _ = self.select(max(depth, 0), outer, [kind])
        if form < 0.75:
            self.note("in subquery")
            return Node("expr:boolean", [left, self.pick(" IN (", " IN (", " NOT IN ("), query, ")"])
        if form < 0.85:
            self.note("in subquery")
            second = self.expression("text", scopes, 1)
            pair, _, _ = self.select(max(depth, 0), outer, [kind, "text"])
            return Node("expr:boolean", ["(", left, ", ", second, ") IN (", pair, ")"])
        self.note("any or all")
        return Node("expr:boolean", [left, self.pick(" = ANY (", " < ANY (", " >= ALL (", " <> ALL ("), query, ")"])

    # ---- FROM ----

    def from_clause(self, depth, outer):
        """(tree, items)"""
        if self.room <= 0 and self.chance(0.3):
            return NOTHING, []
        tree, item = self.source(depth, outer)
        items = [item]
        count = self.pick(0, 0, 0, 1, 1, 2) if self.room > 0 else 0
        if count and self.chance(0.15):
            return self.comma_list(tree, items, outer, depth, count)
        for _ in range(count):
            tree = self.join(tree, items, outer, depth)
        return Node("from", [" FROM ", tree]), items

    def comma_list(self, tree, items, outer, depth, count):
        self.note("comma")
        trees = [tree]
        for _ in range(1 if self.wide <= 0 else count):
            right, item = self.source(depth, [items, *outer] if self.chance(0.2) else outer)
            items.append(item)
            trees.append(right)
        self.wide -= 1
        return Node("from", [" FROM ", listed(trees)]), items

    def join(self, left, items, outer, depth):
        kind = self.pick("JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", "INNER JOIN")
        if self.chance(0.12) and self.room > 0:
            return self.lateral(left, items, outer, depth)
        if kind == "CROSS JOIN" and self.wide <= 0:
            kind = "LEFT JOIN"
        before = list(items)
        right, item = self.source(depth, outer)
        items.append(item)
        self.note(kind.lower() if kind != "INNER JOIN" else "join")
        if kind == "CROSS JOIN":
            self.wide -= 1
            return Node("join", [left, " CROSS JOIN ", right])
        if self.chance(0.12) and len(before) == 1 and before[0].table and item.table:
            self.note("using")
            both = before[0].has("x") and item.has("x")
            return Node("join", [left, f" {kind} ", right, self.pick(" USING (rid)", " USING (x)") if both else " USING (rid)"])
        on = self.equality(before, item)
        if kind != "FULL JOIN":
            if self.chance(0.25):
                on = Node("conjunct", [on, " AND ", self.condition([[*before, item], *outer], 1)])
            elif self.chance(0.1) and self.wide > 0:
                self.wide -= 1
                on = self.condition([[*before, item], *outer], 1)
        return Node("join", [left, f" {kind} ", right, " ON ", on])

    def lateral(self, left, items, outer, depth):
        self.note("lateral")
        alias = self.alias()
        kinds = [self.random.choice(COMMON) for _ in range(2)]
        query, _, _ = self.select(max(depth - 1, 0), [list(items), *outer], kinds)
        item = self.derived(alias, kinds)
        items.append(item)
        names = ", ".join(f"c{at + 1}" for at in range(len(kinds)))
        return Node("join", [left, self.pick(" JOIN", " LEFT JOIN"), " LATERAL (", query, f") {alias}({names}) ON true"])

    def equality(self, before, item):
        """Of two columns of one kind; keys first."""
        pairs = [(a, b) for one in before for a in one.columns for b in item.columns if a.kind == b.kind and a.kind in TYPES]
        keys = [(a, b) for a, b in pairs if a.text.endswith(".k") and b.text.endswith(".k")]
        known = [(a, b) for a, b in pairs if a.kind in ("int", "bigint", "text", "mood", "date", "uuid")]
        choices = keys if keys and self.chance(0.5) else known or pairs
        if not choices:
            return self.condition([[*before, item]], 1)
        a, b = self.random.choice(choices)
        return Node("expr:boolean", [a.text, " = ", b.text])

    def bind_keys(self, scope):
        """Conditions that give each sharded table one key."""
        made, constants = [], {}
        for item in scope:
            if item.table is None or item.table.kind != "sharded":
                continue
            self.bound += 1
            for name in item.table.key:
                declared = dict(item.table.columns)[name]
                kind = COLUMN_TYPES[declared]
                if kind not in constants:
                    constants[kind] = self.constant(kind, is_open=self.chance(0.5))
                made.append(Node("expr:boolean", [f"{item.alias}.{name} = ", constants[kind]]))
        return made

    def derived(self, alias, kinds):
        columns = [(f"{alias}.c{at + 1}", kind) for at, kind in enumerate(kinds)]
        return Item(alias, columns, [text for text, _ in columns])

    def source(self, depth, outer):
        """(tree, item)"""
        form = self.random.random()
        alias = self.alias()
        if self.common and form < 0.5:
            name, kinds = self.random.choice(self.common)
            return Node("source", [f"{name} AS {alias}"]), self.derived(alias, kinds)
        if depth > 0 and self.room > 0 and form > 0.85:
            return self.derived_source(alias, depth, outer)
        if 0.78 < form < 0.83:
            return self.set_function(alias, outer)
        self.room -= 1
        table = self.table()
        columns = [(f"{alias}.{name}", COLUMN_TYPES[declared]) for name, declared in table.columns]
        order = [f"{alias}.rid"] if table.kind != "view" else [text for text, _ in columns]
        return Node("source", [f"{self.pick('', '', '', 'public.')}{table.name} AS {alias}"]), Item(alias, columns, order, table)

    def table(self):
        form = self.random.random()
        kinds = ["sharded"] if form < 0.72 or self.sharded == 0 and form < 0.8 else ["view"] if form < 0.84 else \
            ["reference"] if form < 0.92 else ["home"]
        table = self.random.choice([each for each in [*self.schema.tables, *self.schema.views] if each.kind in kinds])
        self.note({"sharded": "sharded table", "view": "view", "reference": "reference table", "home": "home table"}[table.kind])
        self.sharded += table.kind in ("sharded", "view")
        if table.parted:
            self.note("partitioned table")
        return table

    def derived_source(self, alias, depth, outer):
        if self.chance(0.2):
            self.note("values")
            tree, kinds = self.values(outer)
        else:
            self.note("subquery in from")
            self.room -= 1
            if self.chance(0.25):
                tree, kinds = self.set_operation(depth - 1, [])
            else:
                tree, kinds, _ = self.select(depth - 1, [])
        names = ", ".join(f"c{at + 1}" for at in range(len(kinds)))
        return Node("source", ["(", tree, f") AS {alias}({names})"]), self.derived(alias, kinds)

    def set_function(self, alias, outer):
        self.note("set function")
        template, kind = self.random.choice(SET_FUNCTIONS)
        tree = self.fill("call", template, outer[:1], 1)
        if self.chance(0.2):
            columns = [(f"{alias}.c1", kind), (f"{alias}.o", "bigint")]
            item = Item(alias, columns, [text for text, _ in columns])
            return Node("source", [tree, f" WITH ORDINALITY AS {alias}(c1, o)"]), item
        return Node("source", [tree, f" AS {alias}(c1)"]), self.derived(alias, [kind])

    def values(self, outer):
        kinds = [self.random.choice(["int", "text", "date", "mood", "numeric"]) for _ in range(self.pick(1, 2, 2))]
        rows = [Node("row", ["(", listed([self.constant(kind) for kind in kinds], least=len(kinds)), ")"])
                for _ in range(self.random.randrange(1, 5))]
        return Node("query", ["VALUES ", listed(rows)]), kinds

    # ---- whole queries ----

    def set_operation(self, depth, outer):
        self.note("set operation")
        kinds = [self.random.choice(COMMON) for _ in range(self.random.randrange(1, 4))]
        parts = []
        for at in range(self.pick(2, 2, 2, 3)):
            if at and self.chance(0.2):
                kinds = [WIDER.get(kind, kind) for kind in kinds]
            query, _, _ = self.select(max(depth - 1, 0), outer, kinds)
            if at:
                word = self.pick("UNION ALL", "UNION", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL", "UNION")
                parts.append(f" {word} ")
            parts.append(Node("branch", ["(", query, ")"]))
        return Node("query", parts), kinds

    def with_query(self):
        self.note("with")
        if self.chance(0.3):
            return self.recursive()
        queries = []
        for _ in range(self.pick(1, 1, 2)):
            tree, kinds, _ = self.select(self.size - 1, []) if self.chance(0.8) else (*self.set_operation(1, []), None)
            name = self.alias("w")
            names = ", ".join(f"c{at + 1}" for at in range(len(kinds)))
            how = self.pick("", "", "MATERIALIZED ", "NOT MATERIALIZED ")
            queries.append(Node("with", [f"{name}({names}) AS {how}(", tree, ")"]))
            self.common.append((name, kinds))
        main, kinds, _ = self.select(self.size - 1, [])
        return Node("query", ["WITH ", listed(queries), " ", main]), kinds

    def recursive(self):
        """Counts from the rows of a query upwards, or walks from x to the rows whose key that is."""
        self.note("recursive")
        name, alias, table = self.alias("w"), self.alias(), self.table()
        union = self.pick("UNION", "UNION", "UNION ALL")
        start, _, _ = self.select(1, [], ["int"])
        step = self.pick(f"SELECT {name}.c1 + 1, {name}.c2 + 1 FROM {name} WHERE {name}.c2 < 4",
                         f"SELECT {alias}.x, {name}.c2 + 1 FROM {name} JOIN {table.name} AS {alias} ON {alias}.rid = {name}.c1 "
                         f"WHERE {name}.c2 < 3" if any(column == "x" for column, _ in table.columns) else
                         f"SELECT {name}.c1 * 2 % 100, {name}.c2 + 1 FROM {name} WHERE {name}.c2 < 4")
        first = Node("query", ["SELECT DISTINCT q.c1::int, 0 FROM (", start, ") AS q(c1)"])
        self.common.append((name, ["int", "int"]))
        main, kinds, _ = self.select(1, [])
        return Node("query", [f"WITH RECURSIVE {name}(c1, c2) AS (", first, f" {union} {step}) ", main]), kinds
