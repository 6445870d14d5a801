"""Labs of Citus: made, repaired, grown, cut off, removed. What is asked of Citus is asked of a real one."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

from conftest import COMMAND, CitusLab, citus_missing, environment, run_command, run_json

pytestmark = [pytest.mark.light, pytest.mark.long]

HEALTH = "SELECT bool_and(result), count(*) FROM citus_check_cluster_node_health()"
PROGRAMS = pathlib.Path("/usr/lib/postgresql")


def registered(lab):
    """Ports of the nodes that the coordinator knows, its own first."""
    return [port for port, in lab.query("SELECT nodeport FROM pg_dist_node WHERE isactive ORDER BY groupid")]


def ports(lab):
    return [node["port"] for node in lab.nodes]


def directory_of(lab):
    return pathlib.Path(lab.config).parent


def servers_under(path):
    """Processes that work in that tree, as servers do in their data directories."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "cwd").startswith(str(path)):
                found.append(int(entry.name))
    return found


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def kill_node(lab, number):
    """The power fails: all processes of a node are gone at once."""
    data = directory_of(lab) / f"s{number}"
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGSTOP)
    for pid in servers_under(data):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not servers_under(data))


@pytest.fixture(scope="module")
def table(citus_lab):
    """A distributed table whose rows tell whether anything was lost."""
    citus_lab.query("CREATE TABLE t (id bigint PRIMARY KEY, n text)")
    citus_lab.query("SELECT create_distributed_table('t', 'id', colocate_with => 'none')")
    citus_lab.query("INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g")
    return citus_lab


# ---- what it is ----------------------------------------------------------------------------------------------------


def test_nodes_are_registered_and_log_in_to_each_other(citus_lab):
    assert [node["name"] for node in citus_lab.nodes] == ["coordinator", "w1", "w2"]
    assert registered(citus_lab) == ports(citus_lab)
    assert citus_lab.query(HEALTH) == [(True, 9)]
    assert citus_lab.query("SHOW citus.shard_count") == [("8",)]
    assert citus_lab.query("SELECT current_schema()") == [("public",)]  # the extension has a schema of the lab's name
    lab, = run_json("lab", "list", cwd=citus_lab.directory)
    assert (lab["engine"], lab["provider"], lab["up"]) == ("citus", "local", True)


def test_no_tls_was_turned_on_and_no_login_is_without_a_password(citus_lab):
    for node in range(3):
        assert citus_lab.query("SELECT current_setting('ssl'), current_setting('citus.node_conninfo')", node=node) == \
            [("off", "sslmode=disable")]
        assert citus_lab.query("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'", node=node) == \
            [(0,)]
        plugins = citus_lab.query("SELECT setting FROM pg_settings WHERE name = 'output_plugin_libraries'", node=node)
        assert not plugins or "citus" in plugins[0][0].split(", ")
    refused = subprocess.run(["psql", "-w", "-h", "127.0.0.1", "-p", str(ports(citus_lab)[1]), "-U", "citus", "-c",
                              "SELECT 1"], env=environment({"PGPASSFILE": "/dev/null"}), capture_output=True, text=True)
    assert refused.returncode != 0 and "no password supplied" in refused.stderr
    kept = (directory_of(citus_lab) / "nodes.pgpass").stat()
    assert stat.S_IMODE(kept.st_mode) == 0o600
    assert kept.st_uid == (directory_of(citus_lab) / "s0").stat().st_uid


def test_env_leads_to_the_coordinator(citus_lab):
    done = subprocess.run(["psql", "-XAtc", "SELECT current_setting('port'), current_user"],
                          env=environment(citus_lab.env), capture_output=True, text=True, check=True)
    assert done.stdout == f"{ports(citus_lab)[0]}|citus\n"
    done = citus_lab.run("lab", "psql", "w2", "--", "-XAtc", "SHOW cluster_name", check=True)
    assert done.stdout == "citus w2\n"
    done = citus_lab.run("lab", "psql", "coordinator", "--", "-XAtc", "SHOW cluster_name", check=True)
    assert done.stdout == "citus coordinator\n"


