"""The verbs of the Makefile and the set-up, on a copy of the checkout in a path with spaces."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import CHECKOUT, COMMAND, FULL, citus_missing, environment

pytestmark = [pytest.mark.plain, pytest.mark.deadline(600)]


def copy_checkout(to):
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=CHECKOUT, capture_output=True,
                           text=True, check=True, timeout=60).stdout.splitlines()
    for name in names:
        if (CHECKOUT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, to / name)
    (to / ".git").mkdir(exist_ok=True)  # what a checkout is known by
    return to


class Checkout:
    """A copy of the checkout, used by root (or whoever we are) or by an ordinary user."""

    def __init__(self, path, prefix, env):
        self.path, self.prefix, self.env = path, prefix, env

    def run(self, *words, timeout=500, **env):
        return subprocess.run([*self.prefix, *map(str, words)], cwd=self.path, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout, env=environment({**self.env, **env}))

    def make(self, *words, code=0, **options):
        done = self.run("make", "DEPS=no", *words, **options)
        assert done.returncode == code, f"make {words} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


USERS = ["us"] + (["nobody"] if os.geteuid() == 0 else [])
# What does not depend on who it is runs as one of them, and as both in test-full.
AS_BOTH = USERS if FULL else []
as_us = pytest.mark.parametrize("checkout", AS_BOTH or USERS[:1], indirect=True)
as_ordinary = pytest.mark.parametrize("checkout", AS_BOTH or USERS[-1:], indirect=True)


@pytest.fixture(scope="module")
def checkouts(module_directory):
    """By whom they are used."""
    made = {}
    for user in USERS:
        home = module_directory / f"home of {user}"
        path = home / "a checkout"
        path.mkdir(parents=True)
        copy_checkout(path)
        prefix, env = [], {"MAKEFLAGS": None}
        if user == "nobody":
            subprocess.run(["chown", "-R", "nobody:nogroup", home], check=True, timeout=60)
            prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
            # Objects that the build of another checkout has left (tests/run) may be read, not written.
            env.update(HOME=home, XDG_STATE_HOME=None, CCACHE_READONLY="true", CCACHE_TEMPDIR=home / "ccache")
        made[user] = Checkout(path, prefix, env)
    yield made
    for checkout in made.values():
        checkout.run("make", "DEPS=no", "clean")


@pytest.fixture(params=USERS)
def checkout(request, checkouts):
    return checkouts[request.param]


def readme_blocks():
    """(language, lines) of each fenced block of the README."""
    text = (CHECKOUT / "README.md").read_text()
    return [(language, block.splitlines()) for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def proxy_serves(checkout, line):
    """Starts it (on a port that is free here), pastes the psql line that it prints, and ends it as Ctrl-C does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    proxy = subprocess.Popen([*checkout.prefix, "sh", "-c", f"exec {line}"], cwd=checkout.path, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=environment({**checkout.env, "DEPS": "no", "LISTEN": listen}), start_new_session=True)
    said = []
    try:
        while not said or "threads, listens on" not in said[-1] and "thread, listens on" not in said[-1]:
            said.append(proxy.stdout.readline())
            assert said[-1], f"{line} ended:\n{''.join(said)}"
        pasted = next(each.strip() for each in said if " psql " in each)
        done = checkout.run("sh", "-c", f"{pasted} -XAtc 'SELECT name FROM users WHERE id = 42'", timeout=30)
        assert done.stdout == "User 42\n", f"{pasted}:\n{done.stdout}\n{done.stderr}"
    finally:
        os.killpg(proxy.pid, signal.SIGINT)
        proxy.communicate(timeout=30)


@as_ordinary
def test_the_commands_of_the_readme_run_as_written(checkout):
    blocks = readme_blocks()
    assert ["make run"] in [lines for _, lines in blocks]
    answered = 0
    for (language, lines), (following, answer) in zip(blocks, [*blocks[1:], ("", [])]):
        if language != "sh" or lines == ["make test"]:  # that would be this very test
            continue
        out = ""
        for line in lines:
            if line == "make clean":
                checkout.run("cp", "-a", "build", "build.kept")  # for the tests that follow
            if line == "make proxy":  # it serves until it is told to stop
                proxy_serves(checkout, line)
                continue
            done = checkout.run("sh", "-c", line, DEPS="no")
            assert done.returncode == 0, f"{line}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            out += done.stdout
        if following == "":
            answered += bool(answer)
            assert out.splitlines()[-len(answer):] == answer if answer else True
    assert answered == 1
    assert not (checkout.path / "build").exists(), "the last command is make clean"
    (checkout.path / "build.kept").rename(checkout.path / "build")


