#!/usr/bin/python3
"""What it costs that several shards answer one statement through the proxy: make bench-scatter.

The baseline: each client has a connection to every shard, asks all of them for the same statement at once, and is done
when the last one is; so it has four answers, and nobody merged them. Proxy and baseline have the same client program
(scatter_client.c), clients and server connections, and run by turns; a ratio is the median over the pairs' ratios. Beside
them, as information: one PostgreSQL with all rows, and Citus with two workers, where it is installed.

    BENCH_ROWS=10000000 BENCH_ROUNDS=5 BENCH_SECONDS=0.5 BENCH_CLIENTS=1,4 BENCH_ONLY=scan make bench-scatter

BENCH_ROWS: of the scan. BENCH_SECONDS: of one run. BENCH_ONLY: cases whose names contain it.
"""
import collections
import contextlib
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import citus_bench  # noqa: E402
import proxy_bench  # noqa: E402
from proxy_bench import COMMAND, TOP, say  # noqa: E402

CLIENT = TOP / "build" / "bench" / "scatter_client"
SHARDS = 4
ROWS = int(os.environ.get("BENCH_ROWS") or 10_000_000)
ROUNDS = int(os.environ.get("BENCH_ROUNDS") or 5)
SECONDS = float(os.environ.get("BENCH_SECONDS") or 0.5)
CLIENTS = [int(n) for n in (os.environ.get("BENCH_CLIENTS") or "1,4").split(",")]
ONLY = os.environ.get("BENCH_ONLY") or ""
ACCOUNTS, ENTRIES_EACH, BRANCHES = 400_000, 2, 1000
MEMORY_MOST = 64  # MiB

TABLES = {  # name: (key, definition, rows as a query of generate_series' i, how many i)
    "accounts": ("id", "(id bigint PRIMARY KEY, branch int, balance int, name text COLLATE \"C\")",
                 f"i, i / 7 % {BRANCHES}, (i * 7919 % {ACCOUNTS})::int, 'account ' || i", ACCOUNTS),
    "entries": ("account", "(account bigint, n int, amount int, PRIMARY KEY (account, n))",
                f"i / {ENTRIES_EACH}, i % {ENTRIES_EACH}, (i * 31 % 10000)::int", ACCOUNTS * ENTRIES_EACH),
    "events": ("id", "(id bigint, kind int, body text)", "i, (i % 100)::int, 'this is event ' || i", ROWS),
}
INDEXES = "CREATE INDEX ON accounts (branch)"

Case = collections.namedtuple("Case", "name tier modes text bar clients")
SIMPLE, PREPARED, BOTH = ("simple",), ("prepared",), ("simple", "prepared")
CASES = [
    Case("point read", 1, BOTH, "SELECT balance FROM accounts WHERE id = $1", None, CLIENTS),
    Case("ORDER BY key LIMIT 100", 2, BOTH, "SELECT id, balance, name FROM accounts ORDER BY id LIMIT 100", 1.2, CLIENTS),
    Case("ORDER BY text LIMIT 100", 2, BOTH, "SELECT id, balance, name FROM accounts WHERE branch = 17 "
         "ORDER BY name DESC, id LIMIT 100", 1.2, CLIENTS),
    Case("ORDER BY LIMIT 100, all rows sorted", 2, SIMPLE,
         "SELECT id, balance, name FROM accounts ORDER BY balance, id LIMIT 100", 1.2, CLIENTS),
    Case("count, sum of 400 rows", 2, BOTH, "SELECT count(*), sum(balance), min(id) FROM accounts WHERE branch = 17", 1.3,
         CLIENTS),
    Case("count, sum of all rows", 2, SIMPLE, "SELECT count(*), sum(balance), min(name) FROM accounts", 1.3, CLIENTS),
    Case("GROUP BY key, 400 groups", 2, BOTH, "SELECT account, count(*), sum(amount) FROM entries "
         "WHERE account BETWEEN 1001 AND 1400 GROUP BY account", 1.3, CLIENTS),
    Case("GROUP BY other, 10 groups", 3, BOTH, "SELECT branch, count(*), sum(balance), avg(balance) FROM accounts "
         "WHERE branch < 10 GROUP BY branch", 1.3, CLIENTS),
    Case("GROUP BY other, all rows", 3, SIMPLE, "SELECT branch, count(*), sum(balance), avg(balance) FROM accounts "
         "GROUP BY branch ORDER BY branch", 1.3, CLIENTS),
    Case("join by no key", 4, SIMPLE, "SELECT a.id, b.name FROM accounts a JOIN accounts b ON b.balance = a.id "
         "WHERE a.branch = 17 AND b.branch = 18", 1.2, CLIENTS),
    Case("scan", 2, SIMPLE, "SELECT id, kind, body FROM events", 0.8, [1]),
]
PLAIN = " sslmode=disable gssencmode=disable"


# ---- servers ----


