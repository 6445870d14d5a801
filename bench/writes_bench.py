#!/usr/bin/python3
"""What it costs that several shards write: make bench-writes.

Through the proxy onto four shards: an INSERT of 1,000 rows, an UPDATE of all rows and COPY FROM, beside one PostgreSQL that
has all of them; and a transaction of two UPDATEs on two shards (which is committed by two phases) beside the same on one,
both through the proxy. Both sides are asked by turns by one client; a ratio is the median over the pairs' ratios. Beside
them, as information, Citus with two workers, where it is installed. What the proxy refuses is skipped.

    BENCH_ROUNDS=40 BENCH_ROWS=100000 BENCH_ONLY=INSERT make bench-writes
"""
import collections
import contextlib
import io
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
ONLY = os.environ.get("BENCH_ONLY") or ""
INSERTED = 1000
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, kind int, body text)"
FRESH = itertools.count(10 * ROWS)  # keys that nobody has

Case = collections.namedtuple("Case", "name ours base bar rounds")


# ---- what is asked: each a function of a connection ----


def run(connection, *statements):
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def insert(connection):
    rows = ", ".join(f"({next(FRESH)}, {n % 100}, 'this is item {n}')" for n in range(INSERTED))
    run(connection, f"INSERT INTO items (id, kind, body) VALUES {rows}")


def update_all(connection):
    run(connection, f"UPDATE items SET kind = kind + 1 WHERE id <= {ROWS}")


def copy(connection):
    text = "".join(f"{next(FRESH)}\t{n % 100}\tthis is item {n}\n" for n in range(ROWS))
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY items FROM STDIN", io.StringIO(text))


def two_updates(apart):
    """Of two rows whose keys are so far apart: 1 puts them on two shards, SHARDS on one."""
    def change(connection):
        key = next(FRESH) % (ROWS - SHARDS) + 1
        run(connection, "BEGIN", f"UPDATE items SET kind = 1 WHERE id = {key}",
            f"UPDATE items SET kind = 2 WHERE id = {key + apart}", "COMMIT")
    return change


CASES = [
    Case(f"INSERT of {INSERTED} rows", insert, insert, 2.0, ROUNDS),
    Case("transaction on two shards, to one on one", two_updates(1), two_updates(SHARDS), 2.8, 10 * ROUNDS),
    Case(f"UPDATE of {ROWS} rows", update_all, update_all, None, max(3, ROUNDS // 8)),
    Case(f"COPY FROM of {ROWS} rows", copy, copy, None, max(3, ROUNDS // 8)),
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

    def make(self):
        with contextlib.closing(self.connect()) as connection:
            run(connection, TABLE)

    def fill(self, share=""):
        """share: a condition of i."""
        for conninfo in self.shards if share else [None]:
            with contextlib.closing(self.connect(conninfo)) as connection:
                where = f" WHERE {share} = {self.shards.index(conninfo)}" if share else ""
                run(connection, *([TABLE] if share else []),
                    f"INSERT INTO items SELECT i, i % 100, 'this is item ' || i FROM generate_series(1, {ROWS}) i{where}")


def shards(scratch):
    cluster = Servers(scratch, "writes", "--shards", str(SHARDS))
    cluster.fill(f"i % {SHARDS}")
    with open(cluster.config, "a") as config:
        config.write("\n  - {name: items, key: id, function: modulo}\n")
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
    cluster.psql(f"SELECT create_distributed_table('items', 'id', shard_count => {SHARDS})")
    cluster.fill()
    return cluster


# ---- measuring ----


class Bench:
    def __init__(self, proxied, alone, beside):
        """Connections; beside: of Citus, or None."""
        self.proxied, self.alone, self.beside = proxied, alone, beside
        self.lines, self.failed = [], False

    @staticmethod
    def seconds(change, connection):
        started = time.perf_counter()
        change(connection)
        return time.perf_counter() - started

    def pairs(self, case):
        base = self.proxied if case.base is not case.ours else self.alone
        pairs = []
        for turn in range(case.rounds):
            sides = {"ours": (case.ours, self.proxied), "base": (case.base, base)}
            took = {name: self.seconds(*sides[name]) for name in (sorted(sides) if turn % 2 else sorted(sides, reverse=True))}
            pairs.append((took["base"], took["ours"]))
        return pairs

    def of_citus(self, case):
        if not self.beside:
            return "-"
        took = [self.seconds(case.ours, self.beside) for _ in range(max(3, case.rounds // 4))]
        return f"{statistics.median(took) * 1e3:.2f}"

    def measure(self, case):
        try:
            case.ours(self.proxied)  # and caches are filled
        except psycopg2.errors.FeatureNotSupported as refused:
            self.lines.append((case.name, "", "", "", "", "-", f"skipped: {refused.diag.message_primary}"))
            say("  " + "  ".join(self.lines[-1]))
            return
        case.base(self.alone)
        pairs = self.pairs(case)
        base, ours = (statistics.median(side) * 1e3 for side in zip(*pairs))
        ratio = statistics.median(two / one for one, two in pairs)
        met = "" if case.bar is None else "yes" if ratio <= case.bar else "NO"
        self.failed |= met == "NO"
        self.lines.append((case.name, f"{base:.2f}", f"{ours:.2f}", self.of_citus(case), f"{ratio:.2f}",
                           f"<={case.bar}" if case.bar else "-", met))
        say("  " + "  ".join(self.lines[-1]))

    def check(self):
        """What is fast and wrong is worth nothing."""
        for connection in (self.proxied, self.alone):
            with connection.cursor() as cursor:
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
            beside = lab(citus, "citus").connect()
        proxy = Proxy(ours)
        ends.callback(proxy.stop)
        bench = Bench(ours.connect(proxy.conninfo), alone.connect(), beside)
        for case in CASES:
            if ONLY in case.name:
                bench.measure(case)
        bench.check()
    bench.print()
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
