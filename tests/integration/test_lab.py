"""Labs of local servers: made, repaired, changed and removed, whatever happens meanwhile."""
import contextlib
import os
import pathlib
import pwd
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time

import psycopg2
import pytest

from conftest import COMMAND, FULL, Lab, environment, run_command, run_json

pytestmark = pytest.mark.light

CONTROL_POINTS = ("lab.after_directory", "lab.after_initdb", "lab.after_start", "lab.after_role", "lab.before_commit",
                  "lab.after_commit")
EACH = 1 if FULL else 3  # of these, every one or every third


def lab_of(directory, name, **options):
    """What `lab list --json` says of one lab; None when it is not there."""
    found = [lab for lab in run_json("lab", "list", cwd=directory, **options) if lab["name"] == name]
    return found[0] if found else None


def processes_under(path):
    """Processes whose current directory is in that tree: servers work in their data directory."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "cwd").startswith(str(path)):
                    found.append(int(entry.name))
    return found


def owners_under(path):
    """The users whose processes work in that tree. One that ended meanwhile, as workers of a server do, has none."""
    owners = set()
    for pid in processes_under(path):
        with contextlib.suppress(FileNotFoundError):
            owners.add(os.stat(f"/proc/{pid}").st_uid)
    return owners


def processes_of(checkout):
    """Servers of any lab of that checkout, whether or not a lab.json counts them."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"/{checkout.name}-" in os.readlink(entry / "cwd"):
                found.append(int(entry.name))
    return found


def postmaster(lab, shard):
    return int(pathlib.Path(lab["directory"], shard, "postmaster.pid").read_text().split()[0])


def kill_server(lab, shard):
    """The power fails: postmaster and backends are gone at once, the pid file stays."""
    data = pathlib.Path(lab["directory"], shard)
    os.kill(postmaster(lab, shard), signal.SIGSTOP)
    for pid in processes_under(data):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_under(data))


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def query(conninfo, sql):
    connection = psycopg2.connect(conninfo, connect_timeout=10)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@contextlib.contextmanager
def small_lab(directory, name="one", shards=1, **options):
    """A lab for one test, removed at its end whatever happened."""
    try:
        run_command("lab", "up", name, "--shards", shards, cwd=directory, check=True, timeout=120, **options)
        yield lab_of(directory, name, **options)
    finally:
        run_command("lab", "down", name, cwd=directory, timeout=60, **options)


@pytest.fixture(scope="module")
def shop(module_directory):
    lab = Lab(module_directory, "shop", 3)
    try:
        yield lab.up()
    finally:
        lab.down()


# ---- what a lab is -----------------------------------------------------------------------------------------


def test_every_shard_is_a_server_of_its_own(shop):
    seen = [shop.query(i, "SELECT inet_server_port(), system_identifier, current_setting('cluster_name') "
                          "FROM pg_control_system()")[0] for i in range(3)]
    assert len({port for port, _, _ in seen}) == 3
    assert len({identifier for _, identifier, _ in seen}) == 3
    assert [name for _, _, name in seen] == ["shop s0", "shop s1", "shop s2"]
    lab = lab_of(shop.directory, "shop")
    assert [shard["port"] for shard in lab["shards"]] == [port for port, _, _ in seen]
    assert len({postmaster(lab, f"s{i}") for i in range(3)}) == 3


def test_servers_are_alike_and_fit_for_two_phase_commit(shop):
    sql = ("SELECT pg_encoding_to_char(encoding), datcollate, datctype, current_setting('wal_level'), "
           "current_setting('max_prepared_transactions')::int > 0, current_setting('fsync'), "
           "current_setting('TimeZone'), current_setting('listen_addresses') "
           "FROM pg_database WHERE datname = current_database()")
    rows = {shop.query(i, sql)[0] for i in range(3)}
    assert rows == {("UTF8", "C.UTF-8", "C.UTF-8", "logical", True, "on", "UTC", "127.0.0.1")}


