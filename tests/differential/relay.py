"""A connection passed through, with an eye on it: which SQLSTATEs came back, and what was asked before."""
import collections
import contextlib
import socket
import struct
import threading

from rawwire import error_fields, message, query


class Relay:
    """Listens on 127.0.0.1:port for one client after another, each passed on to `target`.

    rewrite(sql): the text to send instead. hides(sql, row): is this row of the answer to be left out?
    """

    def __init__(self, target, rewrite, hides):
        self.target, self.codes, self.statements, self.internal = target, collections.Counter(), 0, []
        self.rewrite, self.hides = rewrite, hides
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lost, self.query = 0, ""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.target.host, self.target.port))
                left = threading.Event()
                for way in ((client, server, self.asked, left.set, True),
                            (server, client, self.answered, lambda left=left: self.ended(left), False)):
                    threading.Thread(target=self.pump, args=way, daemon=True).start()

    def ended(self, left):
        """The proxy's side ended: with the client's, or by itself. Who leaves in the middle is heard of a moment later."""
        self.lost += not left.wait(2)

    def pump(self, source, sink, see, end, is_first):
        """Copies whole messages, as `see` wants them; the client's first has no type."""
        data = b""
        try:
            while True:
                got = source.recv(65536)
                if not got:
                    break
                data, out = data + got, b""
                while len(data) >= 5:
                    size = struct.unpack_from("!I", data, 0 if is_first else 1)[0] + (0 if is_first else 1)
                    if len(data) < size:
                        break
                    out += data[:size] if is_first else see(chr(data[0]), data[5:size])
                    data, is_first = data[size:], False
                sink.sendall(out)
        except OSError:
            pass
        end()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def asked(self, kind, body):
        if kind != "Q":
            return message(kind, body)
        self.query = self.rewrite(body.rstrip(b"\0").decode(errors="replace"))
        self.statements += 1
        return query(self.query)

    def answered(self, kind, body):
        if kind == "D" and self.hides(self.query, body):
            return b""
        if kind == "E":
            fields = error_fields(body)
            self.codes[fields["C"]] += 1
            if fields["C"][:2] in ("XX", "08"):
                self.internal.append((self.query, fields))
        return message(kind, body)

    def close(self):
        self.listener.close()
