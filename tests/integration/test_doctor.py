"""`pgmosaic doctor`: what it says, and its exit code. Recovery itself is tested in test_twophase.py."""
import json

import pytest

LAB_SHARDS = 2

pytestmark = pytest.mark.light


@pytest.fixture(scope="module", autouse=True)
def tables(lab):
    lab.run("exec", "--all", "CREATE TABLE users (id bigint PRIMARY KEY, name text)", check=True)
    done = lab.run("doctor")
    assert done.returncode == 3 and "nothing was applied yet" in done.stdout and "pgmosaic apply" in done.stdout
    lab.add_tables("  - {name: users, key: id, function: modulo}")
    lab.run("apply", "--yes", check=True)


def prepared_by_hand(lab, shard, gid, sql):
    lab.query(shard, f"BEGIN; {sql}; PREPARE TRANSACTION '{gid}'")


def test_a_cluster_that_is_well(lab):
    done = lab.run("doctor")
    assert done.returncode == 0 and done.stdout.startswith("well ") and done.stderr == ""
    assert lab.json("doctor") == {"cluster": lab.name, "healthy": True, "transactions": [], "problems": []}


def test_dry_run_settles_nothing(lab):
    gid = "mosaic:" + "0123456789abcdef" * 2 + ":s1:1"
    prepared_by_hand(lab, 0, gid + ":s0", "INSERT INTO users VALUES (0, 'half')")
    done = lab.run("doctor", "--dry-run")
    assert done.returncode == 3 and gid in done.stdout and "prepared by role" in done.stdout
    found = lab.run("doctor", "--dry-run", "--json")
    assert found.returncode == 3 and '"resolved": false' in found.stdout
    assert lab.query(0, "SELECT count(*) FROM pg_prepared_xacts") == [(1,)]
    # The decider has no word on it: it never committed.
    done = lab.run("doctor")
    assert done.returncode == 0 and "is rolled back now" in done.stdout
    assert lab.query(0, "SELECT count(*) FROM pg_prepared_xacts") == [(0,)]
    assert lab.query(0, "SELECT count(*) FROM users") == [(0,)]
    assert lab.query(1, "SELECT count(*) FROM mosaic.decision") == [(0,)]


def test_a_committed_decision_is_carried_out(lab):
    gid = "mosaic:" + "fedcba9876543210" * 2 + ":s1:1"
    prepared_by_hand(lab, 0, gid + ":s0", "INSERT INTO users VALUES (2, 'kept')")
    lab.query(1, "INSERT INTO mosaic.decision (gid, outcome, participants, decider_xid) VALUES (%s, 'committed', '{s0}', '1')",
              (gid,))
    done = lab.run("doctor", "--dry-run")
    assert done.returncode == 3 and f"shard s0: transaction {gid}:s0, prepared by role" in done.stdout
    assert f"shard s1: transaction {gid}, decided here as committed" in done.stdout and ", for s0: run" in done.stdout
    found = json.loads(lab.run("doctor", "--dry-run", "--json").stdout)
    assert [(one["gid"], one["outcome"], one["resolved"]) for one in found["transactions"]] == [
        (gid + ":s0", None, False), (gid, "committed", False)]
    found = lab.json("doctor")
    assert found["healthy"] is True
    assert found["transactions"] == [{"gid": gid + ":s0", "shard": "s0", "resolved": True, "outcome": "committed",
                                      "reason": None}]
    assert lab.query(0, "SELECT name FROM users") == [("kept",)]
    assert lab.query(1, "SELECT count(*) FROM mosaic.decision") == [(0,)]


def test_a_table_that_differs_between_shards(lab):
    lab.query(1, "ALTER TABLE users ADD COLUMN email text")
    try:
        done = lab.run("doctor")
        assert done.returncode == 3 and "users" in done.stdout and "email" in done.stdout
    finally:
        lab.query(1, "ALTER TABLE users DROP COLUMN email")
    assert lab.run("doctor").returncode == 0


def test_a_setting_that_differs_between_shards(lab):
    name = lab.query(1, "SELECT quote_ident(current_database())")[0][0]
    lab.query(1, f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'")
    try:
        done = lab.run("doctor")
        assert done.returncode == 3 and 'TimeZone is "Asia/Tokyo"' in done.stdout and "ALTER DATABASE" in done.stdout
    finally:
        lab.query(1, f"ALTER DATABASE {name} RESET ALL")
    assert lab.run("doctor").returncode == 0


def test_an_ownership_constraint_that_was_dropped(lab):
    lab.query(1, "ALTER TABLE users DROP CONSTRAINT mosaic_owner")
    try:
        done = lab.run("doctor")
        assert done.returncode == 3 and "users" in done.stdout
    finally:
        lab.run("apply", "--yes", check=True)
    assert lab.run("doctor").returncode == 0


def test_a_shard_that_is_down(lab):
    lab.run("lab", "stop", lab.name, "s1", check=True)
    try:
        done = lab.run("doctor")
        assert done.returncode == 3 and "s1" in done.stdout and "Connection refused" in done.stdout
    finally:
        lab.run("lab", "start", lab.name, "s1", check=True)
    assert lab.run("doctor").returncode == 0
