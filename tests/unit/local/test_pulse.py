"""The runs of clients, counted from their requests."""

from __future__ import annotations

from encord_agents.local.pulse import MOST_RUNS, PAUSE, Latencies, Pulse


def test_a_run_is_a_client_without_a_long_pause() -> None:
    """Requests of one client belong together until it pauses; each client has its own run."""
    pulse = Pulse()
    for at in (0.0, 1.0, 1.5, 2.0):
        pulse.add("a", "save", 200, 2, at, 0.01)
    pulse.add("b", "tasks", 503, 0, 2.0, 0.01)
    pulse.add("a", "save", 0, 0, 2.0 + PAUSE, 0.01)
    pulse.add("a", "save", 200, 1, 3.0 + 2 * PAUSE, 0.01)
    later, b, first = pulse.runs()[0], *sorted(pulse.runs()[1:], key=lambda run: run.requests)
    assert (later.requests, first.requests, b.requests) == (1, 5, 1)
    assert first.items["save"] == 8
    assert dict(first.errors) == {0: 1}
    assert dict(b.errors) == {503: 1}


def test_requests_a_second() -> None:
    """The rate is that of the latest full seconds; the second that is not over yet does not count."""
    pulse = Pulse()
    for second in range(10):
        for _ in range(4):
            pulse.add("a", "save", 200, 1, second + 0.5, 0.0)
    pulse.add("a", "save", 200, 1, 10.1, 0.0)
    (run,) = pulse.runs()
    assert run.per_second(10.2) == 4.0
    assert run.series(10.2, 12) == [0, 0, *[4] * 10]
    assert run.per_second(1000.0) == 0.0


def test_the_oldest_runs_are_forgotten() -> None:
    """As many runs are kept as can be looked at."""
    pulse = Pulse()
    for number in range(MOST_RUNS + 10):
        pulse.add(f"client {number}", "save", 200, 1, float(number), 0.0)
    assert [run.client for run in pulse.runs()] == [f"client {n}" for n in range(MOST_RUNS + 9, 9, -1)]
    pulse.add("client 0", "save", 200, 1, 100.0, 0.0)
    assert pulse.runs()[0].requests == 1


def test_quantiles() -> None:
    """A quantile is rounded up to the next step of 30 %; where nothing was measured it is nought."""
    latencies = Latencies()
    assert latencies.quantile(0.5) == 0.0
    for _ in range(90):
        latencies.add(0.010)
    for _ in range(10):
        latencies.add(1.0)
    assert 0.010 <= latencies.quantile(0.5) <= 0.013
    assert 1.0 <= latencies.quantile(0.95) <= 1.3
    latencies.add(1e9)
    assert latencies.quantile(1.0) > 100
