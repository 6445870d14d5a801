"""Labs of containers. Run where a Docker daemon answers and the image is there: `postgres`, or $PGMOSAIC_TEST_IMAGE;
for Citus `citusdata/citus`, or $PGMOSAIC_TEST_CITUS_IMAGE.

tests/integration/docker/make-image makes one without a registry, less Citus.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess

import psycopg2
import pytest

from conftest import CitusLab, Lab, run_command, run_json

pytestmark = pytest.mark.light

IMAGE = os.environ.get("PGMOSAIC_TEST_IMAGE", "postgres")
CITUS_IMAGE = os.environ.get("PGMOSAIC_TEST_CITUS_IMAGE", "citusdata/citus")


def docker(*arguments, check=True):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check, timeout=120)


def need_image(name, variable):
    if not shutil.which("docker"):
        pytest.skip("there is no docker command")
    if docker("version", check=False).returncode != 0:
        pytest.skip("no Docker daemon answers")
    if docker("image", "inspect", name, check=False).returncode != 0:
        pytest.skip(f"there is no image {name} (set {variable})")
    return name


@pytest.fixture(scope="module")
def image():
    return need_image(IMAGE, "PGMOSAIC_TEST_IMAGE")


@pytest.fixture(scope="module")
def box(module_directory, image):
    lab = Lab(module_directory, "box", 2)
    try:
        yield lab.up("--with", "docker", "--image", image)
    finally:
        lab.down()


def things(lab):
    """Names of all containers, volumes and networks of the lab, found by the labels that are promised."""
    filters = ("--filter", f"label=pgmosaic.lab={lab}")
    found = docker("ps", "-a", *filters, "--format", "{{.Names}}").stdout.split()
    found += docker("volume", "ls", *filters, "--format", "{{.Name}}").stdout.split()
    return found + docker("network", "ls", *filters, "--format", "{{.Name}}").stdout.split()


def container_of(lab, shard):
    name, = (name for name in docker("ps", "-a", "--filter", f"label=pgmosaic.lab={lab}", "--format",
                                     "{{.Names}}").stdout.split() if name.endswith(f"-s{shard}"))
    return name


def listed(lab):
    found = [entry for entry in run_json("lab", "list", cwd=lab.directory) if entry["name"] == lab.name]
    return found[0] if found else None


@pytest.mark.deadline(300)
def test_shards_are_containers_with_labels_and_named_volumes(box):
    lab = listed(box)
    assert lab["provider"] == "docker" and lab["up"] and len(lab["shards"]) == 2
    for number, shard in enumerate(lab["shards"]):
        about, = json.loads(docker("container", "inspect", container_of("box", number)).stdout)
        assert about["Config"]["Labels"]["pgmosaic.checkout"] == str(box.directory)
        assert about["NetworkSettings"]["Ports"]["5432/tcp"] == \
            [{"HostIp": "127.0.0.1", "HostPort": str(shard["port"])}]
        data, = (mount for mount in about["Mounts"] if mount["Destination"] == "/var/lib/pgmosaic")
        assert data["Name"] == container_of("box", number)
        assert about["State"]["Health"]["Status"] == "healthy"


def test_servers_are_as_local_ones(box):
    sql = ("SELECT pg_encoding_to_char(encoding), datcollate, current_setting('wal_level'), "
           "current_setting('max_prepared_transactions')::int > 0, current_setting('TimeZone'), current_user::text, "
           "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) "
           "FROM pg_database WHERE datname = current_database()")
    assert {box.query(i, sql)[0] for i in range(2)} == {("UTF8", "C.UTF-8", "logical", True, "UTC", "box", False)}
    assert box.query(1, "SHOW cluster_name") == [("box s1",)]


def test_shards_reach_each_other_by_name(box):
    done = docker("exec", container_of("box", 0), "pg_isready", "-h", "s1", "-p", "5432", check=False)
    assert "accepting connections" in done.stdout


def test_no_password_that_docker_shows_opens_anything(box):
    passfile = pathlib.Path(box.env["PGPASSFILE"])
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    password = passfile.read_text().strip().removeprefix("*:*:*:box:")
    assert re.fullmatch(r"[0-9a-f]{32,}", password)
    about = docker("container", "inspect", container_of("box", 0)).stdout
    assert password not in about
    assert password not in docker("logs", container_of("box", 0)).stdout
    shown, = (entry.split("=", 1)[1] for entry in json.loads(about)[0]["Config"]["Env"]
              if entry.startswith("POSTGRES_PASSWORD="))
    port = listed(box)["shards"][0]["port"]
    for user, secret in (("postgres", shown), ("box", shown), ("box", "wrong")):
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            psycopg2.connect(host="127.0.0.1", port=port, user=user, dbname="postgres", password=secret)
    assert not (passfile.parent / "docker.env").exists()


def test_a_second_up_changes_nothing(box):
    before = listed(box)
    box.run("lab", "up", "box", check=True)
    assert listed(box) == before


def test_another_image_or_provider_is_refused(box):
    for words in (("--image", "other"), ("--with", "local")):
        done = box.run("lab", "up", "box", *words)
        assert done.returncode == 2 and "lab box" in done.stderr


@pytest.mark.deadline(300)
def test_a_crash_and_a_port_taken_meanwhile_keep_the_data(box):
    box.query(1, "CREATE TABLE kept AS SELECT 7 AS x")
    box.run("lab", "stop", "box", "s1", check=True)
    lab = listed(box)
    assert [shard["running"] for shard in lab["shards"]] == [True, False]
    old = lab["shards"][1]["port"]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", old))
        taken.listen()
        box.run("lab", "up", "box", check=True, timeout=150)
        new = listed(box)["shards"][1]["port"]
        assert new != old
        assert box.query(1, "SELECT x FROM kept") == [(7,)]


@pytest.mark.deadline(300)
def test_a_container_that_somebody_removed_is_made_again(box):
    box.query(0, "CREATE TABLE kept AS SELECT 8 AS x")
    docker("rm", "-f", "-v", container_of("box", 0))
    assert not listed(box)["up"]
    box.run("lab", "up", "box", check=True, timeout=150)
    assert box.query(0, "SELECT x FROM kept") == [(8,)]


@pytest.mark.deadline(300)
def test_more_shards_are_added_and_down_leaves_nothing(directory, image):
    lab = Lab(directory, "grow", 1).up("--with", "docker", "--image", image)
    try:
        lab.run("lab", "up", "grow", "--shards", 2, check=True, timeout=150)
        assert lab.query(1, "SELECT current_user::text") == [("grow",)]
        assert len(things("grow")) == 5
    finally:
        lab.down()
    assert things("grow") == []
    assert run_json("lab", "list", cwd=directory) == []
    assert run_command("lab", "down", "grow", cwd=directory).returncode == 1


@pytest.mark.deadline(300)
@pytest.mark.parametrize("point", ["lab.after_directory", "lab.after_start", "lab.before_commit"])
def test_killed_while_it_was_made(directory, image, control_points, point):
    words = ("lab", "up", "cut", "--shards", 1, "--with", "docker", "--image", image)
    done = run_command(*words, cwd=directory, timeout=150, env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
    assert done.returncode == -9
    try:
        if point == "lab.after_start":
            run_command(*words, cwd=directory, timeout=150, check=True)
            assert listed(Lab(directory, "cut", 1))["up"]
    finally:
        run_command("lab", "down", "cut", cwd=directory, check=True)
    assert things("cut") == []


def refused(directory, *words, env=None):
    done = run_command("lab", "up", "none1", "--with", "docker", *words, cwd=directory, env=env)
    assert done.returncode == 1
    assert run_json("lab", "list", cwd=directory) == []
    return done.stderr


def test_without_the_docker_command(directory):
    said = refused(directory, env={"PATH": str(directory)})
    assert "no program docker" in said and "HINT" in said and "--with local" in said


def test_without_a_daemon(directory):
    if not shutil.which("docker"):
        pytest.skip("there is no docker command")
    said = refused(directory, env={"DOCKER_HOST": f"unix://{directory}/none.sock", "DOCKER_CONTEXT": None})
    assert "daemon does not answer" in said and "HINT: start it" in said


def test_without_the_image(directory, image):
    said = refused(directory, "--image", "localhost:1/no-such-image")
    assert "localhost:1/no-such-image is not on this machine" in said and "--image" in said


@pytest.mark.deadline(300)
def test_an_image_that_is_no_postgres(directory, image):
    """One whose container ends at once: its log is shown, and nothing is left."""
    broken = "pgmosaic-test-broken"
    identifier = docker("create", image, "true").stdout.strip()
    try:
        docker("commit", "--change", 'ENTRYPOINT ["sh", "-c", "echo cannot go on; exit 3"]', identifier, broken)
        said = refused(directory, "--shards", "1", "--image", broken)
        assert "did not become healthy: cannot go on" in said
        assert things("none1") == []
    finally:
        docker("rm", "-v", identifier)
        docker("rmi", broken, check=False)


# ---- Citus -----------------------------------------------------------------------------------------------------


@pytest.mark.deadline(300)
def test_citus_in_containers_is_a_cluster_that_grows_moves_and_goes(directory):
    """In one lab, since each start of containers takes seconds."""
    health = "SELECT bool_and(result), count(*) FROM citus_check_cluster_node_health()"
    image = need_image(CITUS_IMAGE, "PGMOSAIC_TEST_CITUS_IMAGE")
    lab = CitusLab(directory, "citusbox", 2, 4)
    try:
        lab.up("--image", image)
        assert listed(lab)["provider"] == "docker" and lab.query(health) == [(True, 9)]
        assert [lab.query("SELECT current_setting('ssl'), current_setting('listen_addresses')", node=node)
                for node in range(3)] == [[("off", "127.0.0.1")]] * 3
        about = docker("container", "inspect", container_of("citusbox", 0)).stdout
        assert pathlib.Path(lab.env["PGPASSFILE"]).read_text().split(":")[-1].strip() not in about

        lab.query("CREATE TABLE t (id bigint PRIMARY KEY)")
        lab.query("SELECT create_distributed_table('t', 'id', colocate_with => 'none')")
        lab.query("INSERT INTO t SELECT generate_series(1, 1000)")
        lab.add_workers(3)
        assert lab.query(health) == [(True, 16)]
        moved = lab.query("SELECT citus_move_shard_placement(shardid, nodename, nodeport, '127.0.0.1', %s, "
                          "'force_logical') FROM pg_dist_shard_placement LIMIT 1", (lab.nodes[3]["port"],))
        assert len(moved) == 1 and lab.query("SELECT count(*) FROM t") == [(1000,)]

        before = [node["port"] for node in lab.nodes]
        lab.run("lab", "stop", "citusbox", "w1", check=True)
        docker("rm", "--force", "--volumes", container_of("citusbox", 0))
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", before[1]))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            lab.up()
        after = [node["port"] for node in lab.nodes]
        assert [a == b for a, b in zip(before, after)] == [True, False, True, True]
        assert lab.query(health) == [(True, 16)] and lab.query("SELECT count(*) FROM t") == [(1000,)]
    finally:
        lab.down()
    assert things("citusbox") == []
