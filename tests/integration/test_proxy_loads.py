"""Standard loads, made and run by their own programs through the proxy: pgbench's TPC-B, and sysbench's oltp_read_write.

What TPC-B books in its history must stand in every account, teller and branch, whoever was killed meanwhile; sysbench deletes
rows and inserts them again, so that as many remain.
"""
import collections
import re
import subprocess

import psycopg2
import pytest
from conftest import at_points
from proxies import STANDIN, direct_target, eventually, start_proxy
from test_proxy_clients import call, needs
from test_proxy_clients import sysbench as call_sysbench

LAB_SHARDS = 3
SETTINGS = {"schema_check_interval": "200ms", "recovery_interval": "300ms", "recovery_age": "300ms",
            "deadlock_check_interval": "100ms"}
CLOCK = {"PGOPTIONS": "-c mosaic.clock=shard"}  # TPC-B asks for the time in a transaction of several shards
OWN_KEYS = {"branches": "bid", "tellers": "tid", "accounts": "aid"}
PER_BRANCH = {"branches": 1, "tellers": 10, "accounts": 100000}
# With the branch in each WHERE: all of it is on one shard.
BY_BRANCH = r"""
\set bid random(1, :scale)
\set tid random(1, 10) + (:bid - 1) * 10
\set aid random(1, 100000) + (:bid - 1) * 100000
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid AND bid = :bid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid AND bid = :bid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid AND bid = :bid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
"""
# From an account of one branch to that of the next one, which is on another shard; half of them the other way round.
TRANSFER = r"""
\set bid random(1, :scale)
\set to 1 + :bid % :scale
\set aid random(1, 100000) + (:bid - 1) * 100000
\set taid random(1, 100000) + (:to - 1) * 100000
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance - :delta WHERE aid = :aid AND bid = :bid;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :taid AND bid = :to;
UPDATE pgbench_tellers SET tbalance = tbalance - :delta WHERE tid = 10 * :bid AND bid = :bid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = 10 * :to AND bid = :to;
UPDATE pgbench_branches SET bbalance = bbalance + CASE bid WHEN :bid THEN 0 - :delta ELSE :delta END WHERE bid IN (:bid, :to);
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (10 * :bid, :bid, :aid, 0 - :delta), (10 * :to, :to, :taid, :delta);
END;
"""

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


def pgbench(target, *options):
    needs("pgbench")
    done = call(target, ["pgbench", *options], env=CLOCK)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return done.stdout


def sysbench(target, *options):
    needs("sysbench")
    return call_sysbench(target, options[-1], "oltp_read_write", "--table-size=1000", *options[:-1])


def wait_until_settled(lab):
    """Nothing is prepared, and nobody who was left alone holds a lock."""
    def busy(shard):
        return lab.query(shard, "SELECT 1 FROM pg_prepared_xacts UNION ALL SELECT 1 FROM mosaic.decision UNION ALL SELECT 1 FROM "
                                "pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
                                "AND backend_type = 'client backend' AND pid <> pg_backend_pid()")
    eventually(lambda: not any(busy(shard) for shard in range(LAB_SHARDS)), seconds=30)


def booked_rows(lab):
    return sum(lab.query(shard, "SELECT count(*) FROM pgbench_history")[0][0] for shard in range(LAB_SHARDS))


def booked(lab):
    """Compares each balance with the history; the number of its rows."""
    wait_until_settled(lab)
    history = [row for shard in range(LAB_SHARDS) for row in lab.query(shard, "SELECT bid, tid, aid, delta FROM pgbench_history")]
    for place, (name, key) in enumerate(OWN_KEYS.items()):
        sums, found, count = collections.Counter(), collections.Counter(), 0
        for row in history:
            sums[row[place]] += row[3]
        for shard in range(LAB_SHARDS):
            balance = f"{name[0]}balance"
            found.update(dict(lab.query(shard, f"SELECT {key}, {balance} FROM pgbench_{name} WHERE {balance} <> 0")))
            count += lab.query(shard, f"SELECT count(*) FROM pgbench_{name}")[0][0]
        assert found == {key: balance for key, balance in sums.items() if balance}, name
        assert count == PER_BRANCH[name] * lab.scale, name
    return len(history)


# ---- sharded by branch ----------------------------------------------------------------------------------------------------


def make_bench(make_lab, scale, keys, alter=""):
    """A lab whose tables are pgbench's, empty; of keys: what each is sharded by."""
    lab = make_lab(LAB_SHARDS, f"bench{scale}")
    lab.scale = scale
    for shard in range(LAB_SHARDS):
        pgbench(direct_target(lab, shard), "-i", "-I", "dtp")
    if alter:
        lab.everywhere(alter)
    lab.add_tables("".join(f" - {{name: pgbench_{name}, key: {key}, function: modulo}}\n" for name, key in keys.items()))
    lab.run("apply", "--yes", check=True)
    return lab


