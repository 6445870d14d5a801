"""The verbs on a Citus cluster: apply, route, load, export, exec, status, rebalance. What is compared is a real Citus."""
import csv
import io
import os
import random
import re
import signal
import subprocess
import threading
import uuid

import pytest

from conftest import BUILD, COMMAND, environment

pytestmark = pytest.mark.light

KEYS = 10_000
TYPES = {"int4": "integer", "int8": "bigint", "text": "text", "uuid": "uuid"}


def keys_of(kind, seed=os.environ.get("SEED") or 3):
    generator = random.Random(f"{kind} {seed}")
    make = {
        "int4": lambda: str(generator.randint(-2**31, 2**31 - 1)),
        "int8": lambda: str(generator.choice((generator.randint(-2**63, 2**63 - 1), generator.randint(-1000, 1000)))),
        "text": lambda: "".join(chr(generator.choice((97, 0x40, 0x3A, 0xE9, 0x4E2D, 0x1F600, 34, 92, 44)))
                                for _ in range(generator.randint(0, 40))),
        "uuid": lambda: str(uuid.UUID(int=generator.getrandbits(128))),
    }[kind]
    return [make() for _ in range(KEYS)]


class Tables:
    """The tables of this file; each with a config entry of its own, so that a test can add one and take it out again."""

    def __init__(self, lab):
        self.lab, self.entries = lab, []

    def write(self, *more):
        self.lab.add_tables("".join(f"  - {entry}\n" for entry in (*self.entries, *more)) or "  []")

    def add(self, sql, *entries):
        self.lab.query(sql)
        self.entries += entries
        self.write()
        self.lab.run("apply", "--yes", check=True)


@pytest.fixture(scope="module")
def tables(citus_lab):
    made = Tables(citus_lab)
    made.add("".join(f"CREATE TABLE k_{kind} (k {name} PRIMARY KEY);" for kind, name in TYPES.items())
             + "CREATE TABLE users (id bigint PRIMARY KEY, name text, born date);"
               "CREATE TABLE orders (user_id bigint REFERENCES users, nr int, primary key (user_id, nr));"
               "CREATE TABLE countries (code text PRIMARY KEY, name text)",
             *(f"{{name: k_{kind}, key: k, shard_count: 4}}" for kind in TYPES),
             "{name: users, key: id, shard_count: 4}", "{name: orders, key: user_id, colocate_with: users}",
             "{name: countries, kind: reference}")
    return made


@pytest.fixture
def lab(tables):
    return tables.lab


def user_rows(lab):
    return sorted(lab.query("SELECT id, name, born::text FROM users"))


@pytest.fixture
def users(lab):
    """1,000 users, and what they are."""
    lab.query("TRUNCATE users, orders")
    lab.query("INSERT INTO users SELECT g, 'Name ' || g, '2000-01-01' FROM generate_series(1, 1000) g")
    return user_rows(lab)


# ---- apply -----------------------------------------------------------------------------------------------------------


def test_tables_are_distributed_as_the_config_says(lab):
    found = {name: rest for name, *rest in lab.query(
        "SELECT table_name::text, citus_table_type, distribution_column, colocation_id, shard_count FROM citus_tables")}
    assert found["users"][:2] == ["distributed", "id"] and found["users"][3] == 4
    assert found["orders"] == ["distributed", "user_id", *found["users"][2:]]
    assert found["countries"][0] == "reference"
    # The same type and count as users, and yet no colocation that nobody asked for.
    assert found["k_int8"][3] == 4 and found["k_int8"][2] != found["users"][2]
    assert "nothing to change" in lab.run("apply", "--yes", check=True).stdout


def refused(tables, sql, entry):
    """What apply says against a table, which is dropped again."""
    lab = tables.lab
    lab.query(sql)
    try:
        tables.write(entry)
        for options in (["--dry-run"], ["--yes"]):
            done = lab.run("apply", *options)
            assert done.returncode == 1, done.stdout
        assert lab.query("SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = 't'::regclass") == [(0,)]
        return done.stderr
    finally:
        lab.query("DROP TABLE t")
        tables.write()


