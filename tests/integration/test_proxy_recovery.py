"""Transactions that a commit over several shards left prepared: the proxy settles them by itself.

They are made by hand, named as a commit names them. Recovery's own steps are tested in test_twophase.py; that a worker is told what
became of a commit is tried with settleprobe.
"""
import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import psycopg2
import pytest
from conftest import BUILD, SANITIZER_MARKS, environment, superuser
from proxies import STANDIN, config_with, direct_target, eventually, free_port, shown, start_proxy

LAB_SHARDS = 3
QUICK = {"recovery_interval": "300ms", "recovery_age": "200ms"}
NEVER = {"recovery_interval": "0"}
numbers = itertools.count(1)

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy recovers"), pytest.mark.light]


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    lab.everywhere("CREATE TABLE entries (v int PRIMARY KEY); GRANT ALL ON entries TO PUBLIC")
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute(f"CREATE ROLE anna LOGIN PASSWORD 'annas'; GRANT anna TO \"{lab.name}\"")


@pytest.fixture(autouse=True)
def clean(lab):
    yield
    for shard in range(LAB_SHARDS):
        for (name,) in prepared(lab, shard):
            with superuser(lab, shard) as cursor:
                cursor.execute(f"ROLLBACK PREPARED '{name}'")
        lab.query(shard, "TRUNCATE entries; DELETE FROM mosaic.decision")


def new_gid(decider="s2"):
    return f"mosaic:{next(numbers):016x}{os.getpid():016x}:{decider}:77"


def prepare(lab, shard, gid, value=1, role=None):
    """A part of that gid on the shard, which inserts the value; its transaction's id."""
    sql = f"BEGIN; INSERT INTO entries VALUES ({value}); SELECT pg_current_xact_id()::text"
    end = f"PREPARE TRANSACTION '{gid}:s{shard}'"
    with contextlib.ExitStack() as stack:
        if role == "postgres":
            cursor = stack.enter_context(superuser(lab, shard))
        elif role:
            target = direct_target(lab, shard)
            connection = psycopg2.connect(host=target.host, port=target.port, user=role, password=f"{role}s",
                                          dbname=target.database)
            connection.autocommit = True
            cursor = stack.enter_context(contextlib.closing(connection)).cursor()
        else:
            cursor = stack.enter_context(lab.connect(shard)).cursor()
        cursor.execute(sql)
        xid = cursor.fetchone()[0]
        cursor.execute(end)
    return xid


def decide(lab, gid, participants, outcome="committed"):
    lab.query(int(gid.split(":")[2][1:]), "INSERT INTO mosaic.decision (gid, outcome, participants, decider_xid) "
              "VALUES (%s, %s, %s, '77')", (gid, outcome, participants))


