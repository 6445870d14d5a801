"""Expressions of a type over a scope, from templates.py."""
import re

import schema
from templates import TEMPLATES
from tree import Constant, Node, quote

ALTERNATIVES = {kind: [each.strip() for line in text.strip().splitlines() for each in re.split(r" \| (?=\S)", line)]
                for kind, text in TEMPLATES.items()}
ALTERNATIVES["int"].append("({int}) | 1")  # the bar is an operator
PLACE = re.compile(r"\{([^{},]+)\}")
TYPES = list(TEMPLATES)
COMMON = ["int"] * 5 + ["text"] * 5 + ["bigint"] * 3 + ["numeric", "date", "boolean", "mood", "timestamptz"] * 2 + \
    ["float8", "uuid", "bytea", "jsonb", "int[]", "text[]", "mood[]", "interval"]
# Types whose equal values may look unequal (1.0 and 1.00, 0 and -0, 1 day and 24 hours).
LOOSE = {"numeric", "float8", "interval", "jsonb"}


class Expressions:
    """Mixed into the generator of statements, which has random, scopes and subquery()."""

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def whole_row(self, scopes):
        """The alias of something in FROM, or where there is nothing, a row."""
        return self.random.choice([item.alias for item in scopes[0] if not item.is_grouped] or ["ROW(1, NULL)"])

    def constant(self, kind, is_open=False):
        value = schema.value(self.random, kind)
        quoted = "NULL" if value is None else f"$a${value}$a$" if self.chance(0.05) else quote(value)
        if is_open:
            return Constant(f"expr:{kind}", kind, value, quoted, True)
        bare = f"{quoted}::{kind}"
        if value is not None and kind in ("int", "bigint") and self.chance(0.7):
            bare = value if int(value) >= 0 else f"({value})"
            if kind == "bigint":
                bare += "::bigint"
        return Constant(f"expr:{kind}", kind, value, bare)

    def columns(self, scopes, kind):
        return [column.text for scope in scopes for item in scope for column in item.columns if column.kind == kind]

    def expression(self, kind, scopes, depth):
        """scopes: the innermost first; each a list of items with columns."""
        if kind not in TEMPLATES:
            return Node(f"expr:{kind}", [self.random.choice(self.columns(scopes, kind))])
        known = self.columns(scopes[:1], kind)
        further = self.columns(scopes[1:], kind)
        if further and self.chance(0.25):
            self.note("correlated")
            return Node(f"expr:{kind}", [self.random.choice(further)])
        if known and self.chance(0.75 if depth > 0 else 0.9):
            return Node(f"expr:{kind}", [self.random.choice(known)])
        if depth <= 0:
            return self.constant(kind)
        if self.room > 0 and self.chance(0.08):
            return self.scalar_subquery(kind, scopes, depth - 1)
        return self.fill(f"expr:{kind}", self.template(kind, scopes), scopes, depth)

    def template(self, kind, scopes):
        """Mostly one for whose places the scope has columns: conditions on constants alone make for empty answers."""
        known = {column.kind for scope in scopes[:1] for item in scope for column in item.columns}
        for _ in range(6):
            text = self.random.choice(ALTERNATIVES[kind])
            if known & set(PLACE.findall(text)):
                break
        return text

    def condition(self, scopes, depth):
        if self.room > 0 and depth > 0 and self.chance(0.15):
            return self.subquery_condition(scopes, depth - 1)
        return self.fill("expr:boolean", self.template("boolean", scopes), scopes, max(depth, 1))

    def fill(self, kind, template, scopes, depth):
        """{type}: an expression, {=type}: a constant, {?type}: one without a cast, {row}: a row of a table, {.}: the one before."""
        parts, last = [], None
        for at, part in enumerate(PLACE.split(template)):
            if at % 2 == 0:
                parts.append(part)
                continue
            if part[0] in "=?":
                last = self.constant(part[1:], is_open=part[0] == "?")
            elif part == "row":
                last = self.whole_row(scopes)
            elif part != ".":
                last = self.expression(part, scopes, depth - 1)
            parts.append(last)
        return Node(kind, ["(", *parts, ")"] if kind.startswith("expr:") else parts)
