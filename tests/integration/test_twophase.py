"""Commits over several shards are all or nothing, whatever is killed at whatever step; then nothing is left behind.

Written through `pgmosaic exec`, which is one such commit; with --all the last shard decides. Starting and stopping servers is
what takes time here, so the cases of one kind run beside each other: each inserts a value of its own into every shard, and
afterwards every shard must have the same values.
"""
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import psycopg2
import pytest

from conftest import BUILD, COMMAND, environment, superuser

LAB_SHARDS = 3

pytestmark = pytest.mark.light

DECIDER = 2
POINTS = ("before_prepare", "prepared_one", "prepared", "before_decision", "decided", "committed_one", "done")
DECIDED = ("decided", "committed_one", "done")
INSERT = "INSERT INTO entries VALUES (1)"


@pytest.fixture(scope="module", autouse=True)
def table(lab):
    lab.run("exec", "--all", "CREATE TABLE entries (v int PRIMARY KEY); CREATE TABLE late (v int UNIQUE DEFERRABLE "
            "INITIALLY DEFERRED); CREATE TABLE places (v int PRIMARY KEY)", check=True)
    lab.add_tables("  - {name: places, key: v, function: modulo}")
    lab.run("apply", "--yes", check=True)


def restart(lab, shard):
    """Starts what is down. After a kill -9 the old server's children may hold its memory a little longer."""
    until = time.monotonic() + 20
    while lab.run("lab", "start", lab.name, f"s{shard}").returncode != 0:
        assert time.monotonic() < until, f"shard s{shard} does not start again"
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def clean(lab):
    for shard in range(LAB_SHARDS):
        try:
            lab.query(shard, "SELECT 1")
        except psycopg2.OperationalError:
            restart(lab, shard)
    if any(left for found in state(lab) for left in found[1:]):
        lab.run("doctor")
    lab.everywhere("TRUNCATE entries, places")


def state(lab):
    """Per shard: rows, prepared transactions, decisions."""
    return [lab.query(shard, "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM pg_prepared_xacts), "
                      "(SELECT count(*) FROM mosaic.decision)")[0] for shard in range(LAB_SHARDS)]


def settled(lab):
    """After the doctor: nothing is left, and every shard has the same values; returns them."""
    done = lab.run("doctor")
    assert [found[1:] for found in state(lab)] == [(0, 0)] * LAB_SHARDS, done.stdout
    values = [{row[0] for row in lab.query(shard, "SELECT v FROM entries")} for shard in range(LAB_SHARDS)]
    assert values[0] == values[1] == values[2], (values, done.stdout)
    return values[0]


def all_or_nothing(lab):
    """settled(), of INSERT: was it committed?"""
    values = settled(lab)
    assert values in (set(), {1})
    return values == {1}


def start(lab, point=None, action="kill", sql=INSERT, timeout=20, config=None, where=("--all",)):
    env = {"PGMOSAIC_CONFIG": config or lab.config}
    if point:
        env["MOSAIC_CONTROL_POINT"] = f"twophase.{point}={action}"
    return subprocess.Popen([COMMAND, "exec", "--timeout", str(timeout), *where, sql], cwd=lab.directory, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(env))


def start_at(lab, points, action):
    """One program for each point, inserting the point's number in POINTS; with "stop" all of them stand still then."""
    processes = {point: start(lab, point, action, f"INSERT INTO entries VALUES ({POINTS.index(point)})")
                 for point in points}
    if action == "stop":
        for process in processes.values():
            wait_stopped(process)
    return processes


def points_of(values):
    return {POINTS[value] for value in values}


def wait_stopped(process):
    until = time.monotonic() + 20
    while True:
        with open(f"/proc/{process.pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "T":
                return
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)


def wake(processes):
    for process in processes.values():
        process.send_signal(signal.SIGCONT)


def finish(process, timeout=60):
    out, said = process.communicate(timeout=timeout)
    return process.returncode, said


def postmaster(lab, shard):
    with superuser(lab, shard) as cursor:
        cursor.execute("SELECT pg_read_file('postmaster.pid')")
        return int(cursor.fetchone()[0].split()[0])


def kill_server(lab, shard):
    os.kill(postmaster(lab, shard), signal.SIGKILL)


def stop_server(lab, shard):
    lab.run("lab", "stop", lab.name, f"s{shard}", check=True)


