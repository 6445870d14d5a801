"""Random SELECTs of growing size over a schema: joins, subqueries in every clause, CTEs, set operations, windows, grouping."""
import os
import random
import re

from expressions import COMMON, TYPES, Expressions
from scattered import Scattered
from sources import Item, Sources
from templates import AGGREGATES, ERRORS, FLOAT_AGGREGATES, FRAMES, WINDOW_FUNCTIONS
from tree import NOTHING, Node, clause, listed, stretched

SCATTERED = float(os.environ.get("SCATTERED") or 0.5)  # share of statements that several shards may answer for themselves
DIRECTIONS = ["", "", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST"]
LOOSE_CLASSES = {"group by", "distinct", "distinct on", "set operation", "window", "limit", "aggregate", "recursive",
                 "ordered aggregate", "grouping sets", "subquery limit"}
HAS_COLUMN = re.compile(r"\b[tw]\d+\.")


class Statement:
    """tree; classes: what is in it, for the counts; order: None, "all", or positions of columns that are sorted;
    is_loose: equal numbers may look unequal (1.0 for 1.00); is_many: no key was given for all its sharded tables."""

    def __init__(self, tree, classes, order, is_many, is_loose=None):
        self.tree, self.classes, self.order, self.is_many = tree, frozenset(classes), order, is_many
        self.is_loose = bool(self.classes & LOOSE_CLASSES) if is_loose is None else is_loose
        self.may_lose_modifiers = bool(self.classes & {"group by", "distinct", "united", "set operation"})

    def text(self, parameters=None):
        return stretched(self.tree.text(parameters))


class Generator(Expressions, Sources, Scattered):
    def __init__(self, schema, seed, size):
        """size: 1 (small) to 3."""
        self.schema, self.random, self.size = schema, random.Random(seed), size
        self.classes, self.room, self.names, self.common = set(), 1 + 2 * size, 0, []
        self.wide, self.point, self.sharded, self.bound = 1, None, 0, 0

    def note(self, name):
        self.classes.add(name)

    def alias(self, letter="t"):
        self.names += 1
        return f"{letter}{self.names}"

    def statement(self):
        if self.chance(SCATTERED):
            return self.finish(*self.scattered())
        self.point = self.chance(0.12)
        if self.chance(0.04):
            return self.erroneous()
        order = None
        if self.size > 1 and self.chance(0.2):
            tree, kinds = self.with_query()
        elif self.chance(0.12):
            tree, kinds = self.set_operation(self.size, [])
        elif self.chance(0.02):
            tree, kinds = self.values([])
        else:
            tree, kinds, order = self.select(self.size, [], outermost=True)
            return self.finish(tree, order)
        tree, order = self.ordered_by_position(tree, len(kinds))
        return self.finish(tree, order)

    def finish(self, tree, order, is_loose=None):
        return Statement(tree, self.classes or {"plain"}, order, self.sharded > self.bound, is_loose)

    def erroneous(self):
        self.note("error")
        tables, scope = self.from_clause(0, [])
        return self.finish(Node("query", ["SELECT count(*), ", self.random.choice(ERRORS), tables]), None)

    def ordered_by_position(self, tree, width):
        if self.chance(0.5):
            return tree, None
        positions = self.random.sample(range(width), self.random.randrange(1, width + 1))
        limit = self.chance(0.4)
        if limit:
            positions += [each for each in range(width) if each not in positions]
        order = listed([f"{each + 1}{self.random.choice(DIRECTIONS)}" for each in positions])
        self.note("order by")
        return Node("query", [tree, " ORDER BY ", order, self.limit() if limit else NOTHING]), "all" if limit else positions

    def limit(self):
        self.note("limit")
        count = self.random.randrange(1, 8)
        return clause(self.pick(f" LIMIT {count}", f" LIMIT {count} OFFSET 2", f" OFFSET {count}", f" LIMIT (SELECT {count})",
                                f" OFFSET 1 FETCH FIRST {count} ROWS ONLY", f" LIMIT {count}::bigint", " LIMIT ALL", " LIMIT 0"))

    # ---- one SELECT ----

    def select(self, depth, outer, kinds=None, outermost=False):
        """(tree, kinds of its columns, order)"""
        tables, scope = self.from_clause(depth, outer)
        scopes = [scope, *outer]
        where = self.where(scopes, depth)
        form = self.random.random()
        if form < 0.26:
            return self.grouped(tables, where, scopes, depth, kinds, outermost)
        if form < 0.34 and kinds is None and outermost:
            return self.whole_aggregate(tables, where, scopes, depth)
        wanted = kinds or self.some_kinds(scope)
        columns = [self.expression(kind, scopes, depth) for kind in wanted]
        windows = NOTHING
        if self.chance(0.14):
            columns, wanted, windows = self.add_windows(columns, wanted, scopes, depth, kinds)
        if self.chance(0.05) and depth > 0 and outermost:
            self.note("set function in the target list")
            columns, wanted = [*columns, "generate_series(1, 2)"], [*wanted, "int"]
        head = "SELECT "
        on = NOTHING
        order, last = self.order_of(columns, scopes, outermost, depth)
        if "set function in the target list" in self.classes and order == "all":
            order, last = None, NOTHING
        if self.chance(0.1):
            self.note("distinct")
            head = "SELECT DISTINCT "
            order, last = self.order_by_columns(columns, outermost)
        elif self.chance(0.05) and windows is NOTHING:
            on, last = self.distinct_on(columns, scopes, depth)
            order = "all"
        if outermost and order is None and last is NOTHING and scope and self.chance(0.1):
            columns = [*columns, self.random.choice(scope).alias + ".*"]
        parts = [head, on, self.target_list(columns, outermost), tables, where, windows, last]
        return Node("query", parts), wanted, order

    def some_kinds(self, scope):
        known = [column.kind for item in scope for column in item.columns] or COMMON
        return [self.random.choice(known if self.chance(0.75) else COMMON) for _ in range(self.random.randrange(1, 5))]

    def target_list(self, columns, outermost):
        """Outermost some columns keep the names that PostgreSQL gives them."""
        if outermost and self.chance(0.5):
            return listed(columns)
        return listed([column if isinstance(column, str) and column.endswith("*") else Node("target", [column, f" AS c{at + 1}"])
                       for at, column in enumerate(columns)])

    def where(self, scopes, depth):
        count = self.pick(0, 0, 1) if self.point else self.pick(0, 0, 1, 1, 1, 2)
        parts = [self.condition(scopes, depth) for _ in range(count)]
        if self.point:
            parts += self.bind_keys(scopes[0])
        return clause(" WHERE ", listed([Node("conjunct", ["(", part, ")"]) for part in parts], " AND ")) if parts else NOTHING

    def add_windows(self, columns, wanted, scopes, depth, kinds):
        """One or two columns become window functions; without a wish for kinds, they are added."""
        self.note("window")
        total = self.total_order(scopes[0])
        columns, wanted = list(columns), list(wanted)
        named = self.chance(0.3)
        for at in range(self.pick(1, 1, 2)):
            choices = [each for each in WINDOW_FUNCTIONS if kinds is None or (at < len(kinds) and each[0] == kinds[at])]
            if not choices:
                continue
            kind, template = self.random.choice(choices)
            call = self.fill("window", template, scopes, depth)
            over = "w" if named else Node("window", ["(", self.partition(scopes, depth), " ORDER BY ", listed(total),
                                                     self.random.choice(FRAMES), ")"])
            made = Node(f"expr:{kind}", [call, " OVER ", over])
            if kinds is None:
                columns.append(made)
                wanted.append(kind)
            else:
                columns[at] = made
        window = [" WINDOW w AS (", self.partition(scopes, depth), " ORDER BY ", listed(total), ")"]
        return columns, wanted, Node("windows", window) if named else NOTHING

    def partition(self, scopes, depth):
        if self.chance(0.4):
            return NOTHING
        return clause("PARTITION BY ", listed([self.expression(self.random.choice(COMMON), scopes, min(depth, 1))]))

    def total_order(self, scope):
        """Of a list of items: what orders their rows up to those that are equal in all columns."""
        return [key + self.random.choice(DIRECTIONS[:4]) for item in scope for key in item.order] or ["1::int + 0"]

    def with_column(self, kind, scopes, depth):
        """An expression that is not constant: a position would be taken for one."""
        for _ in range(4):
            made = self.expression(kind, scopes, depth)
            if HAS_COLUMN.search(made.text()):
                return made
        names = [column for item in scopes[0] for column in item.columns]
        return Node("expr:any", [self.random.choice(names).text]) if names else Node("expr:any", ["'a'::text || 'b'"])

    # ---- ORDER BY ----

    def order_of(self, columns, scopes, outermost, depth):
        if not outermost:
            if self.chance(0.1):
                self.note("subquery limit")
                count = self.random.randrange(1, 6)
                return None, Node("limit", [" ORDER BY ", listed(self.total_order(scopes[0])), f" LIMIT {count}"])
            return None, NOTHING
        if self.chance(0.35):
            return None, NOTHING
        if self.chance(0.45):
            return self.order_by_columns(columns, outermost)
        self.note("order by an expression")
        keys = [Node("key", [self.with_column(self.random.choice(COMMON), scopes, 1), self.random.choice(DIRECTIONS)])]
        limit = self.limit() if self.chance(0.5) else NOTHING
        return "all", Node("order", [" ORDER BY ", listed(keys + self.total_order(scopes[0])), limit])

    def order_by_columns(self, columns, outermost):
        if not outermost or self.chance(0.3):
            return None, NOTHING
        tree, order = self.ordered_by_position(NOTHING, len(columns))
        return order, tree if order else NOTHING

    def distinct_on(self, columns, scopes, depth):
        self.note("distinct on")
        key = self.with_column(self.random.choice(COMMON), scopes, 1)
        order = Node("order", [" ORDER BY ", listed([key, *self.total_order(scopes[0])])])
        return Node("on", ["DISTINCT ON (", key, ") "]), order

    # ---- aggregates ----

    def aggregate(self, scopes, depth, kind=None, loose=False):
        """(kind, tree)"""
        if loose and self.chance(0.15):
            kind, template = "any", self.random.choice(FLOAT_AGGREGATES)
        else:
            kind, template = self.random.choice([each for each in AGGREGATES if kind is None or each[0] == kind] or AGGREGATES)
        if "ORDER BY" in template:
            self.note("ordered aggregate")
        call = self.fill("aggregate", template, scopes, min(depth, 2))
        if template.endswith(")") and template.count("(") == 1 and self.chance(0.15):
            self.note("filter")
            call = Node("aggregate", [call, clause(" FILTER (WHERE ", self.condition(scopes, 1), ")")])
        self.note("aggregate")
        return kind, Node(f"expr:{kind}", [call])

    def whole_aggregate(self, tables, where, scopes, depth):
        made = [self.aggregate(scopes, depth, loose=True) for _ in range(self.random.randrange(1, 4))]
        having = NOTHING
        if self.chance(0.1):
            having = clause(" HAVING ", self.condition([[self.over_groups(made)], *scopes[1:]], 1))
        columns = listed([tree for _, tree in made])
        return Node("query", ["SELECT ", columns, tables, where, having]), [kind for kind, _ in made], None

    @staticmethod
    def over_groups(made):
        """What may stand above GROUP BY: keys and aggregates as the columns of one item."""
        return Item("groups", [(tree, kind) for kind, tree in made if kind in TYPES], [], is_grouped=True)

    def grouped(self, tables, where, scopes, depth, kinds, outermost):
        self.note("group by")
        keys = []
        for _ in range(self.pick(1, 1, 2, 2, 3)):
            known = [column.kind for item in scopes[0] for column in item.columns if column.kind in TYPES] or ["int"]
            kind = self.random.choice(known)
            keys.append((kind, self.with_column(kind, [scopes[0]], 1 if self.chance(0.3) else 0)))
        keys = [("any" if tree.kind == "expr:any" else kind, tree) for kind, tree in keys]
        sums = [self.aggregate(scopes, depth) for _ in range(self.pick(0, 1, 1, 2))]
        above = [[self.over_groups(keys + sums)], *scopes[1:]]
        if kinds:
            columns, wanted = [self.expression(kind, above, 2) for kind in kinds], kinds
        else:
            shown = [(kind, tree) for kind, tree in keys if self.chance(0.8)] + sums or keys
            wanted, columns = [kind for kind, _ in shown], [tree for _, tree in shown]
            if self.chance(0.3):
                kind = self.random.choice(COMMON)
                wanted, columns = [*wanted, kind], [*columns, self.expression(kind, above, 2)]
        columns, group = self.group_clause(columns, wanted, keys, kinds)
        having = clause(" HAVING ", self.condition(above, 1)) if self.chance(0.3) else NOTHING
        order, last = self.order_by_columns(columns, outermost)
        if order == "all" and self.chance(0.3) and sums:  # the first groups by an aggregate
            last = Node("order", [" ORDER BY ", listed([Node("key", [sums[0][1], " DESC NULLS LAST"]),
                                                        *[str(at + 1) for at in range(len(columns))]]), " LIMIT 4"])
            self.note("limit")
        self.wide = 1
        return Node("query", ["SELECT ", self.target_list(columns, outermost), tables, where, group, having, last]), wanted, order

    def group_clause(self, columns, wanted, keys, kinds):
        trees = [tree for _, tree in keys]
        if self.chance(0.75):
            return columns, Node("group", [" GROUP BY ", self.pick("", "", "", "DISTINCT "), listed(trees)])
        self.note("grouping sets")
        sets = listed(trees)
        word = self.pick("ROLLUP (", "CUBE (", "GROUPING SETS ((), (")
        if kinds is None and self.chance(0.5):
            columns, wanted[len(wanted):] = [*columns, Node("expr:int", ["grouping(", trees[0], ")"])], ["int"]
        return columns, Node("group", [" GROUP BY ", word, sets, "))" if "SETS" in word else ")"])