@as_ordinary
def test_make_builds_and_a_second_call_does_nothing(checkout):
    checkout.make()  # nothing either, after the test before
    assert (checkout.path / "build/pgmosaic").exists()
    started = time.monotonic()
    assert checkout.make("build") == ""
    assert time.monotonic() - started < 10


@as_ordinary
def test_a_bad_file_of_users_leaves_the_rows_that_were_there(checkout):
    good, bad = checkout.path / "good.csv", checkout.path / "bad.csv"
    good.write_text("id\n" + "".join(f"{i}\n" for i in range(1, 21)))
    bad.write_text("id\n1\nx\n")
    checkout.run("build/pgmosaic", "lab", "down", "demo")
    checkout.make("run", f"USERS={good}", "SHARDS=2")
    assert "bad.csv" in checkout.make("run", f"USERS={bad}", "SHARDS=2", code=2)
    config = re.search(r"^export PGMOSAIC_CONFIG=(.*)$", checkout.run("build/pgmosaic", "lab", "env").stdout,
                       re.MULTILINE)[1].strip("'")
    counted = checkout.run("build/pgmosaic", "exec", "-c", config, "--all", "--format", "csv", "SELECT count(*) FROM users")
    assert sum(int(line.split(",")[1]) for line in counted.stdout.splitlines()[1:]) == 20
    checkout.run("build/pgmosaic", "lab", "down", "demo")


def test_help_has_a_line_for_every_verb(checkout):
    text = checkout.make("help")
    makefile = (checkout.path / "Makefile").read_text()
    verbs = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) - {"ready"}
    assert {"db", "run", "run-matrix", "clean", "test", "bench", "install", "setup"} <= verbs
    for verb in verbs:
        assert re.search(rf"^  {verb} +\S", text, re.MULTILINE), verb


@as_ordinary
def test_what_the_examples_end_with_can_be_pasted(checkout):
    for verb in ("run", "run-matrix"):
        lines = [line.strip() for line in checkout.make(verb).splitlines()]
        pasted = lines[lines.index("Try next") + 1:][:3]
        assert len([line for line in pasted if "build/pgmosaic " in line]) == 3, pasted
        for line in pasted:
            done = checkout.run("bash", "-o", "pipefail", "-c", line.replace("| head", "| cat"))
            assert done.returncode == 0 and done.stdout and not done.stderr, f"{line}: {done.stderr}"


@as_us
def test_a_bad_file_of_users_is_named_with_its_line(checkout):
    (checkout.path / "my users.csv").write_text("id,name\n1,a\nx,b\n")
    assert "/my users.csv:3: key id: \"x\"" in checkout.make("run", "USERS=my users.csv", code=2)


@as_ordinary
def test_prepare_citus_makes_what_the_next_call_enlarges(checkout):
    if citus_missing():
        assert "Citus" in checkout.make("prepare-citus", "PROVIDER=local", code=2)
        pytest.skip(citus_missing())
    checkout.run("build/pgmosaic", "lab", "down", "citus")
    assert "Citus with 1 worker, coordinator on" in checkout.make("prepare-citus", "WORKERS=1", "SHARD_COUNT=4")
    out = checkout.make("prepare-citus", "WORKERS=2", "PROVIDER=local")
    assert "adding 1 more" in out and "Citus with 2 workers" in out
    shown = checkout.run("build/pgmosaic", "lab", "psql", "--lab", "citus", "coordinator", "--", "-XAtc",
                         "SELECT count(*), current_setting('citus.shard_count') FROM pg_dist_node")
    assert shown.stdout == "3|4\n"
    assert "local|docker" in checkout.make("prepare-citus", "PROVIDER=elsewhere", code=2)


