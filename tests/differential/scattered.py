"""SELECTs of the shapes that every shard answers for itself, or computes a part of (tiers 2 and 3): of sharded tables
that are tied by their keys, with all that may stand above WHERE.

Names are odd, labels are keywords or shadow columns, comments and dollar quotes hold words of clauses: what each shard
is asked is made of the text.
"""
import re

from expressions import COMMON, LOOSE, TYPES
from keyed import SORTABLE, KeyedSources
from schema import COLUMN_TYPES
from tree import NOTHING, Constant, Node, clause, listed

LABELS = ["a", "b2", '"from"', '"order"', "rows", "first", "last", '"A b"', '"q""q"', "été", "next", '"limit"', "nulls", "k", "x",
          "rid", "c", "d", '"E e"', "count", "sum", "w", "value", "key", '"mosaic:1"', '"t1"']
WORDS = ["from", "order", "select", "limit", "group", "where", "union", "distinct", "asc", "desc", "offset", "fetch", "window",
         "having", "all", "on", "as", "using", "for", "into", "null", "end", "case"]  # behind AS alone
DIRECTIONS = ["", "", "", " ASC", " DESC", " NULLS FIRST", " NULLS LAST", " DESC NULLS LAST", " DESC NULLS FIRST", " USING <"]
# Kind → its aggregates, with the kind of the result; "any": nothing is made of it.
SUMS = {"count": "bigint", "avg": "numeric", "bool_and": "boolean", "bool_or": "boolean", "every": "boolean"}
AGGREGATES_OF = {
    "int": "count sum sum avg min max bit_and bit_or bit_xor", "bigint": "count sum sum avg min max bit_and bit_or bit_xor",
    "numeric": "count sum sum avg min max", "decimal": "count sum sum avg min max", "float8": "count sum avg min max",
    "text": "count min max", "ctext": "count min max", "svtext": "count min max", "date": "count min max",
    "timestamptz": "count min max",
    "timestamp": "count min max", "time": "count sum min max", "interval": "count sum avg min max", "mood": "count min max",
    "boolean": "count bool_and bool_or every", "inet": "count min max", "int[]": "count min max", "mood[]": "count max",
    "bits": "count bit_and bit_or",
}


class Output:
    """A column of the result. label: by which ORDER BY finds it, or None."""

    def __init__(self, tree, kind, label=None):
        self.tree, self.kind, self.label = tree, kind, label