def test_the_role_owns_its_database_and_is_no_superuser(shop):
    assert shop.query(0, "SELECT rolname, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user") == \
        [("shop", False, False)]
    shop.query(0, "CREATE SCHEMA mosaic_probe")
    shop.query(0, "DROP SCHEMA mosaic_probe")
    shop.query(0, "CREATE TABLE public_probe(x int)")
    with shop.connect(0) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO public_probe VALUES (1); PREPARE TRANSACTION 'probe'")
        cursor.execute("COMMIT PREPARED 'probe'")
    assert shop.query(0, "SELECT x FROM public_probe") == [(1,)]
    shop.query(0, "DROP TABLE public_probe")
    assert shop.query(0, "SELECT pg_has_role(current_user, 'pg_monitor', 'member')") == [(True,)]


def test_strangers_are_kept_out(shop):
    port = lab_of(shop.directory, "shop")["shards"][0]["port"]
    for user, database, password in (("shop", "shop", "wrong"), ("postgres", "postgres", ""), ("shop", "shop", "")):
        with pytest.raises(psycopg2.OperationalError, match="authentication failed|rejects connection|no password"):
            psycopg2.connect(host="127.0.0.1", port=port, user=user, dbname=database, password=password,
                             passfile="/nonexistent", connect_timeout=5)
    outside = [entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)]
    for address in set(outside) - {"127.0.0.1"}:
        if not address.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=2)


def test_the_password_stands_in_the_passfile_only(shop):
    passfile = pathlib.Path(shop.env["PGPASSFILE"])
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    line, = passfile.read_text().splitlines()
    password = line.removeprefix("*:*:*:shop:")
    assert re.fullmatch(r"[0-9a-f]{32,}", password)
    for path in passfile.parent.rglob("*"):
        if path.is_file() and path != passfile:
            assert password.encode() not in path.read_bytes(), path
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert password.encode() not in entry.read_bytes(), entry


def test_env_is_read_back_by_a_shell(shop):
    out = shop.run("lab", "env", "shop", check=True).stdout
    assert [line.split("=")[0] for line in out.splitlines()] == \
        ["export PGMOSAIC_CONFIG", "export PGDATABASE", "export PGUSER", "export PGPASSFILE"]
    said = subprocess.run(["sh", "-c", out + 'printf "%s|%s" "$PGDATABASE" "$PGUSER"; test -r "$PGPASSFILE" && '
                                             'test -r "$PGMOSAIC_CONFIG"'], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "shop|shop")


def test_psql_opens_the_shard_that_was_named(shop):
    ports = [shard["port"] for shard in lab_of(shop.directory, "shop")["shards"]]
    for word, port in (("s2", ports[2]), ("1", ports[1])):
        done = shop.run("lab", "psql", word, "--lab", "shop", "--", "-XAtc", "SELECT inet_server_port()", check=True)
        assert int(done.stdout) == port
    missing = shop.run("lab", "psql", "s9", "--lab", "shop")
    assert missing.returncode == 1
    assert "no shard s9" in missing.stderr and "s0 to s2" in missing.stderr


def test_list_shows_labs_of_this_checkout_only(shop, directory):
    lab = lab_of(shop.directory, "shop")
    assert lab["up"] and lab["provider"] == "local" and lab["config"] == shop.config
    for shard in lab["shards"]:
        assert query(shard["conninfo"], "SELECT current_user") == [("shop",)]
    text = shop.run("lab", "list", check=True).stdout
    assert "shop" in text and str(lab["shards"][0]["port"]) in text and shop.config in text
    assert run_json("lab", "list", cwd=directory) == []


def test_a_checkout_is_the_nearest_directory_with_git(shop):
    deeper = shop.directory / "src" / "deep"
    deeper.mkdir(parents=True)
    assert lab_of(deeper, "shop") is None
    marker = shop.directory / ".git"
    marker.mkdir()
    try:
        assert lab_of(deeper, "shop")["config"] == shop.config
    finally:
        marker.rmdir()


def test_a_second_up_changes_nothing(shop):
    before, text = lab_of(shop.directory, "shop"), pathlib.Path(shop.config).read_text()
    pids = [postmaster(before, f"s{i}") for i in range(3)]
    shop.run("lab", "up", "shop", check=True)
    shop.run("lab", "up", "shop", "--shards", 3, check=True)
    assert lab_of(shop.directory, "shop") == before
    assert [postmaster(before, f"s{i}") for i in range(3)] == pids
    assert pathlib.Path(shop.config).read_text() == text