def with_shard_elsewhere(lab, directory, shard, **changes):
    """A config like the lab's, with words of one shard's (or, None, every shard's) connection string changed."""
    lines = []
    with open(lab.config) as text:
        for line in text:
            if "conninfo:" in line and (shard is None or f"name: s{shard}" in line):
                before, conninfo, after = line.split('"', 2)
                words = {**dict(pair.split("=", 1) for pair in conninfo.split()), **changes}
                line = f'{before}"{" ".join(f"{name}={value}" for name, value in words.items())}"{after}'
            lines.append(line)
    path = directory / "mosaic.yaml"
    path.write_text("".join(lines))
    return path


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


def test_what_cannot_be_prepared_is_rolled_back_everywhere(lab):
    done = lab.run("exec", "--all", INSERT + "; CREATE TEMP TABLE x (v int)")
    assert done.returncode == 1 and "cannot PREPARE a transaction" in done.stderr
    assert state(lab) == [(0, 0, 0)] * LAB_SHARDS


def test_prepared_transactions_switched_off_is_told_with_the_way_out(lab):
    with superuser(lab, 1) as cursor:
        cursor.execute("ALTER SYSTEM SET max_prepared_transactions = 0")
        cursor.execute("CHECKPOINT")  # recovery of a crash cannot replay a PREPARE under that setting
    try:
        stop_server(lab, 1)
        restart(lab, 1)
        assert lab.query(1, "SHOW max_prepared_transactions") == [("0",)]
        done = lab.run("exec", "--all", INSERT)
        assert done.returncode == 1 and "[shard s1] prepared transactions are disabled" in done.stderr
        assert "HINT: a commit over several shards needs prepared transactions: set max_prepared_transactions (for " \
            "example to max_connections) on shard s1 and restart its server" in done.stderr
        assert state(lab) == [(0, 0, 0)] * LAB_SHARDS
        assert lab.run("exec", "--shard", "s1", INSERT + "; INSERT INTO entries VALUES (2)").returncode == 0
        lab.query(1, "TRUNCATE entries")
    finally:
        with superuser(lab, 1) as cursor:
            cursor.execute("ALTER SYSTEM RESET max_prepared_transactions")
        stop_server(lab, 1)
        restart(lab, 1)
    assert finish(start(lab))[0] == 0


# ---- the coordinator is killed --------------------------------------------------------------------------------------


def test_killed_at_each_point(lab, control_points):
    for point, process in start_at(lab, POINTS, "kill").items():
        assert finish(process)[0] == -signal.SIGKILL, point
    assert points_of(settled(lab)) == set(DECIDED)
    # no lock was left
    assert lab.run("exec", "--all", "TRUNCATE entries; INSERT INTO entries VALUES (1)", timeout=20).returncode == 0


# ---- a server is killed, while the coordinator stands still -----------------------------------------------------------


@pytest.mark.parametrize("victim", [0, DECIDER])
@pytest.mark.parametrize("end", [pytest.param(stop_server, marks=pytest.mark.long), kill_server])
def test_server_ended_at_each_point(lab, control_points, end, victim):
    processes = start_at(lab, POINTS[:-1], "stop")
    end(lab, victim)
    wake(processes)
    time.sleep(0.3)  # so that they see it down
    restart(lab, victim)
    ends = {point: finish(process) for point, process in processes.items()}
    committed = points_of(settled(lab))
    for point, (code, said) in ends.items():  # what the program was told is what happened
        assert code in (0, 1), (point, said)
        assert (point in committed) == (code == 0), (point, said)
    assert {"decided", "committed_one"} <= committed


def test_decider_that_stays_away_is_in_doubt_until_it_is_back(lab, control_points):
    process = start(lab, "before_decision", "stop", timeout=2)
    wait_stopped(process)
    stop_server(lab, DECIDER)
    process.send_signal(signal.SIGCONT)
    code, said = finish(process)
    assert code == 5 and "pgmosaic doctor" in said and "mosaic:" in said and "shard s2" in said
    done = lab.run("doctor")
    assert done.returncode == 3
    assert done.stdout.count("in doubt") == 2 and "shard s2" in done.stdout
    restart(lab, DECIDER)
    assert all_or_nothing(lab) is False


