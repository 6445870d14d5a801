"""PostgreSQL's protocol as bytes, for tests that must see every message of a stream.

    with Wire(host, port, user, password, database) as wire:
        messages = wire.exchange(query("SELECT 1"), ready=1)     # [(type, body), …] up to ReadyForQuery

Messages are written by the small functions below (query, parse, bind …), and read as (type, body) pairs, untouched.
`show` makes one line of one.
"""
import base64
import hashlib
import hmac
import os
import socket
import struct

from conftest import PATIENCE

TIMEOUT = 20 * PATIENCE


def message(kind, *parts):
    body = b"".join(parts)
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def text(value):
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def kinds(messages):
    return [kind for kind, _ in messages]


def query(sql):
    return message("Q", text(sql))


def parse(sql, name="", types=()):
    return message("P", text(name), text(sql), struct.pack("!H", len(types)), *(struct.pack("!I", t) for t in types))


def bind(values=(), statement="", portal="", formats=(), results=()):
    """values: None, str or bytes."""
    packed = []
    for value in values:
        if value is None:
            packed.append(struct.pack("!i", -1))
        else:
            value = value if isinstance(value, bytes) else value.encode()
            packed.append(struct.pack("!i", len(value)) + value)
    return message("B", text(portal), text(statement), struct.pack(f"!H{len(formats)}h", len(formats), *formats),
                   struct.pack("!H", len(packed)), *packed,
                   struct.pack(f"!H{len(results)}h", len(results), *results))


def describe(kind="P", name=""):
    return message("D", kind.encode(), text(name))


def execute(portal="", rows=0):
    return message("E", text(portal), struct.pack("!I", rows))


def close(kind="S", name=""):
    return message("C", kind.encode(), text(name))


def sync():
    return message("S")


def flush():
    return message("H")


def copy_data(data):
    return message("d", data if isinstance(data, bytes) else data.encode())


def copy_done():
    return message("c")


def copy_fail(why):
    return message("f", text(why))


def function_call(oid, arguments, result=0):
    """Arguments and result in text format."""
    packed = [struct.pack("!i", -1) if a is None else struct.pack("!i", len(a)) + a.encode() for a in arguments]
    return message("F", struct.pack("!IHhH", oid, 1, 0, len(arguments)), *packed, struct.pack("!h", result))


def split(data):
    """The frontend messages of a byte string: (type, body) each."""
    at = 0
    while at < len(data):
        size = struct.unpack_from("!I", data, at + 1)[0]
        yield chr(data[at]), data[at + 5:at + 1 + size]
        at += 1 + size


def startup(parameters, version=0x30000):
    body = struct.pack("!I", version) + b"".join(text(n) + text(v) for n, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid, key):
    return struct.pack("!IIi", 12 + len(key), 80877102, pid) + key


class Closed(Exception):
    """The other side ended the connection; `messages` came before."""

    def __init__(self, messages):
        super().__init__("the connection was closed")
        self.messages = messages


