"""Starting the proxy in front of a lab, and saying where a client connects: direct or through it.

PROXY_STANDIN=direct or pgbouncer puts the server itself, or PgBouncer in session mode, in the proxy's place: so the
tests themselves are tested.
"""
import concurrent.futures
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from conftest import COMMAND, PATIENCE, SANITIZER_MARKS, environment, run_command, superuser
from rawwire import Wire

STANDIN = os.environ.get("PROXY_STANDIN")
READY = 20 * PATIENCE  # seconds; much more than it needs, for a loaded machine with a sanitizer


class Target:
    """Where a client connects."""

    def __init__(self, host, port, user, password, database, settings=None):
        self.host, self.port, self.user, self.password, self.database = host, port, user, password, database
        self.settings = {"pool_mode": "transaction", **(settings or {})}

    def wire(self, **options):
        parameters = {"client_encoding": "UTF8", **options.pop("parameters", {})}
        return Wire(self.host, self.port, options.pop("user", self.user), options.pop("password", self.password),
                    self.database, parameters, **options)

    @property
    def dsn(self):
        return f"host={self.host} port={self.port} user={self.user} password={self.password} dbname={self.database} " \
               "connect_timeout=10"

    @property
    def url(self):
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    @property
    def env(self):
        """For programs of libpq."""
        return environment({"PGHOST": self.host, "PGPORT": self.port, "PGUSER": self.user, "PGPASSWORD": self.password,
                            "PGDATABASE": self.database, "PGCONNECT_TIMEOUT": "10"})

    def psycopg2(self, **options):
        import psycopg2
        connection = psycopg2.connect(self.dsn, **options)
        connection.autocommit = True
        return connection

    @contextlib.contextmanager
    def session(self):
        """A function that runs a statement on one connection, as `ask` does."""
        with contextlib.closing(self.psycopg2()) as connection:
            yield lambda sql: ask(connection, sql)


def ask(connection, sql):
    """A statement's rows, or its tag where it has none."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else cursor.statusmessage


def shown(proxy, command, user=None):
    """The rows of a command of the database pgmosaic, as dicts."""
    connection = proxy.psycopg2(dbname="pgmosaic", user=user or proxy.user)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(command)
        if not cursor.description:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def password_of(lab, port):
    for line in pathlib.Path(lab.env["PGPASSFILE"]).read_text().splitlines():
        fields = line.split(":")
        if len(fields) >= 5 and fields[1] in (str(port), "*"):
            return fields[4]
    raise AssertionError(f"{lab.env['PGPASSFILE']} has no line for port {port}")


def direct_target(lab, shard=0):
    words = dict(re.findall(r"(\w+)=(\S+)", lab.conninfo(shard)))
    return Target(words["host"], int(words["port"]), words["user"], password_of(lab, words["port"]), words["dbname"])


def one_target(lab):
    """The database that make_one made."""
    direct = direct_target(lab)
    return Target(direct.host, direct.port, direct.user, direct.password, "one")


def make_one(lab, sql):
    """One PostgreSQL for all rows: a database of its own on the first shard's server, in which sql has run."""
    with superuser(lab, 0) as cursor:
        cursor.execute(f'CREATE DATABASE one OWNER "{lab.name}"')
    connection = one_target(lab).psycopg2()
    ask(connection, sql)
    return connection


def nothing_is_left(lab):
    """No transaction is prepared, and none is being decided on."""
    for shard in range(lab.shards):
        assert lab.query(shard, "SELECT * FROM pg_prepared_xacts") == []
        assert lab.query(shard, "SELECT * FROM mosaic.decision") == []


def together(work, values):
    """What work(value) returns of each, all at once; what one of them raises is raised."""
    with concurrent.futures.ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(work, values))


