"""Schemas that are written down, for the corpora; to World they are what schema.Schema is."""
from schema import TYPES, Table


def table(name, kind, columns, key="", function="modulo", text=None):
    """columns: "id bigint, name text" (no comma within a type)."""
    parts = [each.strip().split(" ", 1) for each in columns.replace("(12,2)", "(12;2)").replace("(4,2)", "(4;2)").split(",")]
    made = Table(name, kind, [(part[0], part[1].replace(";", ",")) for part in parts], key.split(), function)
    made.text = text
    return made


class FixedSchema:
    types = TYPES

    def __init__(self, tables, views=""):
        self.tables, self.views = tables, []
        for text in views.split(";"):
            if text.strip():
                self.add_view(text)

    def add_view(self, text):
        """A view, or anything else that is said once all tables are there."""
        self.views.append(Table(f"view {len(self.views)}", "view", [], text=text + ";"))

    def ddl(self):
        return TYPES + "\n".join(table.ddl() for table in [*self.tables, *self.views])

    def yaml(self, shards):
        return "".join(table.yaml(shards) for table in self.tables)
