"""What bench/run measures on Citus: load against \\copy into the coordinator, copy against pg_dump | psql.

Both of a pair do the same to the same tables, one behind the other, each first in every other turn; the median of the
turns' ratios counts. pg_dump | psql does not verify, and copy does: both are shown, with and without.
"""
import itertools
import os
import pathlib
import re
import statistics
import subprocess
import time

TURNS = 7
ROWS_MOST = 500_000
SHARDS = 8
USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, created timestamptz)"
# A bar of 1, less what two runs of one and the same program differ by here.
AS_FAST = ">=0.95"


def missing():
    """Why there can be no lab of Citus, or None."""
    for major in range(18, 12, -1):
        for programs in (f"/usr/lib/postgresql/{major}/bin", f"/usr/pgsql-{major}/bin"):
            config = pathlib.Path(programs, "pg_config")
            if config.exists():
                share = subprocess.run([config, "--sharedir"], capture_output=True, text=True, check=True).stdout.strip()
                if pathlib.Path(share, "extension", "citus.control").exists():
                    return None
    return "Citus is in no PostgreSQL of this machine"


class Cluster:
    """A lab with one address: of one PostgreSQL, or of Citus."""

    def __init__(self, command, directory, name, *options):
        self.command, self.directory, self.name = command, directory / name, name
        self.directory.mkdir()
        self.call("lab", "up", name, *options)
        out = subprocess.run([command, "lab", "env", name], cwd=self.directory, capture_output=True, text=True,
                             check=True, timeout=60).stdout
        self.env = {**os.environ, **dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", out, re.MULTILINE))}
        self.config = pathlib.Path(self.env["PGMOSAIC_CONFIG"])
        self.conninfo = re.search(r'(?:conninfo|coordinator): *"([^"]*)"', self.config.read_text())[1]

    def call(self, *words):
        subprocess.run([self.command, *words], cwd=self.directory, check=True, timeout=900, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, env=getattr(self, "env", None))

    def psql(self, *statements):
        words = [word for statement in statements for word in ("-c", statement)]
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", self.conninfo, *words], check=True, timeout=900,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def timed(work):
    started = time.monotonic()
    work()
    return time.monotonic() - started


def in_turns(first, second, before):
    """Pairs of seconds (first, second); what has to be done before each does not count."""
    pairs = []
    for turn in range(TURNS):
        seconds = {}
        for work in (first, second) if turn % 2 else (second, first):
            before()
            seconds[work] = timed(work)
        pairs.append((seconds[first], seconds[second]))
    return pairs


def load(citus, path, result):
    citus.psql(USERS)
    citus.call("apply", "--yes")

    pairs = in_turns(lambda: citus.psql(f"\\copy users from '{path}' (format csv, header)"),
                     lambda: citus.call("load", "users", str(path)), lambda: citus.psql("TRUNCATE users"))
    ratios = [their / our for their, our in pairs]
    citus.psql("DROP TABLE users")
    result("citus_load_against_copy", statistics.median(ratios), "times \\copy's speed", AS_FAST)


def dump(one, citus):
    """The same table, distributed, filled, and then indexed: by pg_dump and psql, as its manual says."""
    def pipe(section):
        subprocess.run(f"pg_dump '{one.conninfo}' --no-owner -t users --section={section} | "
                       f"psql -qX -v ON_ERROR_STOP=1 '{citus.conninfo}' >{os.devnull}", shell=True, check=True, timeout=900)
    pipe("pre-data")
    citus.psql(f"SELECT create_distributed_table('users', 'id', shard_count => {SHARDS})")
    pipe("data")
    pipe("post-data")


def copy(one, citus, path, result):
    one.psql(USERS, "CREATE INDEX ON users (email)", f"\\copy users from '{path}' (format csv, header)", "ANALYZE")
    both = ["--from", str(one.config), "--to", str(citus.config)]
    checks = []

    def ours():
        citus.call("copy", *both)
        checks.append(timed(lambda: citus.call("copy", *both, "--verify")))
    pairs = in_turns(lambda: dump(one, citus), ours, lambda: citus.psql("DROP TABLE IF EXISTS users"))
    # Each of ours has verified twice: in the copy, and once more to know how long that takes.
    result("copy_against_dump", statistics.median(their / (our - 2 * check) for (their, our), check in zip(pairs, checks)),
           "times pg_dump | psql's speed", AS_FAST)
    result("copy_verified_against_dump",
           statistics.median(their / (our - check) for (their, our), check in zip(pairs, checks)),
           "times pg_dump | psql's speed")


def head(path, scratch):
    """At most ROWS_MOST rows of the file, and its header."""
    short = scratch / "citus.csv"
    with open(path) as source, open(short, "w") as target:
        target.writelines(itertools.islice(source, ROWS_MOST + 1))
    return short


def measure(command, scratch, path, result):
    citus = one = None
    path = head(path, scratch)
    try:
        citus = Cluster(command, scratch, "citus", "--engine", "citus", "--workers", "2")
        with open(citus.config, "a") as config:
            config.write(f"\n  - {{name: users, key: id, shard_count: {SHARDS}}}\n")
        load(citus, path, result)
        one = Cluster(command, scratch, "one", "--shards", "1")
        copy(one, citus, path, result)
    finally:
        for cluster in (citus, one):
            if cluster:
                cluster.call("lab", "down", cluster.name)
