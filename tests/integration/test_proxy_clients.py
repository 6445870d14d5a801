"""Real clients: each runs its script direct and through the proxy, and must see the same.

Direct is one PostgreSQL; the proxy stands before CLIENT_SHARDS of them (default 2). A script (clients/) prints all that
its driver shows: rows, types, tags, error codes. A client that the machine lacks is skipped, with the reason.
"""
import contextlib
import difflib
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import time

import pytest
from conftest import PATIENCE
from proxies import STANDIN, direct_target, start_proxy

pytestmark = pytest.mark.light

CLIENTS = pathlib.Path(__file__).parent / "clients"
SHARDS = 1 if STANDIN else int(os.environ.get("CLIENT_SHARDS", "2"))
TABLES = """
  - {name: account, key: id, function: modulo}
  - {name: entry, key: account, function: modulo}
"""


class Pair:
    """One PostgreSQL, and a cluster behind a proxy, with the same tables."""

    def __init__(self, alone, cluster, direct, proxy):
        self.alone, self.cluster, self.direct, self.proxy = alone, cluster, direct, proxy

    def empty(self):
        for lab in (self.alone, self.cluster):
            lab.everywhere("TRUNCATE account, entry, plain")

    def fill(self):
        """Six accounts with ten entries each, on both sides."""
        self.empty()
        for lab, shards in ((self.alone, 1), (self.cluster, SHARDS)):
            for shard in range(shards):
                mine = f"WHERE i % {shards} = {shard}"
                lab.query(shard, f"INSERT INTO account SELECT i, 'owner ' || i, i FROM generate_series(1, 6) i {mine}")
                lab.query(shard, "INSERT INTO entry SELECT i, n, 'w' || n FROM generate_series(1, 6) i, "
                                 f"generate_series(0, 9) n {mine}")

    def sides(self):
        return (self.direct, self.proxy)


@pytest.fixture(scope="module")
def pair(make_lab):
    schema = (CLIENTS / "schema.sql").read_text()
    alone, cluster = make_lab(1, "town"), make_lab(SHARDS, "town")
    for lab in (alone, cluster):
        lab.everywhere(schema)
    if shutil.which("sysbench"):
        for lab in (alone, cluster):
            sysbench(direct_target(lab), "prepare")
    if SHARDS > 1:
        cluster.add_tables(TABLES)
        cluster.run("apply", "--yes", check=True)
    with start_proxy(cluster, {"pool_size": 10}) as proxy:
        yield Pair(alone, cluster, direct_target(alone), proxy)


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"this machine has no {program}")


