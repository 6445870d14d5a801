"""Who gets through the proxy, and how: passwords in all their forms, rules, certificates, TLS on both sides."""
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import psycopg2
import pytest
from conftest import environment, run_command, superuser
from proxies import STANDIN, start_proxy

LAB_SHARDS = 2
pytestmark = pytest.mark.skipif(STANDIN is not None, reason="what is tested is the proxy's own")


def openssl(*arguments, cwd):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def certificates(module_directory):
    """An authority, a certificate of localhost, those of two people; another authority."""
    directory = pathlib.Path(module_directory) / "certificates"
    directory.mkdir()
    directory.chmod(0o755)
    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout",
                f"{name}.key", "-out", f"{name}.crt", cwd=directory)
    (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name, subject in {"server": "/CN=localhost", "anna": "/O=Shop/CN=anna", "bob": "/CN=bob.builder"}.items():
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", f"{name}.key", "-out",
                f"{name}.csr", cwd=directory)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "2", "-extfile", "names", "-out", f"{name}.crt", cwd=directory)
    for key in directory.glob("*.key"):
        key.chmod(0o600)
    return directory


@pytest.fixture(scope="module")
def people(lab):
    """Roles with the same verifier on all shards, as an operator makes them; and two with secrets of other kinds."""
    with superuser(lab, 0) as cursor:
        cursor.execute("CREATE ROLE anna LOGIN PASSWORD 'annas secret'; CREATE ROLE bob LOGIN PASSWORD 'bobs';"
                       "CREATE ROLE uni LOGIN PASSWORD U&'p\\00E4ss\\00AD\\2168'; CREATE ROLE zoe LOGIN PASSWORD 'zoes'")
        cursor.execute("SET password_encryption = md5; CREATE ROLE emma LOGIN PASSWORD 'emmas'")
        cursor.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ('anna','bob','uni','zoe','emma')")
        verifiers = dict(cursor.fetchall())
        cursor.execute("CREATE FUNCTION secret_of(who text) RETURNS TABLE (name name, secret text) LANGUAGE sql SECURITY"
                       " DEFINER SET search_path = pg_catalog AS"
                       " 'SELECT rolname, rolpassword FROM pg_authid WHERE rolname = who'")
    for shard in range(1, LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            for name, verifier in verifiers.items():
                cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{verifier}'")
    return verifiers


def write(directory, name, text):
    path = pathlib.Path(directory) / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def psql(proxy, user, password, sql="SELECT current_user", **settings):
    words = {"host": "127.0.0.1", "port": proxy.port, "user": user, "dbname": proxy.database, "sslmode": "disable",
             **{name: str(value) for name, value in settings.items()}}
    conninfo = " ".join(f"{name}='{value}'" for name, value in words.items())
    done = subprocess.run(["psql", "-XAtq", "-c", sql, conninfo], capture_output=True, text=True, timeout=30,
                          env=environment({"PGPASSWORD": password, "HOME": "/nonexistent"}))
    return done.stdout.strip() if done.returncode == 0 else "FAILED " + done.stderr.strip()


# ---- passwords ----


@pytest.fixture(scope="module")
def by_file(lab, people, module_directory):
    """anna by her verifier, bob in plain, emma by md5."""
    users = write(module_directory, "users.txt",
                  f'"anna" "{people["anna"]}"\n"bob" "bobs"\n"emma" "{people["emma"]}"\n')
    with start_proxy(lab, {"auth_file": users, "auth_type": "md5"}) as proxy:
        yield proxy


@pytest.mark.parametrize("user,password", [("anna", "annas secret"), ("bob", "bobs")])
def test_a_password_opens_proxy_and_shard(by_file, user, password):
    assert psql(by_file, user, password) == user
    assert "password authentication failed" in psql(by_file, user, password + "x")


def test_a_user_who_is_not_known_is_asked_and_fails_alike(by_file):
    assert 'password authentication failed for user "nobody_knows"' in psql(by_file, "nobody_knows", "x")
    assert 'password authentication failed for user "zoe"' in psql(by_file, "zoe", "zoes")  # not in the file


def test_md5_alone_does_not_open_a_shard_that_asks_for_scram(by_file):
    assert "password authentication failed" in psql(by_file, "emma", "wrong")
    answer = psql(by_file, "emma", "emmas")
    assert 'no password is known to log in as "emma"' in answer and "The shard asks for SCRAM-SHA-256." in answer


def test_scram_alone_refuses_who_has_md5_only(lab, people, directory):
    users = write(directory, "users.txt", f'"emma" "{people["emma"]}"\n"bob" "bobs"\n"uni" "päss\u00adⅨ"\n')
    with start_proxy(lab, {"auth_file": users}) as proxy:
        assert psql(proxy, "bob", "bobs") == "bob"
        assert psql(proxy, "uni", "pässIX") == "uni"  # the same by SASLprep
        assert "password authentication failed" in psql(proxy, "emma", "emmas")


def test_another_verifier_on_a_shard_is_named(lab, people, directory):
    users = write(directory, "users.txt", '"anna" "SCRAM-SHA-256$4096:QSXCR+Q6sek8bf92QSXCRw==$'
                  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="\n')
    with start_proxy(lab, {"auth_file": users}) as proxy:
        assert "password authentication failed" in psql(proxy, "anna", "annas secret")


def test_a_new_password_needs_no_restart(lab, people, directory):
    users = write(directory, "users.txt", '"bob" "wrong for now"\n')
    with start_proxy(lab, {"auth_file": users}) as proxy:
        assert "password authentication failed" in psql(proxy, "bob", "bobs")
        users.write_text('"bob" "bobs"\n')
        os.kill(proxy.process.pid, 1)
        for _ in range(50):
            if psql(proxy, "bob", "bobs") == "bob":
                return
        pytest.fail(proxy.log)


def test_auth_query_finds_users_and_new_passwords(lab, people):
    query = "SELECT * FROM public.secret_of($1)"
    with start_proxy(lab, {"auth_query": f'"{query}"'}) as proxy:
        assert psql(proxy, "anna", "annas secret") == "anna"
        assert psql(proxy, "zoe", "zoes") == "zoe"
        assert "password authentication failed" in psql(proxy, "nobody_knows", "x")
        with superuser(lab, 0) as cursor:
            cursor.execute("ALTER ROLE zoe PASSWORD 'new one'")
            cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'zoe'")
            new = cursor.fetchone()[0]
        for shard in range(1, LAB_SHARDS):
            with superuser(lab, shard) as cursor:
                cursor.execute(f"ALTER ROLE zoe PASSWORD '{new}'")
        assert psql(proxy, "zoe", "new one") == "zoe"
        assert "password authentication failed" in psql(proxy, "zoe", "zoes")


def test_logins_of_one_user_share_a_question_that_is_asked_behind_them(lab, people):
    """A home shard that answers in 200 ms does not let twenty logins wait for four seconds."""
    query = "SELECT s.* FROM pg_sleep(0.2), public.secret_of($1) s"
    with start_proxy(lab, {"auth_query": f'"{query}"'}) as proxy:
        assert psql(proxy, "anna", "annas secret") == "anna"
        begun = time.monotonic()

        def log_in(number):
            user, password = [("anna", "annas secret"), ("bob", "bobs"), ("anna", "wrong"), ("nobody", "x")][number % 4]
            try:
                psycopg2.connect(host="127.0.0.1", port=proxy.port, user=user, password=password,
                                 dbname=proxy.database).close()
                return user
            except psycopg2.OperationalError as error:
                return "password authentication failed" in str(error)
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(log_in, range(20)))
        took = time.monotonic() - begun
        print(f"20 logins of three users, each question 0.2 s: {took:.2f} s")
        assert answers == ["anna", "bob", True, True] * 5
        assert took < 3


def test_a_stop_does_not_wait_for_a_home_shard_that_hangs(lab, people):
    """The thread that asks it is in the middle of a question."""
    query = "SELECT s.* FROM pg_sleep(4.5), public.secret_of($1) s"
    with start_proxy(lab, {"auth_query": f'"{query}"'}) as proxy:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            login = pool.submit(psql, proxy, "anna", "annas secret")
            time.sleep(0.7)
            assert not login.done()
            begun = time.monotonic()
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(10) == 0
            assert time.monotonic() - begun < 2.5


# ---- rules ----


def test_rules_decide(lab, people, directory):
    users = write(directory, "users.txt", '"anna" "annas secret"\n"bob" "bobs"\n')
    rules = write(directory, "hba.conf", "host all bob 127.0.0.1/32 reject\nhost all anna samehost scram-sha-256\n")
    with start_proxy(lab, {"auth_type": "hba", "auth_file": users, "auth_hba_file": rules}) as proxy:
        assert psql(proxy, "anna", "annas secret") == "anna"
        assert "rejects the connection" in psql(proxy, "bob", "bobs")
        assert "no rule of auth_hba_file" in psql(proxy, "zoe", "x")


def test_a_broken_file_is_named_with_its_line(lab, directory):
    rules = write(directory, "hba.conf", "\nhost all +staff all md5\n")
    with pytest.raises(AssertionError, match="hba.conf:2: .*member of a role"):
        with start_proxy(lab, {"auth_type": "hba", "auth_hba_file": rules}):
            pass
    users = write(directory, "users.txt", '"a" "x"\n')
    users.chmod(0o644)
    with pytest.raises(AssertionError, match="everybody can read it"):
        with start_proxy(lab, {"auth_file": users}):
            pass


# ---- TLS of clients ----


@pytest.fixture(scope="module")
def encrypted(lab, people, certificates, module_directory):
    users = write(module_directory, "tls-users.txt", f'"anna" "{people["anna"]}"\n"bob" "bobs"\n')
    rules = write(module_directory, "hba.conf", "hostssl all anna all cert\nhostssl all bob all cert map=staff\n"
                  "hostssl all uni all scram-sha-256 clientcert=verify-ca\nhost all all 127.0.0.1/32 scram-sha-256\n")
    idents = write(module_directory, "ident.conf", "staff /^(.*)\\.builder$ \\1\n")
    with start_proxy(lab, {"auth_type": "hba", "auth_file": users, "auth_hba_file": rules, "auth_ident_file": idents,
                           "client_tls_sslmode": "prefer", "client_tls_cert_file": certificates / "server.crt",
                           "client_tls_key_file": certificates / "server.key",
                           "client_tls_ca_file": certificates / "ca.crt"}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def encrypted_by_password(lab, people, certificates, module_directory):
    users = write(module_directory, "tls2-users.txt", f'"anna" "{people["anna"]}"\n"bob" "bobs"\n')
    with start_proxy(lab, {"auth_file": users, "client_tls_sslmode": "require",
                           "client_tls_cert_file": certificates / "server.crt",
                           "client_tls_key_file": certificates / "server.key"}) as proxy:
        yield proxy


def test_every_sslmode_of_a_client(encrypted_by_password, certificates):
    proxy, ca = encrypted_by_password, certificates / "ca.crt"
    assert "TLS is required" in psql(proxy, "bob", "bobs")
    for mode in ("allow", "prefer", "require"):
        assert psql(proxy, "bob", "bobs", sslmode=mode) == "bob"
    for host in ("localhost", "127.0.0.1"):
        assert psql(proxy, "bob", "bobs", sslmode="verify-full", sslrootcert=ca, host=host) == "bob"
    assert "FAILED" in psql(proxy, "bob", "bobs", sslmode="verify-ca", sslrootcert=certificates / "other.crt")


def test_channel_binding_is_offered_and_checked(encrypted_by_password):
    assert psql(encrypted_by_password, "anna", "annas secret", sslmode="require", channel_binding="require") == "anna"
    assert psql(encrypted_by_password, "bob", "bobs", sslmode="require", channel_binding="disable") == "bob"


def test_large_answers_and_statements_over_tls(encrypted_by_password):
    text = psql(encrypted_by_password, "bob", "bobs", "SELECT repeat('x', 3000000)", sslmode="require")
    assert len(text) == 3000000
    text = psql(encrypted_by_password, "bob", "bobs", "SELECT length('" + "y" * 100000 + "')", sslmode="require")
    assert text == "100000"


def test_the_console_shows_tls(encrypted_by_password):
    admin = encrypted_by_password
    shown = psql(admin, admin.user, admin.password, "SHOW CLIENTS", sslmode="require", dbname="pgmosaic")
    assert "TLSv1.3/TLS_" in shown


def test_direct_tls(encrypted_by_password, certificates):
    """A client of PostgreSQL 17 begins with the handshake; it must say postgresql (ALPN)."""
    context = ssl.create_default_context(cafile=certificates / "ca.crt")
    context.set_alpn_protocols(["postgresql"])
    startup = b"\0\3\0\0user\0bob\0database\0" + encrypted_by_password.database.encode() + b"\0\0"
    startup = struct.pack("!I", len(startup) + 4) + startup
    with socket.create_connection(("127.0.0.1", encrypted_by_password.port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as wire:
            assert wire.selected_alpn_protocol() == "postgresql" and wire.version() == "TLSv1.3"
            wire.sendall(startup)
            assert b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0" in wire.recv(1000)
    other = ssl.create_default_context(cafile=certificates / "ca.crt")
    with socket.create_connection(("127.0.0.1", encrypted_by_password.port), timeout=10) as plain:
        with other.wrap_socket(plain, server_hostname="localhost") as wire:
            wire.sendall(startup)
            assert b"ALPN" in wire.recv(1000)
    other.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(("127.0.0.1", encrypted_by_password.port), timeout=10) as plain:
        with pytest.raises(ssl.SSLError):
            other.wrap_socket(plain, server_hostname="localhost")


def test_what_comes_before_the_handshake_is_not_heard(encrypted_by_password):
    """CVE-2021-23214: a startup packet in the clear, put behind the SSLRequest by somebody between."""
    with socket.create_connection(("127.0.0.1", encrypted_by_password.port), timeout=10) as wire:
        wire.sendall(struct.pack("!IHH", 8, 1234, 5679) + b"\0\0\0\x09\0\3\0\0\0")
        assert b"unencrypted data after SSL request" in wire.recv(1000)


def test_old_tls_is_refused(encrypted_by_password, certificates):
    done = subprocess.run(["openssl", "s_client", "-starttls", "postgres", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
                           "-connect", f"127.0.0.1:{encrypted_by_password.port}"], input="", capture_output=True,
                          text=True, timeout=20)
    assert "Cipher is (NONE)" in done.stdout


def test_certificates_log_in(encrypted, certificates):
    def by(user, owner, **settings):
        return psql(encrypted, user, "", sslmode="require", sslcert=certificates / f"{owner}.crt",
                    sslkey=certificates / f"{owner}.key", **settings)

    # Nobody types a password: the shard is reached by the one in auth_file.
    assert by("bob", "bob") == "bob"
    assert 'certificate authentication failed for user "bob"' in by("bob", "anna")
    assert 'certificate authentication failed for user "anna"' in by("anna", "bob")
    assert "requires a valid client certificate" in psql(encrypted, "anna", "", sslmode="require")
    assert "FAILED" in by("anna", "other")  # signed by itself


def test_reload_takes_a_new_certificate(lab, people, certificates, directory):
    users = write(directory, "users.txt", '"bob" "bobs"\n')
    for kind in ("crt", "key"):
        shutil.copy(certificates / f"other.{kind}", pathlib.Path(directory) / f"proxy.{kind}")
    with start_proxy(lab, {"auth_file": users, "client_tls_sslmode": "require",
                           "client_tls_cert_file": f"{directory}/proxy.crt",
                           "client_tls_key_file": f"{directory}/proxy.key"}) as proxy:
        verify = {"sslmode": "verify-ca", "sslrootcert": certificates / "ca.crt"}
        assert "FAILED" in psql(proxy, "bob", "bobs", **verify)
        for kind in ("crt", "key"):
            shutil.copy(certificates / f"server.{kind}", pathlib.Path(directory) / f"proxy.{kind}")
        os.kill(proxy.process.pid, 1)
        for _ in range(50):
            if psql(proxy, "bob", "bobs", **verify) == "bob":
                return
        pytest.fail(proxy.log)


# ---- TLS of shards ----


@contextlib.contextmanager
def other_conninfo(lab, extra):
    path = pathlib.Path(lab.config)
    text = path.read_text()
    path.write_text(re.sub(r'conninfo:\s*"([^"]*)"', lambda found: f'conninfo: "{found[1]} {extra}"', text))
    try:
        yield
    finally:
        path.write_text(text)


def set_ssl(lab, shard, value):
    with superuser(lab, shard) as cursor:
        cursor.execute(f"ALTER SYSTEM SET ssl = {value}")
        cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def shards_with_tls(lab, certificates):
    """Each server of the lab does TLS, with the certificate of localhost."""
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute("SHOW data_directory")
            data = pathlib.Path(cursor.fetchone()[0])
        owner = data.stat()
        for kind in ("crt", "key"):
            target = data / f"server.{kind}"
            shutil.copy(certificates / f"server.{kind}", target)
            os.chown(target, owner.st_uid, owner.st_gid)
            target.chmod(0o600)
        set_ssl(lab, shard, "on")
    for shard in range(LAB_SHARDS):
        for _ in range(100):
            if lab.query(shard, "SHOW ssl")[0][0] == "on":
                break
    yield
    for shard in range(LAB_SHARDS):
        set_ssl(lab, shard, "off")


ASKS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.mark.parametrize("mode,encrypted", [("disable", "f"), ("allow", "f"), ("prefer", "t"), ("require", "t"),
                                            ("verify-ca", "t"), ("verify-full", "t")])
def test_every_sslmode_of_a_shard(lab, people, certificates, shards_with_tls, directory, mode, encrypted):
    users = write(directory, "users.txt", f'"anna" "{people["anna"]}"\n')
    with other_conninfo(lab, f"sslmode={mode} sslrootcert={certificates}/ca.crt"):
        with start_proxy(lab, {"auth_file": users}) as proxy:
            # anna's keys go through, bound to the channel where there is one.
            assert psql(proxy, "anna", "annas secret", ASKS) == encrypted, proxy.log
            shown = psql(proxy, proxy.user, proxy.password, "SHOW SERVERS", dbname="pgmosaic")
            assert "|anna|" in shown and ("TLSv1.3/TLS_" in shown) == (encrypted == "t")
            large = psql(proxy, "anna", "annas secret", "SELECT length(string_agg(md5(i::text), '')) FROM "
                         "generate_series(1, 20000) AS i")
            assert large == "640000"
            assert len(psql(proxy, "anna", "annas secret", "SELECT repeat('z', 2000000)")) == 2000000


class Relay:
    """A TCP relay to one port that keeps what each connection sent to the server."""

    def __init__(self, port):
        self.port, self.sent = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.port))
                self.sent.append(bytearray())
                threading.Thread(target=self.pump, args=(client, server, self.sent[-1]), daemon=True).start()
                threading.Thread(target=self.pump, args=(server, client, bytearray()), daemon=True).start()

    @staticmethod
    def pump(source, target, kept):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def only_tls(lab):
    """The shards take nobody without TLS."""
    files = []
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute("SHOW hba_file")
            path = pathlib.Path(cursor.fetchone()[0])
            files.append((shard, path, path.read_text()))
            path.write_text("hostnossl all all all reject\n" + files[-1][2])
            cursor.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for shard, path, text in files:
            path.write_text(text)
            with superuser(lab, shard) as cursor:
                cursor.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-full"])
def test_a_cancel_request_goes_over_tls(lab, people, certificates, shards_with_tls, directory, mode):
    """Its key opens the way to every statement of that server connection: it never crosses the network in clear."""
    users = write(directory, "users.txt", f'"anna" "{people["anna"]}"\n')
    ports = [re.search(r"port=(\d+)", lab.conninfo(shard))[1] for shard in range(LAB_SHARDS)]
    relays = [Relay(int(port)) for port in ports]
    path = pathlib.Path(lab.config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_tls(lab))
        stack.enter_context(other_conninfo(lab, f"sslmode={mode} sslrootcert={certificates}/ca.crt"))
        # The login of the labs' own user is found by the port.
        passwords = write(directory, "pgpass", pathlib.Path(lab.env["PGPASSFILE"]).read_text())
        text = path.read_text()
        for port, relay in zip(ports, relays):
            path.write_text(path.read_text().replace(f"port={port} ", f"port={relay.address} "))
            passwords.write_text(passwords.read_text().replace(f":{port}:", f":{relay.address}:"))
        stack.callback(path.write_text, text)
        proxy = stack.enter_context(start_proxy(lab, {"auth_file": users}, env={"PGPASSFILE": passwords}))
        client = psycopg2.connect(host="127.0.0.1", port=proxy.port, user="anna", password="annas secret",
                                  dbname=proxy.database)
        stack.callback(client.close)
        client.cursor().execute(ASKS)
        before = sum(len(relay.sent) for relay in relays)
        failure = []

        def sleep():
            try:
                client.cursor().execute("SELECT pg_sleep(30)")
            except psycopg2.Error as error:
                failure.append(error)
        running = threading.Thread(target=sleep, daemon=True)
        running.start()
        time.sleep(0.5)
        client.cancel()
        running.join(10)
        assert [type(error) for error in failure] == [psycopg2.errors.QueryCanceled], proxy.log
        sent = [bytes(part) for relay in relays for part in relay.sent]
        assert len(sent) > before
        asks = struct.pack("!II", 8, 80877103)
        for part in sent:
            assert part.startswith(asks + b"\x16") and struct.pack("!I", 80877102) not in part[:64]


def test_a_shard_of_another_authority_is_not_believed(lab, people, certificates, shards_with_tls, directory):
    users = write(directory, "users.txt", f'"anna" "{people["anna"]}"\n')
    with other_conninfo(lab, f"sslmode=verify-ca sslrootcert={certificates}/other.crt"):
        with pytest.raises(AssertionError, match="certificate"):
            with start_proxy(lab, {"auth_file": users}) as proxy:
                raise AssertionError(psql(proxy, "anna", "annas secret"))


def test_a_missing_file_of_a_conninfo_is_named(lab):
    with other_conninfo(lab, "sslmode=verify-full sslrootcert=/nonexistent/ca.crt"):
        done = run_command("proxy", "-c", lab.config, "--listen", "127.0.0.1:1", timeout=30)
        assert done.returncode != 0 and "/nonexistent/ca.crt" in done.stderr