def test_a_primary_key_without_the_key_is_named_with_its_fix(tables):
    said = refused(tables, "CREATE TABLE t (a int CONSTRAINT the_pk PRIMARY KEY, b int UNIQUE)", "{name: t, key: b}")
    assert "the_pk leaves out the sharding key (b)" in said
    assert "ALTER TABLE t DROP CONSTRAINT the_pk" in said and "t_b_key" not in said


def test_a_null_key_is_refused_and_the_rows_stay(tables):
    lab = tables.lab
    lab.query("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (NULL, 'y')")
    tables.write("{name: t, key: a}")
    done = lab.run("apply", "--yes")
    assert done.returncode == 1 and "cannot be NULL" in done.stderr and "HINT" in done.stderr
    assert lab.query("SELECT count(*) FROM t") == [(2,)]
    lab.query("DROP TABLE t")
    tables.write()


def test_rows_that_a_table_has_are_kept_and_another_count_writes_them_anew(tables):
    lab = tables.lab
    lab.query("CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT g, g FROM generate_series(1, 500) g")
    tables.write("{name: t, key: a, shard_count: 2}")
    assert "its 500 rows are kept" in lab.run("apply", "--dry-run", check=True).stdout
    lab.run("apply", "--yes", check=True)
    tables.write("{name: t, key: a, shard_count: 3}")
    assert "alter_distributed_table" in lab.run("apply", "--dry-run", check=True).stdout
    lab.run("apply", "--yes", check=True)
    assert lab.query("SELECT count(*), count(DISTINCT a) FROM t") == [(500, 500)]
    assert lab.query("SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 't'::regclass") == [(3,)]
    lab.query("DROP TABLE t")
    tables.write()


def test_another_version_on_a_node_is_named_and_nothing_is_changed(tables):
    lab = tables.lab
    lab.query("CREATE TABLE t (a int PRIMARY KEY)")
    tables.write("{name: t, key: a}")
    port = lab.nodes[1]["port"]
    lab.query("UPDATE pg_extension SET extversion = '13.1-1' WHERE extname = 'citus'", node=1)
    try:
        done = lab.run("apply", "--yes")
        assert done.returncode == 1 and f"127.0.0.1:{port}: it has Citus 13.1-1" in done.stderr
        assert "ALTER EXTENSION citus UPDATE" in done.stderr
        assert f"127.0.0.1:{port}: it has Citus 13.1-1" in lab.run("status").stdout
    finally:
        lab.query("UPDATE pg_extension SET extversion = %s WHERE extname = 'citus'",
                  lab.query("SELECT extversion FROM pg_extension WHERE extname = 'citus'")[0], node=1)
        lab.query("DROP TABLE t")
        tables.write()


# ---- load and export -------------------------------------------------------------------------------------------------


def test_load_brings_rows_to_their_workers_and_export_back(lab, directory):
    lab.query("TRUNCATE users, orders")
    source = "id,name,born\n" + "".join(f'{i},"n ""{i}"", ü",2001-02-03\n' for i in range(-500, 1500))
    assert lab.json("load", "users", "-", input=source)["rows"] == 2000
    assert {port for port, in lab.query("SELECT nodeport FROM citus_shards WHERE table_name = 'users'::regclass")} == {
        node["port"] for node in lab.nodes[1:]}
    before = user_rows(lab)
    assert len(before) == 2000 and before[0] == (-500, 'n "-500", ü', "2001-02-03")
    for form in ("csv", "text", "binary"):
        lab.run("export", "users", directory / form, "--format", form, check=True)
        lab.query("TRUNCATE users, orders")
        lab.run("load", "users", directory / form, "--format", form, check=True)
        assert user_rows(lab) == before
    for _ in range(2):
        lab.run("load", "k_int4", "-", "--replace", input="k\n1\n2\n", check=True)
    assert sorted(lab.query("SELECT k FROM k_int4")) == [(1,), (2,)]
    lab.run("load", "countries", "-", input="code,name\nde,Germany\n", check=True)
    assert lab.query("SELECT count(*) FROM countries") == [(1,)]


