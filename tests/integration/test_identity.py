"""A conninfo that leads to another database than it should: whoever connects finds out before it reads or writes."""
import contextlib
import pathlib

import pytest

pytestmark = pytest.mark.light

SCHEMA = "create table k(id bigint primary key, note text)"
TABLES = "  - {name: k, key: id, function: modulo}\n"


@pytest.fixture(scope="module")
def clusters(make_lab):
    """Two clusters that look alike: the same names of shards, the same table, the same epoch."""
    both = [make_lab(3, "one"), make_lab(3, "two")]
    for cluster in both:
        cluster.everywhere(SCHEMA)
        cluster.add_tables(TABLES)
        cluster.run("apply", "--yes", check=True, timeout=120)
        cluster.run("load", "k", "-", input="id\n" + "".join(f"{i}\n" for i in range(30)), check=True)
        cluster.good = pathlib.Path(cluster.config).read_text()
    return both


@contextlib.contextmanager
def misled(how, one, two):
    """The config of cluster one, in which shard s1 (and not the first, which has the catalog) leads astray."""
    old, text = one.conninfo(1), one.good
    if how == "swapped":
        text = text.replace(old, "@").replace(one.conninfo(2), old).replace("@", one.conninfo(2))
    elif how == "twice":  # under another address, so that the config cannot see it
        (directory,), = one.query(2, "select split_part(current_setting('unix_socket_directories'), ',', 1)")
        text = text.replace(old, one.conninfo(2).replace("127.0.0.1", directory))
    else:
        text = text.replace(old, two.conninfo(1))
    if how == "never applied":
        two.query(1, "alter schema mosaic rename to hidden")
    pathlib.Path(one.config).write_text(text)
    yield
    pathlib.Path(one.config).write_text(one.good)
    if how == "never applied":
        two.query(1, "alter schema hidden rename to mosaic")


COMMANDS = {
    "key": ["exec", "--table", "k", "--key", "4", "select * from k where id = 4"],
    "export": ["export", "k"],
    "load": ["load", "k", "-"],
    "all": ["exec", "--all", "delete from k"],
    "shard": ["exec", "--shard", "s1", "delete from k"],
}


@pytest.mark.parametrize("how, commands", [
    ("swapped", COMMANDS), ("another cluster", COMMANDS), ("twice", COMMANDS),
    ("never applied", ["key", "export", "load"]),  # exec --all and --shard are for databases to which nothing was applied
], ids=["swapped", "another-cluster", "twice", "never-applied"])
def test_a_database_that_is_not_the_shard_is_not_used(clusters, how, commands):
    one, two = clusters
    with misled(how, one, two):
        for name in commands:
            done = one.run(*COMMANDS[name], input="id\n" + "".join(f"{i}\n" for i in range(100, 130)))
            assert done.returncode == 1, (name, done.stdout, done.stderr)
            assert "shard s1" in done.stderr and "conninfo" in done.stderr and "HINT" in done.stderr, done.stderr
            assert not done.stdout, (name, done.stdout)
    for cluster in clusters:
        rows = [row for shard in range(3) for row in cluster.query(shard, "select id from k")]
        assert sorted(rows) == [(i,) for i in range(30)]


@pytest.mark.parametrize("name", ["all", "export", "load"])
def test_a_shard_that_owns_buckets_cannot_be_left_out(clusters, name):
    """What asks all shards of the config would answer without the rows of a shard that was taken out of it."""
    one, _ = clusters
    lines = one.good.splitlines(keepends=True)
    pathlib.Path(one.config).write_text("".join(line for line in lines if "name: s2," not in line))
    done = one.run(*COMMANDS[name], input="id\n200\n")
    pathlib.Path(one.config).write_text(one.good)
    assert done.returncode == 1 and "shard s2 owns buckets" in done.stderr and "HINT" in done.stderr, done.stderr
    assert not done.stdout
    assert sorted(row for shard in range(3) for row in one.query(shard, "select id from k")) == [(i,) for i in range(30)]
