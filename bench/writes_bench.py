#!/usr/bin/python3
"""What it costs that several shards write: make bench-writes.

Through the proxy onto four shards: an INSERT of 1,000 rows, an UPDATE of all rows and psql's \\copy of a file, beside one
PostgreSQL that has all of them; the same \\copy beside `pgmosaic load`; and a transaction of two UPDATEs on two shards (which
is committed by two phases) beside the same on one, both through the proxy. Both sides are asked by turns by one client; a
ratio is the median over the pairs' ratios. Beside them, as information, Citus with two workers, where it is installed. What
the proxy refuses is skipped.

    BENCH_ROUNDS=40 BENCH_ROWS=100000 BENCH_COPIED=1000000 BENCH_ONLY=INSERT make bench-writes
"""
import collections
import contextlib
import functools
import itertools
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import citus_bench  # noqa: E402
from proxy_bench import COMMAND, say  # noqa: E402
from scatter_bench import PLAIN, Proxy  # noqa: E402

SHARDS = 4
ROUNDS = int(os.environ.get("BENCH_ROUNDS") or 40)
ROWS = int(os.environ.get("BENCH_ROWS") or 100_000)
COPIED_ROWS = int(os.environ.get("BENCH_COPIED") or 1_000_000)
ONLY = os.environ.get("BENCH_ONLY") or ""
INSERTED = 1000
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, kind int, body text)"
COPIED = "CREATE TABLE copied (id bigint PRIMARY KEY, name text, email text, created timestamptz)"
FRESH = itertools.count(10 * ROWS)  # keys that nobody has

# Both sides are functions of a target; base is asked of one PostgreSQL where it is the same function, else of the proxy too.
# before: what is done on a side first, and not measured.
Case = collections.namedtuple("Case", "name ours base bar rounds before", defaults=[None])
# Where something is asked: psycopg2's connection; a function that runs psql's command there; one that loads a file.
Target = collections.namedtuple("Target", "connection psql load")


# ---- what is asked: each a function of a target ----


def run(connection, *statements):
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def insert(target):
    rows = ", ".join(f"({next(FRESH)}, {n % 100}, 'this is item {n}')" for n in range(INSERTED))
    run(target.connection, f"INSERT INTO items (id, kind, body) VALUES {rows}")


def update_all(target):
    run(target.connection, f"UPDATE items SET kind = kind + 1 WHERE id <= {ROWS}")


def two_updates(apart):
    """Of two rows whose keys are so far apart: 1 puts them on two shards, SHARDS on one."""
    def change(target):
        key = next(FRESH) % (ROWS - SHARDS) + 1
        run(target.connection, "BEGIN", f"UPDATE items SET kind = 1 WHERE id = {key}",
            f"UPDATE items SET kind = 2 WHERE id = {key + apart}", "COMMIT")
    return change


@functools.cache
def csv():
    """The file that is copied, made once."""
    file = tempfile.NamedTemporaryFile("w", prefix="pgmosaic-bench-", suffix=".csv")
    file.write("id,name,email,created\n")
    file.writelines(f"{i},user {i},user{i}@mail.example.org,2024-05-06 07:08:09+00\n" for i in range(COPIED_ROWS))
    file.flush()
    return file


def empty(target):
    run(target.connection, "TRUNCATE copied")


def copy(target):
    target.psql(f"\\copy copied FROM '{csv().name}' WITH (FORMAT csv, HEADER)")


def load(target):
    target.load("copied", csv().name)