def fill(cluster, databases, start=0, step=1):
    """Each of the databases has its rows: all at once, as servers of a cluster would."""
    running = []
    for number, conninfo in enumerate(databases):
        words = []
        for name, (_, _, columns, count) in TABLES.items():
            words += ["-c", f"INSERT INTO {name} SELECT {columns} FROM generate_series(1, {count}::bigint) i "
                      f"WHERE {owner(name)} % {len(databases)} = {number}"]
        words += ["-c", INDEXES, "-c", "VACUUM ANALYZE"]
        running.append(subprocess.Popen(["psql", "-qX", "-v", "ON_ERROR_STOP=1", conninfo, *words], env=cluster.env,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    for process in running:
        errors = process.communicate(timeout=400)[1]
        if process.returncode:
            raise RuntimeError(f"filling: {errors}")


def owner(table):
    return f"i / {ENTRIES_EACH}" if table == "entries" else "i"


def create(cluster, conninfo):
    for name, (_, definition, _, _) in TABLES.items():
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", conninfo, "-c", f"CREATE TABLE {name} {definition}"],
                       env=cluster.env, check=True, timeout=60)


class Shards(citus_bench.Cluster):
    def __init__(self, scratch):
        super().__init__(COMMAND, scratch, "scatter", "--shards", str(SHARDS))
        self.shards = [text + PLAIN for text in re.findall(r'conninfo: *"([^"]*)"', self.config.read_text())]
        self.coordinator = self.shards[0].replace(f"dbname={self.name}", f"dbname={self.name}_coordinator")
        for conninfo in self.shards:
            create(self, conninfo)
        with open(self.config, "a") as config:
            for name, (key, _, _, _) in TABLES.items():
                config.write(f"\n  - {{name: {name}, key: {key}, function: modulo}}\n")
        self.call("apply", "--yes")
        fill(self, self.shards)


class One(citus_bench.Cluster):
    def __init__(self, scratch):
        super().__init__(COMMAND, scratch, "one", "--shards", "1")
        self.conninfo += PLAIN
        create(self, self.conninfo)
        fill(self, [self.conninfo])


class Citus(citus_bench.Cluster):
    def __init__(self, scratch):
        super().__init__(COMMAND, scratch, "citus", "--engine", "citus", "--workers", "2")
        self.conninfo += PLAIN
        create(self, self.conninfo)
        for name, (key, _, _, _) in TABLES.items():
            self.psql(f"SELECT create_distributed_table('{name}', '{key}', shard_count => {SHARDS})")
        fill(self, [self.conninfo])


class Proxy:
    """Ours, with one thread."""

    def __init__(self, cluster):
        self.place = pathlib.Path(tempfile.mkdtemp(dir=cluster.directory))
        port = proxy_bench.free_port()
        head, _, tables = cluster.config.read_text().partition("\ntables:")
        (self.place / "mosaic.yaml").write_text(
            f"{head}\nproxy:\n  auth_type: trust\n  unix_socket_dir: \"{self.place}\"\n  pool_size: {max(CLIENTS)}\n"
            f"  log_connections: false\n  log_disconnections: false\n\ntables:{tables}")
        self.process = proxy_bench.launch([COMMAND, "proxy", "-c", self.place / "mosaic.yaml", "--listen", f"127.0.0.1:{port}",
                                           "--threads", "1"], port, self.place / "log", env=cluster.env, cwd=self.place)
        self.conninfo = f"host=127.0.0.1 port={port} dbname={cluster.name} user={cluster.env['PGUSER']}" + PLAIN

    def cpu(self):
        """Seconds of all threads, user and system."""
        return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
                   ) / 1e9

    def most_memory(self):
        """MiB that were ever resident."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


# ---- measuring ----

Run = collections.namedtuple("Run", "seconds rows statements cpu")  # cpu: the proxy's, µs a statement


def ask(env, mode, clients, count, case, addresses, proxy=None):
    before = proxy.cpu() if proxy else 0
    keys = ACCOUNTS if "$1" in case.text else 0
    out = subprocess.run([CLIENT, str(clients), str(count), mode, str(keys), case.text, *addresses], env=env,
                         capture_output=True, text=True, timeout=300)
    if out.returncode:
        raise RuntimeError(f"{case.name}: {out.stderr}")
    seconds, rows, _, _ = out.stdout.split()
    return Run(float(seconds), int(rows), count * clients, ((proxy.cpu() - before) / count / clients * 1e6) if proxy else 0)


class Bench:
    def __init__(self, shards, proxy, others):
        self.shards, self.proxy, self.others, self.env = shards, proxy, others, shards.env
        self.lines, self.failed = [], False

    def line(self, name, figures, ratio="", bar="", met=None):
        self.failed |= met is False
        self.lines.append((name, *figures, ratio, bar, "" if met is None else "yes" if met else "NO"))
        say("  " + "  ".join(str(cell) for cell in self.lines[-1]))

    def psql(self, conninfo, sql):
        out = subprocess.run(["psql", "-XAt", "-v", "ON_ERROR_STOP=1", conninfo, "-c", sql], env=self.env, capture_output=True,
                             text=True, check=True, timeout=300).stdout.splitlines()
        return out if "ORDER BY" in sql else sorted(out)

    def tier(self, case):
        said = "\n".join(self.psql(self.proxy.conninfo, "EXPLAIN (MOSAIC) " + case.text.replace("$1", "1")))
        return int(re.search(r"tier (\d)", said)[1])

    def check(self, case):
        """What is fast and wrong is worth nothing."""
        text = case.text.replace("$1", "4711")
        if case.name != "scan" and self.psql(self.proxy.conninfo, text) != self.psql(self.others["one"].conninfo, text):
            raise RuntimeError(f"{case.name}: the proxy gives other rows than one PostgreSQL")

    def pairs(self, case, mode, clients):
        base = [self.shards.coordinator] if case.tier == 4 else self.shards.shards
        count = 1
        while case.name != "scan":
            took = ask(self.env, mode, clients, count, case, base).seconds
            if took > SECONDS / 4 or count > 1 << 20:
                count = max(1, round(count * SECONDS / took))
                break
            count *= 4
        pairs = []
        ask(self.env, mode, clients, 1, case, [self.proxy.conninfo])
        for turn in range(ROUNDS):
            runs = {}
            for side in ("base", "ours") if turn % 2 else ("ours", "base"):
                runs[side] = (ask(self.env, mode, clients, count, case, base) if side == "base" else
                              ask(self.env, mode, clients, count, case, [self.proxy.conninfo], self.proxy))
            pairs.append((runs["base"], runs["ours"]))
        return count, pairs

    def beside(self, other, case, mode, clients, count):
        try:
            run = other and ask(other.env, mode, clients, max(1, count // 2), case, [other.conninfo])
        except RuntimeError:
            return "refused"  # Citus joins by no key only where it is told to send rows about
        return f"{run.seconds / run.statements * 1e3:.3f}" if run else "-"

    def measure(self, case, mode, clients):
        tier = self.tier(case)
        count, pairs = self.pairs(case, mode, clients)
        base, ours = (statistics.median(run.seconds / run.statements for run in side) for side in zip(*pairs))
        cpu = statistics.median(run.cpu for _, run in pairs)
        beside = [self.beside(self.others.get(name), case, mode, clients, count) for name in ("one", "citus")]
        name = f"{case.name}, {mode}, {clients}" + (f" (tier {tier})" if tier == case.tier else f" (tier {tier}, not {case.tier})")
        figures = (f"{base * 1e3:.3f}", f"{ours * 1e3:.3f}", f"{cpu:.0f}", *beside)
        if case.name == "scan":
            ratio = statistics.median(one.seconds / two.seconds for one, two in pairs)
            self.line(name, figures, f"{ratio:.3f}", f">={case.bar}", ratio >= case.bar)
            rows = pairs[0][1].rows
            if rows != pairs[0][0].rows or rows != ROWS:
                raise RuntimeError(f"the scan has {rows} rows of {ROWS}")
            say(f"  {rows / ours / 1e6:.2f} million rows/s, and {rows / base / 1e6:.2f} by the shards together")
            return
        ratio = statistics.median(two.seconds / one.seconds for one, two in pairs)
        if case.bar:
            self.line(name, figures, f"{ratio:.3f}", f"<={case.bar}", ratio <= case.bar)
        else:
            self.line(name, figures, f"{ratio:.3f}")

    def run(self):
        for case in CASES:
            if ONLY not in case.name:
                continue
            self.check(case)
            for mode, clients in itertools.product(case.modes, case.clients):
                self.measure(case, mode, clients)
        most = self.proxy.most_memory()
        self.line("most memory of the proxy, MiB", ("", f"{most:.1f}", "", "", ""), "", f"<={MEMORY_MOST}", most <= MEMORY_MOST)

    def print(self):
        rows = [("statement, mode, clients", "shards ms", "proxy ms", "CPU µs", "one ms", "Citus ms", "ratio", "bar", "met?"),
                *self.lines]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) if i in (0, 8) else cell.rjust(width)
                            for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="pgmosaic-bench-"))
    scratch.chmod(0o755)
    bench = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers go whatever ends it
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, scratch, ignore_errors=True)
        started = time.monotonic()

        def lab(kind):
            name = {Shards: "scatter", One: "one", Citus: "citus"}[kind]
            ends.callback(lambda: subprocess.run([COMMAND, "lab", "down", name], cwd=scratch / name, stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL))
            return kind(scratch)
        shards = lab(Shards)
        others = {"one": lab(One)}
        reason = citus_bench.missing()
        if reason:
            say(f"  without Citus: {reason}")
        else:
            others["citus"] = lab(Citus)
        say(f"  servers with their rows: {time.monotonic() - started:.0f} s")
        proxy = Proxy(shards)
        ends.callback(proxy.stop)
        bench = Bench(shards, proxy, others)
        bench.run()
    bench.print()
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
