"""Guard rails of statements that one shard cannot answer: who may run them, how much they may take, what is missing from
them, and what is counted and logged of them."""
import contextlib
import json
import time
import urllib.request

import psycopg2
import pytest
from conftest import run_command
from proxies import STANDIN, ask, config_with, eventually, free_port, shown, start_proxy
from rawwire import bind, describe, error_fields, execute, parse, query, sync

LAB_SHARDS = 3
ROWS = 600
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text COLLATE "C");
CREATE TABLE orders (user_id bigint, n int, PRIMARY KEY (user_id, n));
"""
TIERS = {2: "SELECT id FROM users WHERE name >= '' ORDER BY id",
         3: "SELECT name, count(*), avg(id) FROM users GROUP BY name",
         4: "SELECT a.id FROM users a JOIN users b ON a.id = b.id + 1 WHERE a.name >= ''"}

pytestmark = [pytest.mark.plain, pytest.mark.skipif(bool(STANDIN), reason="of the proxy itself")]


@pytest.fixture(scope="module")
def cluster(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables(" - {name: users, key: id, function: modulo}\n - {name: orders, key: user_id, function: modulo}\n")
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"INSERT INTO users SELECT i, 'n' || i FROM generate_series(1, {ROWS}) i"
                         f" WHERE i % {LAB_SHARDS} = {shard}")
    return lab


def start(cluster, **settings):
    return start_proxy(cluster, settings)


@pytest.fixture(scope="module")
def denying(cluster):
    with start(cluster, scatter="deny") as proxy:
        yield proxy


# ---- allow, warn, deny ---------------------------------------------------------------------------------------------


def test_the_cluster_is_as_it_should_be(cluster):
    with start(cluster) as proxy, proxy.session() as run:
        for tier, sql in TIERS.items():
            assert run(f"EXPLAIN (MOSAIC) {sql}")[0][0].startswith(f"tier {tier}: ")
        assert [len(run(sql)) for sql in TIERS.values()] == [ROWS, ROWS, ROWS - 1]


@pytest.mark.parametrize("tier", TIERS)
def test_deny_refuses_and_says_how_to_go_on(denying, tier):
    with contextlib.closing(denying.psycopg2()) as connection:
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as refused:
            ask(connection, TIERS[tier])
        diag = refused.value.diag
        assert f"(tier {tier}), which is not allowed here" in diag.message_primary
        assert "Why not one shard: " in diag.message_detail and "scatter=allow" in diag.message_hint
        assert ask(connection, "SELECT name FROM users WHERE id = 7") == [("n7",)]
        assert ask(connection, f"EXPLAIN (MOSAIC) {TIERS[tier]}")[0][0].startswith(f"tier {tier}")


@pytest.mark.parametrize("tier", TIERS)
def test_who_knows_better_allows_it(denying, tier):
    with denying.session() as run:
        assert len(run(f"/* mosaic: scatter=allow */ {TIERS[tier]}")) >= ROWS - 1
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            run(TIERS[tier])
        run("SET mosaic.scatter = 'allow'")
        assert len(run(TIERS[tier])) >= ROWS - 1
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            run(f"/* mosaic: scatter=deny */ {TIERS[tier]}")
        run("RESET mosaic.scatter")
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            run(TIERS[tier])


def test_a_choice_that_is_none_is_refused(denying):
    with denying.session() as run:
        with pytest.raises(psycopg2.Error, match="scatter=maybe") as refused:
            run("SET mosaic.scatter = 'maybe'")
        assert refused.value.pgcode == "22023"
        with pytest.raises(psycopg2.Error, match="scatter=never"):
            run("/* mosaic: scatter=never */ SELECT 1")


def test_nobody_knows_better_where_hints_are_off(cluster):
    with start(cluster, scatter="deny", hints="false") as proxy, proxy.session() as run:
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as refused:
            run(f"/* mosaic: scatter=allow */ {TIERS[2]}")
        assert "scatter_users" in refused.value.diag.message_hint


def test_users_have_their_own_choice(cluster):
    with start(cluster, scatter="deny", scatter_users=f"[{cluster.name}=allow]") as proxy, proxy.session() as run:
        assert len(run(TIERS[2])) == ROWS
    with start(cluster, scatter_users=f"[somebody=allow, {cluster.name}=deny]") as proxy, proxy.session() as run:
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            run(TIERS[4])


def kinds(messages):
    return "".join(kind for kind, _ in messages)


@pytest.mark.parametrize("tier", TIERS)
def test_warn_warns_before_the_result(cluster, tier):
    sql = TIERS[tier] + " LIMIT 2"
    with start(cluster, scatter="warn") as proxy, proxy.wire() as wire:
        messages = wire.exchange(query(sql), ready=1)
        assert kinds(messages) == "NTDDCZ"
        fields = error_fields(messages[0][1])
        assert (fields["S"], fields["C"]) == ("WARNING", "01000") and f"(tier {tier})" in fields["M"]
        assert fields["D"].startswith("Why not one shard: ")
        assert kinds(wire.exchange(parse(sql) + bind() + describe() + execute() + sync(), ready=1)) == "1N2TDDCZ"
        assert kinds(wire.exchange(query("SELECT name FROM users WHERE id = 7"), ready=1)) == "TDCZ"
        assert kinds(wire.exchange(query(f"/* mosaic: scatter=allow */ {sql}"), ready=1)) == "TDDCZ"
        assert eventually(lambda: proxy.log.count(": scatter: this statement is answered by ") == 2)


def test_refusals_in_a_pipeline_and_a_transaction(denying):
    with denying.wire() as wire:
        messages = wire.exchange(parse(TIERS[2]) + bind() + execute() + sync(), ready=1)
        assert kinds(messages)[-2:] == "EZ" and error_fields(messages[-2][1])["C"] == "0A000"
        wire.exchange(query("BEGIN"), ready=1)
        messages = wire.exchange(query(TIERS[4]), ready=1)
        assert kinds(messages) == "EZ" and messages[-1][1] == b"E"
        assert kinds(wire.exchange(query("ROLLBACK"), ready=1)) == "CZ"


def test_a_number_of_shards_is_a_limit(cluster):
    with start(cluster, scatter_max_shards=2) as proxy, proxy.session() as run:
        assert len(run("SELECT id FROM users WHERE id IN (1, 2) ORDER BY id")) == 2
        for sql in TIERS.values():
            with pytest.raises(psycopg2.errors.ProgramLimitExceeded, match="scatter_max_shards"):
                run(f"/* mosaic: scatter=allow */ {sql}")


# ---- limits --------------------------------------------------------------------------------------------------------


SLOW = {2: "SELECT id FROM users u WHERE (SELECT count(*) FROM generate_series(1, 100000) x WHERE x % 7 = u.id) > -1",
        4: "SELECT a.id FROM users a, users b WHERE a.id <> b.id AND (SELECT count(*) FROM generate_series(1, 100000) x"
           " WHERE x % 7 = a.id + b.id) > -1"}


def refusal(run, sql):
    with pytest.raises(psycopg2.Error) as refused:
        run(sql)
    return refused.value.pgcode, refused.value.diag.message_primary


@pytest.fixture(scope="module", params=["transaction", "session"])
def limited(cluster, request):
    with start(cluster, scatter_max_rows=ROWS - 10, scatter_max_bytes="2MB", scatter_timeout="1s",
               pool_mode=request.param) as proxy:
        yield proxy


def busy(cluster, text):
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{text}%' AND state <> 'idle' AND pid <> pg_backend_pid()"
    return [cluster.query(shard, sql) for shard in range(LAB_SHARDS)]


@pytest.mark.parametrize("sql", [TIERS[2], TIERS[3], "SELECT id FROM users"])
def test_rows_are_a_limit(limited, sql):
    with limited.session() as run:
        code, message = refusal(run, sql)
        assert code == "54000" and message == f"this statement gives more rows than scatter_max_rows ({ROWS - 10})"
        assert len(run(f"{sql} LIMIT {ROWS - 10}")) == ROWS - 10
        assert run("SELECT name FROM users WHERE id = 7") == [("n7",)]


def test_rows_of_the_coordinator_are_a_limit(limited):
    large = "SELECT a.id, b.id FROM users a JOIN users b ON a.id <> b.id"
    with limited.session() as run:
        code, message = refusal(run, large)
        assert code == "54000" and message == f"this statement gives more rows than scatter_max_rows ({ROWS - 10})"
        if limited.settings["pool_mode"] == "transaction":
            assert refusal(run, TIERS[4])[0] == "54000"
        assert len(run(f"{TIERS[4]} LIMIT {ROWS - 10}")) == ROWS - 10
        assert run("SELECT name FROM users WHERE id = 7") == [("n7",)]


@pytest.mark.parametrize("sql", ["SELECT id, repeat('b', 9000) FROM users", "SELECT id, repeat('b', 9000) FROM users ORDER BY 1",
                                 "SELECT a.id, repeat('b', 9000) FROM users a JOIN users b ON a.id <> b.id"])
def test_bytes_are_a_limit(limited, cluster, sql):
    with limited.session() as run:
        code, message = refusal(run, sql)
        assert code == "54000" and message == "for this statement more bytes came than scatter_max_bytes (2097152)"
        assert run("SELECT name FROM users WHERE id = 7") == [("n7",)]
    assert eventually(lambda: busy(cluster, "repeat(''b''") == [[(0,)]] * LAB_SHARDS)


@pytest.mark.parametrize("tier", SLOW)
def test_time_is_a_limit(limited, cluster, tier):
    with limited.session() as run:
        started = time.monotonic()
        assert refusal(run, SLOW[tier]) == ("57014", "canceling statement due to scatter_timeout")
        assert 0.9 < time.monotonic() - started < 8
        assert run("SELECT name FROM users WHERE id = 7") == [("n7",)]
    assert eventually(lambda: busy(cluster, "generate_series") == [[(0,)]] * LAB_SHARDS)


def test_a_portal_that_is_left_alone_is_ended(limited):
    with limited.wire() as wire:
        wire.exchange(query("BEGIN"), ready=1)
        wire.exchange(parse(TIERS[2]) + bind(portal="p") + execute("p", rows=2) + sync(), ready=1)
        time.sleep(1.5)
        messages = wire.exchange(execute("p", rows=2) + sync(), ready=1)
        assert kinds(messages) == "EZ" and error_fields(messages[0][1])["C"] == "57014"


@pytest.mark.parametrize("tier", TIERS)
def test_limits_in_a_pipeline_and_a_transaction(cluster, tier):
    with start(cluster, scatter_max_rows=5) as proxy, proxy.wire() as wire:
        messages = wire.exchange(parse(TIERS[tier]) + bind() + describe() + execute() + sync(), ready=1)
        assert kinds(messages).endswith("DEZ") and kinds(messages).count("D") == 5
        assert error_fields(messages[-2][1])["C"] == "54000" and messages[-1][1] == b"I"
        wire.exchange(query("BEGIN"), ready=1)
        messages = wire.exchange(query(TIERS[tier]), ready=1)
        assert kinds(messages) == "TDDDDDEZ" and messages[-1][1] == b"E"
        assert kinds(wire.exchange(query("ROLLBACK"), ready=1)) == "CZ"
        assert kinds(wire.exchange(query(f"{TIERS[tier]} LIMIT 5"), ready=1)) == "TDDDDDCZ"


# ---- what is counted and logged ------------------------------------------------------------------------------------


def tiers(proxy):
    return {row["tier"]: row for row in shown(proxy, "SHOW TIERS")}


def test_each_tier_is_counted(cluster):
    port = free_port()
    with start(cluster, threads=2, metrics_listen=f"127.0.0.1:{port}") as proxy:
        with proxy.session() as run:
            before = tiers(proxy)
            for key in range(1, 6):
                run(f"SELECT name FROM users WHERE id = {key}")
            run(TIERS[2])
            run("SELECT id FROM users WHERE id IN (1, 2) ORDER BY id")
            run(TIERS[3])
            run(TIERS[4])
            refusal(run, "UPDATE users SET name = random()::text")
        after = tiers(proxy)
        grown = {tier: after[tier]["statements"] - before[tier]["statements"] for tier in after}
        assert grown == {"1": 5, "2": 2, "3": 1, "4": 1, "refused": 1}
        assert [after[tier]["shards"] for tier in "1234"] == ["1.0", "2.5", "3.0", None]
        assert [after[tier]["rows"] for tier in "1234"] == [None, ROWS + 2, ROWS, ROWS - 1]
        assert 0 < after["1"]["bytes"] - before["1"]["bytes"] < 2000 < after["2"]["bytes"]
        assert all(after[tier]["total_time"] > 0 and after[tier]["mean_time"] > 0 for tier in "1234")
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        assert 'pgmosaic_plans_total{tier="2"} 2\n' in text and 'pgmosaic_plan_shards_total{tier="2"} 5\n' in text
        assert f'pgmosaic_plan_rows_total{{tier="4"}} {ROWS - 1}\n' in text


def entries(proxy, event):
    lines = [json.loads(line) for line in proxy.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_what_is_slow_is_logged(cluster):
    with start(cluster, log_min_duration="150ms", log_format="json") as proxy, proxy.session() as run:
        run("SELECT name FROM users WHERE id = 7")
        run("SELECT pg_sleep(0.4), id FROM users WHERE id = 7")
        run("SELECT id FROM users u WHERE id IN (1, 2)"
            " AND (SELECT count(*) FROM generate_series(1, 3000000) x WHERE x % 7 = u.id) > -1 /* pg_sleep */")
        run("SELECT a.id FROM users a JOIN users b ON a.id = b.id + 1, pg_sleep(0.4) WHERE a.name >= ''")
        assert eventually(lambda: len(entries(proxy, "slow")) >= 3)
        found = [(line["tier"], line.get("shards"), line["rows"], line.get("shard")) for line in entries(proxy, "slow")]
        assert found == [(1, 1, 1, "s1"), (2, 2, 2, None), (4, None, ROWS - 1, None)]
        assert all(line["duration_us"] >= 150000 and "pg_sleep" in line["statement"] for line in entries(proxy, "slow"))


def test_a_slow_pipeline_is_logged_once(cluster):
    with start(cluster, log_min_duration="300ms") as proxy, proxy.wire() as wire:
        one = parse("SELECT pg_sleep(0.2), id FROM users WHERE id = 7") + bind() + execute()
        assert kinds(wire.exchange(one + one + sync(), ready=1)) == "12DC12DCZ"
        assert eventually(lambda: proxy.log.count(": slow; ") == 1)
        assert "the first of 2 statements; 2 rows; statement: SELECT pg_sleep(0.2)" in proxy.log


def test_the_log_of_statements_has_tiers(cluster):
    with start(cluster, log_statements="true", log_format="json") as proxy, proxy.session() as run:
        for sql in ("SELECT name FROM users WHERE id = 7", *TIERS.values()):
            run(sql)
        assert eventually(lambda: len(entries(proxy, "statement")) >= 4)
        assert [(line["tier"], line.get("shards"), line["plan"]) for line in entries(proxy, "statement")[-4:]] == [
            (1, 1, "bucket 7 of users"), (2, 3, "tier 2: 3 shards"), (3, 3, "tier 3: 3 shards"),
            (4, None, "tier 4: the coordinator")]


@pytest.mark.parametrize("setting, message", [("scatter: never", "none of its values"),
                                              ("scatter_users: [ann]", "is no NAME=allow"),
                                              ("scatter_users: [ann=maybe]", "is no NAME=allow")])
def test_a_wrong_setting_is_refused_at_the_start(cluster, setting, message, directory):
    name, value = setting.split(": ")
    done = run_command("proxy", "-c", config_with(cluster, {name: value}, directory), env=cluster.env)
    assert done.returncode != 0 and message in done.stderr


# ---- partial results -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(cluster, name):
    cluster.run("lab", "stop", cluster.name, name, check=True)
    try:
        yield
    finally:
        cluster.run("lab", "start", cluster.name, name, check=True)


def test_rows_of_a_shard_that_is_down_may_be_left_out(cluster):
    without = [(key,) for key in range(1, ROWS + 1) if key % LAB_SHARDS != 1]
    with start(cluster) as proxy, contextlib.closing(proxy.psycopg2()) as connection:
        def run(sql):
            return ask(connection, sql)

        assert len(run(TIERS[2])) == ROWS
        with stopped(cluster, "s1"):
            assert refusal(run, TIERS[2])[0][:2] in ("08", "57")
            run("SET mosaic.partial_results = on")
            for _ in range(3):
                assert run(TIERS[2]) == without
                assert connection.notices.pop().startswith("WARNING:  the rows of 1 of 3 shards are missing: s1")
            assert sorted(run("SELECT id FROM users")) == without
            assert run("SELECT id FROM users ORDER BY id LIMIT 2") == without[:2]
            connection.notices.clear()
            assert run("SELECT id FROM users WHERE id IN (2, 3) ORDER BY id") == [(2,), (3,)]
            assert not connection.notices  # no row of that shard was asked for
            for sql in ("SELECT count(*) FROM users", TIERS[3], TIERS[4], "SELECT name FROM users WHERE id = 7"):
                assert refusal(run, sql)[0][:2] in ("08", "57", "HV")
            run("RESET mosaic.partial_results")
            refusal(run, TIERS[2])
            assert run(f"/* mosaic: partial_results=on */ {TIERS[2]}") == without
            refusal(run, f"/* mosaic: partial_results=off scatter=allow */ {TIERS[2]}")
            with proxy.wire() as wire:
                sql = f"/* mosaic: partial_results=on */ {TIERS[2]} LIMIT 2"
                assert kinds(wire.exchange(query(sql), ready=1)) == "TDDNCZ"
                messages = wire.exchange(parse(sql) + bind() + execute(rows=1) + execute() + sync(), ready=1)
                assert kinds(messages) == "12DNsDCZ"
        assert ": partial: the rows of 1 of 3 shards are missing: s1" in proxy.log
        assert eventually(lambda: attempt(run, f"/* mosaic: partial_results=on */ {TIERS[2]}") == [
            (key,) for key in range(1, ROWS + 1)], seconds=20)


def attempt(run, sql):
    with contextlib.suppress(psycopg2.Error):
        return run(sql)


def test_partial_results_as_a_setting_and_of_no_shard_at_all(cluster):
    with start(cluster, partial_results="true") as proxy, proxy.session() as run:
        assert len(run(TIERS[2])) == ROWS
        with stopped(cluster, "s1"), stopped(cluster, "s2"):
            assert len(run(TIERS[2])) == ROWS / LAB_SHARDS
            refusal(run, "SELECT id FROM users WHERE id IN (1, 2) ORDER BY id")
            refusal(run, f"/* mosaic: partial_results=off */ {TIERS[2]}")
        with pytest.raises(psycopg2.Error, match="partial_results=perhaps"):
            run("SET mosaic.partial_results = 'perhaps'")