def test_up_prints_json(shop):
    up = shop.json("lab", "up", "shop")
    assert up == lab_of(shop.directory, "shop")


def test_fewer_shards_are_refused_with_the_way_to_do_it(shop):
    done = shop.run("lab", "up", "shop", "--shards", 2)
    assert done.returncode == 2
    assert "has 3 shards" in done.stderr and "lab down shop" in done.stderr
    assert lab_of(shop.directory, "shop")["up"]


def test_another_provider_is_refused(shop):
    done = shop.run("lab", "up", "shop", "--with", "docker")
    assert done.returncode == 2 and "local servers already" in done.stderr


# ---- what a person types wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "-x", "ü", "x" * 33, "postgres", "template1", "pg_x", "a;b",
                                  "a'b", 'a"b', "none"])
def test_bad_names_are_refused_and_make_nothing(directory, name):
    done = run_command("lab", "up", "--shards", 1, "--", name, cwd=directory)
    assert done.returncode == 2
    assert "cannot name a lab" in done.stderr
    assert run_json("lab", "list", cwd=directory) == []


@pytest.mark.parametrize("shards", ["0", "-1", "65", "100000", "99999999999999999999", "four", "", "4.5"])
def test_bad_numbers_of_shards_are_refused(directory, shards):
    done = run_command("lab", "up", "one", f"--shards={shards}", cwd=directory)
    assert done.returncode == 2
    assert "shards" in done.stderr
    assert run_json("lab", "list", cwd=directory) == []


def test_down_of_a_lab_that_is_not_there_names_those_that_are(shop):
    done = shop.run("lab", "down", "shopp")
    assert done.returncode == 1
    assert "no lab shopp" in done.stderr and "there are: shop" in done.stderr


def test_a_directory_without_postgres_is_refused(directory):
    done = run_command("lab", "up", "one", "--postgres", directory, cwd=directory)
    assert done.returncode == 1
    assert str(directory) in done.stderr and "initdb" in done.stderr
    assert run_json("lab", "list", cwd=directory) == []


def test_postgres_may_be_named_by_its_directory(directory):
    binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    try:
        run_command("lab", "up", "one", "--shards", 1, "--postgres", binaries[0].parents[1], cwd=directory, check=True)
        major = int(binaries[0].parents[1].name)
        version, = query(lab_of(directory, "one")["shards"][0]["conninfo"], "SHOW server_version_num")[0]
        assert int(version) // 10000 == major
    finally:
        run_command("lab", "down", "one", cwd=directory)


# ---- growing -----------------------------------------------------------------------------------------------


def test_more_shards_are_added_and_a_persons_edits_stay(directory):
    with small_lab(directory) as lab:
        config = pathlib.Path(lab["config"])
        edited = config.read_text().replace("cluster: ", "# mine\ncluster:   ").replace("tables:", "tables: # mine too")
        edited = edited.replace("  - {name: s0,", "  # the first\n  - {name: s0, weight: 2,") + \
            "  - {name: users, key: id, function: modulo}\n"
        config.write_text(edited)
        query(lab["shards"][0]["conninfo"], "CREATE TABLE kept AS SELECT 7 AS x")
        run_command("lab", "up", "one", "--shards", 3, cwd=directory, check=True, timeout=120)
        grown = lab_of(directory, "one")
        lines = config.read_text().splitlines()
        added = [line for line in lines if line not in edited.splitlines()]
        assert [line for line in lines if line not in added] == edited.splitlines()
        assert added == [f'  - {{name: s{i}, conninfo: "{grown["shards"][i]["conninfo"]}"}}' for i in (1, 2)]
        assert lines.index(added[1]) < lines.index("tables: # mine too")
        assert query(grown["shards"][0]["conninfo"], "SELECT x FROM kept") == [(7,)]
        for shard in grown["shards"]:
            assert query(shard["conninfo"], "SELECT 1") == [(1,)]


