"""PostgreSQL's regression files, from a source tree that is given: what psql would send of them, and the tables they expect."""
import pathlib
import re

from schema import Table

# Of the tables that test_setup.sql makes. The others, some of which inherit, are left on the home shard.
SHARDED = ["onek", "onek2", "tenk1", "tenk2"]
REFERENCE = ["char_tbl", "float8_tbl", "int2_tbl", "int4_tbl", "int8_tbl", "text_tbl", "varchar_tbl", "point_tbl"]
QUOTED = re.compile(r"""
    --[^\n]* | /\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/)*\*/ |   # comments, one within another at most
    [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" |
    \$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$ |
    (?<!:):'?[a-z_]+'? | \\[^\n]*""", re.VERBOSE | re.DOTALL)
COPIED = re.compile(r"\bfrom\s+stdin\b", re.IGNORECASE)
ATOMIC = re.compile(r"\bbegin\s+atomic\b.*$", re.IGNORECASE | re.DOTALL)


class File:
    """statements: (text, data): data is what stands behind COPY … FROM stdin, or None. left_out: how many need psql."""

    def __init__(self, text):
        self.text, self.at, self.statements, self.left_out = text, 0, [], 0
        while self.at < len(text):
            self.read()

    def read(self):
        """Up to the next semicolon outside of quotes and parentheses, or a command of psql's that sends what is there."""
        start, depth, for_psql = self.at, 0, False
        while self.at < len(self.text):
            found = QUOTED.match(self.text, self.at)
            if found:
                for_psql |= found[0][0] in ":\\" and bool(self.text[start:self.at].strip())
                if found[0][0] == "\\" and not re.sub(r"--[^\n]*", "", self.text[start:self.at]).strip():
                    self.at = found.end()
                    return  # of psql's alone
                self.at = found.end()
                if found[0][0] == "\\":
                    break
                continue
            letter = self.text[self.at]
            depth += (letter in "([") - (letter in ")]")
            self.at += 1
            if letter == ";" and depth <= 0 and not is_within_body(self.text[start:self.at]):
                break
        self.add(self.text[start:self.at], for_psql)

    def add(self, text, for_psql):
        words = re.sub(r"--[^\n]*", "", text).strip().rstrip(";").strip()
        data = None
        if COPIED.search(words) and words.lower().startswith("copy"):
            end = self.text.find("\n\\.", self.at)
            line = self.text.index("\n", self.at) + 1
            data, self.at = (self.text[line:end + 1], end + 3) if end >= 0 else ("", self.at)
        if for_psql:
            self.left_out += 1
        elif words:
            self.statements.append((text.strip().rstrip(";"), data))


def is_within_body(text):
    found = ATOMIC.search(text)
    return bool(found) and not re.search(r"\bend\s*;$", text, re.IGNORECASE)


class Regression:
    """The tree's files, and as a schema its tables with their rows; see Cluster.build."""

    def __init__(self, source):
        self.place = pathlib.Path(source) / "src" / "test" / "regress"
        setup = File((self.place / "sql" / "test_setup.sql").read_text())
        made = re.compile(r"create (table|type)\b", re.IGNORECASE)
        self.definitions = [text for text, _ in setup.statements if made.match(bare(text)) and " as select " not in text.lower()]
        self.definitions += ["CREATE TABLE onek2 (LIKE onek)", "CREATE TABLE tenk2 (LIKE tenk1)"]
        self.inserts = [text for text, _ in setup.statements if re.match(r"insert into", bare(text), re.IGNORECASE)]
        self.tables = [Table(name, "sharded", [], ["unique1"], "modulo") for name in SHARDED]
        self.tables += [Table(name, "reference", []) for name in REFERENCE]
        self.views = []

    def file(self, name):
        return File((self.place / "sql" / f"{name}.sql").read_text())

    def data(self, name):
        """The rows of a data file, as COPY has them."""
        return (self.place / "data" / f"{name}.data").read_text()

    def ddl(self):
        return ";\n".join(self.definitions)

    def yaml(self, shards):
        return "".join(table.yaml(shards) for table in self.tables)


def bare(text):
    """Without the comments in front."""
    return re.sub(r"^(\s|--[^\n]*\n|/\*.*?\*/)+", "", text, flags=re.DOTALL)
