"""Worker processes: the same rows as with threads, and a file that brings one down or hangs it stops nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from labeler import alone, prepare
from labeler.crew import SPARES, Budget, Clock, Crew, HelperDiedError
from labeler.decode import Limits, Picture, decode_checked
from labeler.hands import Hand, can_fork
from labeler.header import Header
from labeler.pack import Pack
from labeler.pipeline import Options, Summary, label_store
from labeler.table import read
from tests.labeler.pictures import save, scene

pytestmark = pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux alone")

Steps = Generator[None, None, int]
Numbers = Hand[int, int, list[int]]


def die() -> None:
    """End the process as a crash in native code does."""
    os.kill(os.getpid(), signal.SIGKILL)


def squares(item: int, clock: Clock) -> Steps:
    """Square a number in two steps."""
    yield
    return item * item


def hand(
    work: Callable[[int, Clock], Steps] = squares,
    begin: Callable[[Budget], object] = lambda _: None,
    budget: Budget | None = None,
) -> Numbers:
    """Return a process that does a kind of work and gathers the results in a list."""
    return Hand(work, list, begin, budget or Budget(100), 10)


@pytest.fixture
def hired() -> Iterator[list[Numbers]]:
    """Return a list whose hands are ended after the test."""
    hands: list[Numbers] = []
    yield hands
    for one in hands:
        one.kill()
        one.close()


def test_a_hand_does_job_after_job_in_another_process(hired: list[Numbers]) -> None:
    def identity(item: int, clock: Clock) -> Steps:
        yield
        return os.getpid()

    hired += [hand(), hand(identity)]
    assert hired[0].do([1, 2, 3]) == [1, 4, 9]
    assert hired[0].do([]) == []
    assert hired[0].do([5]) == [25]
    assert hired[1].do([0]) == [hired[1].pid]
    assert hired[1].pid != os.getpid()


def test_all_items_take_a_step_before_one_takes_the_next(hired: list[Numbers]) -> None:
    taken: list[int] = []

    def noted(item: int, clock: Clock) -> Steps:
        for step in range(item):
            taken.append(10 * step + item)
            yield
        return taken.copy()  # type: ignore[return-value]  # what was noted is in the other process

    hired.append(hand(noted))
    assert hired[0].do([1, 2, 3])[2] == [1, 2, 3, 12, 13, 23]  # type: ignore[comparison-overlap]


class TwoWordsError(Exception):
    """An error that cannot be made anew of its message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@pytest.mark.parametrize("error", [ValueError("five"), TwoWordsError("five", "six")])
def test_an_error_of_the_work_is_raised_and_the_hand_goes_on(hired: list[Numbers], error: Exception) -> None:
    def fails(item: int, clock: Clock) -> Steps:
        yield
        if item == 5:
            raise error
        return item

    hired.append(hand(fails))
    with pytest.raises((ValueError, RuntimeError), match="five"):
        hired[0].do([4, 5])
    assert hired[0].do([4]) == [4]


def test_a_hand_that_dies_says_what_it_had_in_hand(hired: list[Numbers]) -> None:
    def dies(item: int, clock: Clock) -> Steps:
        yield
        if item == 7:
            die()
        return item

    def dies_at_last(results: Sequence[int]) -> list[int]:
        die()
        return list(results)

    hired += [hand(dies), Hand(squares, dies_at_last, lambda _: None, Budget(1), 1)]
    for one, position in zip(hired, (2, None), strict=True):
        with pytest.raises(HelperDiedError):
            one.do([5, 6, 7, 8])
        assert one.in_hand() == position


def test_what_is_more_than_its_share_a_hand_asks_its_parent_for(hired: list[Numbers]) -> None:
    given: list[Budget] = []
    budget = Budget(100)

    def holds(item: int, clock: Clock) -> Steps:
        yield
        with given[0].hold(item):
            return item

    hired.append(hand(holds, given.append, budget))
    assert hired[0].do([3, 50, 10]) == [3, 50, 10]
    waiting = threading.Thread(target=lambda: hired[0].do([60]), daemon=True)
    with budget.hold(60):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_an_interrupt_from_the_terminal_is_for_the_parent_alone(hired: list[Numbers]) -> None:
    hired.append(hand())
    assert hired[0].do([1]) == [1]
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(hired[0].pid, number)
    assert hired[0].do([2]) == [4]


def crew(work: Callable[[int, Clock], Steps], fallen: list[int], seconds: float = 60.0) -> Crew[int, int, list[int]]:
    """Return a crew of two with helpers; what its threads do themselves comes out negative."""
    return Crew(
        2,
        lambda item, _number, _clock: -item,
        lambda results, _number: list(results),
        lambda item: 1000 + item,
        seconds,
        help_of=lambda _number, others: Hand(
            work, list, lambda _: None, Budget(1), 1, [one.descriptor for one in others]
        ),
        fallen=fallen.append,
    )


def test_where_a_helper_dies_its_worker_does_the_job_and_is_told_of_the_item() -> None:
    def dies(item: int, clock: Clock) -> Steps:
        yield
        if item == 5:
            die()
        return item

    fallen: list[int] = []
    groups = [([k, k + 1], k) for k in range(0, 40, 2)]
    found = list(crew(dies, fallen).run(groups))
    assert [beside for _, beside in found] == list(range(0, 40, 2))
    assert [[abs(value) for value in results or []] for results, _ in found] == [items for items, _ in groups]
    assert found[2][0] == [-4, -5]
    assert fallen == [5]


