"""Clients that run transactions statement by statement: bytes of either protocol, psycopg2, and psycopg 3 in text and binary."""
import datetime
import decimal
import re
import uuid

import rawwire
from compare import Answer, Side
from rawwire import bind, describe, execute, parse, query, sync

NATIVE = {"int": int, "bigint": int, "smallint": int, "numeric(12,2)": decimal.Decimal, "uuid": uuid.UUID,
          "date": datetime.date.fromisoformat, "text": str, "double precision": float}
WIRE_MODES = ["simple", "simple", "extended", "binary", "parameters", "binary parameters"]
FORMS = ["psycopg2", "psycopg", "psycopg binary", *["wire"] * 5]


class WireClient(Side):
    """Answers have `status`, of ReadyForQuery, besides."""

    def several(self, statements, mode):
        """One text of several statements, or one segment up to Sync; an answer for each that was begun."""
        if mode == "simple":
            data = query("; ".join(each.text() for each in statements))
        else:
            data = b""
            for each in statements:
                parameters = {}
                data += parse(each.text(parameters))
                data += bind([value for _, value in sorted(parameters.values())]) + describe() + execute()
            data += sync()
        try:
            received = self.exchange(data)
        except (OSError, rawwire.Closed) as lost:
            self.wire, answer = None, Answer()
            answer.code, answer.message, answer.status = "lost", repr(lost), None
            return [answer]
        answers, part = [], []
        for kind, body in received[:-1]:
            part.append((kind, body))
            if kind in "CE":
                answers.append(self.read(part, mode))
                part = []
        if part or not answers:
            answers.append(self.read(part, mode))  # what is left at the end belongs to no statement: it differs, or is empty
        for answer in answers:
            answer.status = received[-1][1].decode()
        return answers


def shown(value):
    """A driver's value as bytes, None as None."""
    value = bytes(value) if isinstance(value, memoryview) else value
    return None if value is None else repr(value).encode()


class Driver:
    """What the drivers' clients share."""

    def __init__(self, target):
        self.target, self.connection = target, None

    def ask(self, statement, mode=None):  # noqa: ARG002
        answer = Answer()
        if self.connection is None:
            self.connection = self.connect()
            self.connection.cursor().execute("SET statement_timeout = '4s'")
        cursor = self.cursor()
        try:
            self.run(cursor, statement)
            answer.tag = cursor.statusmessage
            if cursor.description:
                answer.columns = [(column.name, "text") for column in cursor.description]
                answer.rows = [[shown(value) for value in row] for row in cursor.fetchall()]
        except self.errors as error:
            answer.code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or "lost"
            answer.message = str(error)
        answer.tags = [answer.tag] if answer.tag else []
        answer.status = {0: "I", 1: "T", 2: "T", 3: "E"}.get(int(self.connection.info.transaction_status))
        if self.connection.closed:
            self.connection = None
        return answer

    def close(self):
        if self.connection:
            self.connection.close()


class Psycopg2Client(Driver):
    def connect(self):
        return self.target.psycopg2()

    def cursor(self):
        return self.connection.cursor()

    @property
    def errors(self):
        import psycopg2
        return psycopg2.Error

    @staticmethod
    def run(cursor, statement):
        cursor.execute(statement if isinstance(statement, str) else statement.text())


class PsycopgClient(Driver):
    """Prepares whatever it is asked twice."""

    def __init__(self, target, is_binary):
        super().__init__(target)
        self.is_binary = is_binary

    def connect(self):
        import psycopg
        return psycopg.connect(self.target.dsn, autocommit=True, prepare_threshold=1)

    def cursor(self):
        return self.connection.cursor(binary=self.is_binary)

    @property
    def errors(self):
        import psycopg
        return psycopg.Error

    def run(self, cursor, statement):
        if isinstance(statement, str):
            cursor.execute(statement)
            return
        parameters, constants = {}, {}
        for node in statement.tree.nodes():
            constants[id(node)] = node
        text = statement.text(parameters)
        found = {number: (constants[key], value) for key, (number, value) in parameters.items()}
        values = []

        def place(match):
            node, value = found[int(match[1])]
            native = NATIVE.get(node.type) if self.is_binary and value is not None else None
            values.append(native(value) if native else value)
            return "%b" if native else "%t" if self.is_binary else "%s"
        cursor.execute(re.sub(r"\$(\d+)", place, text.replace("%", "%%")), values)


def make_client(form, target, types):
    if form == "wire":
        return WireClient(target, types)
    return Psycopg2Client(target) if form == "psycopg2" else PsycopgClient(target, form == "psycopg binary")
