"""Hostile clients and servers: an error to that one alone, bounded memory, no crash, no client stuck.

After each of them an honest client must be served (`still_serves`).
"""
import base64
import concurrent.futures
import contextlib
import os
import pathlib
import random
import re
import resource
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from conftest import COMMAND
from proxies import STANDIN, direct_target, eventually, start_proxy
from rawwire import Closed, Refused, bind, describe, error_fields, execute, message, parse, query, split, startup, sync

LAB_SHARDS = 1
pytestmark = pytest.mark.skipif(STANDIN is not None, reason="what is tested is the proxy's own")
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
KIB = 1024
SANITIZED = any(name in COMMAND.read_bytes() for name in (b"__asan_init", b"__tsan_init"))


def at_most(used, limit):
    """Bytes of memory; a sanitizer has its own."""
    assert used < limit or SANITIZED


@pytest.fixture(scope="module")
def proxy(lab):
    with start_proxy(lab, {"client_login_timeout": "2s", "server_login_retry": "1ms"}) as started:
        yield started


def connected(proxy, data=b"", timeout=30):
    made = socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout)
    made.sendall(data)
    return made


def everything(wire):
    """What comes until the other side closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while got := wire.recv(65536):
            data += got
    return data


def end_of(proxy, data):
    """The fields of the last error when these bytes are sent; {} where nothing was answered."""
    with connected(proxy) as wire:
        with contextlib.suppress(ConnectionError):
            wire.sendall(data)
        answer = everything(wire)
    errors = [body for kind, body in split(answer.lstrip(b"SN")) if kind == "E"] if answer else []
    return error_fields(errors[-1]) if errors else {}


def still_serves(proxy):
    assert proxy.alive(), proxy.log[-3000:]
    with proxy.wire() as wire:
        assert wire.ask("SELECT 40 + 2") == [["42"]]


# ---- before anybody is known ----


@pytest.mark.parametrize("data", [
    b"\0\0\0\0", b"\0\0\0\7", b"\0\0\0\x08\0\3\0\0", b"\0\0\x27\x15\0\3\0\0", b"\x7f\xff\xff\xff\0\3\0\0",
    b"\x80\0\0\0\0\3\0\0", b"\xff\xff\xff\xff\0\3\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\0",
    b"\0\0\0\x09\x04\xd2\x16\x2e\0",
    struct.pack("!IHH", 16, 1234, 5678) + b"\0\0\0\1abcd",  # a cancel of nobody's
    struct.pack("!II", 8, 80877103) * 3 + b"x", struct.pack("!II", 8, 80877104) + b"\xff" * 20,
    struct.pack("!II", 0x0a, 0x20000) + b"ab",
], ids=range(14))
def test_a_first_packet_that_is_none(proxy, data):
    fields = end_of(proxy, data)
    assert fields.get("C", "08P01") in ("08P01", "0A000", "28000"), fields
    still_serves(proxy)


def test_a_startup_without_a_user_or_of_another_version(proxy):
    assert end_of(proxy, startup({"database": proxy.database}))["C"] == "28000"
    assert end_of(proxy, startup({"user": "", "database": proxy.database}))["C"] == "28000"
    assert end_of(proxy, startup({"user": "x" * 9000}))["S"] == "FATAL"
    assert end_of(proxy, startup({"user": "x", "database": proxy.database}, 0x20000))["C"] == "0A000"
    assert end_of(proxy, startup({"user": "x", "database": proxy.database}, 0x40000))["C"] == "0A000"
    assert end_of(proxy, startup({"user": "x", "database": "another"}))["C"] == "3D000"
    assert end_of(proxy, startup({"user": "x", "database": proxy.database, "replication": "true"}))["C"] == "0A000"
    many = {f"s{i}": "v" for i in range(900)}
    assert end_of(proxy, startup({"user": proxy.user, "database": proxy.database, **many})).get("S", "FATAL") == "FATAL"
    still_serves(proxy)


def test_every_first_packet_in_two_halves(proxy):
    packet = startup({"user": proxy.user, "database": proxy.database})
    for cut in range(1, len(packet), 7):
        with connected(proxy, packet[:cut]) as wire:
            time.sleep(0.005)
            wire.sendall(packet[cut:])
            assert wire.recv(1000)[:1] == b"R"
    still_serves(proxy)


def test_half_a_packet_and_silence_end_with_the_login_timeout(proxy):
    started = time.monotonic()
    with connected(proxy, b"\0\0\0\x50\0\3") as half, connected(proxy) as silent, \
            connected(proxy, startup({"user": proxy.user, "database": proxy.database})) as asked:
        for wire in (half, silent, asked):
            assert b"client_login_timeout" in everything(wire)
    assert time.monotonic() - started < 10


def scram_first(mechanism=b"SCRAM-SHA-256", data=b"n,,n=,r=abcdefgh"):
    return message("p", mechanism + b"\0", struct.pack("!i", len(data)), data)


def test_scram_garbage(proxy):
    dice = random.Random(SEED)
    print(f"SEED={SEED}")
    hello = startup({"user": proxy.user, "database": proxy.database})
    good = scram_first()
    final = b"c=biws,r=abcdefgh,p=" + base64.b64encode(bytes(32))
    cases = [message("p", b"secret\0"), message("p"), message("Q", b"SELECT 1\0"), b"p\0\0\0\0", b"p\x7f\xff\xff\xff",
             scram_first(b"SCRAM-SHA-1"), scram_first(b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=x"),
             scram_first(data=b"y,,n=,r=" + b"x" * 3000), scram_first(data=b"n,a=root,n=,r=x"),
             message("p", b"SCRAM-SHA-256\0\xff\xff\xff\xff"), message("p", b"SCRAM-SHA-256\0\x7f\xff\xff\xff"),
             good + message("p", final), good + message("p", b""), good + message("p", b"\0" * 500), good + good]
    for _ in range(150):
        wrong = bytearray(dice.choice([good, good + message("p", final)]))
        for _ in range(dice.randrange(1, 4)):
            wrong[dice.randrange(len(wrong))] = dice.randrange(256)
        cases.append(bytes(wrong))
    for case in cases:
        with connected(proxy, hello + case) as wire:
            wire.shutdown(socket.SHUT_WR)
            answer = everything(wire)
        assert b"R\0\0\0\x08\0\0\0\0" not in answer, case  # nobody got in
    still_serves(proxy)


@pytest.mark.both
def test_names_that_nobody_has_cost_no_memory(proxy):
    still_serves(proxy)
    before = proxy.memory()
    for i in range(300 if SANITIZED else 3000):
        with connected(proxy, startup({"user": f"nobody{i}", "database": proxy.database}) + scram_first()) as wire:
            assert wire.recv(100)[:1] == b"R"
    at_most(proxy.memory() - before, 2048 * KIB)
    still_serves(proxy)


# ---- bytes per connection ----


def silent(proxy, count, data=b""):
    made = []
    for _ in range(count):
        made.append(connected(proxy, data, timeout=30))
    return made


def settled(proxy, wires):
    """The proxy's memory once it has seen all of them."""
    deadline = time.monotonic() + 10
    last = 0
    while time.monotonic() < deadline:
        time.sleep(0.2)
        now = proxy.memory()
        if now == last:
            break
        last = now
    return now


