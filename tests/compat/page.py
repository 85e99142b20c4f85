"""docs/migrating.md, generated: ``python -m tests.compat.page`` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.compat.differences import BEHAVIOUR, NAMES_LEFT_OUT, OURS
from tests.compat.programs import SHAPED

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"

BEFORE = """\
# Coming from encord-agents 0.2.10

<!-- Written by `python -m tests.compat.page`, from tests/compat/differences.py. -->

Agents for 0.2.10 run unchanged: import paths and signatures are kept, and this page lists every deliberate difference.

This version is not on a package registry, where `encord-agents` is 0.2.10. Install it from a checkout:

```console
$ pip install '.[compat]'
```

The `compat` extra brings what 0.2.10 brought, OpenCV among it. If no agent imports `cv2`, `[vision]` is enough.

A subclass of `Runner` may override `_validate_project(project)`, as before. It is called when the runner is made, with
`None` if that is without a project, and once for each call. With both `ENCORD_SSH_KEY` and `ENCORD_SSH_KEY_FILE` in the
environment the first wins, and there is a `UserWarning`.

## What differs

| difference | reason |
|---|---|
"""
NAMES = """
## Names that are not there

| module | names | reason |
|---|---|---|
"""
AFTER = """
## How this is held

`tests/compat` lists the names of 0.2.10, and runs small programs whose results with 0.2.10 are recorded: their
exit codes, their output, and the stages, priorities and labels that they leave. `nox -s compat` installs 0.2.10 and
records them anew. Among them are the shapes of its public programs:

| program | beside 0.2.10 |
|---|---|
"""


def page() -> str:
    """The page's text."""
    differences = "".join(f"| {what} | {why} |\n" for what, why in BEHAVIOUR.values())
    names = ""
    for module, (left_out, why) in sorted(NAMES_LEFT_OUT.items()):
        listed = "all" if left_out == ("*",) else ", ".join(f"`{name}`" for name in left_out)
        names += f"| `{module}` | {listed} | {why} |\n"
    programs = ""
    for name in SHAPED:
        result = BEHAVIOUR[OURS[name][0]][0] if name in OURS else "the same"
        programs += f"| {name} | {result} |\n"
    return BEFORE + differences + NAMES + names + AFTER + programs


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
