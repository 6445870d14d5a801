"""Commits over several shards are all or nothing, whatever is killed at whatever step; then nothing is left behind.

Written through `pgmosaic exec --all`, which is one such commit; the last shard decides.
"""
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from conftest import COMMAND, environment

LAB_SHARDS = 3
DECIDER = 2
POINTS = ("before_prepare", "prepared_one", "prepared", "before_decision", "decided", "committed_one", "done")
INSERT = "INSERT INTO entries VALUES (1)"


@pytest.fixture(scope="module", autouse=True)
def table(lab):
    lab.run("exec", "--all", "CREATE TABLE entries (v int PRIMARY KEY); CREATE TABLE late (v int UNIQUE DEFERRABLE "
            "INITIALLY DEFERRED)", check=True)
    lab.run("apply", "--yes")  # the tables of the schema mosaic, on every shard


@pytest.fixture(autouse=True)
def clean(lab):
    for shard in range(LAB_SHARDS):
        lab.run("lab", "start", lab.name, f"s{shard}")
    lab.run("doctor")
    lab.everywhere("TRUNCATE entries")


def state(lab):
    """Per shard: rows, prepared transactions, decisions."""
    return [lab.query(shard, "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM pg_prepared_xacts), "
                      "(SELECT count(*) FROM mosaic.decision)")[0] for shard in range(LAB_SHARDS)]


def all_or_nothing(lab):
    """After the doctor: every shard has the row or none; returns which."""
    done = lab.run("doctor")
    found = state(lab)
    assert [s[1:] for s in found] == [(0, 0)] * LAB_SHARDS, (found, done.stdout)
    rows = {s[0] for s in found}
    assert rows in ({0}, {1}), (found, done.stdout)
    return rows == {1}


def start(lab, point=None, action="kill", sql=INSERT, timeout=20):
    env = {"PGMOSAIC_CONFIG": lab.config}
    if point:
        env["MOSAIC_CONTROL_POINT"] = f"twophase.{point}={action}"
    return subprocess.Popen([COMMAND, "exec", "--timeout", str(timeout), "--all", sql], cwd=lab.directory, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(env))


def wait_stopped(process):
    until = time.monotonic() + 20
    while True:
        with open(f"/proc/{process.pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "T":
                return
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)


def finish(process, timeout=60):
    out, said = process.communicate(timeout=timeout)
    return process.returncode, said


# ---- without a crash ------------------------------------------------------------------------------------------------


def test_commits_everywhere_and_leaves_nothing(lab):
    assert finish(start(lab))[0] == 0
    assert state(lab) == [(1, 0, 0)] * LAB_SHARDS


def test_weak_synchronous_commit_is_raised_for_the_commit_alone(lab):
    """The setting that PREPARE, COMMIT and COMMIT PREPARED ran under, as a trigger sees it at the end of the transaction."""
    lab.everywhere("CREATE TABLE seen (setting text); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; "
                   "CREATE CONSTRAINT TRIGGER see AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
                   "EXECUTE FUNCTION see()")
    try:
        for weak in ("off", "local", "remote_write"):
            lab.run("exec", "--all", f"SET synchronous_commit = {weak}; INSERT INTO late VALUES (1)", check=True)
            assert [lab.query(i, "SELECT setting FROM seen") for i in range(3)] == [[("on",)]] * 3
            lab.everywhere("TRUNCATE late, seen")
        lab.run("exec", "--all", "SET synchronous_commit = remote_apply; INSERT INTO late VALUES (1)", check=True)
        assert [lab.query(i, "SELECT setting FROM seen") for i in range(3)] == [[("remote_apply",)]] * 3
    finally:
        lab.everywhere("DROP TABLE seen; TRUNCATE late; DROP FUNCTION see() CASCADE")


def test_prepared_transactions_switched_off_is_told_with_the_way_out(lab):
    # The setting needs a restart; what the server answers then is the same as for a temporary table: a refusal of PREPARE.
    done = lab.run("exec", "--all", INSERT + "; CREATE TEMP TABLE x (v int)")
    assert done.returncode == 1 and "cannot PREPARE a transaction" in done.stderr
    assert state(lab) == [(0, 0, 0)] * LAB_SHARDS


# ---- the coordinator is killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(lab, control_points, point):
    code, _ = finish(start(lab, point))
    assert code == -signal.SIGKILL
    committed = all_or_nothing(lab)
    assert committed == (point in ("decided", "committed_one", "done"))
    assert lab.run("exec", "--all", "INSERT INTO entries VALUES (2)").returncode == 0  # no lock was left


# ---- a server is killed, while the coordinator stands still -----------------------------------------------------------


@pytest.mark.parametrize("victim", [0, DECIDER])
@pytest.mark.parametrize("point", POINTS[:-1])
def test_server_killed_at(lab, control_points, point, victim):
    process = start(lab, point, "stop")
    wait_stopped(process)
    lab.run("lab", "stop", lab.name, f"s{victim}", check=True)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    lab.run("lab", "start", lab.name, f"s{victim}", check=True)
    code, said = finish(process)
    committed = all_or_nothing(lab)
    # What the program was told is what happened.
    assert code in (0, 1), said
    assert committed == (code == 0), said