def test_participant_that_stays_away_is_finished_later(lab, control_points):
    process = start(lab, "decided", "stop")
    wait_stopped(process)
    stop_server(lab, 0)
    process.send_signal(signal.SIGCONT)
    code, said = finish(process)
    assert code == 0 and "shard s0 could not be told yet" in said
    assert lab.query(DECIDER, "SELECT outcome, participants FROM mosaic.decision") == [("committed", ["s0", "s1"])]
    assert lab.run("doctor").returncode == 3
    assert lab.query(DECIDER, "SELECT count(*) FROM mosaic.decision") == [(1,)]  # kept while s0 has not acknowledged
    restart(lab, 0)
    assert all_or_nothing(lab) is True


# ---- recovery beside a coordinator that lives -------------------------------------------------------------------------


def test_doctor_while_the_coordinators_stand_still(lab, control_points):
    """A coordinator that wakes up after the doctor must agree with it."""
    processes = start_at(lab, POINTS, "stop")
    committed = points_of(settled(lab))
    assert committed == set(DECIDED)
    wake(processes)
    ends = {point: finish(process) for point, process in processes.items()}
    # Of the first nothing stood prepared yet: the doctor had no reason to meddle.
    for point, (code, said) in ends.items():
        assert code == (0 if point in (*DECIDED, "before_prepare") else 1), (point, said)
    assert points_of(settled(lab)) == {*DECIDED, "before_prepare"}


def test_a_commit_under_way_is_left_alone(lab, control_points):
    process = start(lab, "prepared", "stop")
    wait_stopped(process)
    waker = threading.Timer(0.7, process.send_signal, [signal.SIGCONT])
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


@pytest.fixture(scope="module")
def roles(lab):
    """On each shard: writer owns what is prepared, helper is a member of it, stranger is not. No superusers."""
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute(f"CREATE ROLE writer ROLE {lab.name}; CREATE ROLE helper LOGIN PASSWORD 'helper-secret' IN ROLE writer; "
                           "CREATE ROLE stranger LOGIN PASSWORD 'stranger-secret'; "
                           "GRANT USAGE ON SCHEMA mosaic TO writer, stranger; "
                           "GRANT ALL ON ALL TABLES IN SCHEMA mosaic TO writer, stranger; "
                           "GRANT ALL ON entries TO writer")


def left_by_writer(lab):
    """Prepared on s0 and s1 by role writer, and decided."""
    assert finish(start(lab, "decided", sql="SET ROLE writer; " + INSERT))[0] == -signal.SIGKILL
    assert lab.query(0, "SELECT owner FROM pg_prepared_xacts") == [("writer",)]


def test_a_member_of_the_role_that_prepared_settles_it(lab, control_points, roles, directory):
    left_by_writer(lab)
    config = with_shard_elsewhere(lab, directory, None, user="helper", password="helper-secret")
    done = lab.run("doctor", "-c", config)
    assert done.stdout.count("was in doubt and is committed now") == 2, done.stdout
    assert state(lab) == [(1, 0, 0)] * LAB_SHARDS


def test_a_role_that_may_not_finish_it_is_told_which_one_may(lab, control_points, roles, directory):
    left_by_writer(lab)
    config = with_shard_elsewhere(lab, directory, None, user="stranger", password="stranger-secret")
    done = lab.run("doctor", "-c", config)
    assert done.returncode == 3
    assert "role writer prepared it, and only that role or a superuser may finish it" in done.stdout
    assert "run pgmosaic doctor as role writer, or grant that role to the one in the config" in done.stdout
    assert state(lab) == [(0, 1, 0), (0, 1, 0), (1, 0, 1)]
    lab.run("doctor", "-c", with_shard_elsewhere(lab, directory, None, user="helper", password="helper-secret"))
    assert state(lab) == [(1, 0, 0)] * LAB_SHARDS


# ---- an answer is lost ------------------------------------------------------------------------------------------------


class Cutter:
    """Between a program and a server; cuts the first connection that says `words`, before or after the server has heard it
    and answered. Later connections go through."""

    def __init__(self, lab, shard, words, after, instead=None):
        self.target = ("127.0.0.1", int(lab.query(shard, "SHOW port")[0][0]))
        self.words, self.after, self.instead, self.cuts = words, after, instead, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                ends = {"cut": False}
                for run in (self.forth, self.back):
                    threading.Thread(target=run, args=(client, server, ends), daemon=True).start()

    def forth(self, client, server, ends):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.words in data and not self.cuts:
                    self.cuts += 1
                    ends["cut"] = True
                    if self.after:
                        server.sendall(data)
                        return  # back() ends it, with the answer
                    if self.instead:
                        self.instead()
                    break
                server.sendall(data)
        self.end(client, server)

    def back(self, client, server, ends):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if ends["cut"]:
                    if self.instead:
                        self.instead()
                    break
                client.sendall(data)
        self.end(client, server)

    @staticmethod
    def end(client, server):
        for connection in (client, server):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()