def free_port():
    """One that no connection takes meanwhile: below those that the kernel gives out; and by chance, since others choose, too."""
    while True:
        port = random.SystemRandom().randrange(24000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Proxy(Target):
    """A running proxy."""

    def __init__(self, process, errors, *target):
        super().__init__(*target)
        self.process, self.errors = process, errors

    @property
    def log(self):
        return pathlib.Path(self.errors).read_text(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def memory(self):
        """Resident bytes."""
        if not self.alive():
            raise AssertionError(f"the proxy ended with {self.process.returncode}:\n{self.log[-1500:]}")
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    def cpu(self):
        """Seconds of the whole process, user and system."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.alive():
            self.process.send_signal(signal.SIGINT if STANDIN else signal.SIGTERM)
            try:
                self.process.wait(READY)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the proxy did not stop within {READY} s:\n{self.log[-2000:]}") from None
        if any(mark in self.log for mark in SANITIZER_MARKS):
            raise AssertionError(f"a sanitizer found:\n{self.log}")


def has_proxy():
    return run_command("proxy", "--help").returncode == 0


def launch(words, settings, ready_port, target, said="", **options):
    """`said`: what its log has when all of it is there: the port is open before."""
    errors = tempfile.NamedTemporaryFile("w", prefix="pgmosaic-proxy-", suffix=".log", delete=False)
    process = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, **options)
    proxy = Proxy(process, errors.name, *target, settings)
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        if not proxy.alive():
            raise AssertionError(f"the proxy exited {process.returncode}:\n{proxy.log}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ready_port), timeout=1):
            while said not in proxy.log and proxy.alive() and time.monotonic() < deadline:
                time.sleep(0.02)
            return proxy
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"the proxy does not listen after {READY} s:\n{proxy.log}")


def config_with(lab, settings, directory):
    """A copy of the lab's config with a section `proxy:`."""
    lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
    text = pathlib.Path(lab.config).read_text()
    head, _, tables = text.partition("\ntables:")
    path = pathlib.Path(directory) / "mosaic.yaml"
    path.write_text(head + ("\nproxy:\n" + lines if lines else "") + "\ntables:" + tables)
    return path


def start_pgbouncer(lab, direct, port, directory):
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    path = pathlib.Path(directory)
    (path / "users").write_text(f'"{direct.user}" "{direct.password}"\n')
    (path / "ini").write_text(f"[databases]\n{direct.database} = host={direct.host} port={direct.port}\n[pgbouncer]\n"
                              f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\n"
                              f"auth_file = {path}/users\npool_mode = session\nmax_client_conn = 1000\nunix_socket_dir =\n"
                              "default_pool_size = 100\nignore_startup_parameters = extra_float_digits,options\n")
    options = {}
    if os.geteuid() == 0:
        options = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(path, "nobody"), shutil.chown(path / "users", "nobody"), shutil.chown(path / "ini", "nobody")
    return launch([program, path / "ini"], None, port,
                  ("127.0.0.1", port, direct.user, direct.password, direct.database), **options)


def eventually(what, seconds=10):
    """Waits until what() is true, and returns it. seconds: in an ordinary run."""
    deadline = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds * PATIENCE} s")


@contextlib.contextmanager
def start_proxy(lab, settings=None, arguments=(), env=None):
    """A proxy in front of the lab for the block; skips where the build has none. settings: of the section `proxy:`."""
    direct = direct_target(lab)
    if STANDIN == "direct":
        direct.settings.update(settings or {})
        direct.alive, direct.log = lambda: True, ""
        yield direct
        return
    port = free_port()
    directory = tempfile.mkdtemp(dir=lab.directory)
    if STANDIN == "pgbouncer":
        proxy = start_pgbouncer(lab, direct, port, directory)
        proxy.settings.update(settings or {})
    else:
        if not has_proxy():
            pytest.skip("this build has no proxy")
        config = config_with(lab, {"unix_socket_dir": f'"{directory}"', **(settings or {})}, directory)
        proxy = launch([COMMAND, "proxy", "-c", config, "--listen", f"127.0.0.1:{port}", *arguments], settings, port,
                       ("127.0.0.1", port, direct.user, direct.password, lab.name),
                       said="listens on", env=environment({"PGPASSFILE": lab.env["PGPASSFILE"], **(env or {})}), cwd=directory)
        proxy.config = config
    try:
        yield proxy
    finally:
        proxy.stop()