def prepared(lab, shard):
    return lab.query(shard, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 1")


def values(lab, shard):
    return [value for (value,) in lab.query(shard, "SELECT v FROM entries ORDER BY 1")]


def decisions(lab, shard=2):
    return lab.query(shard, "SELECT gid, outcome FROM mosaic.decision ORDER BY 1")


def metrics(port):
    """What it counts of recovery; None while the port is not open yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except urllib.error.URLError:
        return None
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines
            if line.startswith(("pgmosaic_recovered_total", "pgmosaic_in_doubt "))}


def counted(committed, rolled_back, in_doubt):
    return {'pgmosaic_recovered_total{outcome="committed"}': committed,
            'pgmosaic_recovered_total{outcome="rolled back"}': rolled_back, "pgmosaic_in_doubt": in_doubt}


@contextlib.contextmanager
def server_down(lab, shard):
    lab.run("lab", "stop", lab.name, f"s{shard}", check=True)
    try:
        yield
    finally:
        lab.run("lab", "start", lab.name, f"s{shard}", check=True)


# ---- rounds -----------------------------------------------------------------------------------------------------------


def test_what_is_left_prepared_is_settled_one_way_for_all_shards(lab):
    decided, undecided, foreign = new_gid(), new_gid(), new_gid().replace(":s2:", ":S 2")
    for shard, role in ((0, None), (1, "anna")):
        prepare(lab, shard, decided, 1, role)
        prepare(lab, shard, undecided, 2, role)
    decide(lab, decided, ["s0", "s1"])
    prepare(lab, 0, foreign, 3)
    lab.query(1, "BEGIN; INSERT INTO entries VALUES (4); PREPARE TRANSACTION 'theirs'")
    port = free_port()
    with start_proxy(lab, {**QUICK, "metrics_listen": f"127.0.0.1:{port}"}) as proxy:
        eventually(lambda: [len(prepared(lab, shard)) for shard in range(3)] == [1, 1, 0])
        eventually(lambda: decisions(lab) == [])
        eventually(lambda: metrics(port) == counted(2, 2, 1))
        time.sleep(1)  # several rounds
        log, found = proxy.log, metrics(port)
    assert values(lab, 0) == values(lab, 1) == [1]
    assert prepared(lab, 0) == [(foreign + ":s0",)] and prepared(lab, 1) == [("theirs",)]
    assert found == counted(2, 2, 1)
    for shard in ("s0", "s1"):
        assert log.count(f"INFO shard {shard}: recovery: transaction {decided}:{shard} was in doubt and is committed now\n") == 1
        assert log.count(f"shard {shard}: recovery: transaction {undecided}:{shard} was in doubt and is rolled back now\n") == 1
    assert log.count(": recovery:") == 4
    assert log.count(f"WARNING shard s0: in_doubt: transaction {foreign}:s0: the name is not one that pgmosaic gives") == 1
    assert log.count(": in_doubt:") == 1


def test_young_ones_are_let_alone(lab):
    with start_proxy(lab, {**QUICK, "recovery_age": "3s"}) as proxy:
        gid = new_gid()
        prepare(lab, 0, gid)
        decided = new_gid()
        prepare(lab, 1, decided)
        decide(lab, decided, ["s1"])
        time.sleep(1.5)
        assert len(prepared(lab, 0)) == len(prepared(lab, 1)) == len(decisions(lab)) == 1 and "recovery" not in proxy.log
        eventually(lambda: prepared(lab, 0) == prepared(lab, 1) == decisions(lab) == [])
    assert values(lab, 0) == [] and values(lab, 1) == [1]


def test_a_shard_that_is_down_is_no_obstacle_and_no_noise(lab):
    decided, undecided = new_gid(), new_gid()
    for shard in (0, 1):
        prepare(lab, shard, decided, 1)
    prepare(lab, 0, undecided, 2)
    decide(lab, decided, ["s0", "s1"])
    with start_proxy(lab, QUICK | NEVER) as proxy:
        with server_down(lab, 1):
            shown(proxy, "SET recovery_interval = '300ms'")
            eventually(lambda: prepared(lab, 0) == [])
            assert values(lab, 0) == [1]
            time.sleep(1)
            assert decisions(lab) == [(decided, "committed")]  # s1 has not acknowledged
            assert proxy.log.count("shard s1: in_doubt: it cannot be asked for prepared transactions") == 1
            assert proxy.log.count(": in_doubt:") == 1
        eventually(lambda: prepared(lab, 1) == decisions(lab) == [], seconds=20)
        assert values(lab, 1) == [1]
        eventually(lambda: "shard s1: recovery: it is asked for prepared transactions again" in proxy.log)
        assert proxy.log.count(": in_doubt:") == 1


def test_a_decider_that_is_down_leaves_its_parts_in_doubt(lab):
    gid, other = new_gid("s2"), new_gid("s1")
    prepare(lab, 0, gid, 1)
    decide(lab, gid, ["s0"])
    prepare(lab, 0, other, 2)
    with server_down(lab, 2), start_proxy(lab, QUICK) as proxy:
        eventually(lambda: prepared(lab, 0) == [(f"{gid}:s0",)])
        time.sleep(1)
        assert prepared(lab, 0) == [(f"{gid}:s0",)]
        assert proxy.log.count(f"shard s0: in_doubt: transaction {gid}:s0: shard s2: ") == 1
    with start_proxy(lab, QUICK):
        eventually(lambda: prepared(lab, 0) == decisions(lab) == [])
    assert values(lab, 0) == [1]


def test_a_commit_that_still_runs_is_let_alone_ten_times_as_long(lab):
    gid = new_gid()
    key = int(gid.split(":")[1][:16], 16)
    start = time.monotonic()
    prepare(lab, 0, gid)
    with start_proxy(lab, {**QUICK, "recovery_age": "500ms"}), contextlib.closing(psycopg2.connect(lab.conninfo(2))) as decider:
        with decider.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
            eventually(lambda: prepared(lab, 0) == [], seconds=15)
            assert time.monotonic() - start >= 5
            with pytest.raises(psycopg2.Error):  # it was ended: it cannot decide otherwise any more
                cursor.execute("SELECT 1")
        eventually(lambda: decisions(lab) == [])
    assert values(lab, 0) == []


def test_what_only_another_role_may_settle_is_told_once(lab):
    gid = new_gid()
    prepare(lab, 0, gid, role="postgres")
    port = free_port()
    with start_proxy(lab, {**QUICK, "metrics_listen": f"127.0.0.1:{port}"}) as proxy:
        eventually(lambda: metrics(port) == counted(0, 0, 1))
        time.sleep(1)
        assert proxy.log.count(": in_doubt:") == 1
        assert f"transaction {gid}:s0: role postgres prepared it, and only that role or a superuser may finish it" in proxy.log
        with superuser(lab, 0) as cursor:
            cursor.execute(f"ROLLBACK PREPARED '{gid}:s0'")
        eventually(lambda: metrics(port) == counted(0, 0, 0))


def test_off_and_on_by_a_setting(lab):
    prepare(lab, 0, new_gid())
    with start_proxy(lab, QUICK | NEVER) as proxy:
        time.sleep(1)
        assert len(prepared(lab, 0)) == 1
        shown(proxy, "SET recovery_interval = '300ms'")
        eventually(lambda: prepared(lab, 0) == [])
        shown(proxy, "SET recovery_interval = '0'")
        time.sleep(1)  # a round that has begun goes on
        prepare(lab, 0, new_gid())
        time.sleep(1)
        assert len(prepared(lab, 0)) == 1


def test_two_proxies_settle_each_once(lab):
    gids = [new_gid() for _ in range(15)]
    for number, gid in enumerate(gids):
        for shard in (0, 1):
            prepare(lab, shard, gid, number)
        if number % 2:
            decide(lab, gid, ["s0", "s1"])
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(start_proxy(lab, {**QUICK, "metrics_listen": f"127.0.0.1:{port}"})) for port in ports]
        eventually(lambda: prepared(lab, 0) == prepared(lab, 1) == decisions(lab) == [])
        found = [metrics(port) for port in ports]
        assert {name: found[0][name] + found[1][name] for name in found[0]} == counted(14, 16, 0)
        assert not any(": in_doubt:" in proxy.log for proxy in proxies)
    assert values(lab, 0) == values(lab, 1) == [number for number in range(15) if number % 2]


def test_a_server_that_hangs_does_not_keep_the_proxy_from_ending(lab):
    with superuser(lab, 1) as cursor:
        cursor.execute("SELECT pg_read_file('postmaster.pid')")
        postmaster = int(cursor.fetchone()[0].split()[0])
    with start_proxy(lab, QUICK | NEVER) as proxy:
        os.kill(postmaster, signal.SIGSTOP)
        try:
            shown(proxy, "SET recovery_interval = '100ms'")
            time.sleep(0.5)
            started = time.monotonic()
            proxy.stop()
            assert time.monotonic() - started < 2
        finally:
            os.kill(postmaster, signal.SIGCONT)


# ---- one commit's outcome -----------------------------------------------------------------------------------------------


class Probe:
    """settleprobe with what it is asked for: lists of a gid and its parts."""

    def __init__(self, lab, questions, settings=None, mode=()):
        directory = lab.directory / f"probe{next(numbers)}"
        directory.mkdir()
        config = config_with(lab, {"unix_socket_dir": f'"{directory}"', "listen": f'"127.0.0.1:{free_port()}"',
                                   **NEVER, **(settings or {})}, directory)
        self.process = subprocess.Popen([BUILD / "tests/unit/settleprobe", config, *mode], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory,
                                        env=environment({"PGPASSFILE": lab.env["PGPASSFILE"]}))
        self.process.stdin.write("".join(" ".join(question) + "\n" for question in questions))
        self.process.stdin.close()
        self.process.stdin = None

    def lines(self):
        out, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0 and not any(mark in errors for mark in SANITIZER_MARKS), errors
        return out.splitlines()

    def answers(self):
        return dict(line.split(" ", 1) for line in self.lines())


def test_a_commit_is_known_by_its_decider_or_by_those_who_took_part(lab):
    committed, aborted, finished = new_gid(), new_gid(), new_gid()
    questions = []
    for number, gid in enumerate((committed, aborted, finished)):
        questions.append([gid] + [f"s{shard}:{prepare(lab, shard, gid, number)}" for shard in (0, 1)])
    decide(lab, committed, ["s0", "s1"])
    for shard in (0, 1):  # another recovery was faster: the word is dropped already
        lab.query(shard, f"COMMIT PREPARED '{finished}:s{shard}'")
    assert Probe(lab, questions).answers() == {committed: "committed", aborted: "aborted", finished: "committed"}
    assert decisions(lab) == [(committed, "committed")] or (finished, "aborted") in decisions(lab)
    with lab.connect(2) as late, late.cursor() as cursor:  # what came too late is refused, or nobody is there any more
        cursor.execute("SELECT count(*) FROM mosaic.decision WHERE gid = %s", (aborted,))
        assert cursor.fetchone() == (0,)


def test_an_outcome_that_cannot_be_known_in_time(lab):
    gids = [new_gid() for _ in range(20)]
    questions = [[gid, f"s0:{prepare(lab, 0, gid, number)}"] for number, gid in enumerate(gids)]
    elsewhere = new_gid("s9")
    with server_down(lab, 2):
        started = time.monotonic()
        answers = Probe(lab, questions + [[elsewhere, "s0:1"]], {"settle_timeout": "2s"}).answers()
        assert 2 <= time.monotonic() - started < 10
        on = Probe(lab, questions[:1], {"settle_timeout": "0", "recovery_interval": "1h", "recovery_age": "1h"}).answers()
    assert set(answers) == {elsewhere, *gids}
    for gid in gids:
        assert answers[gid].startswith(f"unknown: the outcome of transaction {gid} is not known yet: its decider, shard s2, "
                                       "answered neither COMMIT nor the question after it; ")
        assert "refused" in answers[gid] and "; run `pgmosaic doctor` when shard s2 is up" in answers[gid]
    assert "; the config has no shard s9 any more; " in answers[elsewhere]
    assert "the proxy settles it then, one way for all shards" in on[gids[0]]
    assert len(prepared(lab, 0)) == 20


def test_a_decider_that_comes_back_in_time(lab):
    gid, other = new_gid(), new_gid("s1")
    questions = [[gid, f"s0:{prepare(lab, 0, gid, 1)}"], [other, f"s0:{prepare(lab, 0, other, 2)}"]]
    decide(lab, gid, ["s0"])
    decide(lab, other, ["s0"])
    with server_down(lab, 2):
        probe = Probe(lab, questions)
        assert probe.process.stdout.readline() == f"{other} committed\n"  # one that is down keeps no other waiting
        assert probe.process.poll() is None
    assert probe.lines() == [f"{gid} committed"]


def test_a_proxy_that_ends_says_that_it_is_not_known(lab):
    gids = [new_gid() for _ in range(20)]
    with server_down(lab, 2):
        started = time.monotonic()
        answers = Probe(lab, [[gid, "s0:1"] for gid in gids], mode=["stop"]).answers()
        assert time.monotonic() - started < 8
    assert set(answers) == set(gids) and all(answer.startswith("unknown: ") for answer in answers.values())


def test_decided_commits_that_could_not_be_told_are_finished_soon(lab):
    gid, undecided = new_gid(), new_gid()
    prepare(lab, 0, gid, 1)
    prepare(lab, 0, undecided, 2)
    decide(lab, gid, ["s0"])
    probe = Probe(lab, [[gid]], {"recovery_interval": "1h", "recovery_age": "1h"}, mode=["soon"])
    assert probe.lines() == ["1 committed"]
    assert values(lab, 0) == [1] and prepared(lab, 0) == [(f"{undecided}:s0",)] and decisions(lab) == []


def test_settings_are_shown(lab):
    with start_proxy(lab) as proxy:
        found = {row["key"]: row["value"] for row in shown(proxy, "SHOW CONFIG")}
    assert json.dumps([found[name] for name in ("recovery_interval", "recovery_age", "settle_timeout")]) == \
        '["10s", "5s", "30s"]'
