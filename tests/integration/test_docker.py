"""Labs of containers. Run where a Docker daemon answers and the image is there: `postgres`, or $PGMOSAIC_TEST_IMAGE.

tests/integration/docker/make-image makes one without a registry.
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

from conftest import Lab, run_command, run_json

IMAGE = os.environ.get("PGMOSAIC_TEST_IMAGE", "postgres")


def docker(*arguments, check=True):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check, timeout=120)


@pytest.fixture(scope="module")
def image():
    if not shutil.which("docker"):
        pytest.skip("there is no docker command")
    if docker("version", check=False).returncode != 0:
        pytest.skip("no Docker daemon answers")
    if docker("image", "inspect", IMAGE, check=False).returncode != 0:
        pytest.skip(f"there is no image {IMAGE} (set PGMOSAIC_TEST_IMAGE)")
    return IMAGE


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