@pytest.mark.both
@pytest.mark.parametrize("data", [b"", b"\0\0\x27\x14\0\3\0\0" + b"x" * 9000], ids=["silent", "startup of 10 kB"])
def test_ten_thousand_that_say_nothing(lab, data):
    count = 1000 if data or SANITIZED else 10000
    with start_proxy(lab, {"max_client_conn": 20000, "client_login_timeout": "300s"}) as proxy:
        if proxy_descriptors(proxy) < count + 200:
            pytest.skip("not so many descriptors here")
        still_serves(proxy)
        before = proxy.memory()
        wires = silent(proxy, count, data)
        each = (settled(proxy, wires) - before) / count
        print(f"{each:.0f} bytes a connection")
        still_serves(proxy)
        for wire in wires:
            wire.close()
        still_serves(proxy)
        at_most(each, (8 + 10 * bool(data)) * KIB)


def numbers_in_use(proxy):
    return {int(name) for name in os.listdir(f"/proc/{proxy.process.pid}/fd")}


def test_who_comes_while_there_is_no_descriptor_is_let_in_when_there_is(proxy):
    """Nobody else comes, whose connection would tell the proxy to look."""
    still_serves(proxy)
    eventually(lambda: numbers_in_use(proxy) == (time.sleep(0.3), numbers_in_use(proxy))[1])
    taken, limits = numbers_in_use(proxy), resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (min(set(range(len(taken) + 1)) - taken), limits[1]))
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            waiting = executor.submit(still_serves, proxy)
            time.sleep(0.4)
            assert not waiting.done()
            resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, limits)
            waiting.result(10)
    finally:
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, limits)


