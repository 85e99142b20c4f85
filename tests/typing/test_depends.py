"""How Depends is written, for mypy: nothing here needs a cast or an ignore."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from encord_agents.core.dependencies import Depends


class Model:
    def predict(self) -> str:
        return ""


def load() -> Model:
    return Model()


def open_model() -> Iterator[Model]:
    yield Model()


async def fetch() -> Model:
    return Model()


async def stream() -> AsyncIterator[Model]:
    yield Model()


def agent(
    in_annotation: Annotated[Model, Depends(load)],
    of_generator: Annotated[Model, Depends(open_model, scope="run")],
    of_class: Annotated[Model, Depends()],
    as_default: Model = Depends(load),
    generator: Model = Depends(open_model),
    awaited: Model = Depends(fetch),
    streamed: Model = Depends(stream, scope="run"),
) -> str:
    models = [in_annotation, of_generator, of_class, as_default, generator, awaited, streamed]
    return "".join(model.predict() for model in models)


def test_a_marked_parameter_has_the_annotated_type() -> None:
    """By hand, a function with Depends in its signature is called as any other."""
    model = Model()
    assert agent(model, model, model, model, model, model, model) == ""
