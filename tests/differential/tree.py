"""A statement as a tree, so that it can be made smaller (shrink.py) and its constants given as parameters.

    Node("expr:int", ["(", left, " + ", right, ")"])     parts: texts and nodes
    Node("list", [one, two], separator=", ", least=1)     any of its parts may go, but for the last `least`
    Node("clause", [" WHERE ", condition], optional=True) may go as a whole
    Constant("int", "5")                                  5, or a parameter $n::int
"""

import zlib


def stretched(text):
    """The text, or (one in 16 of all texts) the same with more than a kilobyte behind its first word: what is made of it
    for a shard must not be cut."""
    head, blank, rest = text.partition(" ")
    is_long = blank and head.isalpha() and zlib.crc32(text.encode()) % 16 == 0
    return f"{head} /* {'as long as texts get ' * 60}*/ {rest}" if is_long else text


class Node:
    __slots__ = ("kind", "parts", "separator", "least", "optional")

    def __init__(self, kind, parts, separator="", least=None, optional=False):
        self.kind, self.parts, self.separator, self.least, self.optional = kind, parts, separator, least, optional

    def text(self, parameters=None):
        """parameters: None, or a dict that Constant fills: the statement is then one with $1, $2 …"""
        return self.separator.join(part if isinstance(part, str) else part.text(parameters) for part in self.parts)

    def with_parts(self, parts):
        return Node(self.kind, parts, self.separator, self.least, self.optional)

    def nodes(self):
        """This node and all below it, from the top."""
        yield self
        for part in self.parts:
            if isinstance(part, Node):
                yield from part.nodes()

    def size(self):
        return sum(1 for _ in self.nodes())


class Constant(Node):
    """A value of a type. Where the same node stands twice in a statement, it is one parameter."""
    __slots__ = ("type", "value", "bare", "is_open")

    def __init__(self, kind, type, value, bare=None, is_open=False):
        """bare: how it is written without a cast; None: as a quoted text with one. is_open: what stands beside it says
        of which type it is, parameter or not."""
        super().__init__(kind, [])
        self.type, self.value, self.bare, self.is_open = type, value, bare, is_open

    def text(self, parameters=None):
        if parameters is not None:
            number, _ = parameters.setdefault(id(self), (len(parameters) + 1, self.value))
            return f"${number}" if self.is_open else f"${number}::{self.type}"
        if self.bare is not None:
            return self.bare
        return "NULL::" + self.type if self.value is None else f"{quote(self.value)}::{self.type}"

    def with_parts(self, parts):
        return self


def quote(value):
    return ("E" if "\\" in value else "") + "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def listed(parts, separator=", ", least=1):
    return Node("list", parts, separator, least)


def clause(*parts):
    return Node("clause", list(parts), optional=True)


NOTHING = Node("nothing", [])