def test_export_names_the_shard_of_each_row(lab, users):
    out = lab.run("export", "users", "--with-shard", "--columns", "id", check=True).stdout
    found = list(csv.reader(io.StringIO(out)))
    assert found[0] == ["shard", "id"]
    expected = lab.query("SELECT get_shard_id_for_distribution_column('users', id)::text, id::text FROM users")
    assert sorted(map(tuple, found[1:])) == sorted(expected) and len(expected) == 1000
    binary = lab.run("export", "users", "--with-shard", "--columns", "id", "--format", "binary", text=False, check=True)
    assert binary.stdout.count(found[1][0].encode()) == sum(row[0] == found[1][0] for row in found[1:])
    assert lab.run("export", "countries", "--with-shard").returncode == 2


def test_a_bad_row_keeps_all_out_and_is_found_when_asked(lab, users, directory):
    rows = "id,name,born\n2001,a,2000-01-01\n7,b,2000-01-01\n2002,c,2000-01-01\n"
    done = lab.run("load", "users", "-", input=rows)
    assert done.returncode == 1 and "duplicate key" in done.stderr and "--on-error report" in done.stderr
    assert user_rows(lab) == users
    done = lab.run("load", "users", "-", "--on-error", "report", "--bad-file", directory / "bad.csv", input=rows)
    assert done.returncode == 4
    bad = list(csv.reader(open(directory / "bad.csv")))
    assert [row[0] for row in bad[1:]] == ["3"] and "duplicate key" in bad[1][2]
    assert user_rows(lab) == sorted([*users, (2001, "a", "2000-01-01"), (2002, "c", "2000-01-01")])
    done = lab.run("load", "users", "-", input="id,name,born\n2003,a,2000-01-01\n,b,2000-01-01\n")
    assert done.returncode == 1 and ":3:" in done.stderr and '"id" is NULL' in done.stderr


# ---- exec ------------------------------------------------------------------------------------------------------------


def test_exec_answers_for_the_cluster_and_hints_at_what_citus_cannot(lab, users):
    assert lab.run("exec", "--all", "SELECT count(*) FROM users", check=True).stdout == "shard,count\ncoordinator,1000\n"
    one = lab.run("exec", "--table", "users", "--key", "5", "SELECT name FROM users WHERE id = 5", check=True)
    assert one.stdout == "name\nName 5\n"
    for sql, words, hint in (("UPDATE users SET id = 1 WHERE id = 2", "partition value", "INSERT it with its new key"),
                             ("CREATE UNIQUE INDEX ON users (name)", "unique indexes", "distribution column"),
                             ("UPDATE users SET name = random()", "VOLATILE", "constant"),
                             ("SELECT * FROM users FOR UPDATE", "FOR UPDATE", "equality filter")):
        done = lab.run("exec", "--all", sql)
        assert done.returncode == 1 and words in done.stderr and hint in done.stderr.split("HINT:")[1], done.stderr
    assert user_rows(lab) == users


def test_the_library_s_calls_serve_a_citus_cluster(lab, users):
    done = subprocess.run([BUILD / "tests/integration/library/library_citus", lab.config], capture_output=True, text=True,
                          timeout=60, env=environment())
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


# ---- a worker that is down -------------------------------------------------------------------------------------------