def proxy_descriptors(proxy):
    text = pathlib.Path(f"/proc/{proxy.process.pid}/limits").read_text()
    return min(int(re.search(r"Max open files\s+(\d+)", text)[1]), os.sysconf("SC_OPEN_MAX"))


@pytest.fixture(scope="module")
def certificate(module_directory):
    directory = pathlib.Path(module_directory)
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
                           "-keyout", directory / "x.key", "-out", directory / "x.crt"], capture_output=True, timeout=60)
    assert done.returncode == 0
    (directory / "x.key").chmod(0o600)
    return {"client_tls_sslmode": "require", "client_tls_cert_file": directory / "x.crt",
            "client_tls_key_file": directory / "x.key"}


def shake_hands(proxy):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = connected(proxy, struct.pack("!II", 8, 80877103))
    assert plain.recv(1) == b"S"
    return context.wrap_socket(plain)


@pytest.mark.both
def test_tls_before_the_login_takes_96_kib_at_most(lab, certificate):
    count = 50 if SANITIZED else 500
    with start_proxy(lab, {**certificate, "client_login_timeout": "300s"}) as proxy:
        shake_hands(proxy).close()
        before = proxy.memory()
        wires = [shake_hands(proxy) for _ in range(count)]
        done = (settled(proxy, wires) - before) / count
        before = proxy.memory()
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100  # and never the rest
        half = silent(proxy, count, struct.pack("!II", 8, 80877103))
        for wire in half:
            assert wire.recv(1) == b"S"
            wire.sendall(hello)
        begun = (settled(proxy, half) - before) / count
        print(f"{done:.0f} bytes a connection after the handshake, {begun:.0f} in the midst of it")
        at_most(max(done, begun), 96 * KIB)
        for wire in wires + half:
            wire.close()
        garbage = connected(proxy, struct.pack("!II", 8, 80877103))
        assert garbage.recv(1) == b"S"
        garbage.sendall(b"\x16\x03\x01\xff\xff" + b"\xff" * 5000)
        everything(garbage)
        assert proxy.alive()


# ---- logged in ----


@pytest.mark.parametrize("data", [b"Q\0\0\0\0", b"Q\0\0\0\3", b"Q\x80\0\0\0", b"Q\xff\xff\xff\xff", b"\0\0\0\0\4",
                                  b"!\0\0\0\x04", b"R\0\0\0\x08\0\0\0\0", b"p\0\0\0\x08abcd", message("Q", b"no end"),
                                  message("P", b"\0SELECT 1\0"), message("B", b"\0\0\0\0\xff\xff"),
                                  message("D", b"X\0"), message("C", b""), message("E", b"\0\0"),
                                  message("P", b"\0SELECT $1\0\xff\xff") + sync()], ids=range(15))
def test_messages_that_are_none(proxy, data):
    with proxy.wire() as other:
        with proxy.wire() as wire:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
            answer = wire.data[wire.at:] + everything(wire.socket)
        errors = [error_fields(body)["C"] for kind, body in split(answer) if kind == "E"]
        assert errors and errors[0] == "08P01", answer
        assert other.ask("SELECT 1") == [["1"]]
    still_serves(proxy)


@pytest.mark.both
def test_a_query_of_64_mib(proxy):
    before = proxy.memory()
    with proxy.wire() as wire:
        with pytest.raises(Refused, match="54000"):
            wire.ask("SELECT '" + "x" * (64 << 20) + "'")
        assert wire.ask("SELECT 1") == [["1"]]
    at_most(proxy.memory() - before, 40 << 20)
    still_serves(proxy)