def test_a_worker_whose_helper_died_takes_a_spare_one_while_there_are_some() -> None:
    def dies(item: int, clock: Clock) -> Steps:
        yield
        if item % 10 == 5:
            die()
        return item

    fallen: list[int] = []
    found = [results or [] for results, _ in crew(dies, fallen).run([([k], k) for k in range(200)])]
    assert [abs(result) for (result,) in found] == list(range(200))
    # Each of these deaths costs its own job and no more; one of the last two workers may go on without a helper.
    assert fallen[: 1 + SPARES] == list(range(5, 10 * (1 + SPARES), 10))
    assert len(fallen) <= 2 + SPARES


def test_a_helper_that_hangs_is_killed_and_the_rest_of_its_job_is_done() -> None:
    def hangs(item: int, clock: Clock) -> Steps:
        yield
        if item == 5:
            time.sleep(1000)
        return item

    fallen: list[int] = []
    found = list(crew(hangs, fallen, 0.3).run([([4, 5, 6], None), ([7], None), ([], None), ([8], None)]))
    assert found[0][0] == [-4, 1005, -6]
    assert [[abs(value) for value in results] if results else None for results, _ in found[1:]] == [[7], None, [8]]
    assert fallen == []


def test_a_crew_that_is_broken_off_leaves_no_process() -> None:
    def slow(item: int, clock: Clock) -> Steps:
        yield
        time.sleep(0.05)
        return item

    pids: list[int] = []

    def help_of(number: int, others: Sequence[Any]) -> Numbers:
        one: Numbers = hand(slow)
        pids.append(one.pid)
        return one

    broken: Crew[int, int, list[int]] = Crew(
        2, lambda item, _number, _clock: item, lambda results, _: list(results), lambda item: item, help_of=help_of
    )
    running = broken.run([([k], k) for k in range(100)])
    next(running)
    running.close()
    assert len(pids) == 2 + SPARES
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a store of 100 pictures; the one called 041.png is the only one 40 pixels wide."""
    folder = tmp_path / "many"
    folder.mkdir()
    for k in range(100):
        kind = "JPEG" if k % 2 == 0 else "PNG"
        (folder / f"{k:03}.{kind.lower()}").write_bytes(save(scene(40 if k == 41 else 64, 48, k), kind))
    return folder


def label(store: Path, out: Path, pack: Pack, **options: Any) -> Summary:
    """Label a store of crops with processes."""
    asked: dict[str, Any] = {"face": "whole", "processes": True, "workers": 2} | options
    return label_store(store, out, pack, Options(**asked))


def test_the_bytes_are_those_of_threads(many: Path, tmp_path: Path, pack: Pack) -> None:
    contents = set()
    kinds: list[dict[str, Any]] = [{"processes": False}, {}, {"workers": 1}, {"workers": 3}, {"bytes_in_flight": 1}]
    for run, options in enumerate(kinds):
        summary = label(many, tmp_path / f"{run}.parquet", pack, **options)
        assert (summary.files, summary.labelled) == (100, 100)
        contents.add((tmp_path / f"{run}.parquet").read_bytes())
    assert len(contents) == 1


def spoil(monkeypatch: pytest.MonkeyPatch, harm: Callable[[], object]) -> None:
    """Let harm be done whenever a picture 40 pixels wide is decoded in another process than this one."""
    here = os.getpid()

    def decode(data: bytes, about: Header, reduction: int = 1) -> Picture:
        if about.width == 40 and os.getpid() != here:
            harm()
        return decode_checked(data, about, reduction)

    monkeypatch.setattr(prepare, "decode_checked", decode)


def test_a_file_that_brings_a_process_down_is_tried_alone_in_the_same_night(
    many: Path, tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(many, tmp_path / "expected.parquet", pack)
    spoil(monkeypatch, die)
    assert label(many, tmp_path / "out.parquet", pack).labelled == 100
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    monkeypatch.setattr(alone, "_CHILD", "import os; os.abort()")
    summary = label(many, tmp_path / "again.parquet", pack)
    assert (summary.labelled, summary.failed) == (99, {"crashed": 1})
    (row,) = (row for row in read(tmp_path / "again.parquet").rows.to_pylist() if row["status"] != "ok")
    assert (row["path"], row["error"]) == ("041.png", "the process died on it twice (SIGABRT)")


def test_a_file_that_hangs_a_process_is_given_up_and_leaves_none(
    many: Path, tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda: time.sleep(1000))
    summary = label(many, tmp_path / "out.parquet", pack, limits=Limits(seconds=0.5))
    assert (summary.labelled, summary.failed) == (99, {"too_large": 1})
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


RUN = """
import os, sys, time
sys.path[:] = {path!r}
from labeler import pipeline
from labeler.pack import Pack
from labeler.hands import Hand
real = Hand.__init__
def told(self, *given):
    real(self, *given)
    print(self.pid, flush=True)
Hand.__init__ = told
pipeline.Preparer.steps = lambda *_: time.sleep(1000)
pipeline.label_store({store!r}, {out!r}, Pack.load({models!r}),
                     pipeline.Options(face="whole", workers=2, processes=True))
"""


def test_a_run_that_is_killed_takes_its_processes_with_it_and_frees_the_lock(
    many: Path, tmp_path: Path, pack: Pack, pack_folder: Path
) -> None:
    code = RUN.format(path=sys.path, store=str(many), out=str(tmp_path / "out.parquet"), models=str(pack_folder))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pids = [int(run.stdout.readline()) for _ in range(2)]
        run.kill()
    # The pipe of the run's output closes with the last process that could write to it.
    assert label(many, tmp_path / "out.parquet", pack).labelled == 100
    for pid in pids:
        status = Path(f"/proc/{pid}/status")
        assert not status.exists() or "State:\tZ" in status.read_text()
