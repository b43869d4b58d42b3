"""The walls of the house, read off the source with ``ast``: each is a function from modules to breaches.

Nothing is imported or run, so a module that does not work yet is held to them too.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 45

PURE = frozenset({"oci", "helm", "rules"})
_NOUNS = PURE | {"flights", "sources", "store", "trust", "access"}
_BELOW_WEB = _NOUNS | {"verbs"}
_BELOW_APP = _BELOW_WEB | {"web", "settings"}
_BELOW_SERVE = _BELOW_APP | {"app", "hypercorn_fit"}

MAY_SEE: Mapping[str, frozenset[str]] = {
    "oci": frozenset(),
    "helm": frozenset({"oci"}),
    "rules": frozenset({"oci", "helm"}),
    "flights": frozenset({"oci"}),  # a verb of its own floor: sources nest their flights in those of a pull
    "sources": PURE | {"flights"},  # these four never see each other: the verbs bring them together
    "store": PURE,
    "trust": PURE,
    "access": PURE,
    "verbs": _NOUNS,
    "web": _BELOW_WEB,
    "settings": PURE,  # seen from app upwards only: below, a function gets the values it needs
    "hypercorn_fit": frozenset(),
    "app": _BELOW_APP,
    "serve": _BELOW_SERVE,
    "demo": _BELOW_SERVE,
    "cli": _BELOW_SERVE | {"serve", "demo"},
    "package": frozenset(),  # gateway/__init__.py
    "migrations": frozenset({"store"}),
}

_VERBS = (
    *(
        "pull",
        "parts",
        "manifest_pull",
        "blob_pull",
        "dependents",
        "homes",
        "notes",
        "ages",
        "selection",
        "rule_revisions",
        "rule_following",
        "tag_lists",
        "referrals",
        "fetch",
        "search",
        "taken",
        "transfer",
        "pulled",
        "waiting",
    ),
    *("refusals", "explain", "explained", "explain_facts", "sync", "bundle", "gc", "scrub"),
    *("upkeep", "admission", "held_upstream", "passing", "pins", "collected", "healing", "new_hosts"),
    *("sign_in", "audit", "rule_editing", "rule_edited", "activity", "activity_seen", "event_tap"),
    *("catalog_desk", "catalog_shown", "chart_contents", "refresh", "purge", "jobs", "actions"),
    *("rule_readings", "rule_trials", "catalog_artifact", "explained_words"),
    *("recording", "upstream_states", "storage_use", "pull_whole"),
    *("sync_plan", "sync_work", "sync_schedule", "sync_desk", "chart_needs", "chart_names"),
    *("bundle_export", "bundle_import", "bundle_tar", "bundle_volumes", "bundle_signing", "bundle_desk"),
    *("bundle_staging", "bundle_checks", "bundle_selection", "wiring"),
    *("classic", "classic_archives", "classic_held", "classic_listing"),
    *(
        "wired",
        "wiring_charts",
        "wiring_images",
        "sync_names",
        "sync_items",
        "sync_keeping",
        "sync_sizes",
        "sync_ready",
    ),
    *("wholes", "bundle_judged", "bundle_opening", "bundle_rules", "bundle_walk", "bundle_difference"),
)
_ROOM_OF_MODULE: Mapping[str, str] = {
    "gateway": "package",
    "gateway.__main__": "cli",
    "gateway.app": "app",
    "gateway.caretaker": "app",
    "gateway.admin": "app",
    "gateway.settings_shown": "app",
    "gateway.serve": "serve",
    "gateway.supervisor": "serve",
    "gateway.demo": "demo",
    "gateway.flights": "flights",
    "gateway.hypercorn_fit": "hypercorn_fit",
    "gateway.connection": "hypercorn_fit",
    "gateway.listener": "hypercorn_fit",
    "gateway.logs": "settings",
    "gateway.settings": "settings",
    "gateway.settings_values": "settings",
    **{f"gateway.{verb}": "verbs" for verb in _VERBS},
}
_FOLDERS = frozenset({"cli", "web", "oci", "helm", "rules", "sources", "store", "trust", "access"})

_PURE_LIBRARIES = frozenset({"yaml", "re2"})
_IMPURE_STDLIB = frozenset(
    {"asyncio", "concurrent", "ctypes", "ftplib", "getpass", "glob", "http", "importlib", "locale", "logging"}
    | {"mmap", "multiprocessing", "os", "pathlib", "platform", "pty", "queue", "random", "resource", "runpy"}
    | {
        "sched",
        "secrets",
        "select",
        "selectors",
        "shelve",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "sqlite3",
    }
    | {"socketserver", "ssl", "subprocess", "sys", "syslog", "tempfile", "threading", "time", "uuid"}
)
_PURE_NAMES = frozenset({"pathlib.PurePath", "pathlib.PurePosixPath", "http.HTTPStatus"})
_IMPURE_CALLS = frozenset({"open", "print", "input", "eval", "exec", "compile", "breakpoint", "__import__"})
_IMPURE_METHODS = frozenset({"now", "utcnow", "today", "extract", "extractall", "urlopen"})

HOMES: Mapping[str, frozenset[str]] = {
    "httpx": frozenset({"sources"}),
    "httpcore": frozenset({"sources"}),
    "sqlalchemy": frozenset({"store", "migrations"}),
    "sqlite3": frozenset({"store"}),
    "alembic": frozenset({"store", "migrations"}),
    "starlette": frozenset({"web", "app"}),
    "hypercorn": frozenset({"serve", "hypercorn_fit"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "yaml": frozenset({"helm", "rules"}),  # behind the guards against hostile YAML
}
_LATE: Mapping[str, str] = {"gateway.bundle_signing": "cryptography.", "gateway.serve": "gateway.admin"}
_BANNED_WORDS = frozenset({"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"})

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, with its source."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.name)

    @property
    def room(self) -> str | None:
        """The room it belongs to; None where no room knows it."""
        if self.name in _ROOM_OF_MODULE:
            return _ROOM_OF_MODULE[self.name]
        top, _, rest = self.name.partition(".")
        folder = rest.partition(".")[0]
        if top == "migrations":
            return "migrations"
        return folder if top == "gateway" and folder in _FOLDERS else None

    @cached_property
    def imported_names(self) -> frozenset[str]:
        """Full dotted names: ``from a.b import c`` gives ``a.b.c``, whatever c turns out to be."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
        return frozenset(names)

    @cached_property
    def functions(self) -> Sequence[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


Wall: TypeAlias = Callable[[Sequence[Module]], Iterator[str]]


def load_modules(project: Path, *packages: str) -> list[Module]:
    """Read every module of the packages, sorted by name."""
    found = [path for package in packages for path in (project / package).rglob("*.py")]
    return [Module(_dotted(path.relative_to(project)), path.read_text("utf-8")) for path in sorted(found)]


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unknown_rooms(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        if module.room is None:
            yield f"{module.name}: belongs to no room of tests/walls.py and docs/architecture.md"


def imports_up_or_across(modules: Sequence[Module]) -> Iterator[str]:
    rooms = {module.name: module.room for module in modules}
    for module in modules:
        may_see = MAY_SEE.get(module.room or "", frozenset()) | {module.room}
        for imported in _inner_imports(module, rooms):
            if rooms[imported] not in may_see:
                yield f"{module.name}: sees {imported}, {module.room} may not see {rooms[imported]}"


def cycles(modules: Sequence[Module]) -> Iterator[str]:
    names = {module.name for module in modules}
    try:
        TopologicalSorter({module.name: _inner_imports(module, names) for module in modules}).prepare()
    except CycleError as error:
        yield "a cycle: " + " ← ".join(error.args[1])


def libraries_away_from_home(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        for name in sorted(module.imported_names):
            homes = HOMES.get(name.partition(".")[0])
            if homes is not None and module.room not in homes:
                yield f"{module.name}: imports {name}, which lives only in {', '.join(sorted(homes))}"


def impurities(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        if module.room in PURE:
            yield from (f"{module.name}: {what}" for what in _impure_imports(module))
            for node in ast.walk(module.tree):
                if what := _impurity(node):
                    yield f"{module.name}:{getattr(node, 'lineno', '?')}: {what}"


def _impure_imports(module: Module) -> Iterator[str]:
    for name in sorted(module.imported_names):
        top = name.partition(".")[0]
        is_stdlib = top in sys.stdlib_module_names
        if is_stdlib and top in _IMPURE_STDLIB and name not in _PURE_NAMES:
            yield f"imports {name}, in a room without I/O, clock and environment"
        if not is_stdlib and top not in {"gateway", *_PURE_LIBRARIES}:
            yield f"imports {name}, in a room that knows only {', '.join(sorted(_PURE_LIBRARIES))}"


def _impurity(node: ast.AST) -> str | None:
    match node:
        case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
            return "async in a pure room"
        case ast.comprehension(is_async=1):
            return "async in a pure room"
        case ast.Call(func=ast.Name(id=name)) if name in _IMPURE_CALLS:
            return f"calls {name}() in a pure room"
        case ast.Call(func=ast.Attribute(attr=name)) if name in _IMPURE_METHODS:
            return f"calls .{name}() in a pure room"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="io"), attr="open")):
            return "calls io.open() in a pure room"
    return None


def hidden_imports(modules: Sequence[Module]) -> Iterator[str]:
    """But of what is large, and few processes need: see ``_LATE``."""
    for module in modules:
        for function in module.functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and not _is_late(module, node):
                    yield f"{module.name}:{node.lineno}: an import inside {function.name}()"
        if "importlib.import_module" in module.imported_names or _calls_import_module(module):
            yield f"{module.name}: an import by a name made at run time"


def _is_late(module: Module, node: ast.Import | ast.ImportFrom) -> bool:
    library = _LATE.get(module.name)
    return (
        library is not None and isinstance(node, ast.ImportFrom) and (node.module or "").startswith(library)
    )


def _calls_import_module(module: Module) -> bool:
    for node in ast.walk(module.tree):
        match node:
            case ast.Name(id="__import__") | ast.Attribute(ast.Name("importlib"), "import_module"):
                return True
    return False


def relative_imports(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{module.name}:{node.lineno}: a relative import"


def names_that_say_nothing(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        words = module.name.rpartition(".")[2].strip("_").split("_")
        if not _BANNED_WORDS.isdisjoint(words):
            yield f"{module.name}: a name that says nothing about what is in it"


def too_long(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        lines = module.source.count("\n")
        if lines > MAX_FILE_LINES:
            yield f"{module.name}: {lines} lines, at most {MAX_FILE_LINES}"
        if module.room != "migrations":  # those are lists of tables
            yield from _long_functions(module)


def _long_functions(module: Module) -> Iterator[str]:
    for function in module.functions:
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield f"{module.name}: {function.name}() has {lines} lines, at most {MAX_FUNCTION_LINES}"


def rooms_unsaid(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        if module.source.strip() and not ast.get_docstring(module.tree):
            yield f"{module.name}: line 1 does not say which room this is"


def _inner_imports(module: Module, known: Mapping[str, object] | set[str]) -> set[str]:
    """The project's own modules that this one imports; a name in a package means that package."""
    candidates = (_known_part(name, known) for name in module.imported_names)
    return {name for name in candidates if name is not None and name != module.name}


def _known_part(name: str, known: Mapping[str, object] | set[str]) -> str | None:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None