@as_ordinary
def test_run_citus_tells_its_story(checkout):
    """On the lab of the test before: a worker is added to it, and shards move there."""
    if citus_missing():
        assert "Citus" in checkout.make("run-citus", "PROVIDER=local", code=2)
        assert "alone" not in checkout.run("build/pgmosaic", "lab", "list").stdout, "it looks for Citus first"
        pytest.skip(citus_missing())
    out = checkout.make("run-citus", "SHARD_COUNT=4")
    for said in ("100,000 rows of users loaded", "One user: one task", "count(*) = 100000", "rebalanced: ",
                 "count of all users"):
        assert said in out
    for line in [line.strip() for line in out.split("Try next\n")[1].splitlines()][:3]:
        done = checkout.run("bash", "-o", "pipefail", "-c", line.replace("| head", "| cat"))
        assert done.returncode == 0 and done.stdout and not done.stderr, f"{line}: {done.stderr}"


def test_install_puts_everything_below_destdir(checkout):
    target = checkout.path / "the target"
    checkout.make("install", f"DESTDIR={target}", "PREFIX=/usr")
    for name in ("bin/pgmosaic", "include/pgmosaic.h", "share/man/man1/pgmosaic.1", "share/man/man1/pgmosaic-route.1",
                 "share/bash-completion/completions/pgmosaic", "lib/systemd/system/pgmosaic-proxy.service"):
        assert (target / "usr" / name).is_file(), name
    done = checkout.run(target / "usr/bin/pgmosaic", "--version")
    assert done.returncode == 0 and done.stdout.startswith("pgmosaic ")


@as_ordinary
def test_clean_removes_servers_even_when_the_build_is_gone(checkout):
    checkout.run("build/pgmosaic", "lab", "down", "demo")  # of the tests before
    checkout.make("db", "SHARDS=2")
    checkout.make("db", "SHARDS=2")  # again: nothing to do
    listed = checkout.run("build/pgmosaic", "lab", "list").stdout
    port = re.search(r"^demo +postgres +local +2 +up +(\d+)", listed, re.MULTILINE)[1]
    config = re.search(r"^export PGMOSAIC_CONFIG=(.*)$", checkout.run("build/pgmosaic", "lab", "env").stdout,
                       re.MULTILINE)[1].strip("'")
    shutil.rmtree(checkout.path / "build")
    checkout.make("clean")
    assert not (checkout.path / "build").exists()
    assert not pathlib.Path(config).parent.exists()
    assert not pathlib.Path(config).parent.with_name("citus").exists()  # of the test before
    answers = subprocess.run(["/usr/lib/postgresql/15/bin/pg_isready", "-q", "-h", "127.0.0.1", "-p", port], timeout=20)
    assert answers.returncode == 2  # nobody answers
    started = time.monotonic()
    checkout.make("clean")  # nothing is left to clean, and nothing is built for it
    assert time.monotonic() - started < 10


@pytest.fixture
def built(directory):
    """A checkout for scripts/clean alone: its build is a link to the command under test. Returns run(words, state)."""
    shutil.copytree(CHECKOUT / "scripts", directory / "scripts")
    (directory / ".git").mkdir()

    def run(*words, **env):
        (directory / "build").mkdir(exist_ok=True)
        if not (directory / "build/pgmosaic").exists():
            (directory / "build/pgmosaic").symlink_to(COMMAND)
        return subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=120, check=True,
                              env=environment({"DEPS": "no", **env})).stdout
    yield run
    run("build/pgmosaic", "lab", "down", "mine")


def test_clean_takes_the_labs_of_the_makefile_and_no_other(built, directory):
    built("build/pgmosaic", "lab", "up", "mine", "--shards", "1")
    built("build/pgmosaic", "lab", "up", "matrix", "--shards", "1")
    out = built("scripts/clean")
    assert "lab matrix: servers stopped" in out and "mine" not in out and not (directory / "build").exists()
    subprocess.run(["scripts/clean"], cwd=directory, timeout=10, check=True)  # nothing to do, nothing built for it
    assert re.search(r"^mine +postgres +local +1 +up", built("build/pgmosaic", "lab", "list"), re.MULTILINE)


