"""What the integration tests share: the built command, labs, connections, deadlines.

The build directory is $PGMOSAIC_BUILD (default: `build` of the checkout). Every test directory is made under one base
that all users can enter ($PGMOSAIC_TEST_BASE, else a new one), because servers may run as another user than we do.
"""
import contextlib
import faulthandler
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PGMOSAIC_BUILD", CHECKOUT / "build")).resolve()
COMMAND = BUILD / "pgmosaic"
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
FULL = bool(os.environ.get("PGMOSAIC_FULL"))
# In the full run every sanitizer's tests share the machine: there, what waits does so for longer before it fails.
PATIENCE = 4 if FULL else 1
SANITIZER_MARKS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")
# What would lead a command to another cluster than the test's own, or make a `make` speak as one within another.
FOREIGN = ("PGMOSAIC_CONFIG", "PGDATABASE", "PGUSER", "PGHOST", "PGPORT", "PGPASSFILE", "PGPASSWORD", "PGSERVICE",
           "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


def environment(extra=None):
    """The environment of a command under test: ours without foreign settings, plus `extra` (None removes)."""
    env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    env["LC_ALL"] = "C.UTF-8"
    for name, value in (extra or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = str(value)
    return env


def run_command(*arguments, cwd=None, env=None, input=None, timeout=60, check=False, text=True, command=COMMAND):
    """Runs pgmosaic to its end. check=True: a failure raises, with both outputs; a sanitizer's report always does."""
    done = subprocess.run([str(command), *map(str, arguments)], cwd=cwd, env=environment(env), input=input,
                          stdin=subprocess.DEVNULL if input is None else None, capture_output=True, text=text,
                          timeout=timeout * PATIENCE)
    errors = done.stderr if text else done.stderr.decode(errors="replace")
    if any(mark in errors for mark in SANITIZER_MARKS):
        raise AssertionError(f"pgmosaic {arguments}: a sanitizer found:\n{errors}")
    if check and done.returncode != 0:
        raise AssertionError(f"pgmosaic {arguments} exited {done.returncode}:\n{done.stdout}\n{errors}")
    return done


def run_json(*arguments, **options):
    """Runs a command with --json that must succeed; a document, or a list of the lines' objects."""
    out = run_command(*arguments, "--json", check=True, **options).stdout
    try:
        return json.loads(out)
    except json.JSONDecodeError:
        return [json.loads(line) for line in out.splitlines()]


def peak_memory(process):
    """Waits for the end of a process; the most bytes of memory it was seen to have. (What the kernel says of a child
    that has ended counts what its parent had when it was forked.)"""
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            peak = next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), peak)
        time.sleep(0.02)
    assert peak, "it was never seen"
    return peak


def postgres_directories():
    """Where PostgreSQL's programs are, the newest first: of the places where lab up looks, those that packages have."""
    for major in range(18, 12, -1):
        for programs in (f"/usr/lib/postgresql/{major}/bin", f"/usr/pgsql-{major}/bin"):
            if pathlib.Path(programs, "postgres").exists():
                yield pathlib.Path(programs)


@functools.cache
def copying_programs():
    """A directory with PostgreSQL's programs, and an initdb that copies what it made before (./initdb); None: no package
    has any."""
    programs = next(postgres_directories(), None)
    base = os.environ.get("PGMOSAIC_TEST_BASE")
    if not programs or not base:
        return None
    made = pathlib.Path(base, "postgres")
    draft = pathlib.Path(tempfile.mkdtemp(prefix="postgres-", dir=base))
    draft.chmod(0o755)
    for program in programs.iterdir():
        (draft / program.name).symlink_to(program)
    (draft / "initdb").unlink()
    shutil.copy(pathlib.Path(__file__).parent / "initdb", draft / "initdb")
    (draft / "templates").mkdir()
    (draft / "templates").chmod(0o1777)
    try:
        draft.rename(made)
    except OSError:  # another worker was first
        shutil.rmtree(draft)
    return made


