"""Makes a failing statement small: while a smaller tree still fails, it takes its place."""
import time

from tree import NOTHING, Constant, Node

DEFAULTS = {"int": "1", "bigint": "1", "numeric": "1", "text": "'a'", "boolean": "true", "float8": "1::float8"}


def replaced(node, old, new):
    """A copy of the tree with `new` in the place of `old`; what is not on the way is shared."""
    if node is old:
        return new
    parts, changed = [], False
    for part in node.parts:
        made = replaced(part, old, new) if isinstance(part, Node) else part
        changed |= made is not part
        parts.append(made)
    return node.with_parts(parts) if changed else node


def smaller(node):
    """What may stand in the place of this node, the smallest first."""
    if node.optional:
        yield NOTHING
    below = [each for each in node.nodes() if each is not node and each.kind == node.kind]
    if node.kind not in ("list", "clause"):
        yield from sorted(below, key=Node.size)
    if node.kind.startswith("expr:") and not isinstance(node, Constant):
        kind = node.kind.removeprefix("expr:")
        yield Node(node.kind, [DEFAULTS.get(kind, f"NULL::{kind}")])
    if node.least is not None and len(node.parts) > node.least:
        half = len(node.parts) // 2
        if half > 1 and half >= node.least:
            yield node.with_parts(node.parts[half:])
            yield node.with_parts(node.parts[:half])
        for at in range(len(node.parts)):
            yield node.with_parts(node.parts[:at] + node.parts[at + 1:])


def shrink(tree, fails, seconds=20, tries=600):
    """fails(tree): does this one fail in the same way? Ends after so many seconds or tries."""
    until = time.monotonic() + seconds
    again = True
    while again:
        again = False
        for node in sorted(tree.nodes(), key=Node.size, reverse=True):
            for new in smaller(node):
                if time.monotonic() > until or tries == 0:
                    return tree
                candidate = replaced(tree, node, new)
                if candidate is tree or len(candidate.text()) >= len(tree.text()):
                    continue
                tries -= 1
                if fails(candidate):
                    tree, again = candidate, True
                    break
            if again:
                break
    return tree