def test_clean_finds_labs_under_another_state_directory(built, directory):
    built("build/pgmosaic", "lab", "up", "mine", "--shards", "1")
    state = directory / "state"
    built("build/pgmosaic", "lab", "up", "demo", "--shards", "1", PGMOSAIC_STATE=state)
    assert "lab demo: servers stopped" in built("scripts/clean", PGMOSAIC_STATE=state)


# ---- set-up: with a package that no machine has ----------------------------------------------------------------------


class SetUp:
    """scripts/setup with one more package, and apt-get and dpkg-query of our own that write down what they are asked."""

    def __init__(self, path):
        self.path, self.log, self.bin = path, path / "log", path / "bin"
        shutil.copytree(CHECKOUT / "scripts", path / "scripts")
        with open(path / "scripts/packages", "a") as packages:
            packages.write("build | zz-missing | command zz-missing | is only here for this test\n")
        self.bin.mkdir()
        probed = re.findall(r"\| command (\S+)", (path / "scripts/packages").read_text())
        for name in {"sh", "sed", "grep", "cut", "tr", "dirname", "cat", "comm", "sort", "find", "head", "mktemp", "rm",
                     "env", "id", "touch", "cc", "initdb", *probed}:
            found = shutil.which(name)
            if found:
                (self.bin / name).symlink_to(found)

    def program(self, name, text):
        (self.bin / name).write_text("#!/bin/sh\n" + text)
        (self.bin / name).chmod(0o755)

    def debian(self, install="touch installed"):
        self.program("dpkg-query", 'for n in gcc libc6 ${INSTALLED-}; do echo "$n:amd64 installed"; done\n'
                     f'[ -e "{self.path}/installed" ] || exit 0\n'
                     'case $* in *Architecture*) echo "zz-missing:amd64 installed" ;;\n'
                     '*) echo "zz-missing installed" ;; esac\n')
        self.program("dpkg", "echo amd64\n")
        self.program("apt-get", f'cd "{self.path}"; echo "apt-get $*" >>log\n'
                     f'case $* in *install*) {install} ;; esac\n')

    def run(self, prefix=(), **env):
        return subprocess.run([*prefix, self.path / "scripts/setup"], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, env={"PATH": str(self.bin), "LC_ALL": "C.UTF-8", **env})

    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def set_up(directory):
    return SetUp(directory)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="installs as root, and we are not")


def test_deps_no_installs_nothing_and_names_what_is_missing(set_up):
    set_up.debian()
    done = set_up.run(DEPS="no")
    assert done.returncode == 1 and set_up.calls() == []
    assert "zz-missing" in done.stdout and "is only here for this test" in done.stdout
    assert "apt-get install --no-install-recommends" in done.stderr and "DEPS=no" in done.stderr


def test_elsewhere_than_on_debian_the_packages_are_named(set_up):
    done = set_up.run()
    assert done.returncode == 1 and "no Debian" in done.stderr and "zz-missing" in done.stderr


@as_root
def test_it_installs_and_says_how_to_undo_exactly_that(set_up):
    set_up.debian()
    done = set_up.run()
    assert done.returncode == 0, done.stderr
    assert any("install -y" in call and "zz-missing" in call and "gcc" not in call.split() for call in set_up.calls())
    assert done.stdout.rstrip().endswith("apt-get remove zz-missing")
    (set_up.path / "log").unlink()
    again = set_up.run()
    assert again.returncode == 0 and again.stdout == "" and set_up.calls() == []


@as_root
def test_an_installation_that_fails_asks_for_new_lists_once(set_up):
    set_up.debian(install="false")
    done = set_up.run()
    assert done.returncode == 1 and "could not install" in done.stderr
    kinds = [call.split()[1] for call in set_up.calls()]
    assert kinds.count("update") == 1 and kinds[-1] == "install"


@as_root
def test_without_root_and_sudo_it_stops(set_up):
    set_up.debian()
    set_up.path.chmod(0o755)
    done = set_up.run(prefix=["/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
    assert done.returncode == 1 and "no sudo" in done.stderr and set_up.calls() == []