class Lab:
    """A lab of real servers, in a directory of its own that stands for a checkout."""

    def __init__(self, directory, name, shards):
        self.directory, self.name, self.shards = directory, name, shards

    def run(self, *arguments, **options):
        options.setdefault("cwd", self.directory)
        options["env"] = {"PGMOSAIC_CONFIG": self.config, **(options.get("env") or {})}
        return run_command(*arguments, **options)

    def json(self, *arguments, **options):
        options.setdefault("cwd", self.directory)
        options["env"] = {"PGMOSAIC_CONFIG": self.config, **(options.get("env") or {})}
        return run_json(*arguments, **options)

    def up(self, *options):
        run_command("lab", "up", self.name, "--shards", self.shards, *options, cwd=self.directory, check=True,
                    timeout=180)
        return self.read_env()

    def read_env(self):
        out = run_command("lab", "env", self.name, cwd=self.directory, check=True).stdout
        self.env = dict(line.removeprefix("export ").split("=", 1) for line in out.splitlines() if "=" in line)
        self.env = {name: value.strip("'\"") for name, value in self.env.items()}
        return self

    def down(self):
        run_command("lab", "down", self.name, cwd=self.directory, timeout=120)

    @property
    def config(self):
        return self.env["PGMOSAIC_CONFIG"]

    def conninfo(self, shard):
        """The connection string of a shard by index, as the lab's config has it."""
        import re
        text = pathlib.Path(self.config).read_text()
        return re.findall(r'conninfo:\s*"([^"]*)"', text)[shard]

    @contextlib.contextmanager
    def connect(self, shard):
        """A psycopg2 connection to one shard, in autocommit, closed at the end."""
        import psycopg2
        connection = psycopg2.connect(self.conninfo(shard), connect_timeout=10)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def query(self, shard, sql, parameters=None):
        """All rows of one statement on one shard (none for a statement without rows)."""
        with self.connect(shard) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def everywhere(self, sql):
        for shard in range(self.shards):
            self.query(shard, sql)

    def apply_tables(self, sql, yaml_lines):
        """Makes tables on every shard, and applies what the configuration then says of them."""
        self.everywhere(sql)
        self.add_tables(yaml_lines)
        self.run("apply", "--yes", check=True)

    def add_tables(self, yaml_lines):
        """Puts lines of YAML below `tables:`, which is the last key of a lab's config."""
        path = pathlib.Path(self.config)
        text = path.read_text()
        head, _, _ = text.partition("\ntables:")
        path.write_text(head + "\ntables:\n" + yaml_lines.rstrip("\n") + "\n")


@contextlib.contextmanager
def superuser(lab, shard, database=None):
    """A cursor as postgres, in autocommit, through the socket, which lets root and the servers' own user in."""
    import psycopg2
    directory = lab.query(shard, "SHOW unix_socket_directories")[0][0]
    port = lab.query(shard, "SHOW port")[0][0]
    connection = psycopg2.connect(host=directory, port=port, user="postgres", dbname=database or lab.name)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@pytest.fixture(scope="session")
def test_base():
    given = os.environ.get("PGMOSAIC_TEST_BASE")
    base = pathlib.Path(given or tempfile.mkdtemp(prefix="pgmosaic-test-"))
    base.chmod(0o755)
    yield base
    if not given:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def module_directory(test_base, request):
    # Short: the path of a socket may have 107 bytes.
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")[:12]
    directory = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=test_base))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def directory(test_base):
    """An empty directory that every user can enter, outside of any checkout."""
    made = pathlib.Path(tempfile.mkdtemp(dir=test_base))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def pgmosaic(directory):
    """run(*arguments, **options) in an empty directory; see run_command."""
    def run(*arguments, **options):
        options.setdefault("cwd", directory)
        return run_command(*arguments, **options)
    return run


@pytest.fixture(scope="module")
def make_lab(module_directory):
    """make_lab(shards=2, name="demo"): labs that are torn down at the module's end, whatever happened."""
    made = []

    def make(shards=2, name="demo", options=()):
        parent = module_directory / f"lab{len(made)}"
        parent.mkdir(mode=0o755)
        lab = Lab(parent, name, shards)
        made.append(lab)
        programs = copying_programs()
        return lab.up(*options, *(("--postgres", programs) if programs else ()))
    yield make
    for lab in made:
        lab.down()


@pytest.fixture(scope="module")
def lab(make_lab, request):
    """One lab for the module, of LAB_SHARDS (a global of the test file, default 2) shards."""
    return make_lab(getattr(request.module, "LAB_SHARDS", 2))


