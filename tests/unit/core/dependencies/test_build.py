from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Optional, Protocol
from unittest.mock import Mock

import pytest

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.build import build_plan, kind_of
from encord_agents.core.dependencies.plan import Kind, Plan
from encord_agents.exceptions import DependencyError


class Row: ...


class Task: ...


class Client: ...


class SubRow(Row): ...


def run_scoped(made: Plan) -> set[Any]:
    return {step.function for step in made.steps if step.scope == "run"}


def plan(function: Callable[..., Any], **options: Any) -> Plan:
    return build_plan(function, injectable=(Row, Task, Client), run_injectable=(Client,), **options)


def refusal(function: Callable[..., Any], **options: Any) -> DependencyError:
    with pytest.raises(DependencyError) as caught:
        plan(function, **options)
    return caught.value


def of_row(row: Row) -> int:
    return 1


def of_task(task: Task | None, n: int = Depends(of_row)) -> int:
    return n


def client_holder(client: Client) -> str:
    return "held"


def test_needs_are_collected_from_the_whole_graph() -> None:
    """What an agent needs is what it and everything below it ask for by type."""

    def agent(a: Annotated[int, Depends(of_row)], b: Annotated[int, Depends(of_task)]) -> str:
        return ""

    made = plan(agent)
    assert made.needs == {Row, Task}
    assert made.optional == {Task}
    assert made.dependencies == {of_row, of_task}
    assert made.name == "agent"
    assert made.returns is str
    assert [step.function for step in made.steps] == [of_row, of_task]


def test_a_type_that_somebody_insists_on_is_not_optional() -> None:
    """`X | None` here and `X` there means that X is needed."""

    def agent(a: Optional[Row], b: Annotated[int, Depends(of_row)]) -> None: ...  # noqa: UP045

    assert plan(agent).optional == set()


def test_run_needs_are_kept_apart() -> None:
    """What only run-scoped dependencies ask for is no need of an attempt."""

    def agent(row: Row, held: Annotated[str, Depends(client_holder, scope="run")]) -> None: ...

    made = plan(agent)
    assert (made.needs, made.run_needs, run_scoped(made)) == ({Row}, {Client}, {client_holder})


def test_an_injectable_type_with_a_default_is_injected_and_optional() -> None:
    """`asset: Asset | None = None` works by hand, and is supplied in a run."""

    def agent(row: Row | None = None, count: int = 3) -> None: ...

    made = plan(agent)
    assert made.needs == made.optional == {Row}
    assert [name for name, _ in made.call.keyword] == ["row"]


def test_star_arguments_are_left_alone() -> None:
    """*args and **kwargs stay empty."""

    def agent(row: Row, *args: int, **kwargs: int) -> None: ...

    assert plan(agent).needs == {Row}


def test_names_of_the_enclosing_function_are_found() -> None:
    """Postponed annotations may name what is local to the function around the agent."""

    class Local: ...

    def make(row: Row) -> Local:
        return Local()

    def agent(thing: Annotated[Local, Depends(make)]) -> Local:
        return thing

    made = plan(agent)
    assert made.dependencies == {make}
    assert made.returns is Local


def test_an_annotation_that_cannot_be_resolved_spoils_no_other() -> None:
    """With a default it is left alone; the other parameters are supplied."""

    def agent(row: Row, other: Nowhere = 3) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821

    made = plan(agent)
    assert made.needs == {Row}
    assert made.returns is None