def test_a_config_that_was_deleted_is_written_again(directory):
    with small_lab(directory) as lab:
        text = pathlib.Path(lab["config"]).read_text()
        pathlib.Path(lab["config"]).unlink()
        run_command("lab", "up", "one", cwd=directory, check=True)
        assert pathlib.Path(lab["config"]).read_text() == text


# ---- what breaks -------------------------------------------------------------------------------------------


def test_servers_that_lost_power_start_again_and_keep_what_was_committed(directory):
    with small_lab(directory, shards=2) as lab:
        query(lab["shards"][1]["conninfo"], "CREATE TABLE kept AS SELECT 7 AS x")
        for shard in ("s0", "s1"):
            kill_server(lab, shard)
        assert [shard["running"] for shard in lab_of(directory, "one")["shards"]] == [False, False]
        run_command("lab", "up", "one", cwd=directory, check=True)
        assert lab_of(directory, "one") == lab
        assert query(lab["shards"][1]["conninfo"], "SELECT x FROM kept") == [(7,)]


def test_a_stale_pid_file_that_names_another_process_of_that_user(directory):
    with small_lab(directory, shards=2) as lab:
        kill_server(lab, "s0")
        path = pathlib.Path(lab["directory"], "s0", "postmaster.pid")
        lines = path.read_text().splitlines(keepends=True)
        path.write_text(f"{postmaster(lab, 's1')}\n" + "".join(lines[1:]))
        assert [shard["running"] for shard in lab_of(directory, "one")["shards"]] == [False, True]
        run_command("lab", "up", "one", cwd=directory, check=True)
        assert lab_of(directory, "one") == lab


@pytest.mark.long
def test_the_socket_directory_was_cleaned_away(directory):
    with small_lab(directory) as lab:
        sockets, = query(lab["shards"][0]["conninfo"], "SHOW unix_socket_directories")[0]
        kill_server(lab, "s0")
        shutil.rmtree(sockets)
        run_command("lab", "up", "one", cwd=directory, check=True)
        assert lab_of(directory, "one") == lab


def test_a_port_that_somebody_took_while_the_server_was_down(directory):
    with small_lab(directory, shards=2) as lab:
        config = pathlib.Path(lab["config"])
        before = config.read_text()
        old = lab["shards"][0]["port"]
        kill_server(lab, "s0")
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", old))
            taken.listen()
            done = run_command("lab", "up", "one", cwd=directory, check=True)
            moved = lab_of(directory, "one")
            new = moved["shards"][0]["port"]
            assert new != old and moved["up"]
            assert f"port {old} was taken" in done.stderr
            assert config.read_text() == before.replace(f"port={old} ", f"port={new} ")
            assert query(moved["shards"][0]["conninfo"], "SELECT inet_server_port()") == [(new,)]


def test_stop_and_start_one_server(directory):
    with small_lab(directory, shards=2) as lab:
        query(lab["shards"][1]["conninfo"], "CREATE TABLE kept AS SELECT 7 AS x")
        run_command("lab", "stop", "one", "s1", cwd=directory, check=True)
        with pytest.raises(psycopg2.OperationalError):
            query(lab["shards"][1]["conninfo"], "SELECT 1")
        assert query(lab["shards"][0]["conninfo"], "SELECT 1") == [(1,)]
        text = run_command("lab", "list", cwd=directory).stdout
        assert "partly up" in text and "(down)" in text
        run_command("lab", "stop", "one", "s1", cwd=directory, check=True)
        run_command("lab", "start", "one", "s1", cwd=directory, check=True)
        run_command("lab", "start", "one", "s1", cwd=directory, check=True)
        assert query(lab["shards"][1]["conninfo"], "SELECT x FROM kept") == [(7,)]
        assert run_command("lab", "stop", "one", "s2", cwd=directory).returncode == 1


def test_down_while_clients_are_connected_leaves_nothing(directory):
    with small_lab(directory) as lab:
        sockets, = query(lab["shards"][0]["conninfo"], "SHOW unix_socket_directories")[0]
        client = psycopg2.connect(lab["shards"][0]["conninfo"])
        cursor = client.cursor()
        cursor.execute("SELECT 1")
        run_command("lab", "down", "one", cwd=directory, check=True)
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
        assert not pathlib.Path(lab["directory"]).exists()
        assert not pathlib.Path(lab["directory"]).parent.exists()
        assert not pathlib.Path(sockets).exists()
        assert processes_under(lab["directory"]) == []
        assert run_command("lab", "down", "one", cwd=directory).returncode == 1


