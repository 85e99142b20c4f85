"""The engine's settings: durations in `Timing`, counts and sizes in `Limits`.

Both are frozen. A runner holds them, its gate carries them, and everything in the engine reads them from the gate.
Tests use other values; users have no reason to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from encord_agents.core.downloads import DownloadLimits

__all__ = ["Limits", "Timing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations, all in seconds.

    Attributes:
        first_backoff: The wait before the first retry of an unanswered request; doubles with each try.
        longest_backoff: The longest wait before a retry.
        own_trouble_after: For how long a request is retried if it fails while others of its kind succeed.
        longest_retry_after: For how long one storage host's ``Retry-After`` is obeyed; then the host is asked again.
        long_wait: The shortest wait that is worth a warning.
        gather: How long a finished result waits for others to be written with.
        hold_moves: How long a move waits, at most, while the stage is read again; and the pause between such readings.
        time_to_write: How long writing may go on once the run is stopping.
        grace: How long a read may go on once the run is stopping and everything finished is written.
        stale_after: The age after which the platform is asked again whether a task is still in its stage.
        load_ahead: The work that may be loaded and wait: so little that no task becomes stale while it waits, even if
            its move is held.
        slow_file: How long agents wait for the file of the next task before tasks whose files are here overtake it.
        same_edit: By how much two timestamps of one edit may differ: the platform gives fractions of a second in one
            place, and whole seconds in another.
        fast_attempt: The longest attempt of a fast agent, whose tasks are loaded and written in larger chunks.
        slow_attempt: The shortest attempt with which nothing is gained by handing tasks to workers before they are
            free.
        handed_over: The work that is handed to workers ahead, so that no worker waits for the next task.
        waiting_attempt: The shortest attempt in which an agent probably waits for something.
        stands_still: How long no task may come or go before the stage counts as waiting for one of them.
        first_quiet: The pause before the first probe of a service that names no time; doubles with each refusal.
        longest_quiet: The longest pause for a service, whatever it asks for; after that, it is tried again.
        tick: The interval between checks for a stop, and the longest delay after a lost wake-up call.
        slow_batch: The duration of a drain's batch from which on its worker has fewer batches ahead, since another
            worker that is idle cannot take them.
        look_up: The interval between checks whether the process at the other end of a pipe is alive: a child process
            of that one may hold the pipe open.
        dies_within: How long a process whose pipe has broken may take to end.
        ends_within: How long the processes and threads that agents have left running in a drain's worker may go on.
        hears_within: How long a worker that cannot send waits to learn that its parent is gone; if it does not, only
            the pipe is broken.
    """

    first_backoff: float = 0.5
    longest_backoff: float = 5.0
    own_trouble_after: float = 30.0
    longest_retry_after: float = 30.0
    long_wait: float = 10.0
    gather: float = 1.0
    hold_moves: float = 10.0
    time_to_write: float = 30.0
    grace: float = 1.0
    stale_after: float = 60.0
    load_ahead: float = 30.0
    slow_file: float = 2.0
    same_edit: float = 1.0
    fast_attempt: float = 0.02
    slow_attempt: float = 1.0
    handed_over: float = 0.1
    waiting_attempt: float = 0.003
    stands_still: float = 1.0
    first_quiet: float = 1.0
    longest_quiet: float = 60.0
    tick: float = 0.1
    slow_batch: float = 1.0
    look_up: float = 1.0
    dies_within: float = 5.0
    ends_within: float = 30.0
    hears_within: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Counts and sizes.

    Attributes:
        at_once: Rows, priorities, moves or tasks in one request. The vendor advises staying under 1,000 operations.
        at_least: Tasks loaded in one request if agents are fast, unless the window is smaller.
        first_loads: Tasks in the first requests: few, so that the first agent starts soon.
        videos_at_once: Labelled videos in one request, whose labels can be megabytes per row.
        weight: Approximate size of the labels in one save, in bytes.
        read_together: Tasks taken from the SDK's iterator together: most are there already, and each step costs.
        told_every: Tasks shown by a stage from one `StagePolled` to the next.
        first_ends: Attempts after which it is known whether agents wait for anything.
        last_ends: The approximate number of attempts in the average duration: a slow one is soon forgotten.
        open_after: Concurrent attempts that a stage must have worked up to before it is no longer held back.
        in_flight: Requests to the platform at once, over all threads.
        tries: Tries after which a request that fails while others of its kind succeed may itself be to blame.
        downloads: Downloads in flight at once, over all threads.
        loaders: Threads that load.
        writers: Threads that write.
        decoders: First frames decoded at once. More would only delay the one that the next agent waits for.
        files_ahead: Prefetched files at most.
        bytes_ahead: Their size, including first frames.
        read_ahead: Tasks read from the pages between two attempts, where no thread reads them in the background.
        download: The seconds, counts and sizes of one download.
        batches: Batches of tasks that a drain's worker has at a time: one is attempted, and others are loaded and
            written.
        batches_if_slow: The same if agents are slow.
        deaths: Workers that a task kills before it has failed: the first two times it gets another try, the second of
            these in a worker that has no other task.
        failed_starts: Workers that die in a row before they are ready, with nothing done in between, after which the
            run ends.
        garbled_in_a_row: Workers in a row that send unreadable messages, with nothing done in between, after which the
            run ends. A single task that makes its workers do so causes three.
        message: The longest message of a worker, in bytes. Text that a library prints into the pipe by mistake, read as
            a message's length, exceeds it.
    """

    at_once: int = 100
    at_least: int = 25
    first_loads: tuple[int, ...] = (25, 50)
    videos_at_once: int = 20
    weight: int = 10_000_000
    read_together: int = 20
    told_every: int = 500
    first_ends: int = 10
    last_ends: int = 20
    open_after: int = 64
    in_flight: int = 8
    tries: int = 8
    downloads: int = 16
    loaders: int = 4
    writers: int = 3
    decoders: int = max(2, os.cpu_count() or 1)
    files_ahead: int = 64
    bytes_ahead: int = 512 * 1024 * 1024
    read_ahead: int = 1000
    download: DownloadLimits = field(default_factory=DownloadLimits)
    batches: int = 4
    batches_if_slow: int = 2
    deaths: int = 3
    failed_starts: int = 3
    garbled_in_a_row: int = 4
    message: int = 0x1FFFFFFF
