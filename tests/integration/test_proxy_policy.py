"""Guard rails of statements that one shard cannot answer: who may run them, how much they may take, what is missing from
them, and what is counted and logged of them."""
import contextlib
import json
import time
import urllib.request

import psycopg
import psycopg2
import pytest
from conftest import run_command
from proxies import STANDIN, config_with, eventually, free_port, start_proxy
from rawwire import bind, describe, error_fields, execute, parse, query, sync

LAB_SHARDS = 3
ROWS = 600
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text COLLATE "C");
CREATE TABLE orders (user_id bigint, n int, PRIMARY KEY (user_id, n));
"""
TIERS = {2: "SELECT id FROM users WHERE name >= '' ORDER BY id",
         4: "SELECT a.id FROM users a JOIN users b ON a.id = b.id + 1 WHERE a.name >= ''"}

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="of the proxy itself")


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


def ask(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else cursor.statusmessage


@contextlib.contextmanager
def session(proxy):
    with contextlib.closing(proxy.psycopg2()) as connection:
        yield lambda sql: ask(connection, sql)


# ---- allow, warn, deny ---------------------------------------------------------------------------------------------


def test_the_cluster_is_as_it_should_be(cluster):
    with start(cluster) as proxy, session(proxy) as run:
        for tier, sql in TIERS.items():
            assert run(f"EXPLAIN (MOSAIC) {sql}")[0][0].startswith(f"tier {tier}: ")
        assert len(run(TIERS[2])) == ROWS and len(run(TIERS[4])) == ROWS - 1


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
    with session(denying) as run:
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
    with session(denying) as run:
        with pytest.raises(psycopg2.Error, match="scatter=maybe") as refused:
            run("SET mosaic.scatter = 'maybe'")
        assert refused.value.pgcode == "22023"
        with pytest.raises(psycopg2.Error, match="scatter=never"):
            run("/* mosaic: scatter=never */ SELECT 1")


def test_nobody_knows_better_where_hints_are_off(cluster):
    with start(cluster, scatter="deny", hints="false") as proxy, session(proxy) as run:
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as refused:
            run(f"/* mosaic: scatter=allow */ {TIERS[2]}")
        assert "scatter_users" in refused.value.diag.message_hint


def test_users_have_their_own_choice(cluster):
    with start(cluster, scatter="deny", scatter_users=f"[{cluster.name}=allow]") as proxy, session(proxy) as run:
        assert len(run(TIERS[2])) == ROWS
    with start(cluster, scatter_users=f"[somebody=allow, {cluster.name}=deny]") as proxy, session(proxy) as run:
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
    with start(cluster, scatter_max_shards=2) as proxy, session(proxy) as run:
        assert len(run("SELECT id FROM users WHERE id IN (1, 2) ORDER BY id")) == 2
        for sql in TIERS.values():
            with pytest.raises(psycopg2.errors.ProgramLimitExceeded, match="scatter_max_shards"):
                run(f"/* mosaic: scatter=allow */ {sql}")


@pytest.mark.parametrize("setting, message", [("scatter: never", "none of its values"),
                                              ("scatter_users: [ann]", "is no NAME=allow"),
                                              ("scatter_users: [ann=maybe]", "is no NAME=allow")])
def test_a_wrong_setting_is_refused_at_the_start(cluster, setting, message, directory):
    name, value = setting.split(": ")
    done = run_command("proxy", "-c", config_with(cluster, {name: value}, directory), env=cluster.env)
    assert done.returncode != 0 and message in done.stderr
