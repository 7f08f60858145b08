"""Claims about the worker threads: order, bounds, errors, and an item that never ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence

import pytest

from labeler.crew import Budget, Clock, Crew


def whole(results: Sequence[int], number: int) -> list[int]:
    """Return the results of a job as they are."""
    return list(results)


def crew(workers: int) -> Crew[int, int, list[int]]:
    """Return a crew that squares numbers."""

    def square(item: int, number: int, clock: Clock) -> int:
        return item * item

    return Crew(workers, square, whole, lambda item: -item)


def test_results_come_in_order_and_only_so_many_jobs_are_under_way() -> None:
    taken: list[int] = []

    def groups() -> Iterator[tuple[Sequence[int], int]]:
        for k in range(100):
            taken.append(k)
            yield ([k, k + 1] if k % 3 else []), k

    for k, (squares, beside) in enumerate(crew(4).run(groups())):
        assert beside == k
        assert squares == ([k * k, (k + 1) * (k + 1)] if k % 3 else None)
        assert len(taken) <= k + 10


def test_the_interpreter_switches_faster_only_while_a_crew_is_at_work() -> None:
    before = sys.getswitchinterval()
    for _ in crew(2).run(([k], None) for k in range(4)):
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_an_error_of_a_worker_is_raised_where_the_results_are_read() -> None:
    def fail(item: int, number: int, clock: Clock) -> int:
        if item == 5:
            raise RuntimeError("five")
        return item

    failing: Crew[int, int, list[int]] = Crew(2, fail, whole, lambda item: item)
    with pytest.raises(RuntimeError, match="five"):
        list(failing.run(([k], None) for k in range(10)))


def test_an_item_that_never_ends_is_given_up_and_the_rest_is_done() -> None:
    released = threading.Event()

    def stuck(item: int, number: int, clock: Clock) -> int:
        if item in (2, 3):
            released.wait()
        return item

    patient: Crew[int, int, list[int]] = Crew(1, stuck, whole, lambda item: -item, 0.05)
    results = list(patient.run([([0, 1, 2, 3, 4], None), ([5, 6], None)]))
    released.set()
    assert results == [([0, 1, -2, -3, 4], None), ([5, 6], None)]


def test_what_a_thread_holds_that_never_ends_is_no_longer_waited_for() -> None:
    released = threading.Event()
    budget = Budget(10)

    def greedy(item: int, number: int, clock: Clock) -> int:
        clock.stop()
        with budget.hold(10):
            clock.start()
            if item == 1:
                released.wait()
        return item

    patient: Crew[int, int, list[int]] = Crew(2, greedy, whole, lambda item: -item, 0.05)
    results = list(patient.run([([0, 1, 2], None), ([3, 4], None)]))
    released.set()
    assert results == [([0, -1, 2], None), ([3, 4], None)]


def test_a_worker_that_waits_for_others_is_not_late() -> None:
    released = threading.Event()
    threading.Timer(0.3, released.set).start()

    def waits(item: int, number: int, clock: Clock) -> int:
        clock.stop()
        released.wait()
        clock.start()
        return item

    patient: Crew[int, int, list[int]] = Crew(1, waits, whole, lambda item: -item, 0.05)
    assert list(patient.run([([1, 2], None)])) == [([1, 2], None)]


def test_a_budget_is_never_overdrawn_but_by_one_alone() -> None:
    budget = Budget(10)
    held: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def use(amount: int) -> None:
        for _ in range(50):
            with budget.hold(amount):
                with lock:
                    held.append(amount)
                    most.append(sum(held))
                with lock:
                    held.remove(amount)

    threads = [threading.Thread(target=use, args=(amount,)) for amount in (3, 4, 5, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(total <= 10 or total == 30 for total in most)
