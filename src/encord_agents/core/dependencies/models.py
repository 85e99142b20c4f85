"""What a user writes in a signature to have a parameter supplied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Dependency", "Depends", "Scope"]

Scope = Literal["attempt", "run"]


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """The mark that `Depends` leaves in a signature.

    Attributes:
        function: What supplies the value; ``None`` means the annotated class itself.
        scope: How long the value lives.
    """

    function: Callable[..., Any] | None
    scope: Scope


def Depends(dependency: Callable[..., Any] | None = None, *, scope: Scope = "attempt") -> Any:  # noqa: N802
    """Have a parameter supplied by a function.

    ::

        def load_model(client: EncordUserClient) -> Iterator[Model]:
            with Model.open() as model:
                yield model

        @runner.stage("Pre-label")
        def agent(row: LabelRowV2, model: Annotated[Model, Depends(load_model, scope="run")]) -> str: ...

    ``model: Model = Depends(load_model)`` means the same, and ``Annotated[Model, Depends()]`` calls ``Model`` itself.
    What the function asks for is supplied to it in turn. Within an attempt each function is called once, however often
    it is asked for. A generator function is resumed after the agent: what follows its ``yield`` is the teardown, and
    the agent's exception is raised at the ``yield``.

    Args:
        dependency: A function, which may be a generator, ``async def``, or both; a class; or any other callable.
        scope: ``"attempt"``: made anew for each attempt of each task. ``"run"``: made once, by the first attempt that
            needs it, and torn down after the run; it may need nothing that belongs to a task.

    Returns:
        A mark to leave in the signature. It is typed `Any`, so that it can be the default of a parameter of any type.
    """
    return Dependency(dependency, scope)
