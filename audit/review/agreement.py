"""How far annotators agree, where they differ, and where people and the model differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from audit.estimate import FloatArray
from audit.sheet import EXTRA
from audit.significance import cohen_kappa
from audit.wording import NO_FACE
from labeler.taxonomy import ATTRIBUTES

Labels = Mapping[str, str | None]
FEWEST = 10
"""Images in common from which on agreement is shown: of fewer it would tell what the other person answered."""


@dataclass(frozen=True)
class Kappa:
    """How far two people agree on one attribute.

    Parameters
    ----------
    attribute, first, second : str
        The attribute and the two people.
    n : int
        Images that both labelled.
    kappa : float or None
        Cohen's κ over all classes; None where it has no value or n is below `FEWEST`.
    by_class : mapping of str to float or None
        κ of each class against all others.
    """

    attribute: str
    first: str
    second: str
    n: int
    kappa: float | None
    by_class: Mapping[str, float | None]


def kappas(answers: Mapping[str, Mapping[int, Labels]], classes: Mapping[str, tuple[str, ...]]) -> list[Kappa]:
    """Return the agreement of every two people on every attribute.

    Parameters
    ----------
    answers : mapping of str to mapping of int to labels
        What each person said of each image.
    classes : mapping of str to tuple of str
        Of each attribute; what people may say besides follows them.

    Examples
    --------
    >>> same = {n: {"age": "a", "gender": "f" if n % 2 else "m", "ethnicity": "x"} for n in range(20)}
    >>> found = kappas({"A": same, "B": same}, {"age": ("a",), "gender": ("f", "m"), "ethnicity": ("x",)})
    >>> [(k.attribute, k.kappa) for k in found]
    [('age', None), ('gender', 1.0), ('ethnicity', None)]
    """
    found = []
    for first, second in combinations(answers, 2):
        common = answers[first].keys() & answers[second].keys()
        for attribute in ATTRIBUTES:
            known = (*classes[attribute], *EXTRA)
            pairs = [(answers[first][image].get(attribute), answers[second][image].get(attribute)) for image in common]
            table: FloatArray = np.zeros((len(known), len(known)))
            for a, b in pairs:
                if a is not None and b is not None:
                    table[known.index(a), known.index(b)] += 1
            n = int(table.sum())
            seen = [k for k in range(len(known)) if table[k].sum() + table[:, k].sum() > 0]
            enough = n >= FEWEST
            by_class = {known[k]: cohen_kappa(one_against_all(table, k)) if enough else None for k in seen}
            found.append(Kappa(attribute, first, second, n, cohen_kappa(table) if enough else None, by_class))
    return found


def one_against_all(table: FloatArray, k: int) -> FloatArray:
    """Return the two by two table of one class against all others.

    Examples
    --------
    >>> one_against_all(np.array([[5.0, 1.0, 0.0], [2.0, 4.0, 0.0], [0.0, 1.0, 3.0]]), 0).tolist()
    [[5.0, 1.0], [2.0, 8.0]]
    """
    both, row, column = table[k, k], table[k].sum(), table[:, k].sum()
    return np.array([[both, row - both], [column - both, table.sum() - row - column + both]])


def disputed(given: Mapping[str, Labels]) -> tuple[str, ...]:
    """Return the attributes on which people differ about one image.

    Where one of them sees no face, all are disputed as soon as anybody sees one.

    Parameters
    ----------
    given : mapping of str to labels
        By person.

    Examples
    --------
    >>> disputed({"A": {"age": "3-9", "gender": "male"}, "B": {"age": "0-2", "gender": "male"}})
    ('age',)
    """
    return tuple(
        attribute
        for attribute in ATTRIBUTES
        if len({labels[attribute] for labels in given.values() if labels.get(attribute) is not None}) > 1
    )


def settled(given: Mapping[str, Labels], decision: Labels | None) -> dict[str, str | None]:
    """Return what people say of one image in the end: the decision where there is one, else what all agree on.

    Examples
    --------
    >>> settled({"A": {"gender": "male"}, "B": {"gender": "female"}}, {"gender": "female"})["gender"]
    'female'
    """
    found: dict[str, str | None] = {}
    for attribute in ATTRIBUTES:
        decided = (decision or {}).get(attribute)
        values = {labels[attribute] for labels in given.values() if labels.get(attribute) is not None}
        found[attribute] = decided or (values.pop() if len(values) == 1 else None)
    return found


def differences(people: Labels, model: Labels) -> tuple[str, ...]:
    """Return the attributes on which people and the model differ; none of what people could not tell.

    Examples
    --------
    >>> differences({"age": "3-9", "gender": "can't tell"}, {"age": "0-2", "gender": "male"})
    ('age',)
    """
    told = {
        name: value for name, value in people.items() if value is not None and (value not in EXTRA or value == NO_FACE)
    }
    return tuple(name for name in ATTRIBUTES if name in told and told[name] != model.get(name))