@pytest.fixture(scope="module")
def branches(make_lab, module_directory):
    lab = make_bench(make_lab, LAB_SHARDS, {name: "bid" for name in (*OWN_KEYS, "history")},
                     "".join(f"ALTER TABLE pgbench_{name} DROP CONSTRAINT pgbench_{name}_pkey, "
                             f"ADD PRIMARY KEY ({OWN_KEYS[name]}, bid);" for name in ("accounts", "tellers")))
    (module_directory / "by_branch.sql").write_text(BY_BRANCH)
    (module_directory / "transfer.sql").write_text(TRANSFER)
    lab.scripts = [f"--file={module_directory}/by_branch.sql@2", f"--file={module_directory}/transfer.sql@3",
                   "--builtin=tpcb-like@1", f"--scale={lab.scale}", "--no-vacuum"]
    with start_proxy(lab, SETTINGS) as lab.proxy:
        pgbench(lab.proxy, "-i", "-s", lab.scale, "-I", "gv")
        yield lab


@at_points(["simple", "extended", "prepared"], {"prepared"}, "mode")
def test_tpcb_by_branch_with_transfers(branches, mode):
    before = booked(branches)
    out = pgbench(branches.proxy, *branches.scripts, "-M", mode, "-c", 8, "-j", 2, "-t", 8, "--max-tries", 100)
    done = [int(count) for count in re.findall(r"- (\d+) transactions", out)]
    assert sum(done) == 64
    assert booked(branches) - before == sum(done) + done[1]


@pytest.mark.long
def test_tpcb_while_clients_and_servers_are_killed(branches):
    for turn in range(4):
        before = booked(branches)
        load = subprocess.Popen(["pgbench", *branches.scripts, "-c", "8", "-T", "30", "--max-tries", "100"],
                                env={**branches.proxy.env, **CLOCK}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: booked_rows(branches) > before + 8, seconds=30)
        for shard in range(LAB_SHARDS if turn % 2 else 0):
            branches.query(shard, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
                                  "xact_start IS NOT NULL AND pid <> pg_backend_pid() LIMIT 2")
        load.kill()
        load.wait()
    assert booked(branches) > before


@pytest.mark.long
def test_foreign_keys_that_hold_over_shards(branches):
    done = call(branches.proxy, ["pgbench", "-i", "-I", "f"])  # those to branches are the first
    assert "a foreign key to pgbench_tellers: it leaves out the sharding key (bid)" in done.stderr, done.stderr
    with branches.proxy.session() as session, pytest.raises(psycopg2.errors.ForeignKeyViolation):
        session("INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, 1, 0), (11, 5, 1, 0)")
    pgbench(branches.proxy, *branches.scripts, "-c", 2, "-t", 3, "--max-tries", 100)
    booked(branches)


# ---- sharded by keys of their own ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def owned(make_lab):
    """Each table by its primary key: all that pgbench does is done as it is."""
    lab = make_bench(make_lab, 1, {**OWN_KEYS, "history": "aid"})
    with start_proxy(lab, SETTINGS) as lab.proxy:
        yield lab


@pytest.mark.long
def test_tpcb_as_pgbench_has_it(owned):
    pgbench(owned.proxy, "-i", "-I", "dtgvp")
    owned.run("apply", "--yes", check=True)
    assert booked(owned) == 0
    for mode in ("simple", "extended", "prepared"):
        pgbench(owned.proxy, "-n", "-M", mode, "-c", 4, "-t", 10, "--max-tries", 100)
        pgbench(owned.proxy, "-n", "-S", "-M", mode, "-c", 4, "-t", 10)
    assert booked(owned) == 120


def test_sysbench(owned):
    sysbench(owned.proxy, "prepare")
    with owned.proxy.session() as session:
        assert session("SELECT mosaic.shard_table('sbtest1', 'id')")[0][0] == "sbtest1"
        before = session("SELECT count(*), count(DISTINCT id), max(id) FROM sbtest1")
        for prepares in ("auto", "disable"):
            out = sysbench(owned.proxy, f"--db-ps-mode={prepares}", "--threads=8", "--events=100", "--range-size=50", "run")
            assert int(re.search(r"transactions: +(\d+)", out)[1]) == 100, out
        assert session("SELECT count(*), count(DISTINCT id), max(id) FROM sbtest1") == before == [(1000, 1000, 1000)]
    wait_until_settled(owned)
