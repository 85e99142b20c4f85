"""The house stands: imports go down only, nothing goes in circles, and few modules touch what is dangerous."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = "encord_agents"

LAYERS = [
    ["encord_agents.testing"],
    ["encord_agents.cli"],
    ["encord_agents.terminal"],
    ["encord_agents.integrations", "encord_agents.fastapi", "encord_agents.gcp", "encord_agents.aws"],
    ["encord_agents.editor"],
    ["encord_agents.tasks", "encord_agents.utils"],
    ["encord_agents.tasks.runner.sequential_runner", "encord_agents.tasks.runner.queue_runner"],
    [
        "encord_agents.tasks.runner.drain",
        "encord_agents.tasks.runner.in_process",
        "encord_agents.tasks.runner.forks",
        "encord_agents.tasks.runner.ways_to_run",
    ],
    ["encord_agents.tasks.runner.stage_drain"],
    [
        "encord_agents.tasks.runner.outcomes",
        "encord_agents.tasks.runner.executor_pool",
        "encord_agents.tasks.runner.processes",
    ],
    ["encord_agents.tasks.runner.worker_main", "encord_agents.tasks.runner.worker"],
    ["encord_agents.tasks.runner.queue_function"],
    [
        "encord_agents.tasks.runner.driven",
        "encord_agents.tasks.runner.call",
        "encord_agents.tasks.runner.trying",
    ],
    ["encord_agents.tasks.runner.connection"],
    ["encord_agents.tasks.runner.messages", "encord_agents.tasks.runner.specs"],
    ["encord_agents.tasks.runner.passes"],
    ["encord_agents.tasks.runner.base", "encord_agents.tasks.runner.apart"],
    [
        "encord_agents.tasks.runner.opening",
        "encord_agents.tasks.runner.run_options",
        "encord_agents.tasks.runner.typed_in",
    ],
    ["encord_agents.tasks.engine.overlap", "encord_agents.tasks.engine.one_by_one"],
    ["encord_agents.tasks.engine.attempts"],
    ["encord_agents.tasks.engine.ready_queue", "encord_agents.tasks.engine.loading"],
    [
        "encord_agents.tasks.engine.files_ahead",
        "encord_agents.tasks.engine.write_behind",
        "encord_agents.tasks.engine.reading",
    ],
    ["encord_agents.tasks.engine.window"],
    ["encord_agents.tasks.engine.chunk"],
    ["encord_agents.tasks.engine.stage_run"],
    ["encord_agents.tasks.engine.write"],
    ["encord_agents.tasks.engine.dry_run"],
    ["encord_agents.tasks.engine.execute"],
    ["encord_agents.tasks.engine.dead_letter", "encord_agents.tasks.engine.own_saves"],
    ["encord_agents.tasks.engine.changes"],
    ["encord_agents.tasks.engine.load", "encord_agents.tasks.engine.poll"],
    [
        "encord_agents.tasks.engine.context",
        "encord_agents.tasks.engine.backlog",
        "encord_agents.tasks.engine.observers",
        "encord_agents.tasks.engine.report_file",
    ],
    ["encord_agents.tasks.engine.report"],
    ["encord_agents.tasks.engine.record"],
    ["encord_agents.tasks.engine.events"],
    [
        "encord_agents.tasks.engine.hints",
        "encord_agents.tasks.engine.held",
        "encord_agents.tasks.engine.history",
        "encord_agents.tasks.engine.report_html",
    ],
    ["encord_agents.tasks.engine.download_tries"],
    ["encord_agents.tasks.engine.gate", "encord_agents.tasks.engine.retry", "encord_agents.tasks.engine.stage"],
    ["encord_agents.tasks.engine.verdict"],
    ["encord_agents.tasks.engine.signals"],
    [
        "encord_agents.tasks.engine.stop",
        "encord_agents.tasks.engine.outcome",
        "encord_agents.tasks.engine.advice",
        "encord_agents.tasks.engine.label_check",
        "encord_agents.tasks.engine.thread_pool",
        "encord_agents.tasks.engine.event_loop",
        "encord_agents.tasks.engine.interpreter",
        "encord_agents.tasks.engine.interruption",
        "encord_agents.tasks.engine.pace",
        "encord_agents.tasks.engine.quiet",
        "encord_agents.tasks.engine.slots",
        "encord_agents.tasks.engine.troubles",
        "encord_agents.tasks.engine.weight",
    ],
    ["encord_agents.tasks.engine.rate_limit", "encord_agents.tasks.engine.timing"],
    ["encord_agents.tasks.dependencies"],
    ["encord_agents.tasks.media", "encord_agents.tasks.twins"],
    ["encord_agents.tasks.models", "encord_agents.labels"],
    ["encord_agents.core"],
    ["encord_agents.local"],
    ["encord_agents.pictures", "encord_agents.pdfs", "encord_agents.extras"],
    ["encord_agents.exceptions"],
    ["encord_agents.redaction"],
    ["encord_agents"],
]
"""From the top down. A module belongs to the longest prefix that matches; it imports from below, or its own prefix."""

LOOKS_UPWARD = {
    # lazy, at the first use: a name that users import from the top, and that costs what the SDK costs
    ("encord_agents", "encord_agents.core.data_model"),
    # lazy, when a name is asked for that existing code imports from below
    ("encord_agents.core.dependencies.serverless", "encord_agents.editor.aliases"),
    ("encord_agents.core.dependencies.serverless", "encord_agents.editor.dependencies"),
    # lazy, at the first use: a column of rich's, under the name that existing code imports
    ("encord_agents.core.rich_columns", "encord_agents.terminal.columns"),
    # lazy, inside a function: a command line and a screen are only needed by those who have one
    ("encord_agents.tasks.runner.sequential_runner", "encord_agents.cli.runner"),
    ("encord_agents.tasks.runner.queue_runner", "encord_agents.cli.runner"),
    ("encord_agents.tasks.runner.passes", "encord_agents.terminal.progress"),
    # for annotations only
    ("encord_agents.tasks.runner.queue_function", "encord_agents.tasks.runner.queue_runner"),
    ("encord_agents.tasks.runner.worker", "encord_agents.tasks.runner.queue_runner"),
    ("encord_agents.tasks.runner.worker_main", "encord_agents.tasks.runner.queue_runner"),
    ("encord_agents.tasks.runner.forks", "encord_agents.tasks.runner.queue_runner"),
    # lazy, in worker processes: what agents print there is shown, as far as it can be
    ("encord_agents.tasks.runner.worker_main", "encord_agents.terminal.streams"),
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imported(tree: ast.AST, *, lazy: bool = True) -> Iterator[str]:
    """What a module imports; without ``lazy``, only what its import imports."""
    for node in walk(tree, into_functions=lazy):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def walk(tree: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not into_functions and (is_function or is_typing):
            continue
        yield node
        yield from walk(node, into_functions=into_functions)


def layer(module: str) -> tuple[int, str]:
    """The layer of a module, as its height from the bottom, and the prefix that put it there."""
    matches = [
        (len(prefix), height, prefix)
        for height, prefixes in enumerate(reversed(LAYERS))
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    ]
    _, height, prefix = max(matches)
    return height, prefix


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down_only(module: str) -> None:
    """A module imports only what lies below it, a few lazy looks upward aside."""
    height, prefix = layer(module)
    for target in imported(TREES[module]):
        if target.split(".")[0] != PACKAGE or (module, target) in LOOKS_UPWARD:
            continue
        below, other = layer(target)
        assert below < height or other == prefix, f"{module} imports {target}, which does not lie below it"


def test_looks_upward_are_lazy() -> None:
    """The looks upward happen inside functions: importing the library imports none of them."""
    for module, target in LOOKS_UPWARD:
        assert target in set(imported(TREES[module]))
        assert target not in set(imported(TREES[module], lazy=False))


def test_no_circles() -> None:
    """No module imports itself by way of others, when it is imported."""
    graph = {name: {t for t in imported(tree, lazy=False) if t in MODULES} for name, tree in TREES.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in graph[name] - {name}:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_local_platform_could_move_out() -> None:
    """`local` imports nothing of ours but errors, extras and five modules that import nothing else of ours."""
    shared = {f"encord_agents.{name}" for name in ("pictures", "picture_metadata", "films", "pdfs", "shapes")}
    ours = {target for name in shared for target in imported(TREES[name]) if target.startswith(PACKAGE)}
    assert ours <= shared
    allowed = {"encord_agents.exceptions", "encord_agents.extras"} | shared
    for module in MODULES:
        if module.startswith("encord_agents.local"):
            ours = {t for t in imported(TREES[module]) if t.startswith(PACKAGE)}
            foreign = {t for t in ours if not t.startswith("encord_agents.local")} - allowed
            assert not foreign, f"{module} imports {foreign}"


def importers_of(*roots: str, lazy: bool = True) -> set[str]:
    return {
        module
        for module, tree in TREES.items()
        if any(target.split(".")[0] in roots for target in imported(tree, lazy=lazy))
    }


def test_threads_are_few_modules_business() -> None:
    """Who reads a module that is not listed here need not think about threads (the local platform's server aside)."""
    allowed = {
        "encord_agents.core.assets",
        "encord_agents.core.dependencies.scope",
        "encord_agents.core.dependencies.threads",
        "encord_agents.core.queues",
        "encord_agents.core.transport",  # a note of this thread's, for a filter of the log
        "encord_agents.editor.agent",  # answers in time, where there is a limit
        "encord_agents.editor.row_queue",
        "encord_agents.fastapi.serving",
        "encord_agents.integrations.celery.at_work",
        "encord_agents.integrations.celery.marks",
        "encord_agents.integrations.celery.registration",
        "encord_agents.pdfs",  # PDFium takes one thread at a time
        "encord_agents.tasks.engine.thread_pool",
        "encord_agents.tasks.engine.event_loop",
        "encord_agents.tasks.engine.attempts",
        "encord_agents.tasks.engine.gate",
        "encord_agents.tasks.engine.held",
        "encord_agents.tasks.engine.history",
        "encord_agents.tasks.engine.interpreter",
        "encord_agents.tasks.engine.overlap",
        "encord_agents.tasks.engine.quiet",
        "encord_agents.tasks.engine.slots",
        "encord_agents.tasks.engine.events",
        "encord_agents.tasks.engine.signals",
        "encord_agents.tasks.engine.stop",
        "encord_agents.tasks.engine.window",
        "encord_agents.tasks.runner.connection",
        "encord_agents.tasks.runner.forks",
        "encord_agents.tasks.runner.queue_runner",
        "encord_agents.tasks.twins",  # tasks of several workers share what was fetched
        "encord_agents.tasks.runner.processes",
        "encord_agents.tasks.runner.worker_main",
        "encord_agents.terminal.notebook",  # draws while agents work
    }
    using = {m for m in importers_of("threading") if not m.startswith(("encord_agents.local", "encord_agents.cli"))}
    assert using <= allowed


def test_one_kind_of_queue() -> None:
    """The standard library's queues wait for ever where a short time is up, or deadlock with a signal handler."""
    assert importers_of("queue") == {"encord_agents.core.queues"}


def test_environment_is_read_in_one_place() -> None:
    """Only the settings and the command line look at the environment."""
    reading = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert {m for m in reading if not m.startswith("encord_agents.cli")} <= {"encord_agents.core.settings"}


def test_image_libraries_are_imported_when_used() -> None:
    """`av`, `cv2` and `PIL` are imported inside functions, of few modules."""
    using = importers_of("av", "cv2", "PIL")
    assert using <= {
        "encord_agents.core.audio",
        "encord_agents.core.seeking",
        "encord_agents.core.video",
        "encord_agents.core.video_file",
        "encord_agents.core.video_stream",
        "encord_agents.core.vision",
        "encord_agents.films",
        "encord_agents.labels.painting",
        "encord_agents.local.export",
        "encord_agents.local.page.documents",
        "encord_agents.local.page.film",
        "encord_agents.local.page.pictures",
        "encord_agents.local.media",
        "encord_agents.local.sequences",
        "encord_agents.pictures",
        "encord_agents.shapes",
    }
    assert not importers_of("av", "cv2", "PIL", lazy=False)


def test_screen_libraries_stay_at_the_top() -> None:
    """`rich` and `typer` are imported by the terminal and the command line only."""
    using = importers_of("rich", "typer", "click")
    assert not {m for m in using if not m.startswith(("encord_agents.cli", "encord_agents.terminal"))}


SDK_IO = {
    "get_child_items",
    "get_project",
    "get_storage_item",
    "get_storage_items",
    "get_tasks",
    "list_label_rows_v2",
    "initialise_labels",
    "get_signed_url",
    "set_priority",
    "proceed",
    "create_bundle",
}


def test_sdk_calls_that_do_io_have_their_places() -> None:
    """Requests to the platform are made where they pass the gate, or before there is one."""
    allowed = {
        "encord_agents.core.assets",
        "encord_agents.core.client",
        "encord_agents.core.fetching",
        "encord_agents.core.data_lookup",  # deprecated: when an agent asks it to
        "encord_agents.core.sdk.entrusted",  # what the agent does by its own hand
        "encord_agents.core.utils",  # by hand only
        "encord_agents.core.sdk.remembered",
        "encord_agents.editor.loading",
        "encord_agents.editor.rows",
        "encord_agents.tasks.dependencies",
        "encord_agents.tasks.twins",
        "encord_agents.tasks.engine.load",
        "encord_agents.tasks.engine.poll",
        "encord_agents.tasks.engine.write",
        "encord_agents.tasks.runner.opening",
        "encord_agents.tasks.runner.trying",  # one task, and through the gate
        "encord_agents.testing",  # on a platform of its own
    }
    calling = {
        module
        for module, tree in TREES.items()
        if not module.startswith("encord_agents.local")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SDK_IO
    }
    assert calling <= allowed


def test_the_inside_of_the_sdk_has_one_place() -> None:
    """Nobody else imports from `encord.http` (settings aside), nor names what is private in a label row or a client."""
    private = {"_api_client", "_querier", "_label_row_read_only_data", "_objects_map", "_classifications_map"}
    for module, tree in TREES.items():
        if module.startswith(("encord_agents.core.sdk", "encord_agents.local")):
            continue
        found = {t for t in imported(tree) if t.startswith("encord.http") and t != "encord.http.constants"}
        found |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} & private
        assert not found, f"{module} uses {found}"


def test_time_is_injected() -> None:
    """Nothing in the engine sleeps by itself or reads the clock except as a default that a test can replace."""
    for module, tree in TREES.items():
        if not module.startswith("encord_agents.tasks.engine"):
            continue
        calls = [
            ast.unparse(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("time.")
        ]
        assert not calls, f"{module} calls {calls}"


def test_no_module_without_a_name() -> None:
    """A name that does not say what it holds collects what has no home. Three are kept for names that code imports."""
    vague = {m for m in MODULES if m.rsplit(".", 1)[-1] in ("utils", "common", "helpers", "misc")}
    assert vague <= {"encord_agents.core.utils", "encord_agents.fastapi.utils", "encord_agents.utils"}
