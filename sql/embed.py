"""Writes sql/catalog.sql as C strings, one a part: `python3 embed.py catalog.sql catalog_sql.h`."""
import sys

parts = {}
name = None
with open(sys.argv[1], encoding="utf-8") as source:
    for line in source:
        if line.startswith("-- part: "):
            name = line.split()[2]
            parts[name] = []
        elif name:
            code = line.split(" -- ")[0].rstrip() if not line.startswith("--") else ""
            if code.strip():
                parts[name].append(code)
with open(sys.argv[2], "w", encoding="utf-8") as header:
    header.write("/* Made from sql/catalog.sql by sql/embed.py. */\n")
    for name, lines in parts.items():
        header.write(f"__attribute__((unused)) static const char catalog_sql_{name}[] =\n")
        for line in lines:
            escaped = line.replace("\\", "\\\\").replace('"', '\\"')
            header.write(f'    "{escaped}\\n"\n')
        header.write("    ;\n")
