"""Pass-through exactness: some thousand statements sent direct and through a proxy of one shard; the streams are equal.

What may differ, all of it:
  - BackendKeyData: the proxy's own keys; and the process that a notification names
  - OIDs of relations that the programs make (each run makes its own)
  - the order of the first ParameterStatus messages
  - file, line and routine of the errors that the proxy gives itself: OURS
  - a setting with a dot in its name that nobody has set in this session may read as empty rather than be unknown,
    because somebody did on the same server connection, and PostgreSQL never forgets it: no program asks for one
  - xid, position of the log and other values that no two sessions share: no program asks for them
SEED=n makes other programs; EXACT_SCALE=n more of them.
"""
import os

import pytest
import rawwire
import wireprograms
from proxies import direct_target, start_proxy

LAB_SHARDS = 1

pytestmark = pytest.mark.light

SEED = os.environ.get("SEED", "1")
SCALE = float(os.environ.get("EXACT_SCALE", "1"))
SHRINK_TRIES = 40
PROBLEMS = int(os.environ.get("PROBLEMS", "6"))  # so many differences are reported
PATIENCE = 5  # seconds for one answer
# A statement or portal that is not there, or there already, or has no parameters: what the proxy answers itself.
OURS = {"26000", "34000", "42P05", "42P03", "08P01"}


@pytest.fixture(scope="module")
def server(lab):
    direct = direct_target(lab)
    with direct.wire() as wire:
        wire.ask(wireprograms.SETUP)
    return direct


@pytest.fixture(scope="module", params=["transaction", "session"])
def proxy(request, lab, server):
    with start_proxy(lab, {"pool_mode": request.param}) as started:
        yield started


class Comparison:
    def __init__(self, direct, proxy):
        self.direct, self.proxy = direct, proxy
        with direct.wire() as wire:
            # What has a greater OID was made by a program.
            self.newest = int(wire.ask("SELECT max(oid::int8) FROM pg_class")[0][0])

    def plain(self, kind, body):
        """A message without what may differ."""
        if kind == "K":
            return kind, b""
        if kind == "A":
            return kind, body[4:]
        if kind == "E" and (fields := rawwire.error_fields(body)).get("C") in OURS:
            return kind, b"".join(rawwire.text(name + fields[name]) for name in fields if name not in "FLR")
        if kind == "T":
            made = [[c[0], "made" if c[1] > self.newest else c[1], *c[2:]] for c in rawwire.columns(body)]
            return kind, repr(made).encode()
        return kind, body

    def run(self, target, steps):
        """Per step: its messages. Ends early where the connection does, with what ended it."""
        with target.wire(timeout=PATIENCE) as wire:
            greeting = sorted(self.plain(*message) for message in wire.greeting)
            streams, failed = [greeting], False
            for step in steps:
                if failed and "Z" not in step.kinds:
                    streams.append([])  # after an error nothing is answered up to Sync
                    continue
                try:
                    wire.send(step.data)
                    messages = wire.until(step.kinds, step.count)
                except (rawwire.Closed, OSError) as end:
                    messages = getattr(end, "messages", []) + [("!", repr(end).encode())]
                streams.append([self.plain(*message) for message in messages])
                if messages[-1][0] == "!":
                    break
                failed = messages[-1][0] == "E"
        return streams

    def difference(self, steps):
        """None, or (index of the step, what was expected, what came)."""
        expected, got = self.run(self.direct, steps), self.run(self.proxy, steps)
        if expected == got:
            return None
        for i, (left, right) in enumerate(zip(expected, got)):
            if left != right:
                return i - 1, left, right
        return min(len(expected), len(got)) - 1, expected[-1], got[-1]

    def shrink(self, steps):
        """Fewer steps that still differ: cuts behind the difference, then leaves out what does not matter."""
        found = self.difference(steps)
        if found is None:
            return steps, None
        steps = steps[:found[0] + 1]
        if b"TimeoutError" in found[2][-1][1]:
            return steps, found
        tries, i = SHRINK_TRIES, len(steps) - 2
        while i >= 0 and tries:
            fewer = steps[:i] + steps[i + 1:]
            now = self.difference(fewer)
            if now is not None and now[0] == len(fewer) - 1 and now[1] and now[2] and now[1][-1] != now[2][-1:]:
                steps, found = fewer, now
            i, tries = i - 1, tries - 1
        return steps, found


def report(name, steps, found):
    index, expected, got = found
    at = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
    lines = [f"{name}, SEED={SEED}: the answers differ", "  sent:"]
    lines += [f"    {i}. {wireprograms.say(step)[:600]}" for i, step in enumerate(steps[:index + 1])]
    for title, messages in (("expected", expected), ("got", got)):
        lines.append(f"  {title}, from message {at} on:")
        lines += [f"    {rawwire.show(*message)[:400]}" if message[0] != "T" else f"    RowDescription {message[1][:300]!r}"
                  for message in messages[max(at - 1, 0):at + 4]]
    return "\n".join(lines)


def binaries_of(server):
    """The binary form of each literal of each type, as the server sends it."""
    found = {}
    with server.wire() as wire:
        for name, literals in wireprograms.TYPES.items():
            for literal in literals:
                messages = wire.exchange(rawwire.parse(f"SELECT $1::{name}") + rawwire.bind([literal], results=[1])
                                         + rawwire.execute() + rawwire.sync())
                rows = [rawwire.row_values(body, raw=True) for kind, body in messages if kind == "D"]
                found[name, literal] = rows[0][0] if rows else None
    return found


def run_programs(comparison, programs):
    problems = []
    for name, steps in programs:
        first = comparison.difference(steps)
        if first is None:
            continue
        shrunk, found = comparison.shrink(steps)
        problems.append(report(name, shrunk, found) if found else "only once: " + report(name, steps, first))
        if len(problems) == PROBLEMS:
            problems.append("… and no more was looked at")
            break
    return problems


def test_streams_are_equal(server, proxy, capsys):
    comparison = Comparison(server, proxy)
    scale = SCALE if proxy.settings["pool_mode"] == "transaction" else SCALE / 4
    programs = wireprograms.programs(SEED, binaries_of(server), scale)
    problems = run_programs(comparison, programs)
    with capsys.disabled():
        print(f"\n{len(programs)} programs, {sum(len(steps) for _, steps in programs)} steps, {len(problems)} differ")
    assert not problems, "\n\n".join(problems)


def test_differences_are_seen(server):
    """The comparison itself: a server that answers otherwise in one message of thousands is found."""
    class Other:
        def __init__(self, wire):
            self.wire = wire

        def __enter__(self):
            self.inner = self.wire.__enter__()
            inner_until = self.inner.until

            def until(kinds, count=1):
                return [(k, b.replace(b"item 33", b"item 34")) for k, b in inner_until(kinds, count)]
            self.inner.until = until
            return self.inner

        def __exit__(self, *error):
            self.wire.__exit__(*error)

    class Target:
        def wire(self, **_):
            return Other(server.wire())
    comparison = Comparison(server, Target())
    steps = [wireprograms.simple("SELECT 1"), wireprograms.simple("SELECT * FROM item ORDER BY id")]
    shrunk, found = comparison.shrink(steps * 3)
    assert found is not None and len(shrunk) <= 2
    assert "item 34" in report("changed", shrunk, found)