@pytest.mark.parametrize("sql", ["SELECT 1" + "+1" * 50000, "SELECT " + "(" * 10000 + "1" + ")" * 10000,
                                 "SELECT '\xff\xfe'", "SELECT 1 " + "UNION SELECT 1 " * 5000, "/*" * 5000, "SELECT '",
                                 "SELECT $$", ";" * 100000], ids=["sum", "parentheses", "no UTF-8", "unions", "comments",
                                                                  "quote", "dollar", "semicolons"])
def test_statements_made_to_break_a_parser(proxy, sql):
    data = sql.encode("latin-1")
    with proxy.wire() as wire:
        wire.send(message("Q", data, b"\0") + parse("SELECT 1") + message("P", b"\0", data, b"\0\0\0") + sync())
        wire.until("Z", 2)
        assert wire.ask("SELECT 1") == [["1"]]
    still_serves(proxy)


@pytest.mark.both
def test_a_hundred_thousand_portals_and_statements(proxy):
    before = proxy.memory()
    with proxy.wire() as wire:
        wire.exchange(query("BEGIN"))
        for start in range(0, 10000 if SANITIZED else 100000, 5000):
            batch = b"".join(bind(statement="", portal=f"p{i}") for i in range(start, start + 5000))
            wire.send(parse("SELECT 1") + batch + sync())
            wire.until("Z")
        held = proxy.memory() - before
        print(f"{held >> 10} KiB for 100,000 portals")
    with proxy.wire() as wire:
        for start in range(0, 20000, 2000):
            wire.send(b"".join(parse("SELECT 1", f"s{i}") for i in range(start, start + 2000)) + sync())
            wire.until("Z")
    at_most(held, 64 << 20)
    still_serves(proxy)


@pytest.mark.both
def test_a_client_that_never_reads(proxy):
    before = proxy.memory()
    greedy = []
    for _ in range(4):
        wire = proxy.wire()
        wire.send(query("SELECT repeat('x', 100000) FROM generate_series(1, 2000)") * 2)
        greedy.append(wire)
    time.sleep(1.5)
    at_most(proxy.memory() - before, 16 << 20)
    still_serves(proxy)
    for wire in greedy:
        wire.socket.close()
    still_serves(proxy)


@pytest.mark.both
def test_one_that_sends_without_end_and_never_reads(proxy):
    before = proxy.memory()
    with proxy.wire() as wire:
        wire.socket.settimeout(2)
        with pytest.raises(OSError):
            while True:
                wire.send((parse("SELECT repeat('y', 1000)") + bind() + describe() + execute() + sync()) * 1000)
        at_most(proxy.memory() - before, 32 << 20)
        still_serves(proxy)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()
    still_serves(proxy)


def test_clients_that_leave_in_the_midst_of_everything(proxy):
    dice = random.Random(SEED)
    for _ in range(60):
        wire = proxy.wire()
        data = dice.choice([query("SELECT pg_sleep(0.2)"), query("BEGIN; SELECT 1"),
                            parse("SELECT 1") + bind() + execute(), query("COPY (SELECT repeat('z', 100) FROM "
                                                                          "generate_series(1, 50000)) TO STDOUT")])
        wire.send(data[:dice.randrange(1, len(data) + 1)])
        if dice.random() < 0.5:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()
    still_serves(proxy)


# ---- malicious servers ----


SSL_REQUEST = struct.pack("!II", 8, 80877103)


class Between:
    """Stands in front of the shard: an honest pipe for all but the victim, to whom it does what `evil` says."""

    def __init__(self, host, port):
        self.real = (host, port)
        self.evil, self.answer_tls = None, b"N"
        self.lie, self.marker = None, b"true answer"  # what comes in the place of the server's bytes with the marker
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                wire, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(wire,), daemon=True).start()

    def serve(self, wire):
        with contextlib.suppress(OSError), wire:
            packet = wire.recv(10000)
            if packet == SSL_REQUEST and self.answer_tls is not None:
                wire.sendall(self.answer_tls)
                packet = wire.recv(10000) if self.answer_tls[:1] in b"NS" else b""
            if self.evil and b"user\0victim\0" in packet:
                self.evil(wire)
                wire.settimeout(10)
                everything(wire)
                return
            with socket.create_connection(self.real) as server:
                server.sendall(packet)
                back = threading.Thread(target=self.pipe, args=(server, wire, True), daemon=True)
                back.start()
                self.pipe(wire, server)

    def pipe(self, source, target, answers=False):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self.lie and self.marker in data:
                    data, self.lie = self.lie, None
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


