"""Messages that are wrong, stores that refuse, label rows that two messages share: with Celery's broker in memory."""

from __future__ import annotations

import logging
import math
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Reject
from encord.workflow.stages.agent import AgentTask
from redis import exceptions
from redis.exceptions import NoPermissionError
from tests.acceptance.test_celery import Line, working
from tests.brokers import Redis, refusing_redis, until
from tests.ports import free_port
from tests.servers import private_authority, tls_before

from encord_agents.integrations.celery import delivery, enqueue
from encord_agents.integrations.celery.adapter import adapter_of
from encord_agents.integrations.celery.message import Batch
from encord_agents.integrations.celery.store import Seldom
from encord_agents.integrations.celery.timing import Timing
from encord_agents.tasks import QueueRunner

if TYPE_CHECKING:
    from tests.brokers import Broker
    from tests.conftest import World


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """Pre-label is served; nothing waits in it yet."""
    runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=2)
    found = Line(world, runner)
    found.agent(lambda: "complete")
    found.register()
    yield found
    runner.close()


def send(line: Line, **fields: Any) -> None:
    """A message by somebody who has the broker's address."""
    (registration,) = adapter_of(line.app).registrations
    (name,) = registration.functions
    line.app.send_task(name, kwargs=fields)


def spec(line: Line) -> dict[str, Any]:
    """A task that waits in Pre-label."""
    (unit,) = line.world.project.add_placeholders(1, title="good")
    return {"uuid": line.world.task_of(unit), "data_hash": unit, "data_title": "good", "label_branch_name": "main"}


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([{"data_hash": "x"}], "has no valid 'uuid'"),
        ([{"uuid": None}], "has no valid 'uuid'"),
        ([{"uuid": ["a"]}], "has no valid 'uuid'"),
        ([{"uuid": "zz", "data_hash": "yy"}], "has no valid 'uuid'"),
        ("abc", "is of type str"),
        (None, "is of type NoneType"),
        (["x"], "is of type str"),
    ],
)
def test_a_message_that_names_no_task(line: Line, specs: Any, said: str) -> None:
    """It fails once, in phase ``spec``, with the reason; it is counted, and is not delivered again."""
    send(line, specs=specs)
    line.work(1)
    assert (line.done, line.retried) == ([], [])
    (error,) = line.failed
    assert "1 task failed for good." in str(error)
    assert f"(in spec): This is not a task: it {said}" in str(error)
    (registration,) = adapter_of(line.app).registrations
    assert adapter_of(line.app).in_flight.counts(*registration.functions) == {"failed": 1}


def test_a_malformed_task_spares_the_others_of_its_message(line: Line) -> None:
    """The others are done, and the message reports both."""
    send(line, specs=[{"data_hash": "x"}, spec(line), "x"])
    line.work(1)
    assert line.world.titles("Done") == ["good"]
    assert str(line.failed[0]).startswith("2 tasks failed for good. The others of the batch: 1 moved.\n")


@pytest.mark.parametrize("fields", [{"newer": 1}, {"lost": "a"}, {"ended": [1]}, {"first": None, "sure": "x"}])
def test_other_fields_do_not_matter(line: Line, fields: dict[str, Any]) -> None:
    """Fields of a newer version, and malformed ones, are ignored: the tasks are done."""
    send(line, specs=[spec(line)], **fields)
    line.work(1)
    assert line.done == [{"moved": 1}]


def test_a_task_twice_in_a_message(line: Line) -> None:
    """It is done once, and nothing of it stays at work."""
    one = spec(line)
    send(line, specs=[one, {**one, "uuid": one["uuid"].upper()}])
    line.work(1)
    assert line.done == [{"moved": 1}]


def test_a_message_without_tasks(line: Line) -> None:
    """Nothing is to be done, and nothing is asked."""
    send(line, specs=[])
    line.work(1)
    assert line.done == [{}]
    assert line.world.requests() == []


