"""pgmosaic export on real servers: one file of all shards, whole rows, and nothing left of a failure."""
import csv
import io
import os
import signal
import struct
import subprocess

import pytest

from conftest import COMMAND, environment, run_command

LAB_SHARDS = 3

pytestmark = pytest.mark.light

ROWS = [(i, f'name "{i}",\nline', None if i % 3 else "") for i in range(-50, 500)]


@pytest.fixture(scope="module")
def cluster(lab):
    lab.everywhere('create table users(id bigint primary key, name text, "No,te" text)')
    lab.everywhere("create table countries(code text primary key, name text)")
    lab.add_tables("  - {name: users, key: id, function: hash}\n  - {name: countries, kind: reference}\n")
    lab.run("apply", "--yes", check=True, timeout=120)
    text = io.StringIO()
    text.write('id,name,"No,te"\n')
    for number, name, note in ROWS:
        text.write(f'{number},"{name.replace(chr(34), chr(34) * 2)}",' + ('""' if note == "" else "") + "\n")
    lab.run("load", "users", "-", input=text.getvalue(), check=True)
    lab.run("load", "countries", "-", input="code,name\nde,Germany\nfr,France\n", check=True)
    return lab


def shards_of(cluster):
    return {number: f"s{shard}" for shard in range(cluster.shards)
            for (number,) in cluster.query(shard, "select id from users")}


def test_csv_with_one_header(cluster):
    out = cluster.run("export", "users", check=True).stdout
    found = list(csv.reader(io.StringIO(out, newline="")))
    assert found[0] == ["id", "name", "No,te"]
    assert sorted((int(i), name, note) for i, name, note in found[1:]) == [(i, name, note or "") for i, name, note in ROWS]
    assert out.count('""\n') >= sum(note == "" for _, _, note in ROWS)


def test_with_shard(cluster):
    out = cluster.run("export", "users", "--with-shard", "--columns", "id", check=True).stdout
    found = list(csv.reader(io.StringIO(out)))
    assert found[0] == ["shard", "id"]
    assert {int(number): shard for shard, number in found[1:]} == shards_of(cluster)


def test_round_trip_in_every_format(cluster, directory):
    def snapshot():
        return sorted(row for s in range(cluster.shards) for row in cluster.query(s, 'select id, name, "No,te" from users'))
    before = snapshot()
    assert before == sorted(ROWS)
    for form in ("csv", "text", "binary"):
        file = directory / f"users.{form}"
        cluster.run("export", "users", file, "--format", form, check=True)
        cluster.everywhere("truncate users")
        cluster.run("load", "users", file, "--format", form, check=True)
        assert snapshot() == before, form


def test_binary_with_shard(cluster, directory):
    file = directory / "users.bin"
    cluster.run("export", "users", file, "--format", "binary", "--with-shard", "--columns", "id", check=True)
    data, found = file.read_bytes(), {}
    assert data.startswith(b"PGCOPY\n\xff\r\n\0")
    at = 19
    while data[at:at + 2] != b"\xff\xff":
        fields, size = struct.unpack_from("!hi", data, at)
        shard = data[at + 6:at + 6 + size].decode()
        length, number = struct.unpack_from("!iq", data, at + 6 + size)
        assert (fields, length) == (2, 8)
        found[number] = shard
        at += 6 + size + 12
    assert at + 2 == len(data)
    assert found == shards_of(cluster)


def test_reference_table_once(cluster):
    out = cluster.run("export", "countries", check=True).stdout
    assert sorted(out.splitlines()) == ["code,name", "de,Germany", "fr,France"]
    assert cluster.run("export", "countries", "--with-shard").returncode == 2


def test_empty_table_and_no_header(cluster):
    cluster.everywhere("create table if not exists spare(id bigint primary key)")
    text = open(cluster.config).read()
    if "spare" not in text:
        open(cluster.config, "a").write("  - {name: spare, key: id, function: modulo}\n")
    cluster.run("apply", "--yes", check=True)
    assert cluster.run("export", "spare", check=True).stdout == "id\n"
    assert cluster.run("export", "spare", "--no-header", check=True).stdout == ""


@pytest.mark.parametrize("arguments, code, says", [
    (["export", "nobody"], 1, "nobody"),
    (["export", "users", "--columns", "nothing"], 1, "nothing"),
    (["export", "users", "/nonexistent/file"], 1, "/nonexistent/file"),
    (["export", "users", "--delimiter", "xy"], 2, "delimiter"),
])
def test_wrong_arguments(cluster, arguments, code, says):
    done = cluster.run(*arguments)
    assert done.returncode == code and says in done.stderr, done.stderr


def test_full_disk(cluster):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    done = cluster.run("export", "users", "/dev/full")
    assert done.returncode == 1 and "No space" in done.stderr, done.stderr
    assert os.path.exists("/dev/full")


def test_a_reader_that_has_enough_is_no_failure_to_talk_of(cluster):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([COMMAND, "export", "users", "-c", cluster.config], cwd=cluster.directory, stdout=write_end,
                          stderr=subprocess.PIPE, timeout=60, env=environment())
    os.close(write_end)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_a_shard_down_leaves_no_file(cluster, directory):
    run_command("lab", "stop", cluster.name, "s1", cwd=cluster.directory, check=True)
    try:
        done = cluster.run("export", "users", directory / "out.csv")
        assert done.returncode == 1 and "[shard s1]" in done.stderr, done.stderr
        assert not (directory / "out.csv").exists()
    finally:
        run_command("lab", "start", cluster.name, "s1", cwd=cluster.directory, check=True, timeout=120)


def test_a_failure_in_the_middle_removes_the_file(cluster, directory):
    """A row that cannot be read any more: the error names the shard, and half a file is no file."""
    cluster.query(2, "create or replace function broken(bigint) returns text language plpgsql as"
                     " $$ begin if $1 > 300 then raise 'no more of this'; end if; return 'x'; end $$")
    cluster.query(2, "alter table users rename to users_kept")
    cluster.query(2, 'create view users as select id, broken(id) as name, "No,te" from users_kept order by id')
    try:
        done = cluster.run("export", "users", directory / "out.csv")
        assert done.returncode == 1 and "[shard s2]" in done.stderr and "no more of this" in done.stderr, done.stderr
        assert not (directory / "out.csv").exists()
    finally:
        cluster.query(2, "drop view users")
        cluster.query(2, "alter table users_kept rename to users")
