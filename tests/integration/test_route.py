"""`pgmosaic route`: compared with what Python computes, and with the shards themselves."""
import hashlib
import json
import random

import pytest

from conftest import run_command

LAB_SHARDS = 3

pytestmark = pytest.mark.light


def route(*arguments, input=None):
    """The rows of `route`, each split from the right: a key may hold tabs."""
    out = run_command("route", *arguments, input=input, check=True).stdout
    return [tuple(line.rsplit("\t", 3)) for line in out.split("\n")[:-1]]


def sha256_bucket(key, buckets):
    return int.from_bytes(hashlib.sha256(key.encode()).digest(), "little") % buckets


# ---- without a cluster ----------------------------------------------------------------------------------------------


def test_modulo_is_mathematical_and_knows_negative_keys():
    generator = random.Random(1)
    keys = [0, 1, -1, 2**63 - 1, -2**63] + [generator.randint(-2**63, 2**63 - 1) for _ in range(2000)]
    for shards, buckets in ((4, 1024), (3, 1536), (7, 1792), (1, 1024)):
        rows = route("--function", "modulo", "--shards", shards, input="".join(f"{key}\n" for key in keys))
        assert rows == [(str(key), "modulo", str(key % buckets), str(key % buckets % shards)) for key in keys]


def test_sha256_is_the_rule_of_synapse():
    ids = ["@user:matrix.org", "@alice:matrix.org", "@bob:example.com"]
    expected = {2: [0, 1, 1], 3: [0, 1, 0], 4: [0, 1, 3], 5: [4, 1, 1], 16: [4, 5, 7]}
    for shards, places in expected.items():
        rows = route("--function", "sha256", "--shards", shards, *ids)
        assert [int(row[3]) for row in rows] == [sha256_bucket(key, shards) for key in ids] == places


def test_sha256_of_many_texts():
    generator = random.Random(2)
    keys = ["".join(chr(generator.choice([97, 0xE9, 0x1F600, 34, 92, 9])) for _ in range(generator.randint(0, 20)))
            for _ in range(500)]
    rows = route("--function", "sha256", "--shards", 6, input="".join(key + "\n" for key in keys))
    assert [(row[0], int(row[2])) for row in rows] == [(key, sha256_bucket(key, 1536)) for key in keys]


def test_a_negative_key_needs_no_dashes():
    assert route("--function", "modulo", "--shards", 4, "-5") == [("-5", "modulo", "1019", "3")]
    assert route("--function=modulo", "-n4", "-b", "4", "-5") == [("-5", "modulo", "3", "3")]


def test_json_has_an_object_a_line():
    keys = ['a"b\\c', "tab\there", "ünï", "", "\x01"]
    out = run_command("route", "--function", "hash", "--shards", 4, "--json", input="\n".join(keys), check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["key"] for row in rows] == keys
    plain = route("--function", "hash", "--shards", 4, *keys)
    assert [(row["function"], str(row["bucket"]), str(row["shard"])) for row in rows] == [row[1:] for row in plain]


def test_the_last_line_needs_no_end_and_an_empty_line_is_an_empty_text():
    assert [row[0] for row in route("--function", "hash", "--shards", 2, input="a\n\nb")] == ["a", "", "b"]
    assert route("--function", "hash", "--shards", 2, input="") == []


def test_a_bad_line_is_named_and_what_stood_before_it_is_answered():
    done = run_command("route", "--function", "modulo", "--shards", 4, input="1\n2\n\n4\n")
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["1", "2"]
    assert "line 3" in done.stderr and "4" not in done.stdout.split()
    done = run_command("route", "--function", "modulo", "--shards", 4, "7", "9223372036854775808")
    assert done.returncode == 1 and "9223372036854775808" in done.stderr


def test_a_line_over_the_limit_is_named():
    big = b"x" * (1024 * 1024)
    done = run_command("route", "--function", "hash", "--shards", 4, input=b"a\n" + big + b"\n", text=False)
    assert done.returncode == 0 and len(done.stdout) > len(big)
    done = run_command("route", "--function", "hash", "--shards", 4, input=b"a\n" + big + b"y\nb\n", text=False)
    assert done.returncode == 1 and b"line 2" in done.stderr and done.stdout.count(b"\n") == 1