def test_a_worker_down_is_named_and_the_rest_goes_on(lab, users):
    down, up = lab.nodes[1]["port"], lab.nodes[2]["port"]
    keys = [str(i) for i in range(1, 100)]
    nodes = {line.split("\t")[0]: line.split("\t")[3]
             for line in lab.run("route", "users", *keys, check=True).stdout.splitlines()}
    here = next(key for key in keys if nodes[key] == f"127.0.0.1:{up}")
    there = next(key for key in keys if nodes[key] == f"127.0.0.1:{down}")
    lab.run("lab", "stop", lab.name, "w1", check=True)
    try:
        status = lab.run("status")
        assert status.returncode == 3 and f"problem: node 127.0.0.1:{down}: the node is down" in status.stdout
        found = lab.json("exec", "--all", f"SELECT name FROM users WHERE id = {here}")
        assert found["name"] == f"Name {here}"
        for words in (("exec", "--all", f"SELECT name FROM users WHERE id = {there}"), ("export", "users")):
            done = lab.run(*words)
            assert done.returncode == 1 and f":{down}" in done.stderr and "a node does not answer" in done.stderr
        done = lab.run("load", "users", "-", input="id,name,born\n" + "".join(f"{i},x,\n" for i in range(3000, 3100)))
        assert done.returncode == 1 and f":{down}" in done.stderr
        assert lab.run("route", "users", there, check=True).stdout.split("\t")[3].strip() == f"127.0.0.1:{down}"
        done = lab.run("rebalance")
        assert done.returncode == 1 and "does not answer the coordinator" in done.stderr
    finally:
        lab.run("lab", "start", lab.name, "w1", check=True)
    assert user_rows(lab) == users


def test_a_worker_killed_in_a_load_leaves_no_row(lab, users):
    read, write = os.pipe()
    process = subprocess.Popen([COMMAND, "load", "users", "-"], stdin=read, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, env=environment({"PGMOSAIC_CONFIG": lab.config}))
    os.close(read)
    with open(write, "w") as rows:
        rows.write("id,name,born\n")
        rows.writelines(f"{i},some name that fills buffers,2000-01-01\n" for i in range(5000, 25000))
        rows.flush()
        lab.run("lab", "stop", lab.name, "w2", check=True)
        try:
            rows.writelines(f"{i},some name that fills buffers,2000-01-01\n" for i in range(25000, 45000))
        except BrokenPipeError:
            pass
    try:
        assert process.wait(60) == 1 and process.stderr.read()
    finally:
        lab.run("lab", "start", lab.name, "w2", check=True)
    assert user_rows(lab) == users


# ---- route, splits and moves -----------------------------------------------------------------------------------------


def compare_routes(lab, kind):
    """route against Citus's own function and list, for each key. Returns shards and nodes that were seen."""
    table, keys = f"k_{kind}", keys_of(kind)
    cast = TYPES[kind]
    expected = lab.query(
        f"SELECT s::text, (SELECT nodename || ':' || nodeport FROM citus_shards c WHERE c.shardid = s LIMIT 1) FROM "
        f"(SELECT at, get_shard_id_for_distribution_column(%s, k) s FROM unnest(%s::{cast}[]) WITH ORDINALITY u(k, at) "
        f"OFFSET 0) x ORDER BY at", (table, keys))
    done = lab.run("route", table, "--check", input="".join(key + "\n" for key in keys), check=True)
    found = [tuple(line.rsplit("\t", 3)) for line in done.stdout.split("\n")[:-1]]
    assert found == [(key, "citus", shard, node) for key, (shard, node) in zip(keys, expected)]
    assert f"{KEYS} keys checked" in done.stderr
    return {row[2] for row in found}, {row[3] for row in found}


@pytest.mark.parametrize("kind", TYPES)
def test_route_is_citus_s(lab, kind):
    shards, nodes = compare_routes(lab, kind)
    assert len(shards) == 4 and len(nodes) == 2


