"""Worker threads: results in the order of the jobs, a bounded number under way, and none stuck on one item for ever."""

from __future__ import annotations

import itertools
import math
import queue
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Gathered = TypeVar("Gathered")
Beside = TypeVar("Beside")

GIVEN_UP = "given up"
"""The name of a thread that may never end; a process that has one must not wait for its threads."""

_LOOK_AFTER = 0.5
_SWITCH = 0.0001
"""Seconds after which a thread that comes out of native code is given the interpreter. It comes out several times an
image, and at Python's own 5 ms the cores wait for each other."""

_PATIENCE = 5.0
SPARES = 4
"""Helpers beyond one a worker, for those that die; a process cannot well be forked once there are threads."""


class Budget:
    """A number of bytes that workers share; one that asks for more than there is at all gets it when it is alone.

    What a thread holds that was given up no longer counts: the others would wait for it for ever.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[threading.Thread, int] = {}
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait until so many bytes are free, and keep them; a thread holds one amount at a time."""
        holder = threading.current_thread()
        with self._changed:
            while (used := self._used()) and used + amount > self._total:
                self._changed.wait(_LOOK_AFTER)
            self._held[holder] = amount
        try:
            yield
        finally:
            with self._changed:
                del self._held[holder]
                self._changed.notify_all()

    def _used(self) -> int:
        return sum(amount for thread, amount in self._held.items() if thread.name != GIVEN_UP)


class Clock:
    """When a worker began with its item; stopped while it waits for others."""

    def __init__(self) -> None:
        self.began = math.inf

    def start(self) -> None:
        """Begin anew."""
        self.began = time.monotonic()

    def stop(self) -> None:
        """Take no time until the next start."""
        self.began = math.inf


class Helper(ABC, Generic[Item, Gathered]):
    """Does whole jobs elsewhere, as `labeler.hands.Hand` does in a process of its own."""

    clock: Clock
    """Tells when the item in hand was begun."""

    @abstractmethod
    def do(self, items: Sequence[Item]) -> Gathered:
        """Do a job; raises `HelperDiedError` where the helper ends first."""

    @abstractmethod
    def in_hand(self) -> int | None:
        """Return the position in its job of the item in hand; None where it gathers the results of all."""

    @abstractmethod
    def kill(self) -> None:
        """End at once, whatever is in hand."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the end, after the last job or the kill."""


class HelperDiedError(Exception):
    """A helper ended without an answer."""