@pytest.mark.parametrize("bytes_, what", [(b"\xff", b"UTF-8"), (b"a\0b", b"zero byte"), (b"\xed\xa0\x80", b"UTF-8")])
def test_bytes_that_are_no_text_are_refused(bytes_, what):
    done = run_command("route", "--function", "hash", "--shards", 4, input=b"ok\n" + bytes_ + b"\n", text=False)
    assert done.returncode == 1 and b"line 2" in done.stderr and what in done.stderr


@pytest.mark.parametrize("key", ["x", "", "1.5", "9223372036854775808", "-9223372036854775809", "0x", "1 2", "--5"])
def test_what_is_no_integer_is_refused(key):
    done = run_command("route", "--function", "modulo", "--shards", 4, "--", key)
    assert done.returncode == 1 and done.stdout == "" and f'"{key}"' in done.stderr


def test_composite_keys_are_lines_of_csv():
    rows = route("--function", "hash", "--shards", 4, "--type", "int8,text", "5,abc", '5,"abc"', '"5",abc', '5,"a,""b"')
    assert len({row[2] for row in rows[:3]}) == 1
    for key, what in (("5", "less"), ("5,a,b", "more"), ('5,"a', "closing quote"), ('5,"a"b', "closing quote"),
                      ("x,abc", "column 1")):
        done = run_command("route", "--function", "hash", "--shards", 4, "--type", "int8,text", key)
        assert done.returncode == 1 and what in done.stderr, key


@pytest.mark.parametrize("arguments, what", [
    (["--function", "modulo", "1"], "--shards"),
    (["--function", "modulo", "--shards", "0", "1"], "from 1 to"),
    (["--function", "modulo", "--shards", "many", "1"], "whole number"),
    (["--function", "range", "--shards", "4", "1"], "modulo|hash|sha256"),
    (["--function", "hash", "--shards", "4", "--type", "txt", "1"], "txt"),
    (["--function", "hash", "--shards", "4", "--buckets", "1000", "1"], "power of two"),
    (["--function", "modulo", "--shards", "4", "--type", "text", "1"], "modulo"),
    (["--shards", "4", "users", "1"], "--function"),
    ([], "missing"),
])
def test_usage_errors(arguments, what):
    done = run_command("route", *arguments)
    assert done.returncode == 2 and done.stdout == "" and what in done.stderr


# ---- with a cluster -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(lab):
    lab.everywhere("CREATE TABLE users (id bigint PRIMARY KEY); CREATE TABLE members (a int, b text, PRIMARY KEY (a, b));"
                   "CREATE TABLE countries (code text PRIMARY KEY)")
    lab.add_tables("  - {name: users, key: id, function: modulo}\n"
                   "  - {name: members, key: [a, b], function: hash}\n"
                   "  - {name: countries, kind: reference}\n")
    lab.run("apply", "--yes", check=True, timeout=120)
    return lab


def test_a_key_stands_on_the_shard_that_route_says(shop):
    keys = list(range(-20, 20))
    lines = shop.run("route", "users", *keys, check=True).stdout.splitlines()
    for key, line in zip(keys, lines):
        name = line.split("\t")[3]
        assert line.split("\t")[:3] == [str(key), "modulo", str(key % 1536)]
        for shard in range(LAB_SHARDS):
            if f"s{shard}" == name:
                shop.query(shard, "INSERT INTO users VALUES (%s)", (key,))
            else:
                with pytest.raises(Exception, match="mosaic_owner"):
                    shop.query(shard, "INSERT INTO users VALUES (%s)", (key,))


def test_composite_keys_of_a_table(shop):
    rows = shop.json("route", "members", '1,"a,b"', "2,x")
    for key, row in zip([(1, "a,b"), (2, "x")], rows):
        shop.query(int(row["shard"][1:]), "INSERT INTO members VALUES (%s, %s)", key)


def test_tables_that_have_no_route(shop):
    done = shop.run("route", "countries", "de")
    assert done.returncode == 2 and "reference" in done.stderr
    done = shop.run("route", "nowhere", "1")
    assert done.returncode == 1 and "nowhere" in done.stderr and "tables:" in done.stderr
    done = shop.run("route", "users", "x")
    assert done.returncode == 1 and "id" in done.stderr and '"x"' in done.stderr


def test_a_table_takes_no_function_options(shop):
    done = shop.run("route", "users", "1", "--buckets", "4")
    assert done.returncode == 2 and "--buckets" in done.stderr