def test_a_damaged_lab_json_is_named_and_can_be_removed(directory):
    with small_lab(directory) as lab:
        pathlib.Path(lab["directory"], "lab.json").write_text('{"version": 1, "shards": [')
        done = run_command("lab", "up", "one", cwd=directory)
        assert done.returncode == 2 and "lab.json" in done.stderr and "lab down one" in done.stderr
        run_command("lab", "down", "one", cwd=directory, check=True)
        assert processes_under(lab["directory"]) == []


# ---- cut off -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish, points", [("up", CONTROL_POINTS[::EACH]), ("down", CONTROL_POINTS[1:3])])
def test_killed_at_every_control_point(directory, control_points, finish, points):
    for point in points:
        done = run_command("lab", "up", "one", "--shards", 2, cwd=directory, timeout=120,
                           env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
        assert done.returncode == -signal.SIGKILL, point
        root = lab_of(directory, "one")["directory"]
        if finish == "up":
            run_command("lab", "up", "one", "--shards", 2, cwd=directory, check=True, timeout=120)
            lab = lab_of(directory, "one")
            assert lab["up"] and len(lab["shards"]) == 2
            assert len([pid for pid in processes_under(root) if pid in
                        (postmaster(lab, "s0"), postmaster(lab, "s1"))]) == 2
            for shard in lab["shards"]:
                assert query(shard["conninfo"], "SELECT current_user") == [("one",)]
        run_command("lab", "down", "one", cwd=directory, check=True)
        wait_until(lambda: processes_under(root) == [])
        assert not pathlib.Path(root).exists()


@pytest.mark.long
def test_killed_while_shards_are_added(directory, control_points):
    with small_lab(directory) as lab:
        query(lab["shards"][0]["conninfo"], "CREATE TABLE kept AS SELECT 7 AS x")
        count = 1
        for point in ("lab.after_initdb", "lab.after_role", "lab.before_commit", "lab.after_commit", "lab.after_config")[::EACH]:
            count += 1
            done = run_command("lab", "up", "one", "--shards", count, cwd=directory, timeout=120,
                               env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
            assert done.returncode == -signal.SIGKILL, point
            run_command("lab", "up", "one", "--shards", count, cwd=directory, check=True, timeout=120)
            now = lab_of(directory, "one")
            assert len(now["shards"]) == count
            text = pathlib.Path(now["config"]).read_text()
            for shard in now["shards"]:
                assert text.count(f'name: {shard["name"]},') == 1
                assert f'"{shard["conninfo"]}"' in text
                assert query(shard["conninfo"], "SELECT 1") == [(1,)]
        assert query(now["shards"][0]["conninfo"], "SELECT x FROM kept") == [(7,)]


def test_killed_while_a_lab_is_removed(directory, control_points):
    with small_lab(directory) as lab:
        done = run_command("lab", "down", "one", cwd=directory, env={"MOSAIC_CONTROL_POINT": "lab.after_stop=kill"})
        assert done.returncode == -signal.SIGKILL
        run_command("lab", "up", "one", "--shards", 1, cwd=directory, check=True)
        again = lab_of(directory, "one")
        assert query(again["shards"][0]["conninfo"], "SELECT 1") == [(1,)]


@pytest.mark.parametrize("sent, seconds", [
    pytest.param(signal.SIGINT, 0.05, marks=pytest.mark.long), (signal.SIGINT, 0.6),
    pytest.param(signal.SIGINT, 1.3, marks=pytest.mark.long), (signal.SIGTERM, 1.0),
    pytest.param(signal.SIGKILL, 0.4, marks=pytest.mark.long), (signal.SIGKILL, 1.1)])
def test_interrupted_at_any_moment(directory, sent, seconds):
    process = subprocess.Popen([COMMAND, "lab", "up", "one", "--shards", "1"], cwd=directory, env=environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        if sent == signal.SIGINT:  # a terminal sends it to every process of the command
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
    errors = process.communicate(timeout=60)[1]
    found = lab_of(directory, "one")
    if process.returncode == 0:
        assert found["up"]
    elif sent != signal.SIGKILL and process.returncode > 0:
        assert process.returncode == 130, errors
        assert found is None
        assert processes_of(directory) == []
    run_command("lab", "up", "one", "--shards", 1, cwd=directory, check=True, timeout=120)
    lab = lab_of(directory, "one")
    assert lab["up"]
    for shard in lab["shards"]:
        assert query(shard["conninfo"], "SELECT 1") == [(1,)]
    run_command("lab", "down", "one", cwd=directory, check=True)
    wait_until(lambda: processes_under(lab["directory"]) == [])


def test_a_failed_up_leaves_nothing(directory):
    """A lab whose servers' user may not reach the data: refused, and removed again."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's servers run as himself")
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    env = {"PGMOSAIC_STATE": closed / "state"}
    done = run_command("lab", "up", "one", "--shards", 1, cwd=directory, env=env)
    assert done.returncode == 1
    assert "may not enter" in done.stderr and "PGMOSAIC_STATE" in done.stderr
    assert list(closed.iterdir()) == []


def test_a_full_disk(directory):
    """The lab cannot be made: said, and nothing is left; one more shard cannot be: the lab stays as it was."""
    small = directory / "small"
    small.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m,mode=755", "tmpfs", small],
                                           capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    env = {"PGMOSAIC_STATE": small / "state"}
    try:
        done = run_command("lab", "up", "one", "--shards", 2, cwd=directory, env=env, timeout=120)
        assert done.returncode == 1 and "No space left on device" in done.stderr
        assert "HINT: free some space" in done.stderr
        assert list(small.iterdir()) == []
        with small_lab(directory, env=env) as lab:
            done = run_command("lab", "up", "one", "--shards", 2, cwd=directory, env=env, timeout=120)
            assert done.returncode == 1 and "No space left on device" in done.stderr
            assert lab_of(directory, "one", env=env) == lab
            assert query(lab["shards"][0]["conninfo"], "SELECT 1") == [(1,)]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_server_that_does_not_start_says_why(directory):
    with small_lab(directory) as lab:
        kill_server(lab, "s0")
        control = pathlib.Path(lab["directory"], "s0", "global", "pg_control")
        kept = control.read_bytes()
        control.write_bytes(b"x" * len(kept))
        done = run_command("lab", "up", "one", cwd=directory)
        assert done.returncode == 1
        assert "shard s0 did not start: database files are incompatible with server" in done.stderr
        assert f'HINT: its log: {lab["directory"]}/s0/' in done.stderr
        control.write_bytes(kept)
        run_command("lab", "up", "one", cwd=directory, check=True)


# ---- together ----------------------------------------------------------------------------------------------


def start_up(directory, *arguments, env=None):
    return subprocess.Popen([COMMAND, "lab", "up", *arguments], cwd=directory, env=environment(env),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_at_once_on_one_lab_make_one(directory):
    both = [start_up(directory, "one", "--shards", "2") for _ in range(2)]
    outs = [process.communicate(timeout=120) for process in both]
    try:
        assert [process.returncode for process in both] == [0, 0], outs
        assert outs[0][0] == outs[1][0]
        assert len(lab_of(directory, "one")["shards"]) == 2
    finally:
        run_command("lab", "down", "one", cwd=directory, check=True)


@pytest.mark.long
def test_two_checkouts_at_once_with_labs_of_one_name(directory):
    places = [directory / "first", directory / "second"]
    for place in places:
        place.mkdir()
    both = [start_up(place, "demo", "--shards", "2") for place in places]
    outs = [process.communicate(timeout=120) for process in both]
    try:
        assert [process.returncode for process in both] == [0, 0], outs
        labs = [lab_of(place, "demo") for place in places]
        assert len({shard["port"] for lab in labs for shard in lab["shards"]}) == 4
        run_command("lab", "down", "demo", cwd=places[0], check=True)
        assert lab_of(places[1], "demo") == labs[1]
        for shard in labs[1]["shards"]:
            assert query(shard["conninfo"], "SELECT 1") == [(1,)]
    finally:
        for place in places:
            run_command("lab", "down", "demo", cwd=place)


def test_with_something_on_5432(directory):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # then something is there already
            taken.bind(("127.0.0.1", 5432))
            taken.listen()
        with small_lab(directory, env={"PGPORT": "5432", "PGHOST": "127.0.0.1"}) as lab:
            assert lab["up"] and lab["shards"][0]["port"] != 5432


@pytest.mark.parametrize("name", [pytest.param("with blanks and 'quotes'", marks=pytest.mark.long),
                                  "ü \"double\" \\ $HOME `x` #x", pytest.param("long" * 50, marks=pytest.mark.long)])
def test_odd_paths(directory, name):
    """As the checkout, and as the place of the state, which goes into conninfos, settings, YAML and shells."""
    place = directory / name
    place.mkdir()
    env = {"PGMOSAIC_STATE": place / "state"}
    with small_lab(place, shards=2, env=env) as lab:
        assert str(place) in lab["directory"]
        for shard in lab["shards"]:
            assert query(shard["conninfo"], "SELECT current_user") == [("one",)]
        out = run_command("lab", "env", "one", cwd=place, env=env, check=True).stdout
        values = dict(shlex.split(line)[1].split("=", 1) for line in out.splitlines())
        assert values["PGPASSFILE"] == lab["passfile"]
        said = subprocess.run(["sh", "-c", out + 'cat "$PGMOSAIC_CONFIG"'], capture_output=True, text=True, check=True)
        assert said.stdout == pathlib.Path(lab["config"]).read_text()
        import yaml
        assert [shard["conninfo"] for shard in yaml.safe_load(said.stdout)["shards"]] == \
            [shard["conninfo"] for shard in lab["shards"]]


# ---- who runs the servers ----------------------------------------------------------------------------------


def test_root_runs_no_server(shop):
    lab = lab_of(shop.directory, "shop")
    owners = {os.stat(f"/proc/{postmaster(lab, f's{i}')}").st_uid for i in range(3)}
    assert 0 not in owners
    if os.geteuid() != 0:
        assert owners == {os.geteuid()}


@pytest.mark.parametrize("user, said", [("root", "refuses root"), ("no-such-user", "no user no-such-user")])
def test_a_user_that_cannot_run_servers(directory, user, said):
    if os.geteuid() != 0:
        pytest.skip("PGMOSAIC_RUN_AS is for root")
    done = run_command("lab", "up", "one", cwd=directory, env={"PGMOSAIC_RUN_AS": user})
    assert done.returncode == 2 and said in done.stderr
    assert run_json("lab", "list", cwd=directory) == []


def test_an_ordinary_user(ordinary_user):
    place = ordinary_user.home / "his own"
    ordinary_user.call("mkdir", place)
    done = ordinary_user.run("lab", "up", "--shards", "2", cwd=place)
    try:
        assert done.returncode == 0, done.stderr
        said = ordinary_user.run("lab", "psql", "s1", "--", "-XAtc", "SELECT current_user", cwd=place)
        assert said.stdout == "demo\n", said.stderr
        state = ordinary_user.home / ".local/state/pgmosaic"
        assert f"config: {state}/" in done.stdout
        assert owners_under(state) == {place.stat().st_uid}
        assert place.stat().st_uid != 0
    finally:
        done = ordinary_user.run("lab", "down", cwd=place)
    assert done.returncode == 0, done.stderr
    assert not state.exists()


def test_the_owner_of_the_data_stays_who_he_was(directory):
    if os.geteuid() != 0:
        pytest.skip("PGMOSAIC_RUN_AS is for root")
    with small_lab(directory, env={"PGMOSAIC_RUN_AS": "nobody"}) as lab:
        assert os.stat(f"/proc/{postmaster(lab, 's0')}").st_uid == pwd.getpwnam("nobody").pw_uid
        kill_server(lab, "s0")
        run_command("lab", "up", "one", cwd=directory, check=True)
        assert os.stat(f"/proc/{postmaster(lab, 's0')}").st_uid == pwd.getpwnam("nobody").pw_uid