def call(target, words, timeout=100, **options):
    env = {**target.env, "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})}
    done = subprocess.run([str(word) for word in words], env=env, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL,
                          timeout=timeout * PATIENCE, **options)
    return done


def same(pair, words, minimum, plain=lambda text: text, **options):
    """The client's output is the same on both sides, and has at least so many lines (so it did not stop early)."""
    pair.empty()
    outputs = []
    for target in pair.sides():
        done = call(target, words, **options)
        assert done.returncode == 0, (f"{words} exited {done.returncode} at port {target.port}:\n"
                                      f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
        outputs.append(plain(done.stdout).splitlines())
        if target is pair.direct:
            assert len(outputs[0]) >= minimum, done.stdout
            pair.empty()
    if outputs[0] != outputs[1]:
        pytest.fail("\n".join(list(difflib.unified_diff(*outputs, "direct", "proxy", lineterm="", n=1))[:60]),
                    pytrace=False)


# ---- drivers ----


@pytest.mark.parametrize("module, minimum", [("psycopg2", 45), ("psycopg3", 45), ("asyncpg", 30), ("sqlalchemy", 10)])
def test_python(pair, module, minimum):
    name = {"psycopg3": "psycopg"}.get(module, module)
    if call(pair.direct, ["/usr/bin/python3", "-c", f"import {name}"]).returncode != 0:
        pytest.skip(f"this machine has no {name}")
    same(pair, ["/usr/bin/python3", CLIENTS / f"{module}_client.py"], minimum)


def test_perl(pair):
    if call(pair.direct, ["perl", "-MDBD::Pg", "-e1"]).returncode != 0:
        pytest.skip("this machine has no DBD::Pg")
    same(pair, ["perl", CLIENTS / "dbd_client.pl"], 40)


def test_jdbc(pair, module_directory):
    needs("java", "javac")
    jar = "/usr/share/java/postgresql.jar"
    if not os.path.exists(jar):
        pytest.skip("this machine has no JDBC driver (libpostgresql-jdbc-java)")
    subprocess.run(["javac", "-cp", jar, "-d", module_directory, CLIENTS / "Jdbc.java"], check=True, timeout=100)
    same(pair, ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jar}:{module_directory}", "Jdbc"],
         100)


def test_pgx(pair):
    needs("go")
    made = pair.cluster.directory / "pgx"
    built = call(pair.direct, ["go", "build", "-o", made, "."], timeout=170, cwd=CLIENTS / "pgx",
                 env={"GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"})
    if built.returncode != 0 and re.search(r"dial tcp|no such host|cannot find module|lookup ", built.stderr):
        pytest.skip("Go's modules are not to be had: " + built.stderr.splitlines()[0])
    assert built.returncode == 0, built.stderr
    same(pair, [made], 150)


def test_node_postgres(pair, module_directory):
    needs("node", "npm")
    place = module_directory / "node"
    shutil.copytree(CLIENTS / "node", place, ignore=shutil.ignore_patterns("node_modules"))
    done = call(pair.direct, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
                cwd=place)
    if done.returncode != 0 and re.search(r"ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|network", done.stderr):
        pytest.skip("npm's packages are not to be had")
    assert done.returncode == 0, done.stderr
    same(pair, ["node", place / "client.js"], 60)


# ---- psql ----


PSQL = r"""
\d account
\d+ entry
\dt
\di
\dn public
\du town
\df lower
\l nowhere
\conninfo
\set id 3
INSERT INTO account (id, owner) VALUES (:id, 'o''wner'), (5, 'x');
INSERT INTO account (id, owner) VALUES (:id, 'again');
SELECT * FROM account WHERE id = :id \gx
SELECT owner AS who FROM account WHERE id = 5 \gset
\echo :who
SELECT id, owner FROM account WHERE id = 3 \gdesc
\bind 5 \g
BEGIN;
INSERT INTO entry SELECT 3, 1, 'one';
SAVEPOINT s;
INSERT INTO entry VALUES (3, 1, 'twice');
SELECT 1;
ROLLBACK TO s;
COMMIT;
SELECT * FROM entry WHERE account = 3;
SELECT 1/0; SELECT 'next';
SELECT 1 AS a \; SELECT 2 AS b;
\set FETCH_COUNT 2
SELECT id FROM account WHERE id = 3;
\unset FETCH_COUNT
\copy plain from program 'seq 1 5 | sed "s/$/ v/" | tr " " "\t"'
\copy (select * from plain order by id) to stdout with (format csv, header)
SELECT count(*) FROM plain;
\copy plain from program 'echo bad'
COPY plain FROM STDIN;
11 eleven
\.
TABLE plain;
SET TIME ZONE 'Asia/Tokyo'; SHOW TIME ZONE;
SELECT '2024-01-01 00:00:00+00'::timestamptz;
\encoding
\echo :SERVER_VERSION_NAME :LAST_ERROR_SQLSTATE
PREPARE p (bigint) AS SELECT owner FROM account WHERE id = $1;
EXECUTE p (3);
DEALLOCATE p;
COMMIT;
DELETE FROM account WHERE id = 3;
\timing off
\errverbose
""".replace("11 eleven", "11\televen")


def test_psql_script(pair, module_directory):
    script = module_directory / "psql.sql"
    script.write_text(PSQL)

    def plain(text):
        return re.sub(r'database "\w+" as user "\w+" .*', "(conninfo)", text)
    # What the cluster's tables have more than one PostgreSQL's is their ownership constraint.
    same(pair, ["bash", "-c", f"psql -X -a -f '{script}' 2>&1 |"
                f" grep -v 'mosaic_owner\\|^Check constraints\\|account_balance_check'"],
         150, plain)


class Terminal:
    """psql on a terminal of its own."""

    def __init__(self, target):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe("psql", ["psql", "-X", "-P", "pager=off"],
                       {**target.env, "TERM": "dumb", "PSQL_HISTORY": "/dev/null"})
        self.text = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def wait(self, pattern, seconds=15):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} did not come: {self.text[-1000:]}"
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"psql ended: {self.text[-1000:]}") from None
        seen, self.text = self.text, ""
        return seen

    def end(self):
        with contextlib.suppress(OSError):
            self.type("\\q\n")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            time.sleep(0.02)
        else:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.master)