class Refused(Exception):
    """An ErrorResponse while connecting; `fields` as error_fields gives them."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('C')}: {fields.get('M')}")
        self.fields = fields


class Wire:
    def __init__(self, host, port, user, password, database, parameters=None, timeout=TIMEOUT, version=0x30000):
        self.host, self.port = host, port
        self.user, self.password = user, password
        self.data, self.at = b"", 0
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.send(startup({"user": user, "database": database, **(parameters or {})}, version))
            self.greeting = self.log_in()
        except BaseException:
            self.socket.close()
            raise
        keys = [body for kind, body in self.greeting if kind == "K"]
        self.pid, self.key = (struct.unpack_from("!i", keys[0])[0], keys[0][4:]) if keys else (0, b"")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.socket.sendall(message("X"))
        except OSError:
            pass
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        got = self.socket.recv(262144)
        if not got:
            raise Closed([])
        self.data, self.at = self.data[self.at:] + got, 0

    def read(self):
        """The next message. The end of the stream raises Closed, nothing within the time TimeoutError."""
        while len(self.data) - self.at < 5:
            self.fill()
        size = struct.unpack_from("!I", self.data, self.at + 1)[0] + 1
        if len(self.data) - self.at < size:
            chunks = [self.data[self.at:]]
            have = len(chunks[0])
            while have < size:
                got = self.socket.recv(1 << 20)
                if not got:
                    raise Closed([])
                chunks.append(got)
                have += len(got)
            self.data, self.at = b"".join(chunks), 0
        kind = chr(self.data[self.at])
        body = self.data[self.at + 5:self.at + size]
        self.at += size
        return kind, body

    def until(self, kinds, count=1):
        """Messages up to the count-th whose type is in `kinds`."""
        messages = []
        try:
            while count:
                messages.append(self.read())
                count -= messages[-1][0] in kinds
        except Closed:
            raise Closed(messages) from None
        except TimeoutError:
            seen = "".join(kind for kind, _ in messages)
            raise TimeoutError(f"no answer; before: {seen[-60:] or 'nothing'}") from None
        return messages

    def exchange(self, data, ready=1):
        self.send(data)
        return self.until("Z", ready)

    def ask(self, sql):
        """Rows of a simple query, as lists of str or None; an error raises Refused."""
        messages = self.exchange(query(sql))
        for kind, body in messages:
            if kind == "E":
                raise Refused(error_fields(body))
        return [row_values(body) for kind, body in messages if kind == "D"]

    # ---- login ----

    def log_in(self):
        while True:
            kind, body = self.read()
            if kind == "E":
                raise Refused(error_fields(body))
            if kind == "v":
                continue
            if kind != "R":
                raise AssertionError(f"message {kind!r} instead of Authentication")
            code = struct.unpack_from("!I", body)[0]
            if code == 0:
                messages = self.until("ZE")
                if messages[-1][0] == "E":
                    raise Refused(error_fields(messages[-1][1]))
                return messages
            if code == 3:
                self.send(message("p", text(self.password)))
            elif code == 5:
                inner = hashlib.md5((self.password + self.user).encode()).hexdigest()
                self.send(message("p", text("md5" + hashlib.md5(inner.encode() + body[4:8]).hexdigest())))
            elif code == 10:
                self.scram()

    def scram(self):
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        initial = ("n,," + first).encode()
        self.send(message("p", text("SCRAM-SHA-256"), struct.pack("!I", len(initial)), initial))
        server_first = self.scram_answer(11)
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        salted = scram_salted(self.password, fields["s"], int(fields["i"]))
        final = f"c=biws,r={fields['r']}"
        signed = f"{first},{server_first},{final}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
        self.send(message("p", f"{final},p={proof}".encode()))
        verifier = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256"))
        if self.scram_answer(12) != f"v={verifier.decode()}":
            raise AssertionError("the server's SCRAM signature is wrong")

    def scram_answer(self, wanted):
        kind, body = self.read()
        if kind == "E":
            raise Refused(error_fields(body))
        if kind != "R" or struct.unpack_from("!I", body)[0] != wanted:
            raise AssertionError(f"SCRAM: an unexpected message {kind!r}")
        return body[4:].decode()


SALTED = {}


def scram_salted(password, salt, rounds):
    """Kept, as a client library may: thousands of logins need not hash thousands of times."""
    if (password, salt, rounds) not in SALTED:
        SALTED[password, salt, rounds] = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), rounds)
    return SALTED[password, salt, rounds]


# ---- reading bodies, and showing them ----


def error_fields(body):
    return {chr(part[0]): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


def row_values(body, raw=False):
    count, at, values = struct.unpack_from("!H", body)[0], 2, []
    for _ in range(count):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        if size < 0:
            values.append(None)
            continue
        value = body[at:at + size]
        values.append(value if raw else value.decode(errors="backslashreplace"))
        at += size
    return values


def columns(body):
    """Of a RowDescription: [name, table, column, type, size, modifier, format] each."""
    count, at, found = struct.unpack_from("!H", body)[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        found.append([body[at:end].decode(errors="replace"), *struct.unpack_from("!IhIhih", body, end + 1)])
        at = end + 19
    return found


# OIDs of a database's types, and what they are called here: rows have a star.
TYPES = "SELECT oid::bigint, typname || CASE typtype WHEN 'c' THEN '*' ELSE '' END FROM pg_type"


def type_named(value, type, types):
    """A value in binary, with the types that arrays and records name by what `types` calls them."""
    type = str(type)
    if value is None or not (type.startswith("_") or type.endswith("*") or type == "record"):
        return value
    if type.startswith("_"):
        dimensions, _, element = struct.unpack_from("!iiI", value)
        at, element = 12 + 8 * dimensions, str(types.get(element, element))
        made = value[:8] + element.encode() + value[12:at]
    else:
        at, element, made = 4, None, value[:4]
    while at < len(value):
        inner = element
        if element is None:
            inner = struct.unpack_from("!I", value, at)[0]
            inner = str(types.get(inner, inner))
            made, at = made + inner.encode(), at + 4
        size = struct.unpack_from("!i", value, at)[0]
        end = at + 4 + max(size, 0)
        made += value[at:at + 4] + (b"" if size < 0 else type_named(value[at + 4:end], inner, types))
        at = end
    return made


def tag(body):
    return body.rstrip(b"\0").decode()


FRONTEND = {"Q": "Query", "P": "Parse", "B": "Bind", "D": "Describe", "E": "Execute", "C": "Close", "S": "Sync",
            "H": "Flush", "d": "CopyData", "c": "CopyDone", "f": "CopyFail", "F": "FunctionCall", "X": "Terminate"}
BACKEND = {"1": "ParseComplete", "2": "BindComplete", "3": "CloseComplete", "A": "Notification", "C": "CommandComplete",
           "D": "DataRow", "E": "Error", "G": "CopyInResponse", "H": "CopyOutResponse", "I": "EmptyQuery",
           "K": "BackendKeyData", "N": "Notice", "R": "Authentication", "S": "ParameterStatus", "T": "RowDescription",
           "V": "FunctionCallResponse", "W": "CopyBoth", "Z": "ReadyForQuery", "c": "CopyDone", "d": "CopyData",
           "n": "NoData", "s": "PortalSuspended", "t": "ParameterDescription", "v": "NegotiateProtocolVersion"}


def show(kind, body, names=None):
    """One line that says what a message is. names: BACKEND (default) or FRONTEND."""
    names = names or BACKEND
    if names is BACKEND and kind in "EN":
        inside = " ".join(f"{k}={v!r}" for k, v in error_fields(body).items())
    elif names is BACKEND and kind == "D":
        inside = ", ".join("NULL" if v is None else repr(v[:60]) for v in row_values(body, raw=True))
    elif names is BACKEND and kind == "T":
        inside = ", ".join(str(c) for c in columns(body))
    else:
        inside = repr(body[:200])
    return f"{names.get(kind, repr(kind))} {inside}"
