"""The examples in the docstrings give what they say they give."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.project.checkout import module_names

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", module_names())
def test_the_examples_of_a_module_hold(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith("training.") or str(error.name).split(".")[0] in {"labeler", "training"}:
            raise
        pytest.skip(f"{name} needs {error.name}, which the extra [train] installs")
    failed = doctest.testmod(module, optionflags=FLAGS).failed
    assert failed == 0, capsys.readouterr().out