def test_route_check_finds_a_difference(lab):
    """The ranges of two shards change places behind Citus's back, after they were read: held up by a slow input."""
    process = subprocess.Popen([COMMAND, "route", "k_int8", "--check"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment({"PGMOSAIC_CONFIG": lab.config}))
    process.stdin.write("1\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith("1\tcitus\t")
    shards = [shard for shard, in lab.query("SELECT shardid FROM pg_dist_shard WHERE logicalrelid = 'k_int8'::regclass "
                                            "ORDER BY shardminvalue::int LIMIT 2")]
    swap = ("UPDATE pg_dist_shard s SET shardminvalue = o.shardminvalue, shardmaxvalue = o.shardmaxvalue "
            "FROM pg_dist_shard o WHERE s.shardid = ANY (%s) AND o.shardid = ANY (%s) AND s.shardid <> o.shardid")
    lab.query(swap, (shards, shards))
    try:
        out, said = process.communicate("".join(f"{i}\n" for i in range(100)), timeout=60)
        assert process.returncode == 1 and "Citus places the key" in said
        assert len(out.splitlines()) < 100
    finally:
        lab.query(swap, (shards, shards))


def test_route_says_shard_and_node_in_json(lab):
    found = lab.json("route", "k_text", "@user:matrix.org")
    assert found == {"key": "@user:matrix.org", "function": "citus", "shard": found["shard"], "node": found["node"]}
    assert lab.query("SELECT get_shard_id_for_distribution_column('k_text', '@user:matrix.org'::text)") == [
        (found["shard"],)]


def test_a_table_without_replica_identity_keeps_a_rebalance_from_starting(tables):
    lab = tables.lab
    lab.query("CREATE TABLE t (a int)")
    tables.write("{name: t, key: a, shard_count: 4}")
    lab.run("apply", "--yes", check=True)
    lab.add_workers(3)
    try:
        done = lab.run("rebalance")
        assert done.returncode == 1 and re.search(r"table t\b.*neither primary key.*\n.*REPLICA IDENTITY", done.stderr)
        assert lab.query("SELECT count(*) FROM pg_dist_background_job") == [(0,)]
    finally:
        lab.query("DROP TABLE t")
        tables.write()


def test_ctrl_c_ends_the_watching_of_a_rebalance_only_and_it_is_gone_on_with(lab, users):
    process = subprocess.Popen([COMMAND, "rebalance", "--mode", "block_writes"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment({"PGMOSAIC_CONFIG": lab.config}))
    timer = threading.Timer(30, process.kill)
    timer.start()
    while "steps done" not in (said := process.stderr.readline()):
        assert said
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    timer.cancel()
    assert process.returncode == 130 and "goes on in the server" in said
    assert lab.run("rebalance", "--status", check=True).stdout
    done = lab.run("rebalance", check=True, timeout=120)
    assert "rebalanced" in done.stdout or "balanced" in done.stdout
    assert {port for port, in lab.query("SELECT nodeport FROM citus_shards WHERE table_name = 'users'::regclass")} == {
        node["port"] for node in lab.nodes[1:]}
    assert user_rows(lab) == users


def test_route_is_citus_s_after_a_rebalance_and_a_split(lab):
    for kind in TYPES:
        shard, least, most = lab.query("SELECT shardid, shardminvalue::int, shardmaxvalue::int FROM pg_dist_shard "
                                       "WHERE logicalrelid = %s::regclass ORDER BY 2 LIMIT 1", (f"k_{kind}",))[0]
        point = least + (most - least) // 3
        lab.query("SELECT citus_split_shard_by_split_points(%s, ARRAY[%s::text], (SELECT array_agg(nodeid::int) FROM "
                  "(SELECT nodeid FROM pg_dist_node WHERE groupid > 0 ORDER BY nodeid LIMIT 2) n), 'block_writes')",
                  (shard, str(point)))
        shards, nodes = compare_routes(lab, kind)
        assert len(shards) == 5 and str(shard) not in shards and len(nodes) >= 2


# ---- nodes -----------------------------------------------------------------------------------------------------------


def test_a_node_is_drained_and_removed_and_comes_back(lab, users):
    port = lab.nodes[3]["port"]
    node = f"127.0.0.1:{port}"
    done = lab.run("node", "remove", node)
    assert done.returncode == 1 and "drain" in done.stderr
    lab.run("node", "drain", node, "--mode", "block_writes", check=True, timeout=120)
    assert {item["name"]: item["shards"] for item in lab.json("node", "list")["nodes"]}[node] == 0
    lab.run("node", "remove", node, check=True)
    assert (port,) not in lab.query("SELECT nodeport FROM pg_dist_node")
    assert user_rows(lab) == users
    done = lab.run("node", "add", "127.0.0.1:1")
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr
    lab.run("node", "add", node, check=True)
    said = lab.run("status")
    assert said.returncode == 3 and f"table countries: node {node}: the reference table has no copy there yet" in said.stdout