class Job(Generic[Item, Result, Gathered]):
    """Items that one worker does one after the other."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.results: list[Result] = []
        self.late: dict[int, Result] = {}
        self.helper: Helper[Item, Gathered] | None = None
        self.gathered: Gathered | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.clock = Clock()
        self.owner = 0
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()


class Crew(Generic[Item, Result, Gathered]):
    """Threads that turn items into results, themselves or each with a helper.

    Parameters
    ----------
    workers : int
        Threads.
    work : callable
        Turns an item into a result; gets the number of the worker and the clock that limits it.
    gather : callable
        Turns the results of a whole job into what `run` yields; gets the number of the worker.
    late : callable
        Gives the result of an item that took too long. Its thread is left alone, since no thread can be ended, or its
        helper is killed, and another thread takes its place.
    seconds : float
        Time that an item may take.
    help_of : callable, optional
        Gives the helper of a worker, by the worker's number and those that there are; asked for before the first job.
        There are `SPARES` more, of which a worker takes one where its own has died; without one it does jobs itself.
    fallen : callable
        Told of each item that a helper had in hand when it died.
    """

    def __init__(
        self,
        workers: int,
        work: Callable[[Item, int, Clock], Result],
        gather: Callable[[Sequence[Result], int], Gathered],
        late: Callable[[Item], Result],
        seconds: float = math.inf,
        *,
        help_of: Callable[[int, Sequence[Any]], Helper[Item, Gathered]] | None = None,
        fallen: Callable[[Item], object] = lambda _: None,
    ) -> None:
        self._workers, self._work, self._gather, self._late = workers, work, gather, late
        self._seconds, self._help_of, self._fallen = seconds, help_of, fallen
        self._helpers: list[Helper[Item, Gathered]] = []
        self._idle: deque[Helper[Item, Gathered]] = deque()
        self._numbers = itertools.count()
        self._queue: queue.SimpleQueue[Job[Item, Result, Gathered] | None] = queue.SimpleQueue()
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def run(
        self, groups: Iterable[tuple[Sequence[Item], Beside]]
    ) -> Generator[tuple[Gathered | None, Beside], None, None]:
        """Yield what each group of items came to, in order (None for an empty one), and what was given beside it."""
        waiting: deque[tuple[Job[Item, Result, Gathered], Beside]] = deque()
        interval = sys.getswitchinterval()
        try:
            sys.setswitchinterval(_SWITCH)
            for items, beside in groups:
                job: Job[Item, Result, Gathered] = Job(items)
                waiting.append((job, beside))
                if items:
                    if not self._threads:
                        self._start()
                    self._queue.put(job)
                else:
                    job.done.set()
                while len(waiting) > 2 * self._workers or (waiting and waiting[0][0].done.is_set()):
                    yield self._finished(waiting)
            while waiting:
                yield self._finished(waiting)
        except BaseException:
            for helper in self._helpers:
                helper.kill()
            raise
        finally:
            self._stopped = True
            for _ in range(self._workers):
                self._queue.put(None)
            self._part()
            sys.setswitchinterval(interval)

    def _start(self) -> None:
        """Hire the workers, with their helpers first, for a process is best forked before there are threads."""
        if self._help_of is not None:
            for _ in range(self._workers + SPARES):
                self._helpers.append(self._help_of(next(self._numbers), tuple(self._helpers)))
        self._idle.extend(self._helpers)
        for _ in range(self._workers):
            self._hire(None)

    def _helper(self) -> Helper[Item, Gathered] | None:
        """Return a helper that nobody has, if there is one left."""
        try:
            return self._idle.popleft()
        except IndexError:
            return None

    def _part(self) -> None:
        """Wait for the threads to end: the interpreter must not take itself down under native code."""
        until = time.monotonic() + _PATIENCE
        for thread in self._threads:
            if thread.name != GIVEN_UP:
                thread.join(max(0.0, until - time.monotonic()))
                if thread.is_alive():
                    thread.name = GIVEN_UP
        for helper in self._helpers:
            helper.close()

    def _finished(self, waiting: deque[tuple[Job[Item, Result, Gathered], Beside]]) -> tuple[Gathered | None, Beside]:
        job, beside = waiting[0]
        while not job.done.wait(_LOOK_AFTER):
            now = time.monotonic()
            for other, _ in waiting:
                if now - other.clock.began > self._seconds:
                    self._replace(other)
        waiting.popleft()
        if job.error is not None:
            raise job.error
        return job.gathered, beside

    def _hire(self, job: Job[Item, Result, Gathered] | None) -> None:
        thread = threading.Thread(target=self._live, args=(next(self._numbers), job), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _replace(self, job: Job[Item, Result, Gathered]) -> None:
        with job.lock:
            began = job.clock.began
            if job.done.is_set() or time.monotonic() - began <= self._seconds:
                return
            job.owner += 1
            if job.thread is not None:
                job.thread.name = GIVEN_UP
            if job.helper is not None:
                job.helper.kill()
                position = job.helper.in_hand()
                # What ended in this very moment was not late.
                if position is not None and job.clock.began == began:
                    job.late[position] = self._late(job.items[position])
                job.helper = None
            else:
                job.late[len(job.results)] = self._late(job.items[len(job.results)])
            job.clock = Clock()
        self._hire(job)

    def _live(self, number: int, job: Job[Item, Result, Gathered] | None) -> None:
        if job is not None and not self._do(job, number):
            return
        helper = self._helper()
        while (job := self._queue.get()) is not None:
            owner = job.owner
            if helper is not None:
                if self._hand_over(job, helper, owner):
                    continue
                helper = self._helper()
            # A job that a helper fell over is for this process, which knows what to beware of.
            if job.owner != owner or not self._do(job, number):
                return

    def _hand_over(self, job: Job[Item, Result, Gathered], helper: Helper[Item, Gathered], owner: int) -> bool:
        """Let a helper do a job; return False where it died of it, or was killed since it was late."""
        gathered, failure = None, None
        with job.lock:
            job.helper, job.clock, job.thread = helper, helper.clock, threading.current_thread()
        try:
            gathered = helper.do(job.items)
        except HelperDiedError:
            with job.lock:
                if job.owner == owner:
                    job.helper, job.clock = None, Clock()
                    position = helper.in_hand()
                    for item in job.items if position is None else [job.items[position]]:
                        self._fallen(item)
            return False
        except BaseException as error:
            failure = error
        with job.lock:
            if job.owner != owner:
                return False
            job.gathered, job.error = gathered, failure
        job.done.set()
        return True

    def _do(self, job: Job[Item, Result, Gathered], number: int) -> bool:
        """Do a job from where it stands; return False where another worker has taken it over."""
        with job.lock:
            owner, clock = job.owner, job.clock
            job.thread = threading.current_thread()
        try:
            for position in range(len(job.results), len(job.items)):
                if self._stopped:
                    return False
                if position in job.late:
                    job.results.append(job.late[position])
                    continue
                clock.start()
                result = self._work(job.items[position], number, clock)
                with job.lock:
                    if job.owner != owner:
                        return False
                    clock.stop()
                    job.results.append(result)
            job.gathered = self._gather(job.results, number)
        except BaseException as error:
            with job.lock:
                if job.owner != owner:
                    return False
                job.error = error
        job.done.set()
        return True