def test_two_messages_about_one_label_row(world: World) -> None:
    """Two threads of a worker: the second message waits as for a busy task, then is done; others are not held up."""
    going: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()
    waited = threading.Event()

    def agent(task: AgentTask) -> str:
        row = str(task.data_hash)
        with lock:
            going[row] += 1
            most[row] = max(most[row], going[row])
        waited.wait(10)
        with lock:
            going[row] -= 1
        return "complete"

    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    line = Line(world, runner)
    line.agent(agent)
    line.register(batch_size=1)
    adapter_of(line.app).timing = Timing(look_again=0.05)
    (unit,) = world.project.add_placeholders(1)
    world.project.add_task(unit)
    assert enqueue(line.app) == 2
    with line.listening(), working(line.app, pool="threads", concurrency=2):
        assert until(lambda: {} in line.done)  # the one that found the row busy, and sent its task on
        waited.set()
        assert until(lambda: line.done.count({"moved": 1}) == 2)
    runner.close()
    assert most == {unit: 1}


REFUSALS: dict[str, tuple[Exception, str]] = {
    "acl": (NoPermissionError("No permissions to access a key"), "ACL SETUSER <user> '~encord-agents:*'"),
    "disk": (exceptions.ResponseError("MISCONF Errors writing to disk"), "make room there"),
    "memory": (exceptions.OutOfMemoryError("command not allowed"), "raise its `maxmemory`"),
    "loading": (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "as after a start: wait"),
    "cluster": (exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served"), "a cluster that is not complete"),
    "password": (exceptions.AuthenticationError("invalid username-password pair"), "correct the address"),
    "clients": (exceptions.ConnectionError("max number of clients reached"), "raise its `maxclients`"),
    "tls": (exceptions.ConnectionError("Error 1: [SSL: WRONG_VERSION_NUMBER]"), "not rediss://"),
    "away": (exceptions.TimeoutError("Timeout reading from socket"), "cannot be reached"),
}


class Refusing:
    """A store whose methods refuse, so many times in all."""

    def __init__(self, store: Any, times: float, error: Exception, methods: str = "begin") -> None:
        self._store = store
        self._error = error
        self._methods = methods.split()
        self.left = times

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> Any:
            self.left -= 1
            raise self._error

        return refuse if name in self._methods and self.left > 0 else getattr(self._store, name)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_store_that_refuses(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The message is delivered again after pauses that grow, with one line in the log; attempts are not spent on it."""
    error, said = REFUSALS[kind]
    pauses: list[int] = []

    class Noted(Timing):
        def pause_after(self, refused: int) -> float:
            pauses.append(refused)
            return 0.01

    monkeypatch.setattr(delivery, "_seldom", Seldom())
    adapter = adapter_of(line.app)
    adapter.timing = Noted()
    in_flight, at_work = adapter.marks
    adapter.marks = in_flight, Refusing(at_work, 6, error)
    line.register(max_retries=0)
    send(line, specs=[spec(line)])
    with caplog.at_level(logging.WARNING):
        line.work(1)
    assert line.done == [{"moved": 1}]
    assert pauses == [0, 1, 2, 3, 4, 5]
    (record,) = [record for record in caplog.records if "cannot see which tasks are at work" in record.message]
    assert said.lower() in record.message.lower()
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_store_that_takes_no_notes(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """What became of tasks cannot be noted, before or after they are done: one line says so, and they are done once."""
    error, said = REFUSALS[kind]
    monkeypatch.setattr(delivery, "_seldom", Seldom())
    adapter = adapter_of(line.app)
    in_flight, at_work = adapter.marks
    adapter.marks = (
        Refusing(in_flight, math.inf, error, "extend release fail ended"),
        Refusing(at_work, math.inf, error, "forget_lost count_lost"),
    )
    send(line, specs=[spec(line)])
    with caplog.at_level(logging.WARNING):
        line.work(1)
    assert (line.done, line.failed, line.retried) == ([{"moved": 1}], [], [])
    (record,) = [record for record in caplog.records if "could not record the outcome" in record.message]
    assert said.lower() in record.message.lower()


def test_a_broker_that_takes_no_message(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a retry cannot be sent, the message is returned to the broker after a growing, bounded sleep."""
    slept: list[float] = []
    monkeypatch.setattr(delivery.time, "sleep", slept.append)
    monkeypatch.setattr(delivery, "_refused", 0)
    line.app.finalize()
    (registration,) = adapter_of(line.app).registrations
    ((queue, _),) = registration.functions.items()
    task = line.app.tasks[queue]

    def refuse(*_: Any, **__: Any) -> None:
        raise NoPermissionError("No permissions to access a key")

    monkeypatch.setattr(type(task), "apply_async", refuse)
    for _ in range(6):
        found = delivery.Delivery(registration, queue, task, Batch([]))
        with pytest.raises(Reject) as rejected:
            found._publish(Batch([spec(line)]))
        assert rejected.value.requeue
    assert slept == [1, 2, 4, 8, 10, 10]


# The command

AGENTS = """
import os
from celery import Celery
from encord_agents.integrations.celery import register
from encord_agents.integrations.celery.adapter import adapter_of
from encord_agents.integrations.celery.timing import Limits, Timing
from encord_agents.tasks import QueueRunner

runner = QueueRunner(os.environ["PROJECT"])

@runner.stage("Pre-label")
def pre_label() -> str:
    return "complete"

app = Celery("agents", broker=os.environ["BROKER"])
app.conf.broker_transport_options = {"max_retries": 0}
register(runner, app)
adapter_of(app).limits, adapter_of(app).timing = Limits(redis_tries=0), Timing(redis=float(os.environ["REDIS_SECONDS"]))
"""
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``encord-agents celery ...`` with some broker, and the seconds that a Redis has to answer: its exit code, and all
    that it prints."""
    from encord_agents.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PROJECT", world.project.project_hash)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    world.project.add_placeholders(1)

    def run(word: str, broker: str, seconds: float = 60.0) -> tuple[int, str]:
        module = f"told_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(AGENTS, encoding="utf-8")
        monkeypatch.setenv("BROKER", broker)
        monkeypatch.setenv("REDIS_SECONDS", str(seconds))
        monkeypatch.setattr(sys, "argv", ["encord-agents", "celery", word, f"{module}:app"])
        try:
            with pytest.raises(SystemExit) as exit_:
                main.main()
        finally:
            if module in sys.modules:
                sys.modules.pop(module).runner.close()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out + printed.err

    return run


@pytest.fixture
def limited(redis_server: Broker) -> Iterator[Callable[..., str]]:
    """The address of Redis for a user with some rights."""
    import redis

    redis_server.clear()
    with redis.Redis.from_url(redis_server.url) as client:

        def address(*rights: str) -> str:
            client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", "&*", "+@all", *rights)
            return redis_server.url.replace("://", "://limited:secret@")

        yield address
        client.execute_command("ACL", "DELUSER", "limited")
        redis_server.clear()


@pytest.mark.parametrize("word", ["enqueue", "status"])
def test_a_user_without_rights(command: Command, limited: Callable[..., str], word: str) -> None:
    """Exit code 2, and the command that gives them; neither a traceback nor the password."""
    code, printed = command(word, limited("~celery*", "~_kombu*", "~unacked*"))
    assert code == 2
    assert printed.startswith("Error: The broker refuses: NoPermissionError")
    assert "ACL SETUSER <user> '~encord-agents:*' +evalsha" in printed
    assert "Traceback" not in printed
    assert "secret" not in printed


@pytest.mark.parametrize("word", ["enqueue", "status"])
def test_a_key_of_somebody_else(command: Command, redis_server: Broker, world: World, word: str) -> None:
    """Exit code 2, and what to delete."""
    import redis

    redis_server.clear()
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"encord-agents:encord_agents.{world.project.project_hash}.stage.Pre-label:in-flight", "x")
    code, printed = command(word, redis_server.url)
    redis_server.clear()
    assert code == 2
    assert "begins with `encord-agents:`: delete that key" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("word", ["enqueue", "status"])
def test_a_redis_that_is_not_there(command: Command, word: str) -> None:
    """Exit code 1: nothing is to be corrected, perhaps, only to be waited for."""
    code, printed = command(word, f"redis://127.0.0.1:{free_port()}/0")
    assert code == 1
    assert "Error: The broker cannot be reached: ConnectionError" in printed
    assert "Traceback" not in printed


def test_a_memory_that_is_full(command: Command, redis_server: Broker) -> None:
    """Exit code 2, and what gives room; the tasks stay where they are."""
    import redis

    redis_server.clear()
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory", "1")
        try:
            code, printed = command("enqueue", redis_server.url)
        finally:
            client.config_set("maxmemory", "0")
    assert code == 2
    assert "raise its `maxmemory`" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("word", ["enqueue", "status"])
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            "MISCONF Redis is configured to save RDB snapshots, but cannot persist",
            2,
            "make room there",
        ),
        ("LOADING Redis is loading the dataset in memory", 1, "as after a start: wait"),
        ("CLUSTERDOWN The cluster is down", 1, "a cluster that is not complete"),
        ("MOVED 3999 127.0.0.1:6381", 2, "name a single Redis"),
        ("MASTERDOWN Link with MASTER is down", 1, "name the master"),
        ("ERR max number of clients reached", 1, "Raise its `maxclients`"),
        ("WRONGPASS invalid username-password pair or user is disabled.", 2, "correct the address"),
        ("NOAUTH Authentication required.", 2, "correct the address"),
    ],
    ids=lambda value: str(value).partition(" ")[0],
)
def test_answers_of_redis(command: Command, word: str, answer: str, code: int, said: str) -> None:
    """Each with its remedy, and exit code 1 where it is enough to wait."""
    with refusing_redis(answer) as broker:
        ended, printed = command(word, broker)
    assert ended == code, printed
    assert printed.startswith("Error: The broker ")
    assert said in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("word", ["enqueue", "status"])
def test_tls_where_there_is_none(command: Command, redis_server: Broker, word: str) -> None:
    """Exit code 1, since a Redis that waits for a command says nothing to a handshake; and what it may be."""
    code, printed = command(
        word, redis_server.url.replace("redis://", "rediss://") + "?ssl_cert_reqs=CERT_NONE", seconds=2.0
    )
    assert code == 1, printed
    assert "If its address begins with rediss://, it must speak TLS." in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("word", ["enqueue", "status"])
@pytest.mark.parametrize(
    ("broker", "said"),
    [
        ("reddis://:secret@127.0.0.1:1", "No such transport: reddis. Did you mean redis?"),
        ("mongodb://127.0.0.1:1", "No module named 'pymongo' (in kombu.transport.mongodb)"),
        ("redis://:sec/ret@127.0.0.1:1/0", "Its port must be a number"),
    ],
)
def test_an_address_that_celery_cannot_use(command: Command, word: str, broker: str, said: str) -> None:
    """Exit code 2, and what to correct or to install; no part of the password."""
    code, printed = command(word, broker)
    assert code == 2, printed
    assert printed.startswith("Error: Celery cannot ")
    assert said in printed
    assert "Traceback" not in printed
    assert "sec" not in printed


@pytest.mark.parametrize("word", ["enqueue", "status"])
def test_no_tls_where_it_is_wanted(command: Command, tmp_path: Path, word: str) -> None:
    """Exit code 1, since whoever closes a connection says no reason; and how the address might begin."""
    context, _ = private_authority(tmp_path)
    with tls_before("http://127.0.0.1:1", context) as front:
        code, printed = command(word, f"redis://127.0.0.1:{front.rpartition(':')[2]}/0")
    assert code == 1, printed
    assert "must begin with rediss://" in printed
    assert "Traceback" not in printed


def test_a_disk_that_is_full(command: Command, tmp_path: Path, world: World) -> None:
    """A Redis that could not save takes no task: none is lost, and all are sent when it can."""
    import redis

    folder = tmp_path / "redis"
    folder.mkdir()
    broker = Redis(folder)
    broker.start()
    try:
        with redis.Redis.from_url(broker.url, decode_responses=True) as client:
            client.ping()  # it has looked for what it saved
            (folder / "dump.rdb" / "in the way").mkdir(parents=True)
            client.bgsave()
            assert until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
            code, printed = command("enqueue", broker.url)
            assert code == 2
            assert "It cannot save to its disk" in printed
            assert world.count("Pre-label") == 1
            shutil.rmtree(folder / "dump.rdb")
            client.bgsave()
            assert until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")
            _, printed = command("enqueue", broker.url)
            assert "1 task sent." in printed
    finally:
        broker.stop()
