"""One delivery of a message: what is called, what is counted, and what goes back to the broker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.exceptions import Reject, Retry

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery import BrokerError, delivery, register
from encord_agents.integrations.celery.adapter import Registration, adapter_of
from encord_agents.integrations.celery.at_work import Found
from encord_agents.integrations.celery.delivery import AgentTasksFailed, Delivery
from encord_agents.integrations.celery.message import Batch, read
from encord_agents.integrations.celery.timing import Timing
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult, TaskResult

numbers = itertools.count()


def spec(number: int) -> dict[str, Any]:
    return {"uuid": str(UUID(int=number)), "data_hash": str(UUID(int=100 + number)), "data_title": f"task {number}"}


def result(number: int, outcome: str = "moved", **more: Any) -> TaskResult:
    return TaskResult(task_uuid=UUID(int=number), data_title=f"task {number}", outcome=outcome, **more)  # type: ignore[arg-type]


@dataclass
class Bound:
    """Stands for the bound Celery task: it notes what is sent."""

    retries: int = 0
    redelivered: bool = False
    broken: bool = False
    acks_late: bool = True
    eager: bool = False
    refusal: Exception = field(default_factory=lambda: OSError("the broker is away"))
    sent: list[dict[str, Any]] = field(default_factory=list)

    @property
    def request(self) -> Any:
        info = {"redelivered": self.redelivered}
        return SimpleNamespace(retries=self.retries, delivery_info=info, is_eager=self.eager)

    def apply_async(self, **message: Any) -> None:
        if self.broken:
            raise self.refusal
        self.sent.append(message)

    def signature_from_request(self, _: Any, **message: Any) -> Any:
        return SimpleNamespace(apply_async=lambda: self.apply_async(**message))

    def retry(self, *, exc: Exception, **message: Any) -> Exception:
        if self.broken:
            raise Reject(self.refusal)
        self.sent.append(message)
        return Retry("again", exc)


@dataclass
class Line:
    """An app with an agent whose answers the test gives."""

    registration: Registration
    queue: str
    answer: Callable[[Sequence[dict[str, Any]], bool], list[TaskResult]] = lambda specs, _: [
        result(UUID(one["uuid"]).int) for one in specs
    ]
    calls: list[tuple[list[int], bool]] = field(default_factory=list)
    bound: Bound = field(default_factory=Bound)

    branch_name = None
    stage = "Pre-label"

    def __call__(self, specs: Sequence[dict[str, Any]], *, final: bool) -> str:
        """Answer in place of the queue function."""
        self.calls.append(([UUID(one["uuid"]).int for one in specs], final))
        return TaskCompletionResult.of(self.answer(specs, final), UUID(int=9)).model_dump_json()

    def deliver(self, *specs: Any, **more: Any) -> dict[str, int]:
        return Delivery(self.registration, self.queue, self.bound, *read(list(specs), more)).run()

    @property
    def again(self) -> Batch:
        """The batch of the last message that was sent."""
        message = self.bound.sent[-1]["kwargs"]
        return read(message["specs"], message)[0]

    @property
    def counts(self) -> dict[str, int]:
        return self.registration.adapter.in_flight.counts(self.queue)

    @property
    def marked(self) -> tuple[set[str], set[str]]:
        return self.registration.adapter.in_flight.marked(self.queue)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    runner = QueueRunner(UUID(int=1))
    runner.stage("Pre-label")(lambda: "complete")
    app = Celery(f"delivery-{next(numbers)}", broker="memory://", set_as_current=False)
    register(runner, app, max_retries=2)
    adapter = adapter_of(app)
    adapter.timing = Timing(longest_sleep=0.0)
    (registration,) = adapter.registrations
    (queue,) = registration.functions
    found = Line(registration, queue)
    registration.functions[queue] = found  # type: ignore[assignment]
    monkeypatch.setattr(delivery, "_refused", 0)
    yield found
    app.close()


def test_a_batch_that_goes_well(line: Line) -> None:
    """It is one call, its outcomes are counted, and nothing stays marked or held."""
    line.answer = lambda *_: [result(1), result(2, "held"), result(3, "skipped")]
    line.registration.adapter.in_flight.claim(line.queue, [spec(1)["uuid"]], 60.0)
    counts = {"moved": 1, "held": 1, "skipped": 1}
    assert line.deliver(spec(1), spec(2), spec(3)) == counts
    assert line.counts == counts
    assert line.calls == [([1, 2, 3], False)]
    assert line.marked == (set(), set())
    assert line.deliver(spec(1)), "it is not held any more"


def test_failures_are_told_apart(line: Line) -> None:
    """Failures that may pass are retried, and only they; the others are counted and named at the end."""
    line.answer = lambda *_: [
        result(1),
        result(2, "failed", phase="agent", error="ValueError: bad\nmore", retryable=True, retry_after=500.0),
        result(3, "failed", phase="save", error="refused"),
    ]
    with pytest.raises(Retry):
        line.deliver(spec(1), spec(2), spec(3))
    assert line.again.uuids == [spec(2)["uuid"]]
    assert line.bound.sent[-1]["countdown"] == 500.0, "a service that says when to come back is believed"
    assert line.counts == {"moved": 1, "failed": 1}
    assert line.marked[1] == {spec(3)["uuid"]}

    batch = line.again
    line.bound.retries = 1
    line.answer = lambda *_: [result(2, "failed", phase="agent", error="OSError: worse")]
    with pytest.raises(AgentTasksFailed) as failed:
        line.deliver(*batch.specs, ended=batch.ended, errors=batch.errors, first=batch.first)
    said = str(failed.value)
    assert said.startswith("2 tasks failed for good. The others of the batch: 1 moved.\n")
    assert "task 3 (in save): refused" in said
    assert "task 2 (in agent): OSError: worse (first: ValueError: bad)" in said


def test_the_last_attempt(line: Line) -> None:
    """The agent is told, and nothing is retried."""
    line.bound.retries = 2
    line.answer = lambda *_: [result(1, "failed", phase="agent", error="ValueError", retryable=True)]
    with pytest.raises(AgentTasksFailed):
        line.deliver(spec(1))
    assert line.calls == [([1], True)]
    assert line.bound.sent == []


def test_entries_that_name_no_task(line: Line) -> None:
    """They fail, the others are done."""
    with pytest.raises(AgentTasksFailed, match=r"1 task failed for good\. The others of the batch: 1 moved\."):
        line.deliver(spec(1), "nonsense")
    assert line.counts == {"failed": 1, "moved": 1}


def test_a_set_up_that_is_wrong(line: Line) -> None:
    """All tasks are retried; after the last attempt they are as they were, and polling sends them again."""

    def fail(*_: Any) -> list[TaskResult]:
        raise PrintableError("no key")

    line.answer = fail
    with pytest.raises(Retry):
        line.deliver(spec(1), spec(2))
    assert len(line.again.uuids) == 2
    line.bound.retries = 2
    with pytest.raises(PrintableError, match="no key"):
        line.deliver(spec(1), spec(2))
    assert line.marked == (set(), set())
    assert line.counts == {}


def test_tasks_that_are_at_work(line: Line) -> None:
    """They are looked at again later, in a message that says so; the others are done."""
    at_work = line.registration.adapter.at_work
    assert at_work.begin(line.queue, [spec(1)["uuid"]], redelivered=False, sure=False) == [Found.FREE]
    assert line.deliver(spec(1), spec(2)) == {"moved": 1}
    assert line.calls == [([2], False)]
    assert (line.again.uuids, line.again.sure) == ([spec(1)["uuid"]], True)


@pytest.mark.parametrize("what", ["busy", "lost"])
def test_a_task_that_is_not_tried_now(line: Line, what: str) -> None:
    """Its attempts so far count, and its first error is kept: it fails for good when it would have without that."""
    if what == "busy":
        line.registration.adapter.at_work.begin(line.queue, [spec(1)["uuid"]], redelivered=False, sure=False)
    line.bound.redelivered = what == "lost"
    line.bound.retries = 2
    assert line.deliver(spec(1), first={spec(1)["uuid"]: "ValueError: bad"}) == {}
    assert line.bound.sent[-1]["retries"] == 2
    assert line.again.first == {spec(1)["uuid"]: "ValueError: bad"}


def test_many_retries(line: Line) -> None:
    """However many there were, the next one comes after the longest pause."""
    line.registration.max_retries = 10_000
    line.bound.retries = 5_000
    line.answer = lambda *_: [result(1, "failed", phase="agent", error="ValueError", retryable=True)]
    with pytest.raises(Retry):
        line.deliver(spec(1))
    assert 30 <= line.bound.sent[-1]["countdown"] <= 60


@pytest.mark.parametrize(("retry_delay", "expected"), [(1.0, 1.0), (0.01, 1.0), (0.0, 0.0)])
def test_retries_on_quorum_queues(line: Line, retry_delay: float, expected: float) -> None:
    """They come after a second at least, since Celery refuses to delay a message of a quorum queue by less."""
    line.registration.retry_delay = retry_delay
    app = line.registration.app
    app.conf.update(broker_url="amqp://127.0.0.1", task_default_queue_type="quorum", task_default_exchange_type="topic")
    line.answer = lambda *_: [result(1, "failed", phase="agent", error="ValueError", retryable=True)]
    with pytest.raises(Retry):
        line.deliver(spec(1))
    assert line.bound.sent[-1]["countdown"] == expected


@pytest.mark.parametrize("what", ["retry", "busy", "lost"])
def test_a_message_that_celery_refuses(line: Line, what: str) -> None:
    """It is not returned to the broker: that would begin its batch anew for ever. The next poll can send its tasks."""
    line.bound.broken, line.bound.refusal = True, ValueError("countdown must be a positive number")
    adapter = line.registration.adapter
    adapter.in_flight.claim(line.queue, [spec(1)["uuid"]], 60.0)
    if what == "retry":
        line.answer = lambda *_: [result(1, "failed", phase="agent", error="ValueError: bad", retryable=True)]
    elif what == "busy":
        adapter.at_work.begin(line.queue, [spec(1)["uuid"]], redelivered=False, sure=False)
    line.bound.redelivered = what == "lost"
    with pytest.raises(BrokerError, match="countdown must be a positive number"):
        line.deliver(spec(1))
    assert line.marked == (set(), set())


def test_tasks_that_are_at_work_elsewhere_where_nothing_is_sent(line: Line) -> None:
    """With ``task_always_eager``, a message would be delivered at once, again and again: they are left alone."""
    line.bound.eager = True
    adapter = line.registration.adapter
    adapter.in_flight.claim(line.queue, [spec(1)["uuid"]], 60.0)
    adapter.at_work.begin(line.queue, [spec(1)["uuid"]], redelivered=False, sure=False)
    assert line.deliver(spec(1), spec(2)) == {"moved": 1}
    assert line.bound.sent == []
    assert line.marked == (set(), set())


def test_a_message_that_comes_again(line: Line) -> None:
    """A worker was lost over its tasks: each is sent in a message of its own, so that one takes no other down."""
    line.bound.redelivered = True
    assert line.deliver(spec(1), spec(2)) == {}
    assert [len(message["kwargs"]["specs"]) for message in line.bound.sent] == [1, 1]
    assert line.again.lost == 1
    assert line.calls == []


def test_a_task_that_ends_every_worker(line: Line) -> None:
    """It is given up."""
    line.bound.redelivered = True
    with pytest.raises(AgentTasksFailed, match="its worker was lost 4 times"):
        line.deliver(spec(1), lost=3)
    assert line.bound.sent == []
    assert line.marked[1] == {spec(1)["uuid"]}


@pytest.mark.parametrize("what", ["retry", "busy", "lost"])
def test_a_broker_that_takes_no_message(line: Line, what: str) -> None:
    """The message goes back to it as it is, and nothing stays held."""
    line.bound.broken = True
    at_work = line.registration.adapter.at_work
    if what == "retry":
        line.answer = lambda *_: [result(1, "failed", phase="agent", error="ValueError", retryable=True)]
    elif what == "busy":
        at_work.begin(line.queue, [spec(2)["uuid"]], redelivered=False, sure=False)
    line.bound.redelivered = what == "lost"
    with pytest.raises(Reject) as rejected:
        line.deliver(spec(1), spec(2))
    assert rejected.value.requeue
    assert at_work.begin(line.queue, [spec(1)["uuid"]], redelivered=False, sure=False) == [Found.FREE]


@pytest.mark.parametrize("what", ["retry", "busy", "lost"])
def test_a_broker_that_takes_no_message_and_has_forgotten_this_one(line: Line, what: str) -> None:
    """With ``task_acks_late=False``, it cannot be returned. Its tasks can be sent by the next poll, and nothing stays
    held."""
    line.bound.broken, line.bound.acks_late = True, False
    adapter = line.registration.adapter
    adapter.in_flight.claim(line.queue, [spec(1)["uuid"], spec(2)["uuid"]], 60.0)
    if what == "retry":
        line.answer = lambda *_: [result(1), result(2, "failed", phase="agent", error="ValueError", retryable=True)]
    elif what == "busy":
        adapter.at_work.begin(line.queue, [spec(2)["uuid"]], redelivered=False, sure=False)
    line.bound.redelivered = what == "lost"
    with pytest.raises(BrokerError, match="the broker is away"):
        line.deliver(spec(1), spec(2))
    assert line.marked == (set(), set())
    assert adapter.at_work.begin(line.queue, [spec(1)["uuid"]], redelivered=False, sure=False) == [Found.FREE]


def test_a_store_that_cannot_be_reached(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is sent again, with a growing pause; it costs the tasks no attempt."""

    def fail(*_: Any, **__: Any) -> list[Found]:
        raise OSError("no route to host")

    monkeypatch.setattr(line.registration.adapter.at_work, "begin", fail)
    pauses = []
    for refused in (0, 1, 5, 20):
        with pytest.raises(Retry):
            line.deliver(spec(1), refused=refused)
        pauses.append(line.bound.sent[-1]["countdown"])
        assert (line.bound.sent[-1]["retries"], line.again.refused) == (0, refused + 1)
    assert pauses == [1.0, 2.0, 32.0, 60.0]
    assert line.calls == []


def test_notes_that_cannot_be_taken(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """They undo no work."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    for name in ("extend", "release", "ended"):
        monkeypatch.setattr(line.registration.adapter.in_flight, name, fail)
    assert line.deliver(spec(1)) == {"moved": 1}
