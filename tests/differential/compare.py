"""Asks the same of two servers, and says whether the answers are one PostgreSQL's."""
import collections
import math
import re
import struct

import rawwire
from rawwire import bind, close, columns, describe, error_fields, execute, parse, query, row_values, sync, tag, type_named

# How a statement is asked for.
MODES = ["simple", "simple", "extended", "binary", "parameters", "binary parameters", "prepared parameters", "in batches", "copy",
         "transaction"]
FLOATS, NUMERIC, BLANKED = {"float4", "float8"}, "numeric", "bpchar"
FAILED = {"57014", "57P01", "08006", "08007", "08003"}


class Answer:
    """columns: (name, type's name) each; rows: lists of bytes or None; tag; code: SQLSTATE or None; message;
    parameters: their types' names; modifiers: size, modifier and format of each column; tags: of all statements;
    status: of the last ReadyForQuery."""

    def __init__(self):
        self.columns, self.rows, self.tag, self.code, self.message = None, [], None, None, ""
        self.parameters, self.modifiers, self.tags, self.status = None, None, [], None

    def head(self):
        return f"ERROR {self.code}: {self.message}" if self.code else f"{self.tag}, columns {self.columns}, {self.modifiers}"


def contrast(expected, got, most=8):
    """Two answers, side by side: their heads, and the rows that only one of them has."""
    lines = ["one PostgreSQL: " + expected.head(), "through the proxy: " + got.head()]
    if expected.code or got.code:
        return lines
    counts = [collections.Counter(map(tuple, answer.rows)) for answer in (expected, got)]
    for name, more in (("only one PostgreSQL", counts[0] - counts[1]), ("only the proxy", counts[1] - counts[0])):
        for row, count in list(more.items())[:most]:
            shown = ", ".join("NULL" if value is None else repr(value)[1:90] for value in row)
            lines.append(f"{name} has {count} ×: {shown}")
    if counts[0] == counts[1]:
        pairs = enumerate(zip(expected.rows, got.rows))
        lines += [f"row {at}: {one} became {two}" for at, (one, two) in pairs if one != two][:most]
    return lines


class Side:
    """A connection, and how the types' OIDs that it tells are called."""

    def __init__(self, target, types, seconds=4):
        """seconds: what takes longer is slow, not wrong."""
        self.target, self.types, self.seconds, self.wire = target, types, seconds, None

    def messages(self, statement, mode):
        """What to send, and after how many ReadyForQuery the answer ends."""
        parameters = {} if "parameters" in mode else None
        sql = statement.text(parameters) if hasattr(statement, "text") else statement
        values = [value for _, value in sorted((parameters or {}).values())]
        results = (1,) if "binary" in mode else ()
        if mode == "simple":
            return query(sql), 1
        if mode == "copy":
            return query(f"COPY ({sql}) TO STDOUT"), 1
        if mode == "transaction":
            return query("BEGIN") + query(sql) + query("COMMIT"), 3
        if "prepared" in mode:
            once = bind(values, "p") + execute() + sync()
            return parse(sql, "p") + describe("S", "p") + sync() + once + once + close("S", "p") + sync(), 4
        ask = parse(sql) + bind(values, results=results) + describe()
        return ask + (execute(rows=3) + execute(rows=4) if mode == "in batches" else b"") + execute() + sync(), 1

    def exchange(self, data, ready=1):
        if self.wire is None:
            self.wire = self.target.wire(timeout=self.seconds + 60)
            self.wire.exchange(query(f"SET statement_timeout = '{self.seconds}s'"))
        return self.wire.exchange(data, ready)

    def ask(self, statement, mode):
        try:
            return self.read(self.exchange(*self.messages(statement, mode)), mode)
        except (OSError, rawwire.Closed) as lost:
            self.wire, answer = None, Answer()
            answer.code, answer.message = "lost", repr(lost)
            return answer

    def read(self, received, mode):
        """The answer that these messages are."""
        answer = Answer()
        for kind, body in received:
            if kind == "T":
                answer.columns = [(column[0], self.types.get(column[3], column[3])) for column in columns(body)]
                answer.modifiers = [column[4:7] for column in columns(body)]
            elif kind == "D":
                row = row_values(body, raw=True)
                if "binary" in mode:
                    row = [type_named(value, type, self.types) for value, (_, type) in zip(row, answer.columns)]
                answer.rows.append(row)
            elif kind == "d":
                answer.rows.append([body])
            elif kind == "t":
                answer.parameters = [self.types.get(oid, oid) for oid in struct.unpack_from(f"!{(len(body) - 2) // 4}I", body, 2)]
            elif kind == "C":
                answer.tags.append(tag(body))
                answer.tag = answer.tag if tag(body) in ("BEGIN", "COMMIT", "ROLLBACK") else tag(body)
            elif kind == "Z":
                answer.status = body.decode()
            elif kind == "E" and answer.code is None:
                fields = error_fields(body)
                answer.code, answer.message = fields["C"], "; ".join(fields[each] for each in "MDH" if each in fields)
        return answer

    def tier(self, statement):
        """Which tier answers it: 1 to 4; 0: none."""
        sql = statement.text() if hasattr(statement, "text") else statement
        found = self.ask(f"EXPLAIN (MOSAIC) {sql}", "simple")
        first = found.rows[0][0] if found.rows else b""
        return int(first[5:6]) if first.startswith(b"tier ") else 0

    def close(self):
        if self.wire:
            self.wire.close()


