"""Worker processes: each does whole jobs in an interpreter of its own, and says which item it has in hand."""

from __future__ import annotations

import copy
import ctypes
import mmap
import multiprocessing
import os
import pickle
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from labeler.crew import Budget, Clock, Helper, HelperDiedError

Item = TypeVar("Item")
Result = TypeVar("Result")
Gathered = TypeVar("Gathered")

_POSITION, _BEGAN = struct.Struct("q"), struct.Struct("d")
GATHERING = -1
"""The position while the results of a job are gathered."""

_DONE, _FAILED, _HOLD, _FREE = range(4)
_PARENT_DIES = 1
_PATIENCE = 5.0
_LOOK_AGAIN = 0.002


def can_fork() -> bool:
    """Tell whether this system can fork a process whose libraries go on working in it."""
    return sys.platform == "linux"


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends, however that ends; does nothing but on Linux."""
    if can_fork():
        ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL, 0, 0, 0)


class SharedClock(Clock):
    """A clock that another process starts and stops, and the position of the item that it is for."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _POSITION.size + _BEGAN.size)
        super().__init__()

    @property
    def position(self) -> int:
        """Which item of the job is in hand; below 0 while the results are gathered."""
        return int(_POSITION.unpack_from(self._memory)[0])

    @position.setter
    def position(self, value: int) -> None:
        _POSITION.pack_into(self._memory, 0, value)

    @property
    def began(self) -> float:
        """When the item in hand was begun, by the system's monotonic clock; infinite where none is timed."""
        return float(_BEGAN.unpack_from(self._memory, _POSITION.size)[0])

    @began.setter
    def began(self, value: float) -> None:
        _BEGAN.pack_into(self._memory, _POSITION.size, value)


class Hand(Helper[Item, Gathered], Generic[Item, Result, Gathered]):
    """A process, forked from this one, that does one job after the other.

    It ends with its parent, however that ends, and leaves signals of the terminal to it.

    Parameters
    ----------
    work : callable
        Turns an item into a result, in steps; gets the clock that limits it. All items of a job take a step before one
        takes the next.
    gather : callable
        Turns the results of a whole job into what `do` returns; that must be possible to pickle.
    begin : callable
        Called first in the process, with what its work must ask for memory.
    budget : Budget
        The bytes that all workers together may hold, beyond the share of each.
    share : int
        Bytes that the process may hold without asking.
    closing : sequence of int
        Descriptors that it must not keep open.
    """

    def __init__(
        self,
        work: Callable[[Item, Clock], Generator[None, None, Result]],
        gather: Callable[[Sequence[Result]], Gathered],
        begin: Callable[[Budget], object],
        budget: Budget,
        share: int,
        closing: Sequence[int] = (),
    ) -> None:
        self._clock = SharedClock()
        self.clock = self._clock
        self._work, self._gather, self._budget = work, gather, budget
        self._pipe, far = multiprocessing.Pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            # From 3.12 on Python warns of threads, those of libraries too; a helper uses none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            try:
                self._pipe.close()
                for descriptor in closing:
                    os.close(descriptor)
                begin(_Asking(share, far))
                _serve(far, parent, self._job)
            finally:
                # Whatever happens, the child must not go on with what its parent was about.
                os._exit(1)
        far.close()

    def _job(self, items: Sequence[Item]) -> Gathered:
        under_way = {position: self._work(item, self._clock) for position, item in enumerate(items)}
        results: dict[int, Result] = {}
        while under_way:
            for position, steps in list(under_way.items()):
                self._clock.stop()
                self._clock.position = position
                self._clock.start()
                try:
                    next(steps)
                except StopIteration as end:
                    results[position] = end.value
                    del under_way[position]
        self._clock.stop()
        self._clock.position = GATHERING
        return self._gather([results[position] for position in range(len(items))])

    @property
    def descriptor(self) -> int:
        """The pipe to the process, which other processes must not keep open."""
        return self._pipe.fileno()

    def do(self, items: Sequence[Item]) -> Gathered:
        """Have a job done.

        Raises
        ------
        HelperDiedError
            If the process ends first; `in_hand` then tells what it had in hand.
        Exception
            What the work raised.
        """
        with ExitStack() as held:
            try:
                self._pipe.send(items)
                while True:
                    kind, value = self._pipe.recv()
                    if kind == _HOLD:
                        held.enter_context(self._budget.hold(value))
                        self._pipe.send(None)
                    elif kind == _FREE:
                        held.close()
                    elif kind == _DONE:
                        answer: Gathered = value
                        return answer
                    else:
                        break
            except (EOFError, OSError) as error:
                raise HelperDiedError(f"process {self.pid} ended") from error
        raise value

    def in_hand(self) -> int | None:
        """Return the position in its job of the item in hand; None where it gathers the results of all."""
        return None if self._clock.position == GATHERING else self._clock.position

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let the process end, and wait for that; what hangs in the system itself, killed or not, is left to it."""
        self._pipe.close()
        until = time.monotonic() + _PATIENCE
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
                time.sleep(_LOOK_AGAIN)


class _Asking(Budget):
    """A process's share of the bytes; for more than that it asks its parent."""

    def __init__(self, share: int, pipe: Connection) -> None:
        super().__init__(share)
        self._share, self._pipe = share, pipe

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Keep so many bytes; a process holds one amount at a time."""
        if amount <= self._share:
            yield
            return
        self._pipe.send((_HOLD, amount))
        self._pipe.recv()
        try:
            yield
        finally:
            self._pipe.send((_FREE, None))


def _serve(pipe: Connection, parent: int, work: Callable[[Sequence[Any]], object]) -> None:
    """Do what comes through a pipe until it is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    with suppress(EOFError, OSError):
        # A parent that died before it could be followed is its parent no more.
        while os.getppid() == parent:
            items = pipe.recv()
            try:
                answer = (_DONE, work(items))
            except BaseException as error:
                answer = (_FAILED, _sendable(error))
            pipe.send(answer)


def _sendable(error: BaseException) -> BaseException:
    try:
        pickle.dumps(copy.copy(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