@pytest.fixture
def rng(request):
    """The test's own random numbers. SEED repeats a run's."""
    print(f"SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def session(proxy):
    """A function that runs a statement through the module's proxy: its rows, or its tag."""
    with proxy.session() as run:
        yield run


@pytest.fixture(scope="module")
def whole(proxy, lab, request):
    """A connection to one PostgreSQL for all rows, with the tables of the module, COMMON."""
    from proxies import make_one
    with contextlib.closing(make_one(lab, request.module.COMMON)) as connection:
        yield connection


def citus_missing():
    """Why no Citus lab can be made of this machine's servers, or None. Only PostgreSQL where lab up looks counts."""
    for programs in postgres_directories():
        if (programs / "pg_config").exists():
            share = subprocess.run([programs / "pg_config", "--sharedir"], capture_output=True, text=True, check=True).stdout
            if pathlib.Path(share.strip(), "extension", "citus.control").exists():
                return None
    return "Citus is in no PostgreSQL of this machine"


class CitusLab(Lab):
    """A Citus cluster: node 0 is the coordinator, 1 … the workers. `shards` counts all nodes."""

    def __init__(self, directory, name, workers, shard_count):
        super().__init__(directory, name, workers + 1)
        self.workers, self.shard_count = workers, shard_count

    def up(self, *options):
        run_command("lab", "up", self.name, "--engine", "citus", "--workers", self.workers, "--shard-count",
                    self.shard_count, *options, cwd=self.directory, check=True, timeout=180)
        return self.read_env()

    def add_workers(self, workers):
        """So many workers in all from now on."""
        self.workers, self.shards = workers, workers + 1
        return self.up()

    @property
    def nodes(self):
        """All nodes as `lab list` has them: name, port, conninfo, running."""
        labs = run_json("lab", "list", cwd=self.directory)
        return next(lab["shards"] for lab in labs if lab["name"] == self.name)

    def conninfo(self, node=0):
        return self.nodes[node]["conninfo"]

    def query(self, sql, parameters=None, node=0):
        """All rows of one statement on the coordinator, or another node."""
        return super().query(node, sql, parameters)


@pytest.fixture(scope="module")
def make_citus_lab(module_directory):
    """make_citus_lab(workers=2, name="citus", shard_count=8): torn down at the module's end. Skips without Citus."""
    missing = citus_missing()
    if missing:
        pytest.skip(missing)
    made = []

    def make(workers=2, name="citus", shard_count=8, options=()):
        parent = module_directory / f"citus{len(made)}"
        parent.mkdir(mode=0o755)
        lab = CitusLab(parent, name, workers, shard_count)
        made.append(lab)
        return lab.up(*options)
    yield make
    for lab in made:
        lab.down()


@pytest.fixture(scope="module")
def citus_lab(make_citus_lab, request):
    """One Citus lab for the module; globals of the test file say how many CITUS_WORKERS (2), CITUS_SHARD_COUNT (8)."""
    module = request.module
    return make_citus_lab(getattr(module, "CITUS_WORKERS", 2), shard_count=getattr(module, "CITUS_SHARD_COUNT", 8))


@pytest.fixture(scope="session")
def control_points():
    """For crash tests: skips where the build has no control points."""
    if b"MOSAIC_CONTROL_POINT" not in COMMAND.read_bytes():
        pytest.skip("the build has no control points (-Dcontrol_points=true)")


class OrdinaryUser:
    """Runs programs as a user who is not root, with a home of its own."""

    def __init__(self, home, prefix):
        self.home, self.prefix = home, prefix
        self.command = home / "pgmosaic"

    def call(self, *words, cwd=None, env=None, timeout=120):
        return subprocess.run([*self.prefix, *map(str, words)], cwd=cwd or self.home, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout,
                              env=environment({"HOME": self.home, "XDG_STATE_HOME": None, "PGMOSAIC_STATE": None,
                                               **(env or {})}))

    def run(self, *arguments, **options):
        return self.call(self.command, *arguments, **options)


@pytest.fixture(scope="module")
def ordinary_user(module_directory):
    home = module_directory / "ordinary home"
    home.mkdir(mode=0o755)
    prefix = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    user = OrdinaryUser(home, prefix)
    shutil.copy(COMMAND, user.command)
    if prefix:
        shutil.chown(home, "nobody", "nogroup")
    return user


# ---- order: what takes longest begins first, so that no file is left running alone at the end ------------------------

LONGEST = ("test_makefile.py", "test_lab.py", "test_load.py", "test_library.py", "test_lab_citus.py", "test_copy.py",
           "test_twophase.py", "test_apply.py", "test_citus.py", "test_hash.py", "test_proxy_clients.py",
           "test_proxy_routing.py", "test_proxy_commit.py", "test_proxy_bank.py", "test_growing.py")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))
    for item in items:
        if "control_points" in item.fixturenames:
            item.add_marker("kills")


# ---- deadlines: no test may hang -----------------------------------------------------------------------------------


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): how long each phase of the test may take in an ordinary run (else 180)")
    config.addinivalue_line("markers", "plain: makes a build of its own, installs, or measures memory: never under sanitizers")
    config.addinivalue_line("markers", "long: in the full run alone")
    config.addinivalue_line("markers", "light: under sanitizers in the full run alone, else in the ordinary build")
    config.addinivalue_line("markers", "kills: at control points, which only the build with sanitizers has (set by itself)")
    config.addinivalue_line("markers", "both: depends on the build: under sanitizers, and in the ordinary build too")


def at_points(points, always, name="point"):
    """Parametrizes a test by the control points at which it kills, or the like: those named are of each run, the others
    of the full one."""
    return pytest.mark.parametrize(name, [point if point in always else pytest.param(point, marks=pytest.mark.long)
                                             for point in points])


@contextlib.contextmanager
def deadline(item):
    marker = item.get_closest_marker("deadline")
    seconds = (marker.args[0] if marker else 180) * PATIENCE

    def expired(*_):
        raise TimeoutError(f"{item.nodeid} took longer than {seconds} s")
    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(seconds + 20, exit=True)  # a driver that waits within C hears of no signal
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    with deadline(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    with deadline(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    with deadline(item):
        yield