def test_psql_terminal(pair):
    """Ctrl-C ends the query and no more; \\watch goes on until Ctrl-C."""
    terminal = Terminal(pair.proxy)
    try:
        terminal.wait("=> ")
        terminal.type("SELECT pg_sleep(60);\n")
        time.sleep(0.4)
        terminal.type("\x03")
        terminal.wait("canceling statement due to user request")
        terminal.type("SELECT 6 * 7 AS after;\n")
        terminal.wait(r"42\b")
        terminal.type("SELECT 'watch' || 'ed' AS w \\watch 0.1\n")
        for _ in range(3):
            terminal.wait("watched")
        terminal.type("\x03")
        time.sleep(0.3)
        terminal.type("BEGIN;\n")
        terminal.wait(r"=\*> ")
        terminal.type("SELECT 1/0;\n")
        terminal.wait(r"=!> ")
        terminal.type("ROLLBACK;\n")
        terminal.wait(r"=> ")
    finally:
        terminal.end()


# ---- load generators ----


POINT = r"""
\set id random(1, 6)
SELECT id AS got, owner FROM account WHERE id = :id \gset
\if :got != :id
SELECT 1/0;
\endif
"""
WRITE = r"""
\set id random(1, 6)
BEGIN;
UPDATE account SET balance = balance + 1 WHERE id = :id RETURNING id AS got \gset
\if :got != :id
SELECT 1/0;
\endif
INSERT INTO entry SELECT :id, 1000 + :client_id * 1000 + count(*), 'p' FROM entry
    WHERE account = :id AND n BETWEEN 1000 + :client_id * 1000 AND 1999 + :client_id * 1000;
COMMIT;
"""
PIPELINE = r"""
\set id random(1, 6)
\startpipeline
SELECT owner FROM account WHERE id = :id;
SELECT count(*) FROM entry WHERE account = :id;
BEGIN;
UPDATE account SET balance = balance + 1 WHERE id = :id;
SELECT balance FROM account WHERE id = :id;
COMMIT;
\endpipeline
SELECT 1;
"""


def pgbench(target, directory, script, *options):
    path = directory / "bench.sql"
    path.write_text(script)
    done = call(target, ["pgbench", "-n", "-f", path, *options])
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return int(re.search(r"actually processed: (\d+)", done.stdout)[1])


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(pair, directory, mode):
    pair.fill()
    assert pgbench(pair.proxy, directory, POINT, "-M", mode, "-c", 8, "-j", 2, "-t", 40) == 320
    assert pgbench(pair.proxy, directory, WRITE, "-M", mode, "-c", 5, "-t", 20) == 100
    total = sum(pair.cluster.query(shard,
                                   "SELECT coalesce(sum(balance), 0) FROM account")[0][0] for shard in range(SHARDS))
    assert total == 21 + 100
    added = sum(pair.cluster.query(shard,
                                   "SELECT count(*) FROM entry WHERE n >= 1000")[0][0] for shard in range(SHARDS))
    assert added == 100


@pytest.mark.parametrize("mode", ["extended", "prepared"])
def test_pgbench_pipelines(pair, directory, mode):
    pair.fill()
    assert pgbench(pair.proxy, directory, PIPELINE, "-M", mode, "-c", 6, "-t", 20) == 120
    total = sum(pair.cluster.query(shard,
                                   "SELECT coalesce(sum(balance), 0) FROM account")[0][0] for shard in range(SHARDS))
    assert total == 21 + 120


def test_pgbench_connects_for_each_transaction(pair, directory):
    pair.fill()
    assert pgbench(pair.proxy, directory, POINT, "-C", "-c", 4, "-t", 15) == 60


def test_pgbench_200_clients(pair, directory):
    """More clients than the servers take connections."""
    if STANDIN == "direct":
        pytest.skip("a server takes 100")
    pair.fill()
    assert pgbench(pair.proxy, directory, POINT, "-M", "prepared", "-c", 200, "-j", 2, "-t", 4) == 800


def sysbench(target, action, script="oltp_read_write", *options):
    done = call(target,
                ["sysbench", script, "--db-driver=pgsql", f"--pgsql-host={target.host}",
                 f"--pgsql-port={target.port}",
                         f"--pgsql-user={target.user}", f"--pgsql-password={target.password}",
                         f"--pgsql-db={target.database}",
                         "--tables=1", "--table-size=300", "--time=0", *options, action])
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-500:]
    return done.stdout


@pytest.mark.parametrize("script", ["oltp_point_select", "oltp_read_write"])
def test_sysbench(pair, script):
    needs("sysbench")
    out = sysbench(pair.proxy, "run", script, "--threads=4", "--events=60")
    assert int(re.search(r"transactions: +(\d+)", out)[1]) == 60, out