def authentication(kind, *more):
    return message("R", struct.pack("!I", kind), *more)


SASL = authentication(10, b"SCRAM-SHA-256\0\0")
LOGIN = authentication(0) + message("K", struct.pack("!I", 1), b"abcd") + message("Z", b"I")


def says(data):
    return lambda wire: wire.sendall(data)


def scram_says(first, final=b""):
    """Asks for SCRAM; {nonce} in `first` is the client's."""
    def run(wire):
        wire.sendall(SASL)
        nonce = re.search(rb"r=([^,]+)", wire.recv(4096))[1]
        wire.sendall(authentication(11, first.replace(b"{nonce}", nonce)))
        if final:
            wire.recv(4096)
            wire.sendall(final)
    return run


SIGNED = b"r={nonce}server,s=c2FsdHNhbHQ=,i=4096"
LIES = {
    "closes": lambda wire: wire.shutdown(socket.SHUT_RDWR),
    "garbage": says(b"\xff" * 1000),
    "half a message": says(b"R\0\0\0\x08\0"),
    "length 0": says(b"R\0\0\0\0"),
    "length 2^31": says(b"R\x80\0\0\0"),
    "a gigabyte announced": says(b"E\x3f\xff\xff\xff" + b"x" * 100000),
    "an error without fields": says(message("E", b"")),
    "an error without end": says(message("E", b"SFATAL\0Mno")),
    "too long an error": says(message("E", b"SFATAL\0C28000\0M" + b"x" * 60000 + b"\0\0")),
    "rows before the login": says(message("D", b"\0\0")),
    "a password in the clear": says(authentication(3)),
    "md5 without salt": says(authentication(5)),
    "Kerberos": says(authentication(7)),
    "an unknown way": says(authentication(4711)),
    "no mechanism": says(authentication(10, b"\0")),
    "mechanisms without end": says(authentication(10, b"SCRAM-SHA-256")),
    "SCRAM's end first": says(authentication(12, b"v=AAAA")),
    "SCRAM's midst first": says(authentication(11, SIGNED)),
    "no iterations": scram_says(b"r={nonce}server,s=c2FsdHNhbHQ=,i=0"),
    "iterations without end": scram_says(b"r={nonce}server,s=c2FsdHNhbHQ=,i=2147483647"),
    "another nonce": scram_says(b"r=server,s=c2FsdHNhbHQ=,i=4096"),
    "nothing of its own": scram_says(b"r={nonce},s=c2FsdHNhbHQ=,i=4096"),
    "no salt": scram_says(b"r={nonce}server,s=,i=4096"),
    "a long salt": scram_says(b"r={nonce}server,s=" + base64.b64encode(b"s" * 900) + b",i=4096"),
    "a wrong signature": scram_says(SIGNED, authentication(12, b"v=" + base64.b64encode(bytes(32))) + LOGIN),
    "no signature": scram_says(SIGNED, LOGIN),
    "an error of SCRAM": scram_says(SIGNED, authentication(12, b"e=other-error")),
    "a short key": says(authentication(0) + message("K", b"\0\0")),
    "a long key": says(authentication(0) + message("K", b"k" * 1000)),
    "ready for nonsense": says(authentication(0) + message("K", struct.pack("!I", 1), b"abcd") + message("Z", b"")),
    "answers of nobody's question": says(LOGIN + message("D", struct.pack("!Hi", 1, -2)) * 10),
    "rows of another shape": says(LOGIN + message("T", b"\0\0") + message("D", struct.pack("!H", 9)) + message("Z", b"I")),
}


@pytest.fixture(scope="module")
def between(lab, module_directory):
    direct = direct_target(lab)
    made = Between(direct.host, direct.port)
    path = pathlib.Path(lab.config)
    text = path.read_text()
    changed = re.sub(rf"port={direct.port}\b", f"port={made.port}", text)
    assert changed != text
    path.write_text(changed)
    passfile = pathlib.Path(module_directory) / "pass"
    lines = pathlib.Path(lab.env["PGPASSFILE"]).read_text()
    passfile.write_text(lines + lines.replace(f":{direct.port}:", f":{made.port}:"))
    passfile.chmod(0o600)
    users = pathlib.Path(module_directory) / "users.txt"
    users.write_text(f'"victim" "sheep"\n"{direct.user}" "{direct.password}"\n')
    users.chmod(0o600)
    try:
        with start_proxy(lab, {"auth_file": users, "server_login_retry": "1ms", "server_connect_timeout": "1s",
                               "shutdown_timeout": "1s"},
                         env={"PGPASSFILE": str(passfile)}) as proxy:
            made.proxy = proxy
            yield made
    finally:
        path.write_text(text)
        made.listener.close()