class Scattered(KeyedSources):
    """Mixed into the generator of statements."""

    def scattered(self):
        """(tree, order, is_loose)"""
        self.note("every shard")
        self.room, self.loosened, self.with_list, self.has_using, self.point = 0, False, [], False, self.chance(0.04)
        form = self.random.random()
        make = self.all_rows if form < 0.42 else self.groups if form < 0.72 else self.one_row if form < 0.9 else self.united
        tree, order = make()
        if self.with_list:
            tree = Node("query", ["WITH", self.gap(), listed(self.with_list), self.gap(), tree])
        return tree, order, self.loosened

    def loosen(self, kind):
        """Of values that are equal any one may come."""
        self.loosened |= kind in LOOSE or kind in ("decimal", "any")

    # ---- columns ----

    def pick_columns(self, items, count):
        return [self.random.choice([column for item in items for column in item.columns]) for _ in range(count)]

    def varied(self, items, depth=1):
        """(kind, tree) of a column or an expression that has one."""
        column = self.pick_columns(items, 1)[0]
        if column.kind not in TYPES or self.chance(0.6):
            return column.kind, Node(f"expr:{column.kind}", [column.text])
        for _ in range(4):
            made = self.expression(column.kind, [items], depth)
            names = "|".join(re.escape(each.text) for item in items for each in item.columns)
            if re.search(rf"(?<![\w\"])({names})(?![\w\"])", made.text()):
                return column.kind, made
        return column.kind, Node(f"expr:{column.kind}", [column.text])

    def labelled(self, outputs):
        """The target list; what has no label keeps the name that PostgreSQL gives it."""
        used, targets = set(), []
        for output in outputs:
            form = self.random.random()
            label = self.random.choice(LABELS)
            if form < 0.5 or label in used or str(output.tree).endswith("*"):
                bare = output.tree.text() if isinstance(output.tree, Node) else output.tree
                name = bare.split(".")[-1]
                output.label = name if "(" not in bare and "." in bare and name not in used else None
                used.add(name)
                targets.append(Node("target", [output.tree]))
            elif form < 0.6:
                word = self.random.choice(WORDS)
                if f'"{word}"' not in used:
                    output.label = f'"{word}"'
                    used.add(output.label)
                targets.append(Node("target", [output.tree, f" AS {self.word(word.upper())}" if output.label else ""]))
            else:
                used.add(label)
                output.label = label
                is_bare = label not in ("rows", "value", "key") and self.chance(0.2)
                targets.append(Node("target", [output.tree, " " if is_bare else f"{self.gap()}AS ", label]))
        return listed(targets, self.pick(", ", ", ", " ,", ",\n"), least=len(targets))

    def star(self, items):
        """A star's columns, as outputs; the first has the text."""
        chosen = items if self.chance(0.5) and not self.has_using else [self.random.choice(items)]
        text = "*" if chosen is items else chosen[0].alias + ".*"
        names = [Output(column.text, column.kind) for item in chosen for column in item.columns]
        return text, names

    # ---- ORDER BY, LIMIT ----

    def bounds(self, is_total):
        """LIMIT and OFFSET. Without a total order such as leave all rows, or none."""
        self.note("limit")
        few = [0, 1, 2, 3, 5, 8, 20] if is_total else [0, 1000]
        skip = [0, 1, 2, 4, 10, 100] if is_total else [0, 0, 1000]
        limit, offset = self.bound_value(self.random.choice(few), "limit"), self.bound_value(self.random.choice(skip), "offset")
        first = self.pick([self.gap(), "LIMIT ", limit], [" LIMIT ", limit], [" LIMIT ", limit], [" limit ", limit],
                          [f" FETCH FIRST {self.random.choice(few)} ROWS ONLY"],
                          [" FETCH NEXT ROW ONLY"] if is_total else [" LIMIT ALL"],
                          [" FETCH FIRST 2 ROWS WITH TIES"] if is_total else [" LIMIT NULL"], [])
        second = self.pick([], [], [" OFFSET ", offset], [self.gap(), "offset ", offset, self.pick("", " ROWS")])
        parts = [*second, *first] if self.chance(0.3) or "FETCH" in str(first[:1]) else [*first, *second]
        return clause(*parts) if parts else NOTHING

    def bound_value(self, number, name):
        kind = self.pick("bigint", "bigint", "bigint", "int", "smallint")
        form = self.random.random()
        if form < 0.05:
            return Constant(name, "bigint", None, "NULL", True)
        if form < 0.08:
            return Constant(name, "bigint", "9223372036854775807", "9223372036854775807", True)
        if form < 0.1:
            return Constant(name, "bigint", "-1", "-1", True)
        if form < 0.7:
            return Constant(name, "bigint", str(number), str(number), True)
        if form < 0.93:
            return Constant(name, kind, str(number), None if form > 0.85 else str(number))
        return self.pick(f"({number} + 0)", f"(SELECT {number})", f"{number}::int", f"{number}.0", f"'{number}'")

    def direction(self, kind, tree):
        """An item of ORDER BY, of a kind that has an order."""
        collate = self.pick(' COLLATE "C"', ' collate pg_catalog."C"', ' COLLATE "POSIX"') \
            if kind == "text" and self.chance(0.12) else ""
        tree = Node("list", ["(", tree, ")"]) if self.chance(0.06) else tree
        return Node("key", [tree, collate, self.random.choice(DIRECTIONS)])

    def named(self, outputs, at):
        """An output in ORDER BY: its place, its label, its expression again."""
        output = outputs[at]
        form, shape = self.random.random(), "({})" if self.chance(0.06) else "{}"
        # A name alone is first of all the label of a column, be it another one.
        others = [each.label for each in outputs if each is not output]
        if form < 0.4 or isinstance(output.tree, str) or output.tree.text() in others:
            return Node("key", [shape.format(at + 1), self.random.choice(DIRECTIONS[:9])])
        if form < 0.7 and output.label and output.label not in WORDS:
            return Node("key", [shape.format(output.label), self.random.choice(DIRECTIONS)])
        return self.direction(output.kind, output.tree)

    def order_by(self, keys):
        return Node("order", [self.gap(), self.pick("ORDER BY", "ORDER BY", "order by", "ORDER  BY"), self.gap(),
                              listed(keys, self.pick(", ", ",", " , "))])

    def sorted_outputs(self, outputs, rest, is_all=False):
        """(tree, order). rest: keys that make the order total, whatever stands before; None: there are none."""
        places = [at for at, output in enumerate(outputs) if output.kind in SORTABLE]
        form = self.random.random()
        if form < 0.2 or (not places and not rest):
            return (self.bounds(False) if self.chance(0.3) else NOTHING), None
        self.note("order by")
        chosen = self.random.sample(places, self.random.randrange(0, min(len(places), 3) + 1))
        if form < 0.5 and chosen and not is_all:
            tail = self.bounds(False) if self.chance(0.1) else NOTHING
            return Node("order", [self.order_by([self.named(outputs, at) for at in chosen]), tail]), chosen
        if rest is None:
            keys = [self.named(outputs, at) for at in [*chosen, *[at for at in places if at not in chosen]]]
            if len(places) < len(outputs):
                return self.order_by(keys), None
        else:
            keys = [self.named(outputs, at) for at in chosen] + rest
        for output in outputs:
            self.loosen(output.kind)
        return Node("order", [self.order_by(keys), self.bounds(True) if self.chance(0.7) else NOTHING]), "all"

    def total(self, items, most=2):
        """Keys that order rows up to those that are equal: columns and expressions, then what tells rows apart."""
        keys = []
        for _ in range(self.random.randrange(0, most + 1)):
            kind, tree = self.varied(items)
            if kind in SORTABLE:
                keys.append(self.direction(kind, tree))
        if any(item.table is None for item in items):
            self.loosened = True
        return keys + [Node("key", [text, self.random.choice(DIRECTIONS)]) for item in items for text in item.order]

    # ---- statements ----

    def all_rows(self):
        tree, where, items, keys = self.keyed_from()
        if self.chance(0.12):
            return self.distinct_on_key(tree, items, keys, where)
        outputs = [Output(each, kind) for kind, each in [self.varied(items, 2) for _ in range(self.random.randrange(1, 5))]]
        head, is_distinct, targets = "SELECT", self.chance(0.15), None
        if is_distinct:
            outputs = self.distinct_outputs(outputs, keys, items)
            head = "SELECT DISTINCT"
        elif self.chance(0.15):
            self.note("star")
            text, starred = self.star(items)
            before = self.labelled(outputs) if self.chance(0.3) else None
            targets = Node("targets", [before, ", ", text] if before else [text])
            outputs = [*outputs, *starred] if before else starred
        elif self.chance(0.15):
            outputs.append(self.window_by_key(items, keys))
        elif self.chance(0.05):
            outputs.append(Output(Node("expr:any", [self.random.choice(items).alias]), "any"))  # a row
        outputs += self.bare_constant() if targets is None and not is_distinct else []
        targets = targets or self.labelled(outputs)
        rest = None if is_distinct else self.total(items)
        last, order = self.sorted_outputs(outputs, rest)
        return Node("query", [self.word(head), self.gap(), targets, tree, where, last]), order

    def bare_constant(self):
        """Of no type of its own: a text, or what a parameter is taken for."""
        if not self.chance(0.06):
            return []
        self.note("bare constant")
        return [Output(self.constant("text", is_open=True), "any")]

    def distinct_outputs(self, outputs, keys, items):
        self.note("distinct")
        outputs = [output for output in outputs if output.kind in SORTABLE] or [Output(Node("expr:any", [keys[0]]), "any")]
        if self.chance(0.5):
            columns = {column.text: column.kind for item in items for column in item.columns}
            outputs += [Output(Node("expr:any", [key]), columns.get(key, "any")) for key in keys]
        for output in outputs:
            self.loosen(output.kind)
        return outputs

    def distinct_on_key(self, tree, items, keys, where):
        self.note("distinct on")
        on = list(keys) if self.chance(0.6) else []
        kind, further = self.varied(items)
        if (not on or self.chance(0.3)) and kind in SORTABLE:
            on.append(further)
        on = on or list(keys)
        outputs = [Output(each, kind) for kind, each in [self.varied(items) for _ in range(self.random.randrange(1, 4))]]
        targets = self.labelled(outputs)
        sorts = [Node("key", [each, self.random.choice(DIRECTIONS)]) for each in on] + self.total(items, 1)
        self.loosened = True
        limit = self.bounds(True) if self.chance(0.3) else NOTHING
        return Node("query", ["SELECT DISTINCT ON (", listed(on, least=len(on)), ") ", targets, tree, where, self.order_by(sorts),
                              limit]), "all"

    def window_by_key(self, items, keys):
        self.note("window by key")
        by = ", ".join(keys) if self.chance(0.8) else "1::int"
        call = self.pick("count(*)", "rank()", "sum(1)")
        if all(item.table for item in items) and self.chance(0.4):  # no two rows are equal in the order
            call = self.pick("row_number()", "ntile(2)")
        order = listed(self.total(items, 0))
        return Output(Node("expr:bigint", [call, f" OVER (PARTITION BY {by} ORDER BY ", order, ")"]), "bigint")

    # ---- aggregates ----

    def summed(self, items, kind=None):
        """(kind of the result, tree)"""
        if self.chance(0.15) and kind is None:
            return "bigint", Node("expr:bigint", [self.pick("count(*)", "count(*)", "COUNT( * )", "pg_catalog.count(*)"),
                                                  self.filtered(items)])
        kind, argument = self.varied(items)
        name = self.random.choice(AGGREGATES_OF.get(kind, "count").split())
        result = "interval" if kind == "time" and name == "sum" else SUMS.get(name, kind)
        if name in ("sum", "avg"):
            result = {"int": "bigint", "bigint": "numeric"}.get(kind, kind) if name == "sum" else result
            result = "any" if kind in ("float8", "decimal", "interval", "time") else result
        if name in ("min", "max"):
            self.loosen(kind)
        quantifier = "DISTINCT " if self.chance(0.15) and kind in SORTABLE else self.pick("", "", "", "", "ALL ")
        if quantifier == "DISTINCT ":
            self.note("aggregate's distinct")
            self.loosen(kind)
        shown = self.pick(name, name, name, name.upper(), f"pg_catalog.{name}", f'"{name}"', f"{name} ")
        return result, Node(f"expr:{result}", [f"{shown}({quantifier}", argument, ")", self.filtered(items)])

    def filtered(self, items):
        if not self.chance(0.15):
            return NOTHING
        self.note("filter")
        return clause(" FILTER (WHERE ", self.condition([items], 1), ")")

    def one_row(self):
        self.note("aggregate")
        tree, where, items, keys = self.keyed_from()
        made = [self.summed(items) for _ in range(self.random.randrange(1, 5))]
        if self.chance(0.1):
            made.append(("bigint", Node("expr:bigint", [f"count(DISTINCT {self.random.choice(keys)})"])))
        outputs = [Output(each, kind) for kind, each in made]
        above = [[self.over_groups(made)]]
        if self.chance(0.35):
            kind = self.random.choice(COMMON)
            self.note("made of aggregates")
            outputs.append(Output(self.expression(kind, above, 2), kind))
        having = clause(self.gap(), "HAVING ", self.condition(above, 1)) if self.chance(0.12) else NOTHING
        outputs += self.bare_constant()
        targets = self.labelled(outputs)
        last = NOTHING
        if self.chance(0.15):
            last = Node("order", [self.order_by([self.named(outputs, 0)]) if outputs[0].kind in SORTABLE else NOTHING,
                                  self.bounds(True)])
        return Node("query", [self.word("SELECT"), self.gap(), targets, tree, where, having, last]), None

    def groups(self):
        self.note("group by")
        tree, where, items, keys = self.keyed_from()
        by = [(kind, each) for kind, each in [self.varied(items, 1) for _ in range(self.pick(1, 1, 2, 2, 3))] if kind in SORTABLE]
        columns = {column.text: column.kind for item in items for column in item.columns}
        if self.chance(0.3) or not by:
            self.note("group by key")
            by += [(columns.get(key, "any"), Node("expr:any", [key])) for key in keys]
        for kind, _ in by:
            self.loosen(kind)
        made = [self.summed(items) for _ in range(self.pick(0, 1, 1, 2, 3))]
        above = [[self.over_groups(by + made)]]
        shown = [Output(each, kind) for kind, each in by if self.chance(0.8)] + [Output(each, kind) for kind, each in made]
        if self.chance(0.3):
            kind = self.random.choice(COMMON)
            self.note("made of aggregates")
            shown.append(Output(self.expression(kind, above, 2), kind))
        windows = NOTHING
        if self.chance(0.12):
            window, windows = self.window_over_groups(by, made)
            shown.append(window)
        shown = (shown or [Output("count(*)", "bigint")]) + self.bare_constant()
        self.random.shuffle(shown)
        targets = self.labelled(shown)
        group = self.group_by(by, shown, columns)
        having = clause(self.gap(), "HAVING ", self.condition(above, 1)) if self.chance(0.25) else NOTHING
        last, order = self.sorted_outputs(shown, self.total_groups(by, made))
        head = "SELECT DISTINCT" if self.chance(0.05) and last is NOTHING and all(
            output.kind in SORTABLE for output in shown) else "SELECT"
        return Node("query", [self.word(head), self.gap(), targets, tree, where, group, having, windows, last]), order

    def group_by(self, by, shown, columns):
        names = {text.split(".")[-1] for text in columns}
        parts = []
        for _, each in by:
            place = next((at for at, output in enumerate(shown) if output.tree is each), None)
            label = shown[place].label if place is not None else None
            if place is not None and self.chance(0.3):
                parts.append(f"({place + 1})" if self.chance(0.1) else str(place + 1))
            elif label and label not in names and self.chance(0.4):
                parts.append(label)
            else:
                parts.append(Node("list", ["(", each, ")"]) if self.chance(0.1) else each)
        if self.chance(0.1):
            parts.append(parts[0])
        return Node("group", [self.gap(), self.pick("GROUP BY", "group by", "GROUP BY ALL") if self.chance(0.3) else "GROUP BY",
                              self.gap(), listed(parts, self.pick(", ", " , "), least=len(parts))])

    def total_groups(self, by, made):
        """What orders groups: maybe an aggregate first, then all that they are grouped by."""
        keys = [Node("key", [each, self.random.choice(DIRECTIONS)]) for kind, each in made if kind in TYPES and self.chance(0.4)]
        if keys:
            self.note("ordered by an aggregate")
        return keys + [self.direction(kind, each) for kind, each in by]

    def window_over_groups(self, by, made):
        self.note("window over groups")
        order = listed([Node("key", [each]) for _, each in by])
        sums = [each for kind, each in made if kind in ("bigint", "numeric", "int")]
        call = self.pick("row_number()", "rank()", "sum(count(*))", "count(*)")
        if sums and self.chance(0.5):
            call = Node("aggregate", ["max(", self.random.choice(sums), ")"])
        partition = Node("list", ["PARTITION BY ", by[0][1]]) if self.chance(0.4) else ""
        form = self.random.random()
        if form < 0.6:
            return Output(Node("expr:any", [call, " OVER (", partition, " ORDER BY ", order, ")"]), "any"), NOTHING
        within = Node("list", [" ORDER BY ", order])
        over = Node("list", [" OVER (w", within, ")"]) if form > 0.8 else " OVER w"
        windows = Node("windows", [self.gap(), "WINDOW w AS (", partition, "" if form > 0.8 else within, ")"])
        return Output(Node("expr:any", [call, over]), "any"), windows

    # ---- set operations ----

    def united(self):
        """UNION ALL of SELECTs with keys; others with the key first."""
        self.note("united")
        table = self.sharded_table()
        word = self.pick("UNION ALL", "UNION ALL", "UNION ALL", "UNION", "EXCEPT", "INTERSECT")
        kinds = [self.random.choice(COMMON) for _ in range(self.random.randrange(1, 3))]
        key_kinds = [COLUMN_TYPES[dict(table.columns)[name]] for name in table.key]
        parts = []
        for at in range(self.pick(2, 2, 3)):
            inner = self.base(self.colocated(table)) if word != "UNION ALL" or self.chance(0.5) else self.base(self.sharded_table())
            columns = [self.expression(kind, [inner.items], 1) for kind in kinds]
            if word != "UNION ALL":
                columns = [*inner.keys, *columns]
            branch = Node("query", ["SELECT ", listed(columns, least=len(columns)), " FROM ", inner.tree,
                                    self.where([inner.items], 1)])
            parts += [f" {word} "] * (at > 0) + [Node("branch", ["(", branch, ")"]) if self.chance(0.5) else branch]
        kinds = kinds if word == "UNION ALL" else [*key_kinds, *kinds]
        for kind in kinds:
            self.loosen(kind)
        self.loosened |= "text" in kinds  # char(5) and text make a char(n) of any length
        tree = Node("query", parts)
        if not all(kind in SORTABLE for kind in kinds) or self.chance(0.5):
            return Node("query", [tree, self.bounds(False) if self.chance(0.2) else NOTHING]), None
        last, order = self.sorted_outputs([Output(str(at + 1), kind) for at, kind in enumerate(kinds)], None)
        return Node("query", [tree, last]), order