@pytest.fixture
def cut(lab, directory):
    """cut(shard, words, after, instead): a config in which the shard is behind a Cutter, and the Cutter."""
    made = []

    def make(shard, words, after, instead=None):
        made.append(Cutter(lab, shard, words, after, instead))
        return with_shard_elsewhere(lab, directory, shard, host="127.0.0.1", port=made[-1].port), made[-1]
    yield make
    for cutter in made:
        cutter.close()


@pytest.mark.parametrize("after", [False, True])
def test_lost_commit_of_one_writer(lab, cut, after):
    """The program is told what became of it: PostgreSQL still knows."""
    config, cutter = cut(1, b"COMMIT\0", after)
    process = start(lab, config=config, where=("--shard", "s1"), sql=INSERT + "; INSERT INTO entries VALUES (2)")
    code, said = finish(process)
    assert cutter.cuts == 1
    assert code == (0 if after else 1), said
    assert [found[0] for found in state(lab)] == [0, 2 if after else 0, 0]


def test_lost_commit_of_one_writer_whose_server_has_crashed_is_in_doubt(lab, cut):
    def crash():
        stop_server(lab, 1)
        restart(lab, 1)
    config, cutter = cut(1, b"COMMIT\0", True, crash)
    process = start(lab, config=config, where=("--shard", "s1"), sql=INSERT + "; INSERT INTO entries VALUES (2)")
    code, said = finish(process)
    assert cutter.cuts == 1
    assert code == 5 and "shard s1 did not say whether it committed" in said
    assert "nothing is half done: look there whether the rows stand" in said
    assert state(lab) == [(0, 0, 0), (2, 0, 0), (0, 0, 0)]  # it was committed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("shard, words", [(DECIDER, b"COMMIT\0"), (0, b"PREPARE TRANSACTION"), (0, b"COMMIT PREPARED")])
def test_lost_answer_of_a_commit_over_several(lab, cut, shard, words, after):
    config, cutter = cut(shard, words, after)
    code, said = finish(start(lab, config=config))
    assert cutter.cuts == 1
    committed = words == b"COMMIT PREPARED" or (after and words == b"COMMIT\0")
    assert code == (0 if committed else 1), said
    assert state(lab) == [(int(committed), 0, 0)] * LAB_SHARDS  # settled at once: no doctor was needed


def run_exec(config, lab):
    return lab.run("exec", "-c", config, "--all", INSERT)


def run_load(config, lab):
    return lab.run("load", "-c", config, "places", "-", input="v\n1\n2\n3\n4\n5\n6\n")


def run_library(config, lab):
    return subprocess.run([BUILD / "tests/integration/library/library_warning", config], capture_output=True, text=True,
                          timeout=60, env=environment())


@pytest.mark.parametrize("run", [run_exec, run_load, run_library])
def test_a_shard_that_could_not_be_told_is_a_warning(lab, cut, run):
    """It is committed, and somebody has to run the doctor: whoever committed is told so."""
    told = run(lab.config, lab)
    assert told.returncode == 0 and "WARNING" not in told.stderr and "doctor" not in told.stdout
    lab.everywhere("TRUNCATE entries, places")
    config, cutter = cut(0, b"COMMIT PREPARED", False, lambda: cutter.close())
    done = run(config, lab)
    assert done.returncode == 0, done.stderr
    warning = "committed, but shard s0 could not be told yet: its part stays prepared, with its locks, until `pgmosaic doctor`"
    assert warning in (done.stdout if run is run_library else done.stderr)
    assert run is run_library or f"WARNING: {warning}" in done.stderr
    assert [found[1:] for found in state(lab)] == [(1, 0), (0, 0), (0, 1)]
    lab.run("doctor", check=True)
    assert [found[1:] for found in state(lab)] == [(0, 0)] * LAB_SHARDS
    if run is run_load:
        assert sum(lab.query(shard, "SELECT count(*) FROM places")[0][0] for shard in range(LAB_SHARDS)) == 6
    else:
        assert [found[0] for found in state(lab)] == [1] * LAB_SHARDS