def close_numbers(a, b):
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return a == b or (math.isnan(a) and math.isnan(b))
    return abs(a - b) <= 1e-9 * max(1.0, abs(a), abs(b))


LONG = re.compile(rb"-?\d+\.\d{13,}(e[+-]\d+)?")  # as only floats, and quotients, are written


def rounded(answer):
    """Of COPY, whose lines do not tell types: what may be a float to nine digits. Other ways compare numerics in full."""
    made = part(answer, 0, len(answer.rows))
    made.parameters, made.modifiers = answer.parameters, answer.modifiers
    made.rows = [[value and LONG.sub(lambda found: b"%.9g" % float(found[0]), value) for value in row] for row in answer.rows]
    return made


def number(value, type, is_binary):
    if not is_binary:
        return float(value)
    return struct.unpack("!d" if type == "float8" else "!f", value)[0]


def canonical(value, type, is_binary, is_loose):
    """For a multiset: values that may differ in writing alone are equal."""
    if type == BLANKED and value is not None and is_loose:
        return value.rstrip(b" ")
    if value is None or type not in (*FLOATS, NUMERIC):
        return value
    if type == NUMERIC:
        return numeric(value, is_binary) if is_loose else value
    found = number(value, type, is_binary)
    if math.isnan(found) or math.isinf(found):
        return repr(found)
    if found == 0 and not is_loose:
        return repr(found)
    return float(f"{found:.9g}") + 0.0


def numeric(value, is_binary):
    """A numeric without trailing zeros."""
    if not is_binary:
        text = value.decode()
        return text.rstrip("0").rstrip(".") if "." in text else text
    count, weight, sign, _ = struct.unpack_from("!HhHH", value)
    digits = list(struct.unpack_from(f"!{count}H", value, 8))
    while digits and digits[-1] == 0:
        digits.pop()
    return (weight if digits else 0, sign, *digits)


def same_value(a, b, type, is_binary, is_loose):
    if a == b:
        return True
    if a is None or b is None:
        return False
    if type in FLOATS:
        one, two = number(a, type, is_binary), number(b, type, is_binary)
        if one == 0 and two == 0:
            return is_loose
        return close_numbers(one, two)
    if type == BLANKED:
        return is_loose and a.rstrip(b" ") == b.rstrip(b" ")
    return type == NUMERIC and is_loose and numeric(a, is_binary) == numeric(b, is_binary)


def same_rows(one, two, types, is_binary, is_loose):
    return all(same_value(a, b, type, is_binary, is_loose)
               for left, right in zip(one, two) for a, b, type in zip(left, right, types))


def lost_modifiers(expected, got):
    """Is it only that one has a modifier, numeric(12,2)'s, and the other none? Expressions over groups lose it in tier 3; of
    set operations PostgreSQL tells what its plan has, which may have left out a SELECT without rows."""
    return len(expected) == len(got) and all(one == two or (one[0], one[2]) == (two[0], two[2]) and -1 in (one[1], two[1])
                                             for one, two in zip(expected, got))


def differing(expected, got, order, mode, is_loose, may_lose=False):
    """None, or what is wrong in an answer without an error. order: None, "all", or the positions that are sorted."""
    if expected.parameters != got.parameters:
        return f"parameters {expected.parameters} became {got.parameters}"
    if expected.columns != got.columns:
        return f"columns {expected.columns} became {got.columns}"
    if expected.modifiers != got.modifiers and not (may_lose and lost_modifiers(expected.modifiers, got.modifiers)):
        return f"modifiers {expected.modifiers} became {got.modifiers}"
    if expected.tag != got.tag or len(expected.rows) != len(got.rows):
        return f"{expected.tag} became {got.tag}"
    if mode == "copy":
        expected, got = rounded(expected), rounded(got)
    types = [type for _, type in expected.columns or []] or [None] * 1
    is_binary = "binary" in mode
    if order == "all" and not same_rows(expected.rows, got.rows, types, is_binary, is_loose):
        return "rows, or their order"
    if "prepared" in mode and order != "all":
        half = len(got.rows) // 2
        if sum(1 for _ in got.rows) % 2:
            return "an odd number of rows from two executions"
        expected, got = part(expected, 0, half), part(got, 0, half)
    if order and order != "all" and mode != "copy":
        keys = [[[row[at] for at in order] for row in answer.rows] for answer in (expected, got)]
        if not same_rows(*keys, [types[at] for at in order], is_binary, True):
            return "the order"
    multisets = [collections.Counter(tuple(canonical(value, type, is_binary, is_loose) for value, type in zip(row, types))
                                     for row in answer.rows) for answer in (expected, got)]
    return None if multisets[0] == multisets[1] else "rows"


def part(answer, start, end):
    made = Answer()
    made.columns, made.tag, made.rows = answer.columns, answer.tag, answer.rows[start:end]
    return made


def judge(expected, got, order, mode, is_loose=True, may_lose=False):
    """("equal" | "refused" | "slow" | "wrong", why). may_lose: see lost_modifiers."""
    if expected.code in FAILED or (got.code == "57014" and not expected.code):
        return "slow", got.message
    if got.code == "0A000" and expected.code != "0A000":
        return "refused", got.message
    if expected.code or got.code:
        if expected.code == got.code:
            return "equal", None
        return "wrong", f"{expected.code or expected.tag} became {got.code or got.tag}"
    why = differing(expected, got, order, mode, is_loose, may_lose)
    return ("wrong", why) if why else ("equal", None)