def test_an_unresolvable_annotation_is_refused_where_it_matters() -> None:
    """Without a default, the error names function, parameter and annotation."""

    def agent(other: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    error = refusal(agent)
    assert error.parameter == "other"
    assert "agent()" in str(error)
    assert "'Nowhere' cannot be resolved" in str(error)


@pytest.mark.parametrize("annotation", ["Row | None", "elsewhere.Row", "Annotated[Nowhere, Depends(of_row)]"])
def test_a_default_does_not_hide_a_missing_import(annotation: str) -> None:
    """An unresolvable annotation that names something to inject is refused, or every task would get the default.

    An import below ``if TYPE_CHECKING:`` is enough for it, and some linters put imports there.
    """
    names: dict[str, Any] = {"Depends": Depends}

    exec(f"def agent(row: {annotation!r} = None): ...\ndef holder(row: {annotation!r} = None): ...", names)

    def through(held: Any = Depends(names["holder"])) -> None: ...

    for function in (names["agent"], through):
        error = refusal(function)
        assert error.parameter == "row"
        assert "cannot be resolved" in str(error)
    plan(functools.partial(names["agent"], row=Row()))


def test_a_refusal_says_what_to_write() -> None:
    """The message lists the injectable types, Depends and a default, and by what way the parameter is needed."""

    def inner(cleint: Clien) -> None: ...

    def agent(x: Annotated[None, Depends(inner)]) -> None: ...

    error = refusal(agent)
    text = str(error)
    assert (error.function, error.parameter) == ("inner", "cleint")
    for part in (
        "Client, Row, Task",
        "Annotated[T, Depends(function)]",
        "= value",
        "way of inner()",
        "cleint: Client?",
    ):
        assert part in text


class Clien: ...


def test_subclasses_and_wider_unions_are_not_matched() -> None:
    """A type is matched exactly."""

    def sub(row: SubRow) -> None: ...

    def union(row: Row | Task) -> None: ...

    def bare(row) -> None: ...  # type: ignore[no-untyped-def]

    assert "SubRow" in str(refusal(sub))
    assert "Row | " in str(refusal(union))
    assert "has no annotation" in str(refusal(bare))


def test_circles_are_refused() -> None:
    """Dependencies in a circle are named in order."""

    def first(x: int) -> int:
        return x

    def second(x: int = Depends(first)) -> int:
        return x

    first.__defaults__ = (Depends(second),)

    def agent(x: int = Depends(first)) -> None: ...

    assert "first() -> second() -> first()" in str(refusal(agent))


def test_generator_agents_are_refused() -> None:
    """An agent has one result."""

    def agent(row: Row) -> Iterator[str]:
        yield ""

    async def async_agent(row: Row) -> AsyncIterator[str]:
        yield ""

    assert "is a generator" in str(refusal(agent))
    assert "is a generator" in str(refusal(async_agent))
    assert "is a generator" in str(refusal(functools.partial(agent)))


def test_run_scope_may_need_nothing_of_a_task() -> None:
    """A run-scoped dependency that asks for a task's type, or for an attempt's dependency, is refused."""

    def wants_row(row: Row) -> None: ...

    def wants_attempt(held: Annotated[str, Depends(client_holder)]) -> None: ...

    def wants_run(held: Annotated[str, Depends(client_holder, scope="run")]) -> None: ...

    def agent(x: Any) -> None: ...

    def depending_on(function: Callable[..., Any]) -> Callable[..., Any]:
        def agent(x: Any = Depends(function, scope="run")) -> None: ...

        return agent

    assert "belongs to a single task" in str(refusal(depending_on(wants_row)))
    assert 'Depends(client_holder, scope="run")' in str(refusal(depending_on(wants_attempt)))
    assert run_scoped(plan(depending_on(wants_run))) == {wants_run, client_holder}


def test_wrong_marks_are_refused() -> None:
    """Depends without parentheses, of a value, of no class, twice, with an unknown scope: each says what to write."""

    def no_parentheses(x: int = Depends) -> None: ...  # type: ignore[assignment]

    def called(x: int = Depends(of_row(Row()))) -> None: ...  # type: ignore[arg-type]

    def no_class(x=Depends()) -> None: ...  # type: ignore[no-untyped-def]

    def twice(x: Annotated[int, Depends(of_row)] = Depends(of_row)) -> None: ...

    def scope(x: int = Depends(of_row, scope="task")) -> None: ...  # type: ignore[arg-type]

    def lost(x: Annotated[Nowhere, Depends()]) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert "without parentheses" in str(refusal(no_parentheses))
    assert "got 1" in str(refusal(called))
    assert "got nothing" in str(refusal(no_class))
    assert "more than one" in str(refusal(twice))
    assert "scope='task'" in str(refusal(scope))
    assert "cannot be resolved" in str(refusal(lost))


class Predictor(Protocol):
    def predict(self) -> str: ...


class Detector(ABC):
    @abstractmethod
    def detect(self) -> str: ...


class Chosen(Detector):
    """Its call makes an instance of another class."""

    def __new__(cls) -> Any:
        return 7


class Found:
    def predict(self) -> str:
        return "found"


@pytest.mark.parametrize("abstract", [Predictor, Detector])
def test_abstract_classes_are_refused(abstract: Any) -> None:
    """There are no instances of them: each task would fail."""

    def agent(model: Annotated[Any, Depends(abstract)]) -> None: ...

    error = refusal(agent)
    assert error.parameter == "model"
    assert f"calls {abstract.__name__}, which is abstract" in str(error)
    assert plan(agent, overrides={abstract: Found}).dependencies == {Found}


def test_an_abstract_class_whose_call_makes_something_else() -> None:
    """That may work."""

    def agent(model: Annotated[Any, Depends(Chosen)]) -> None: ...

    assert plan(agent).dependencies == {Chosen}


def test_a_mock_of_a_function_is_refused() -> None:
    """It claims to be a function, but cannot be read as one."""
    assert str(refusal(Mock(spec=of_row))).startswith("The parameters of Mock() cannot be read")


def test_a_callable_without_a_signature_is_refused() -> None:
    """Some built-ins do not tell their parameters; the error says to wrap them."""

    def agent(x: Any = Depends(dict)) -> None: ...

    assert "dict()" in str(refusal(agent))


def test_overrides_replace_a_dependency_wherever_it_appears() -> None:
    """What the replaced one needed is not needed any more."""

    def fake() -> int:
        return 2

    def agent(a: int = Depends(of_task), b: int = Depends(of_row)) -> None: ...

    made = plan(agent, overrides={of_row: fake})
    assert made.dependencies == {of_task, fake}
    assert made.needs == {Task}


def test_overrides_after_the_enclosing_function_has_returned() -> None:
    """Signatures are read where the agent is defined: later, a name that only an annotation uses is gone."""

    def define() -> tuple[Plan, Callable[..., Any]]:
        class Local: ...

        def load() -> Local: ...  # type: ignore[empty-body]

        def agent(row: Row, local: Annotated[Local, Depends(load)]) -> Local: ...  # type: ignore[empty-body]

        return plan(agent), load

    made, load = define()
    again = plan(made.function, overrides={load: of_task}, signatures=made.signatures)
    assert again.dependencies == {of_task, of_row}
    assert again.returns is made.returns is not None


def test_an_unhashable_callable_is_a_dependency_too() -> None:
    """An instance of a plain dataclass with __call__ is shared by identity."""

    @dataclass
    class Maker:
        n: int

        def __call__(self, row: Row) -> int:
            return self.n

    maker = Maker(1)

    def agent(a: int = Depends(maker), b: int = Depends(maker)) -> None: ...

    assert len(plan(agent).steps) == 1


def test_async_is_known() -> None:
    """`is_async` is the agent's, `has_async` the graph's."""

    async def load() -> int:
        return 1

    def sync_agent(x: int = Depends(load)) -> None: ...

    async def async_agent() -> str:
        return ""

    assert (plan(sync_agent).is_async, plan(sync_agent).has_async) == (False, True)
    assert (plan(async_agent).is_async, plan(async_agent).has_async) == (True, True)
    assert plan(async_agent).returns is str


def test_kinds_of_callables() -> None:
    """Partials, callable objects, classes and decorated functions are seen for what a call of them gives."""

    def generate() -> Iterator[int]:
        yield 1

    async def generate_async() -> AsyncIterator[int]:
        yield 1

    class Callable_:  # noqa: N801
        def __call__(self) -> Iterator[int]:
            yield 1

    class Timed:
        def __init__(self, function: Callable[..., Any]) -> None:
            functools.update_wrapper(self, function)

        def __call__(self, *args: Any) -> Any: ...

    assert kind_of(of_row) is Kind.VALUE
    assert kind_of(Row) is Kind.VALUE
    assert kind_of(functools.partial(generate)) is Kind.GENERATOR
    assert kind_of(Callable_()) is Kind.GENERATOR
    assert kind_of(Timed(generate)) is Kind.GENERATOR
    assert kind_of(Timed(generate_async)) is Kind.ASYNC_GENERATOR
    assert kind_of(contextlib.contextmanager(generate)) is Kind.GENERATOR
    assert kind_of(contextlib.asynccontextmanager(generate_async)) is Kind.ASYNC_GENERATOR
    assert kind_of(generate_async) is Kind.ASYNC_GENERATOR


def test_a_partials_own_keywords_are_kept() -> None:
    """A keyword that a partial binds is a default, even where its type could be injected."""

    def agent(row: Row, task: Task) -> None: ...

    assert plan(functools.partial(agent, task=Task())).needs == {Row}


def test_depends_leaves_a_mark() -> None:
    """Depends is typed Any; at run time it is an instance that tells its function and its scope."""
    mark = Depends(of_row, scope="run")
    assert isinstance(mark, Depends)
    assert (mark.dependency, mark.scope, repr(mark)) == (of_row, "run", "Depends(of_row)")
    assert (Depends().dependency, repr(Depends())) == (None, "Depends()")