@pytest.mark.parametrize("lie", LIES)
def test_a_malicious_server(between, lie):
    proxy = between.proxy
    before = proxy.memory()
    between.evil = LIES[lie]
    with pytest.raises((Refused, Closed)) as found:
        proxy.wire(user="victim", password="sheep", timeout=15).close()
    assert found.type is Refused, proxy.log[-2000:]
    print(found.value)
    still_serves(proxy)
    at_most(proxy.memory() - before, 4 << 20)


ROW = message("T", struct.pack("!H", 1), b"a\0", struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0)) + \
    message("D", struct.pack("!Hi", 1, 3), b"lie")
COMPLETE = message("C", b"SELECT 1\0")
ANSWERS = {
    "garbage": b"\xff" * 100,
    "length 0": b"D\0\0\0\0",
    "length 2^31": b"D\x80\0\0\0",
    "an unknown type": message("?", b"x") + message("Z", b"I"),
    "a client's message": query("SELECT 1"),
    "half a row": ROW[:-2],
    "a gigabyte announced": b"D\x3f\xff\xff\xffxxxx",
    "a login again": LOGIN,
    "a password asked for": authentication(3),
    "ready twice": ROW + COMPLETE + message("Z", b"I") * 2,
    "ready in no state": ROW + COMPLETE + message("Z", b"?"),
    "ready in a transaction that nobody began": ROW + COMPLETE + message("Z", b"T"),
    "ready without a state": ROW + COMPLETE + message("Z", b""),
    "parse complete of nothing": message("1") * 3 + message("Z", b"I"),
    "a setting without end": message("S", b"TimeZone\0UTC") + ROW + COMPLETE + message("Z", b"I"),
    "copy of both ways": message("W", b"\0\0\0") + message("Z", b"I"),
    "an error without end": message("E", b"SERROR\0Mno") + message("Z", b"I"),
    "more after the end": ROW + COMPLETE + message("Z", b"I") + ROW + COMPLETE,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_lies_in_its_answers(between, answer):
    """What comes is this client's alone to suffer; the next one gets the truth."""
    proxy = between.proxy
    between.evil = None
    with proxy.wire() as other, proxy.wire() as wire:
        wire.socket.settimeout(3)
        between.lie = ANSWERS[answer]
        with contextlib.suppress(Closed, Refused, TimeoutError, OSError, AssertionError, struct.error, ValueError):
            wire.ask("SELECT 'true answer'")
        between.lie = None
        for _ in range(3):
            assert other.ask("SELECT 'true answer', 1") == [["true answer", "1"]]
    still_serves(proxy)


@pytest.mark.parametrize("answer", [b"X", b"E\0\0\0\x05x", b"S" + LOGIN, b"N" + LOGIN],
                         ids=["nonsense", "an error", "more behind S", "more behind N"])
def test_a_server_that_lies_about_tls(between, answer):
    """CVE-2021-23222: what was sent in the clear is not taken for what the server says inside."""
    heard = []
    between.evil, between.answer_tls = heard.append, answer
    try:
        with pytest.raises(Refused, match="cannot be reached"):
            between.proxy.wire(user="victim", password="sheep", timeout=15).close()
        assert not heard  # never a startup packet in the clear behind S
    finally:
        between.answer_tls = b"N"
    still_serves(between.proxy)


def test_a_password_never_goes_to_a_server_in_the_clear(between):
    heard = []

    def asks(wire):
        wire.sendall(authentication(3))
        wire.settimeout(2)
        with contextlib.suppress(OSError):
            heard.append(wire.recv(1000))

    between.evil = asks
    with pytest.raises(Refused, match="in the clear"):
        between.proxy.wire(user="victim", password="sheep").close()
    assert b"sheep" not in b"".join(heard)
