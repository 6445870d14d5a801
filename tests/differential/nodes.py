"""The node types of a statement's raw parse tree, by libpg_query."""
import ctypes
import ctypes.util
import json


class Error(ctypes.Structure):
    _fields_ = [("message", ctypes.c_char_p)]


class Result(ctypes.Structure):
    _fields_ = [("tree", ctypes.c_char_p), ("errors", ctypes.c_char_p), ("error", ctypes.POINTER(Error))]


def library():
    found = ctypes.CDLL(ctypes.util.find_library("pg_query"))
    found.pg_query_parse.restype, found.pg_query_parse.argtypes = Result, [ctypes.c_char_p]
    found.pg_query_free_parse_result.argtypes = [Result]
    return found


LIBRARY = library()


def node_types(sql):
    """Names such as SelectStmt, JoinExpr:JOIN_LEFT; an empty set for what cannot be parsed."""
    result = LIBRARY.pg_query_parse(sql.encode())
    names = set()
    if not result.error:
        collect(json.loads(result.tree), names)
    LIBRARY.pg_query_free_parse_result(result)
    return names


def collect(value, names):
    if isinstance(value, list):
        for each in value:
            collect(each, names)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name[0].isupper():
                names.add(name)
                kind = isinstance(each, dict) and (each.get("jointype") or each.get("subLinkType") or each.get("kind"))
                if isinstance(kind, str):
                    names.add(f"{name}:{kind}")
            collect(each, names)


def is_ordered(sql):
    """Does the outermost query say in which order its rows come?"""
    result = LIBRARY.pg_query_parse(sql.encode())
    tree = None if result.error else json.loads(result.tree)
    LIBRARY.pg_query_free_parse_result(result)
    return bool(tree) and "sortClause" in tree["stmts"][0]["stmt"].get("SelectStmt", {})