def test_decider_that_stays_away_is_in_doubt_until_it_is_back(lab, control_points):
    process = start(lab, "before_decision", "stop", timeout=5)
    wait_stopped(process)
    lab.run("lab", "stop", lab.name, "s2", check=True)
    process.send_signal(signal.SIGCONT)
    code, said = finish(process)
    assert code == 5 and "pgmosaic doctor" in said and "mosaic:" in said and "shard s2" in said
    done = lab.run("doctor")
    assert done.returncode == 3
    assert done.stdout.count("in doubt") == 2 and "shard s2" in done.stdout
    lab.run("lab", "start", lab.name, "s2", check=True)
    assert all_or_nothing(lab) is False


def test_participant_that_stays_away_is_finished_later(lab, control_points):
    process = start(lab, "decided", "stop")
    wait_stopped(process)
    lab.run("lab", "stop", lab.name, "s0", check=True)
    process.send_signal(signal.SIGCONT)
    code, said = finish(process)
    assert code == 0 and "shard s0 could not be told yet" in said
    assert lab.query(DECIDER, "SELECT outcome, participants FROM mosaic.decision") == [("committed", ["s0", "s1"])]
    assert lab.run("doctor").returncode == 3
    assert lab.query(DECIDER, "SELECT count(*) FROM mosaic.decision") == [(1,)]  # kept while s0 has not acknowledged
    lab.run("lab", "start", lab.name, "s0", check=True)
    assert all_or_nothing(lab) is True


# ---- recovery beside a coordinator that lives -------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_doctor_while_the_coordinator_stands_still(lab, control_points, point):
    """A coordinator that wakes up after the doctor must agree with it."""
    process = start(lab, point, "stop")
    wait_stopped(process)
    committed = all_or_nothing(lab) if point != "before_prepare" else None
    process.send_signal(signal.SIGCONT)
    code, said = finish(process)
    if committed is None:
        committed = True  # nothing stood prepared yet: the doctor had no reason to meddle
    assert committed == (code == 0), said
    assert all_or_nothing(lab) == committed


def test_a_commit_under_way_is_left_alone(lab, control_points):
    process = start(lab, "prepared", "stop")
    wait_stopped(process)
    waker = threading.Timer(1.0, process.send_signal, [signal.SIGCONT])
    waker.start()
    assert lab.run("doctor").returncode is not None
    code, said = finish(process)
    assert code == 0, said
    assert all_or_nothing(lab) is True


@pytest.mark.parametrize("point", ["prepared", "decided"])
def test_three_doctors_at_once(lab, control_points, point):
    finish(start(lab, point))
    doctors = [subprocess.Popen([COMMAND, "doctor"], cwd=lab.directory, stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.PIPE, env=environment({"PGMOSAIC_CONFIG": lab.config}))
               for _ in range(3)]
    said = [doctor.communicate(timeout=60) for doctor in doctors]
    assert "in doubt:" not in "".join(out for out, _ in said)
    assert all_or_nothing(lab) == (point == "decided")


def test_a_decision_in_flight_is_waited_for_and_then_ended(lab, control_points):
    """The decider's backend has written "committed" and hangs before COMMIT: the doctor ends it."""
    finish(start(lab, "prepared"))
    gid = lab.query(0, "SELECT gid FROM pg_prepared_xacts")[0][0].rsplit(":", 1)[0]
    key = int(gid.split(":")[1][:16], 16)
    key -= 2**64 if key >= 2**63 else 0
    backend = psycopg2.connect(lab.conninfo(DECIDER))
    with backend.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        cursor.execute("INSERT INTO mosaic.decision (gid, outcome, participants, decider_xid) VALUES (%s, 'committed', "
                       "'{s0,s1}', pg_current_xact_id())", (gid,))
        assert all_or_nothing(lab) is False
        with pytest.raises(psycopg2.Error):
            backend.commit()
            cursor.execute("SELECT 1")
    backend.close()


# ---- who may, and where -----------------------------------------------------------------------------------------------


def test_a_shard_that_is_gone_from_the_config(lab, control_points, directory):
    finish(start(lab, "decided"))
    config = directory / "mosaic.yaml"
    with open(lab.config) as text:
        config.write_text("".join(line for line in text if "name: s2" not in line))
    done = lab.run("doctor", "-c", config)
    assert done.returncode == 3 and "put shard s2 back into the config" in done.stdout
    assert state(lab)[0][1] == 1  # untouched
    assert all_or_nothing(lab) is True


def test_shards_with_swapped_names_settle_nothing(lab, control_points, directory):
    finish(start(lab, "decided"))
    config = directory / "mosaic.yaml"
    with open(lab.config) as text:
        swapped = text.read().replace("name: s2", "name: x").replace("name: s0", "name: s2").replace("name: x", "name: s0")
    config.write_text(swapped)
    done = lab.run("doctor", "-c", config)
    assert done.returncode == 3 and "config" in done.stdout
    assert [s[1] for s in state(lab)] == [1, 1, 0]
    assert all_or_nothing(lab) is True


def test_prepared_transactions_of_others_are_left_alone(lab):
    with lab.connect(0) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO entries VALUES (5); PREPARE TRANSACTION 'not ours'")
        try:
            lab.run("doctor")
            cursor.execute("SELECT gid FROM pg_prepared_xacts")
            assert cursor.fetchall() == [("not ours",)]
        finally:
            cursor.execute("ROLLBACK PREPARED 'not ours'")


def test_a_name_that_only_looks_like_ours(lab):
    with lab.connect(0) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO entries VALUES (5); PREPARE TRANSACTION 'mosaic:by hand'")
        try:
            done = lab.run("doctor")
            assert done.returncode == 3 and "mosaic:by hand: the name is not one that pgmosaic gives" in done.stdout
        finally:
            cursor.execute("ROLLBACK PREPARED 'mosaic:by hand'")
