"""What the command says about servers that do not let it in: sorted, with a hint, and never with a password."""
import contextlib
import pytest
import signal
import socket
import subprocess
import threading
import time

from conftest import run_command

LAB_SHARDS = 1
PASSWORD = "hunter2-very-secret"


def with_conninfo(directory, conninfo):
    config = directory / "mosaic.yaml"
    config.write_text(f'cluster: c\nengine: postgres\nshards:\n  - {{name: s0, conninfo: "{conninfo}"}}\n')
    return config


def refused(directory, conninfo, timeout=60, **options):
    started = time.monotonic()
    done = run_command("exec", "-c", with_conninfo(directory, conninfo), "--all", "SELECT 1", cwd=directory,
                       timeout=timeout, **options)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert PASSWORD not in done.stderr
    assert "HINT: " in done.stderr
    return done.stderr, time.monotonic() - started


def parts(lab):
    return dict(pair.split("=", 1) for pair in lab.conninfo(0).split())


def conninfo(**values):
    return " ".join(f"{name}={value}" for name, value in values.items())


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_nobody_listens(directory):
    port = free_port()
    said, _ = refused(directory, f"host=127.0.0.1 port={port} dbname=d user=u password={PASSWORD}")
    assert f"cannot reach 127.0.0.1:{port}/d: Connection refused" in said


def test_host_is_not_known(directory):
    said, _ = refused(directory, "host=no-such-host.invalid dbname=d user=u")
    assert "no-such-host.invalid" in said and "spelled" in said


def test_wrong_password(lab, directory):
    said, _ = refused(directory, conninfo(**{**parts(lab), "passfile": "/nonexistent", "password": PASSWORD}))
    assert "refused the login: password authentication failed" in said and "passfile=" in said


def test_no_password(lab, directory):
    said, _ = refused(directory, conninfo(**{**parts(lab), "passfile": "/nonexistent"}))
    assert "asks for a password and none was found" in said


def test_role_is_missing(lab, directory):
    said, _ = refused(directory, conninfo(**{**parts(lab), "user": "nobody_here", "password": PASSWORD}))
    assert "refused the login" in said


def test_database_is_missing(lab, directory):
    said, _ = refused(directory, conninfo(**{**parts(lab), "dbname": "no_such_db"}))
    assert "has no such database" in said and "no_such_db" in said


def test_too_many_connections(lab, directory):
    with lab.connect(0) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"ALTER DATABASE {parts(lab)['dbname']} CONNECTION LIMIT 0")
            said, _ = refused(directory, lab.conninfo(0))
        finally:
            cursor.execute(f"ALTER DATABASE {parts(lab)['dbname']} CONNECTION LIMIT -1")
    assert "too many connections" in said and "HINT: all connections of shard s0 are taken" in said


@contextlib.contextmanager
def listener(serve):
    """A listener whose connections are given to serve(connection)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    serve(connection)
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def test_a_server_that_never_answers_does_not_hang(directory):
    kept = []
    with listener(kept.append) as port:
        said, seconds = refused(directory, f"host=127.0.0.1 port={port} dbname=d user=u connect_timeout=1")
    assert "did not answer before the deadline" in said and seconds < 20
    with listener(kept.append) as port:
        started = time.monotonic()
        done = run_command("exec", "-c", with_conninfo(directory, f"host=127.0.0.1 port={port} user=u"), "--timeout", 1,
                           "--all", "SELECT 1", cwd=directory)
        assert done.returncode == 1 and time.monotonic() - started < 8


def test_a_server_that_is_no_postgres(directory):
    def serve(connection):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()
    with listener(serve) as port:
        said, seconds = refused(directory, f"host=127.0.0.1 port={port} dbname=d user=u")
    assert f"127.0.0.1:{port}" in said and seconds < 20


def test_conninfo_that_is_malformed(directory):
    said, _ = refused(directory, f"host=127.0.0.1 password=oops {PASSWORD}")
    assert "conninfo" in said


def test_interrupt_ends_a_statement_on_the_server_too(lab, directory):
    config = with_conninfo(directory, lab.conninfo(0))
    mark = "interrupt-me"
    from conftest import COMMAND, environment
    process = subprocess.Popen([COMMAND, "exec", "-c", config, "--all", f"SELECT pg_sleep(60) /* {mark} */"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    running = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{mark}%' AND pid <> pg_backend_pid()"
    try:
        until = time.monotonic() + 20
        while lab.query(0, running) == [(0,)]:
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted" in said
    until = time.monotonic() + 10
    while lab.query(0, running) != [(0,)]:
        assert time.monotonic() < until, "the statement still runs on the server"
        time.sleep(0.05)


def test_a_backend_that_is_ended(lab, directory):
    config = with_conninfo(directory, lab.conninfo(0))
    done = run_command("exec", "-c", config, "--all", "SELECT pg_terminate_backend(pg_backend_pid())", cwd=directory)
    assert done.returncode == 1 and "HINT: the server of shard s0 ended the session" in done.stderr
