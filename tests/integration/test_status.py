"""`pgmosaic status` against real servers: what it counts, and everything that makes it exit 3."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from conftest import COMMAND, environment, run_command

pytestmark = pytest.mark.light

LAB_SHARDS = 3
TABLES = ["name: users, key: id, function: modulo", "name: countries, kind: reference", "name: pairs, key: [a, b]"]


class Cluster:
    def __init__(self, lab, directory):
        self.lab, self.path = lab, directory / "mosaic.yaml"
        self.tables = list(TABLES)
        for shard in range(lab.shards):
            lab.query(shard, "DROP SCHEMA IF EXISTS mosaic, public CASCADE; CREATE SCHEMA public; "
                             "CREATE TABLE users (id bigint PRIMARY KEY); CREATE TABLE countries (code text); "
                             "CREATE TABLE pairs (a int, b text)")
        self.write()
        run_command("apply", self.path, "--yes", cwd=directory, check=True)

    def write(self):
        lines = ["cluster: shop", "shards:"]
        lines += [f'  - {{name: s{i}, conninfo: "{self.lab.conninfo(i)}"}}' for i in range(self.lab.shards)]
        self.path.write_text("\n".join(lines + ["tables:"] + [f"  - {{{table}}}" for table in self.tables]) + "\n")

    def status(self):
        return run_command("status", "-c", self.path, timeout=60)

    def json(self):
        done = run_command("status", "-c", self.path, "--json", timeout=60)
        return done.returncode, json.loads(done.stdout)

    def unhealthy(self, *words):
        done = self.status()
        assert done.returncode == 3, done.stdout + done.stderr
        for word in words:
            assert word in done.stdout, f"{word!r} is not in:\n{done.stdout}"
        code, found = self.json()
        assert code == 3 and not found["healthy"] and found["problems"]
        return found


@pytest.fixture
def cluster(lab, directory):
    return Cluster(lab, directory)


def test_a_healthy_cluster(cluster):
    for shard, rows in enumerate((30, 60, 0)):
        cluster.lab.query(shard, f"INSERT INTO users SELECT 3 * i + {shard} FROM generate_series(1, {rows}) i")
    cluster.lab.everywhere("INSERT INTO countries VALUES ('de'), ('fr')")
    done = cluster.status()
    assert done.returncode == 0 and "healthy" in done.stdout
    assert re.search(r"users +modulo\(id\), 1536 buckets +30 +60 +0 +90 +2\.00", done.stdout)
    code, found = cluster.json()
    assert code == 0 and found["healthy"] and found["cluster"] == "shop" and found["epoch"] == 1
    assert [(s["name"], s["reachable"], s["epoch"]) for s in found["shards"]] == [(f"s{i}", True, 1) for i in range(3)]
    assert all(s["bytes"] > 1000000 and re.match(r"\d+", s["version"]) for s in found["shards"])
    users, countries, pairs = found["tables"]
    assert users == {"name": "users", "kind": "sharded", "key": "id", "function": "modulo", "buckets": 1536,
                     "rows": {"s0": 30, "s1": 60, "s2": 0}, "estimated": False}
    assert countries["kind"] == "reference" and countries["key"] is None
    assert countries["rows"] == {f"s{i}": 2 for i in range(3)}
    assert pairs["key"] == ["a", "b"] and pairs["function"] == "hash" and pairs["buckets"] == 4096


def test_each_conninfo_works_in_psql_and_shows_no_password(cluster):
    text = cluster.path.read_text()
    cluster.path.write_text(re.sub(r"(port=\d+)", r"\1 password=geheim", text, count=1))
    out = run_command("status", "-c", cluster.path, "--json").stdout
    assert "geheim" not in out and "geheim" not in run_command("status", "-c", cluster.path).stdout
    cluster.path.write_text(text)
    for shard in cluster.json()[1]["shards"]:
        done = subprocess.run(["psql", "-XAtc", "SELECT 1", shard["conninfo"]], capture_output=True,
                              text=True, timeout=30)
        assert done.stdout == "1\n", done.stderr


def test_more_than_a_million_rows_are_estimated(cluster):
    cluster.lab.query(0, "ALTER TABLE users DROP CONSTRAINT mosaic_owner, DROP CONSTRAINT users_pkey; "
                         "INSERT INTO users SELECT 3 * i FROM generate_series(1, 1000001) i; ANALYZE users")
    users = cluster.json()[1]["tables"][0]
    assert users["estimated"] and 900000 < users["rows"]["s0"] < 1100000 and users["rows"]["s1"] == 0
    assert "~" in cluster.status().stdout


def test_nothing_applied_yet(cluster):
    cluster.lab.everywhere("DROP SCHEMA mosaic CASCADE")
    cluster.unhealthy("nothing was applied yet", "pgmosaic apply")


def test_a_missing_a_changed_and_a_not_validated_constraint(cluster):
    cluster.lab.query(1, "ALTER TABLE users DROP CONSTRAINT mosaic_owner")
    cluster.unhealthy("constraint mosaic_owner of users: add on s1")
    cluster.lab.query(1, "ALTER TABLE users ADD CONSTRAINT mosaic_owner CHECK (id > 0); "
                         "COMMENT ON CONSTRAINT mosaic_owner ON users IS 'pgmosaic modulo.1/1536 0'")
    cluster.unhealthy("constraint mosaic_owner of users: replace on s1")


def test_an_epoch_that_is_behind(cluster):
    cluster.lab.query(2, "UPDATE mosaic.epoch SET epoch = 0")
    assert cluster.unhealthy("epoch 1 on s2")["shards"][2]["epoch"] == 0


def test_a_config_that_is_not_applied(cluster):
    cluster.tables.pop()
    cluster.write()
    cluster.unhealthy("not applied: - table pairs")


def test_copies_that_differ(cluster):
    cluster.lab.query(1, "INSERT INTO countries VALUES ('xx')")
    cluster.unhealthy("table countries", "s1", "1 rows, on shard s0 0")


def test_copies_with_as_many_rows_but_other_values(cluster):
    for shard in range(LAB_SHARDS):  # in another order on each, and a dead row on one: that is no difference
        codes = [("de",), ("fr",), (None,)][shard:] + [("de",), ("fr",), (None,)][:shard]
        cluster.lab.query(shard, "INSERT INTO countries VALUES (%s), (%s), (%s)", [code for (code,) in codes])
    cluster.lab.query(2, "UPDATE countries SET code = code")
    assert cluster.status().returncode == 0
    cluster.lab.query(1, "UPDATE countries SET code = '' WHERE code IS NULL")
    cluster.unhealthy("table countries", "shard s1: 3 rows as on shard s0, but with other values")


def test_copies_that_are_being_written_are_looked_at_again(cluster, control_points):
    """A two-phase commit that is half through when they are first compared."""
    cluster.lab.everywhere("INSERT INTO countries VALUES ('de')")
    for shard in range(LAB_SHARDS):
        cluster.lab.query(shard, "BEGIN; UPDATE countries SET code = 'fr'; PREPARE TRANSACTION 'mosaic:x:s0:1'")
    cluster.lab.query(0, "COMMIT PREPARED 'mosaic:x:s0:1'")
    with subprocess.Popen([str(COMMAND), "status", "-c", str(cluster.path)], stdout=subprocess.PIPE, text=True,
                          env=environment({"MOSAIC_CONTROL_POINT": "copies.differ=stop"})) as status:
        os.waitid(os.P_PID, status.pid, os.WSTOPPED | os.WNOWAIT)
        for shard in (1, 2):
            cluster.lab.query(shard, "COMMIT PREPARED 'mosaic:x:s0:1'")
        status.send_signal(signal.SIGCONT)
        out = status.communicate(timeout=60)[0]
    assert status.returncode == 0, out


def test_large_copies_are_compared_by_their_number_of_rows(cluster):
    for shard in range(LAB_SHARDS):
        cluster.lab.query(shard, f"INSERT INTO countries SELECT {shard} FROM generate_series(1, 100001)")
    assert cluster.status().returncode == 0
    cluster.lab.query(2, "INSERT INTO countries VALUES ('xx')")
    cluster.unhealthy("100002 rows, on shard s0 100001")


def test_columns_that_differ(cluster):
    cluster.lab.query(1, "ALTER TABLE pairs ADD c int")
    cluster.unhealthy("column c stands here and not on shard s0")


def test_a_transaction_in_doubt_is_shown(cluster):
    cluster.lab.query(0, "BEGIN; INSERT INTO users VALUES (3); PREPARE TRANSACTION 'mosaic:x:s1:1'")
    try:
        assert "1 in doubt" in cluster.status().stdout
        assert cluster.json()[1]["shards"][0]["in_doubt"] == 1
    finally:
        cluster.lab.query(0, "ROLLBACK PREPARED 'mosaic:x:s1:1'")


def test_a_dead_shard_costs_seconds_and_the_rest_is_shown(cluster):
    """The catalog's shard too; and an address where nobody answers at all."""
    text = cluster.path.read_text()
    for shard in (1, 0):
        port = re.search(r"port=(\d+)", cluster.lab.conninfo(shard)).group(1)
        cluster.path.write_text(text.replace(f"port={port}", "port=1"))
        found = cluster.unhealthy("unreachable", "s2")
        assert [s["reachable"] for s in found["shards"]] == [i != shard for i in range(3)]
        assert found["tables"][0]["rows"][f"s{shard}"] is None and found["tables"][0]["rows"]["s2"] == 0
        assert found["epoch"] == 1
    with socket.socket() as silent:  # accepts and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        port = re.search(r"port=(\d+)", cluster.lab.conninfo(1)).group(1)
        cluster.path.write_text(text.replace(f"port={port}", f"port={silent.getsockname()[1]}"))
        start = time.monotonic()
        assert cluster.status().returncode == 3
        assert time.monotonic() - start < 10


def test_no_config_at_all(directory):
    done = run_command("status", "-c", directory / "none.yaml", cwd=directory)
    assert done.returncode != 0 and "none.yaml" in done.stderr
