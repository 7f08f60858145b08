"""A data set's own framing: measured on its pictures, written, read back, and used by a pack."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from labeler.errors import LabelerError
from training.cli import main
from training.framing import MeasuredFraming, measure_framing, read_framing, write_framing

POINTS = [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]


def test_a_framing_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_framing(MeasuredFraming("utkface", POINTS, 9, 10), tmp_path / "framing.json")
    assert read_framing(tmp_path / "framing.json") == POINTS


@pytest.mark.parametrize("content", ["", "{}", '{"points": [[1, 2]]}', '{"points": "x"}'])
def test_what_is_no_framing_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "framing.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LabelerError, match=r"framing\.json: .*train-labelers framing"):
        read_framing(path)


def test_a_folder_without_pictures_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="give a folder of the data set's pictures"):
        measure_framing("utkface", tmp_path)


def test_utkface_lays_the_eyes_where_it_is_known_to(tmp_path: Path, shared_data: Path) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted((shared_data / "utkface/test").iterdir())[::80]:
        (some / path.name).write_bytes(path.read_bytes())
    result = CliRunner().invoke(main, ["framing", "utkface", str(some), "--out", str(tmp_path / "framing.json")])
    assert result.exit_code == 0, result.output
    right_eye, left_eye = read_framing(tmp_path / "framing.json")[:2]
    assert right_eye == pytest.approx((0.288, 0.297), abs=0.02)
    assert left_eye == pytest.approx((0.688, 0.296), abs=0.02)
