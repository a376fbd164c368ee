"""The imports table: which room may import which.

Imports point down only. `python tools/floors.py` prints every import in src that the table does not allow
and exits with 1 if there is one; tests/test_floors.py asks the same.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parent.parent / "src" / "stepscope"

# room -> the rooms it may import. A room is a folder of src/stepscope, or a file beside __init__.py.
MAY_IMPORT: dict[str, frozenset[str]] = {
    # floor 0: the kernels, and the value everything downstream reads
    "core": frozenset({"_native"}),
    "_native": frozenset(),  # the compiled core; in src it is a stub of its types
    "native": frozenset(),  # its C sources, and the command that compiles them
    "model": frozenset({"core"}),
    # floor 1: they never import one another
    "record": frozenset({"core", "model"}),
    "formats": frozenset({"core", "model"}),
    "analysis": frozenset({"core", "model"}),
    "check": frozenset({"core", "model"}),
    "viewer": frozenset({"model"}),
    # a public module, for frameworks: names of floors 0 and 1
    "ops": frozenset({"core", "record"}),
    # floor 2: the lifecycle puts them together
    "session": frozenset({"core", "model", "record", "formats", "analysis", "viewer"}),
    # floor 2, too: each is a source of its own, and is imported only when somebody asks for it
    "integrations": frozenset({"core", "model", "record"}),
    # the public names
    "__init__": frozenset({"core", "model", "record", "formats", "analysis", "session", "ops"}),
    # floor 3: programs that use the package as a user does, by its public names
    "demo": frozenset({"__init__"}),
    "run": frozenset({"__init__", "session", "viewer"}),
    "cli": frozenset({"__init__", "analysis", "check", "core", "demo", "formats", "model", "run", "viewer"}),
    "pytest_plugin": frozenset({"__init__", "analysis", "core", "model", "session"}),
    "__main__": frozenset({"cli"}),
}

# What costs time or is not needed to record: imported inside the function that uses it.
NEVER_AT_THE_TOP = frozenset({"perfetto", "google", "click", "rich", "isal", "orjson", "wasmtime"})
# Rooms that exist only for a dependency may import it at the top; nothing imports them at start-up.
OWN_DEPENDENCIES: dict[str, frozenset[str]] = {
    "check": frozenset({"perfetto", "wasmtime"}),
    "cli": frozenset({"click", "rich"}),
    "formats": frozenset({"orjson", "isal"}),
}


def room_of(path: Path) -> str:
    """The room a source file stands in: its folder below stepscope, or its own name."""
    inside = path.relative_to(SRC)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Each import of a file: line, absolute module name, and whether it stands at the top level.

    `from stepscope import name` yields stepscope.name, which is a room or a public name.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ("stepscope", *path.relative_to(SRC).parts[:-1])
    top = {id(node) for node in _top_level(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module or "").split("."))).strip(".")
            if module == "stepscope":
                for alias in node.names:
                    yield node.lineno, f"stepscope.{alias.name}", id(node) in top
            else:
                yield node.lineno, module, id(node) in top


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import: the module's own, and those in its if and try blocks."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            for field in ("body", "orelse", "finalbody", "handlers"):
                todo.extend(getattr(node, field, []))


def violations(src: Path = SRC) -> list[str]:
    """One sentence for every import that the table does not allow."""
    rooms = {room_of(path) for path in src.rglob("*.py*") if path.suffix in (".py", ".pyi")}
    found = []
    for path in sorted(src.rglob("*.py")):
        room = room_of(path)
        where = path.relative_to(src.parent).as_posix()
        if room not in MAY_IMPORT:
            found.append(f"{where}: room {room!r} has no row in the table")
            continue
        for line, module, at_top in imports(path):
            root, _, rest = module.partition(".")
            if root == "stepscope":
                name = rest.split(".")[0]
                target = name if name in rooms else "__init__"
                if target != room and target not in MAY_IMPORT[room]:
                    found.append(f"{where}:{line}: {room} may not import {target}")
            elif at_top and root in NEVER_AT_THE_TOP - OWN_DEPENDENCIES.get(room, frozenset()):
                found.append(f"{where}:{line}: {root} is imported where it is used, not at the top")
    return found


if __name__ == "__main__":
    problems = violations()
    print("\n".join(problems) or "every import in src points down")
    sys.exit(1 if problems else 0)