CASES = [
    Case(f"INSERT of {INSERTED} rows", insert, insert, 2.0, ROUNDS),
    Case("transaction on two shards, to one on one", two_updates(1), two_updates(SHARDS), 2.8, 10 * ROUNDS),
    Case(f"UPDATE of {ROWS} rows", update_all, update_all, None, max(3, ROUNDS // 8)),
    Case(f"\\copy of {COPIED_ROWS} rows", copy, copy, 1 / 1.1, max(3, ROUNDS // 4), empty),
    Case(f"\\copy of {COPIED_ROWS} rows, to pgmosaic load", copy, load, 1 / 0.9, max(3, ROUNDS // 4), empty),
]


# ---- servers ----


class Servers(citus_bench.Cluster):
    def __init__(self, scratch, name, *options):
        super().__init__(COMMAND, scratch, name, *options)
        self.conninfo += PLAIN
        self.shards = [text + PLAIN for text in re.findall(r'conninfo: *"([^"]*)"', self.config.read_text())]

    def connect(self, conninfo=None):
        os.environ["PGPASSFILE"] = self.env["PGPASSFILE"]
        connection = psycopg2.connect(conninfo or self.conninfo)
        connection.autocommit = True
        return connection

    def target(self, conninfo=None):
        def psql(command):
            subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", conninfo or self.conninfo, "-c", command], env=self.env,
                           check=True, timeout=600)
        return Target(self.connect(conninfo), psql, lambda table, path: self.call("load", table, path))

    def make(self):
        with contextlib.closing(self.connect()) as connection:
            run(connection, TABLE, COPIED)

    def fill(self, share=""):
        """share: a condition of i."""
        for conninfo in self.shards if share else [None]:
            with contextlib.closing(self.connect(conninfo)) as connection:
                where = f" WHERE {share} = {self.shards.index(conninfo)}" if share else ""
                run(connection, *([TABLE, COPIED] if share else []),
                    f"INSERT INTO items SELECT i, i % 100, 'this is item ' || i FROM generate_series(1, {ROWS}) i{where}")


def shards(scratch):
    cluster = Servers(scratch, "writes", "--shards", str(SHARDS))
    cluster.fill(f"i % {SHARDS}")
    with open(cluster.config, "a") as config:
        config.write("".join(f"\n  - {{name: {name}, key: id, function: modulo}}\n" for name in ("items", "copied")))
    cluster.call("apply", "--yes")
    return cluster


def one(scratch):
    cluster = Servers(scratch, "one", "--shards", "1")
    cluster.make()
    cluster.fill()
    return cluster


def citus(scratch):
    cluster = Servers(scratch, "citus", "--engine", "citus", "--workers", "2")
    cluster.make()
    cluster.psql(*(f"SELECT create_distributed_table('{name}', 'id', shard_count => {SHARDS})" for name in ("items", "copied")))
    cluster.fill()
    return cluster


# ---- measuring ----


class Bench:
    def __init__(self, proxied, alone, beside):
        """Targets; beside: of Citus, or None."""
        self.proxied, self.alone, self.beside = proxied, alone, beside
        self.lines, self.failed = [], False

    @staticmethod
    def seconds(case, change, target):
        if case.before:
            case.before(target)
        started = time.perf_counter()
        change(target)
        return time.perf_counter() - started

    def pairs(self, case):
        base = self.proxied if case.base is not case.ours else self.alone
        pairs = []
        for turn in range(case.rounds):
            sides = {"ours": (case.ours, self.proxied), "base": (case.base, base)}
            took = {name: self.seconds(case, *sides[name]) for name in (sorted(sides) if turn % 2 else sorted(sides, reverse=True))}
            pairs.append((took["base"], took["ours"]))
        return pairs

    def of_citus(self, case):
        if not self.beside:
            return "-"
        took = [self.seconds(case, case.ours, self.beside) for _ in range(max(3, case.rounds // 4))]
        return f"{statistics.median(took) * 1e3:.2f}"

    def measure(self, case):
        try:
            self.seconds(case, case.ours, self.proxied)  # and caches are filled
        except psycopg2.errors.FeatureNotSupported as refused:
            self.lines.append((case.name, "", "", "", "", "-", f"skipped: {refused.diag.message_primary}"))
            say("  " + "  ".join(self.lines[-1]))
            return
        if case.base is case.ours:
            self.seconds(case, case.base, self.alone)
        pairs = self.pairs(case)
        base, ours = (statistics.median(side) * 1e3 for side in zip(*pairs))
        ratio = statistics.median(two / one for one, two in pairs)
        met = "" if case.bar is None else "yes" if ratio <= case.bar else "NO"
        self.failed |= met == "NO"
        self.lines.append((case.name, f"{base:.2f}", f"{ours:.2f}", self.of_citus(case), f"{ratio:.2f}",
                           f"<={case.bar:.3g}" if case.bar else "-", met))
        say("  " + "  ".join(self.lines[-1]))

    def check(self):
        """What is fast and wrong is worth nothing."""
        for target in (self.proxied, self.alone):
            with target.connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM items WHERE id <= {ROWS}")
                if cursor.fetchone()[0] != ROWS:
                    raise RuntimeError("there are other rows than there were")

    def print(self):
        rows = [("write", "base ms", "proxy ms", "Citus ms", "ratio", "bar", "met?"), *self.lines]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) if i in (0, 6) else cell.rjust(width)
                            for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="pgmosaic-bench-"))
    scratch.chmod(0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers go whatever ends it
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, scratch, ignore_errors=True)

        def lab(make, name):
            ends.callback(lambda: subprocess.run([COMMAND, "lab", "down", name], cwd=scratch / name, stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL))
            return make(scratch)
        ours, alone, beside = lab(shards, "writes"), lab(one, "one"), None
        reason = citus_bench.missing()
        if reason:
            say(f"  without Citus: {reason}")
        else:
            beside = lab(citus, "citus").target()
        proxy = Proxy(ours)
        ends.callback(proxy.stop)
        bench = Bench(ours.target(proxy.conninfo), alone.target(), beside)
        for case in CASES:
            if ONLY in case.name:
                bench.measure(case)
        bench.check()
    bench.print()
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
