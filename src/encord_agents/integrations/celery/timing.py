"""The numbers that agents on Celery go by: seconds in `Timing`, counts and sizes in `Limits`.

Both are frozen. An app's `Adapter` has them. Tests give others; users have no reason to.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits", "Timing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds.

    Attributes:
        lease: How long a hold lasts without a heartbeat; after that, its holder may be lost.
        heartbeat: Between two heartbeats.
        stuck: How long a process that still exists counts as working on a task without a heartbeat.
        look_again: Until a task that another delivery is working on is looked at again.
        in_queue: After how long a task that was sent, and has no outcome yet, may be sent again.
        failed: How long polling does not send a failed task again.
        longest_retry_delay: How long a retry waits at most. The waiting message occupies a slot of a worker that could
            be doing other work.
        longest_pause: Between two tries of a store that refuses, at most. A waiting message occupies a worker; and a
            broker that has been repaired should be noticed soon.
        longest_sleep: How long a worker sleeps, at most, before it returns a message to a broker that accepts no new
            one. A sleeping worker can neither do other work nor exit.
        said: How long the same line is not logged again.
        redis: How long Redis may take to answer.
        unsaid: How long Redis may be unreachable before a line in the log says so.
    """

    lease: float = 30.0
    heartbeat: float = 5.0
    stuck: float = 300.0
    look_again: float = 10.0
    in_queue: float = 24 * 3600.0
    failed: float = 3600.0
    longest_retry_delay: float = 60.0
    longest_pause: float = 60.0
    longest_sleep: float = 10.0
    said: float = 60.0
    redis: float = 10.0
    unsaid: float = 1.0

    def pause_after(self, refused: int) -> float:
        """Return the seconds to wait after that many refusals in a row: 1, 2, 4, and so on."""
        return min(2.0 ** min(refused, 10), self.longest_pause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Counts and sizes.

    Attributes:
        lost: Workers that may be lost over a task before it is given up as a poison task.
        claimed: Tasks that are marked in one request to Redis.
        redis_tries: How often a request to Redis is sent again. With growing pauses three quarters of a minute in all,
            and more if each try takes long: enough for a broker to restart.
        shown: Characters of a broker's answer that are shown.
    """

    lost: int = 3
    claimed: int = 100
    redis_tries: int = 12
    shown: int = 400
