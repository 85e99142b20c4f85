"""`Depends`, which marks a parameter in a signature as supplied by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from encord_agents.core.dependencies.signature import readable_name

__all__ = ["Depends", "Scope"]

Scope = Literal["attempt", "run"]


class Depends:
    """Marks a parameter as supplied by a function.

    ::

        def load_model(client: EncordUserClient) -> Iterator[Model]:
            with Model.open() as model:
                yield model

        @runner.stage("Pre-label")
        def agent(row: LabelRowV2, model: Annotated[Model, Depends(load_model, scope="run")]) -> str: ...

    ``model: Model = Depends(load_model)`` means the same, and ``Annotated[Model, Depends()]`` calls ``Model`` itself.
    The function's own parameters are supplied in the same way. Within an attempt each function is called once, however
    often it is asked for. A generator function is resumed after the agent: the code after its ``yield`` is the
    teardown, and the agent's exception is raised at the ``yield``.

    Args:
        dependency: A function, which may be a generator, ``async def``, or both; a class; or any other callable.
        scope: ``"attempt"``: a new value for each attempt of each task. ``"run"``: one value for the run, made by the
            first attempt that needs it and torn down after the run; it must not need anything that belongs to a task.

    Attributes:
        dependency: The callable that supplies the value; ``None`` means the annotated class itself.
        scope: The lifetime of the value.
    """

    dependency: Callable[..., Any] | None
    scope: Scope

    # Typed `Any`, so that the mark can be the default of a parameter of any type.
    def __new__(cls, dependency: Callable[..., Any] | None = None, *, scope: Scope = "attempt") -> Any:
        mark = super().__new__(cls)
        mark.dependency = dependency
        mark.scope = scope
        return mark

    def __repr__(self) -> str:
        name = "" if self.dependency is None else readable_name(self.dependency)
        return f"Depends({name})"