def test_the_config_names_the_coordinator_and_ends_with_tables(citus_lab):
    text = pathlib.Path(citus_lab.config).read_text()
    assert f'\nengine: citus\ncoordinator: "{citus_lab.conninfo()}"\n' in text
    assert text.endswith("\ntables:\n") and "shards:" not in text


def test_the_labs_role_splits_and_moves_shards(table):
    """All that connects between nodes: the session, the decoding of changes, the walreceiver of a subscription."""
    (shard, port), = table.query("SELECT shardid, nodeport FROM pg_dist_shard JOIN pg_dist_shard_placement "
                                 "USING (shardid) WHERE logicalrelid = 't'::regclass ORDER BY shardminvalue::int LIMIT 1")
    (node, other), = table.query("SELECT a.nodeid, b.nodeport FROM pg_dist_node a, pg_dist_node b WHERE a.nodeport = %s "
                                 "AND b.groupid > 0 AND b.nodeid <> a.nodeid", (port,))
    table.query("SELECT citus_split_shard_by_split_points(%s, array['-2000000000'], array[%s, %s]::int[], "
                "'force_logical')", (shard, node, node))
    moved, = table.query("SELECT shardid FROM pg_dist_shard WHERE logicalrelid = 't'::regclass "
                         "ORDER BY shardminvalue::int LIMIT 1")
    table.query("SELECT citus_move_shard_placement(%s, '127.0.0.1', %s, '127.0.0.1', %s, 'force_logical')",
                (moved[0], port, other))
    assert table.query("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]


# ---- changed -------------------------------------------------------------------------------------------------------


def test_a_second_up_changes_nothing_but_the_number_of_shards_asked_for(table):
    before = pathlib.Path(table.config).read_text(), registered(table), ports(table)
    table.up()
    assert (pathlib.Path(table.config).read_text(), registered(table), ports(table)) == before
    run_command("lab", "up", "citus", "--shard-count", 6, cwd=table.directory, check=True)
    assert table.query("SHOW citus.shard_count") == [("6",)]


def test_a_node_is_stopped_and_started_again(table):
    table.run("lab", "stop", "citus", "w1", check=True)
    assert [node["running"] for node in table.nodes] == [True, False, True]
    assert "w1 is stopped" in table.run("lab", "stop", "citus", "w1").stdout
    table.run("lab", "start", "citus", "w1", check=True)
    assert table.query(HEALTH) == [(True, 9)]
    missing = table.run("lab", "stop", "citus", "w9")
    assert missing.returncode == 1 and "no node w9" in missing.stderr and "w1 to w2" in missing.stderr


def test_nodes_that_lost_power_start_again_with_all_rows(table):
    kill_node(table, 0)
    kill_node(table, 2)
    table.up()
    assert table.query(HEALTH) == [(True, 9)]
    assert table.query("SELECT count(*) FROM t") == [(1000,)]


def test_ports_that_somebody_took_are_changed_everywhere(table):
    taken = ports(table)[:2]
    for name in ("coordinator", "w1"):
        table.run("lab", "stop", "citus", name, check=True)
    with contextlib.ExitStack() as stack:
        for port in taken:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # taken, and refuses: nobody listens
        table.up()
    assert not set(taken) & set(ports(table))
    assert f"port={ports(table)[0]} " in pathlib.Path(table.config).read_text()
    assert registered(table) == ports(table)
    assert table.query(HEALTH) == [(True, 9)]
    assert table.query("SELECT count(*) FROM t") == [(1000,)]


def test_a_worker_is_added_and_fewer_are_refused(table):
    table.add_workers(3)
    assert [node["name"] for node in table.nodes] == ["coordinator", "w1", "w2", "w3"]
    assert registered(table) == ports(table)
    assert table.query(HEALTH) == [(True, 16)]
    assert table.query("SELECT count(*) FROM t", node=3) == [(1000,)]
    fewer = table.run("lab", "up", "citus", "--workers", 1)
    assert fewer.returncode == 2 and "lab citus has 3 workers; fewer would lose their data" in fewer.stderr


def test_another_engine_is_refused(citus_lab):
    for options in (("--engine", "postgres"), ("--shards", "3")):
        done = citus_lab.run("lab", "up", "citus", *options)
        assert done.returncode == 2 and "lab citus has the engine citus already" in done.stderr
    for options in (("--engine", "citus", "--shards", "3"), ("--engine", "postgres", "--workers", "3"),
                    ("--workers", "0"), ("--workers", "64"), ("--shard-count", "0"), ("--shard-count", "64001")):
        assert citus_lab.run("lab", "up", "other", *options).returncode == 2
    assert [lab["name"] for lab in run_json("lab", "list", cwd=citus_lab.directory)] == ["citus"]


# ---- cut off -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lab_to_break(directory):
    missing = citus_missing()
    if missing:
        pytest.skip(missing)
    lab = CitusLab(directory, "torn", 1, 4)
    try:
        yield lab
    finally:
        lab.down()


def processes_of(checkout):
    return [pid for pid in servers_under("/") if f"/{checkout.name}-" in (proc_cwd(pid) or "")]


def proc_cwd(pid):
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")


@pytest.mark.parametrize("point", ["lab.after_extension", "lab.after_registration", "lab.before_commit"])
def test_a_lab_that_was_cut_off_is_removed(directory, control_points, point):
    with lab_to_break(directory) as lab:
        cut = run_command("lab", "up", "torn", "--workers", 1, cwd=directory, env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
        assert cut.returncode == -signal.SIGKILL
        assert run_json("lab", "list", cwd=directory)[0]["half_made"]
        run_command("lab", "down", "torn", cwd=directory, check=True)
        assert not processes_of(directory) and run_json("lab", "list", cwd=directory) == []
        lab.env = {}


def cut_off_while_adding(lab, point):
    done = run_command("lab", "up", "torn", "--workers", lab.workers + 1, cwd=lab.directory,
                       env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
    assert done.returncode == -signal.SIGKILL, point


def test_a_worker_that_was_being_added_is_added_by_the_next_up(directory, control_points):
    with lab_to_break(directory) as lab:
        lab.up()
        lab.query("CREATE TABLE t (id int PRIMARY KEY)")
        for point in ("lab.after_extension", "lab.after_commit", "lab.after_registration"):
            cut_off_while_adding(lab, point)
            lab.query("CREATE TABLE more (id int)")  # what a node that is listed and gone would hinder
            lab.query("DROP TABLE more")
            lab.add_workers(lab.workers + 1)
            assert registered(lab) == ports(lab), point
            assert lab.query(HEALTH) == [(True, lab.shards ** 2)], point
        servers = {proc_cwd(pid) for pid in processes_of(directory)}
        assert servers == {str(directory_of(lab) / f"s{number}") for number in range(5)}

        cut_off_while_adding(lab, "lab.after_commit")
        lab.query("CREATE TABLE mine (id int)", node=5)
        refused = run_command("lab", "up", "torn", cwd=directory)
        assert refused.returncode == 1 and "the database torn of w5 is not empty: it has public.mine" in refused.stderr
        assert lab.query("SELECT count(*) FROM mine", node=5) == [(0,)] and len(registered(lab)) == 5
        lab.query("DROP TABLE mine", node=5)
        lab.add_workers(5)
        assert registered(lab) == ports(lab)


def test_ctrl_c_leaves_nothing(directory):
    with lab_to_break(directory):
        process = subprocess.Popen([COMMAND, "lab", "up", "torn", "--engine", "citus"], cwd=directory,
                                   env=environment(), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: processes_of(directory), 60)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 130, said
        assert not processes_of(directory) and run_json("lab", "list", cwd=directory) == []


# ---- who and where -------------------------------------------------------------------------------------------------


def test_an_ordinary_user(ordinary_user):
    if citus_missing():
        pytest.skip(citus_missing())
    try:
        done = ordinary_user.run("lab", "up", "mine", "--engine", "citus", "--workers", "1")
        assert done.returncode == 0, done.stderr
        done = ordinary_user.run("lab", "psql", "--lab", "mine", "coordinator", "--", "-XAtc", HEALTH)
        assert done.stdout == "t|4\n", done.stderr
    finally:
        assert ordinary_user.run("lab", "down", "mine").returncode == 0
    assert not servers_under(ordinary_user.home)


def test_two_labs_of_a_checkout_and_nothing_is_left(citus_lab):
    other = CitusLab(citus_lab.directory, "other", 1, 4).up()
    kept, sockets = directory_of(other), other.query("SHOW unix_socket_directories")[0][0]
    assert pathlib.Path(sockets).is_dir() and servers_under(kept)
    assert other.query(HEALTH) == [(True, 4)] and citus_lab.query("SELECT bool_and(result) FROM "
                                                                  "citus_check_cluster_node_health()") == [(True,)]
    other.down()
    assert not kept.exists() and not pathlib.Path(sockets).exists() and not servers_under(kept)
    assert citus_lab.query("SELECT 1") == [(1,)]


@pytest.fixture
def without_citus(directory):
    """A copy of this machine's newest PostgreSQL, less Citus."""
    for major in range(18, 12, -1):
        share = pathlib.Path(f"/usr/share/postgresql/{major}")
        if (PROGRAMS / str(major) / "bin/initdb").exists() and (share / "extension").is_dir():
            break
    else:
        pytest.skip("no PostgreSQL is laid out as Debian does it")
    copy = directory / "usr"
    for path in (PROGRAMS / str(major) / "bin", PROGRAMS / str(major) / "lib", share):
        shutil.copytree(path, copy / path.relative_to("/usr"), ignore=shutil.ignore_patterns("citus*", "bitcode"))
    return copy / "lib/postgresql" / str(major), major


def test_a_postgresql_without_citus_is_told_what_gives_it(pgmosaic, without_citus):
    programs, major = without_citus
    done = pgmosaic("lab", "up", "x", "--engine", "citus", "--postgres", programs)
    assert done.returncode == 1
    assert f"{programs}/bin is PostgreSQL {major} without Citus" in done.stderr
    assert "make run" in done.stderr and "citusdata/citus" in done.stderr
    if "ID=debian" in pathlib.Path("/etc/os-release").read_text():
        assert f"apt-get install postgresql-{major}-citus-" in done.stderr
    assert run_json("lab", "list", cwd=programs.parents[3]) == []
    nothing = pgmosaic("lab", "up", "x", "--engine", "citus", "--postgres", "/nowhere")
    assert nothing.returncode == 1 and "no directory /nowhere" in nothing.stderr


def test_a_machine_with_neither_citus_nor_docker(pgmosaic, without_citus):
    """Citus, where it is installed, is hidden by a mount of this process's own."""
    programs, major = without_citus
    words = ["lab", "up", "x", "--engine", "citus"]
    env = {"DOCKER_HOST": "unix:///nowhere"}
    if not citus_missing():
        if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
            pytest.skip("only root can hide the Citus of this machine")
        hide = f"mount --bind {programs.parents[2]}/share/postgresql/{major} /usr/share/postgresql/{major}"
        done = subprocess.run(["unshare", "-m", "sh", "-c", f'{hide} && exec "$@"', "sh", COMMAND, *words],
                              cwd=programs.parents[3], env=environment(env), capture_output=True, text=True)
    else:
        done = pgmosaic(*words, env=env)
    assert done.returncode == 1
    assert "has the extension Citus, and Docker cannot give it" in done.stderr
    assert "make run, make run-matrix" in done.stderr
