"""The attributes and their classes, in order, and the maps between the taxonomies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

ATTRIBUTES = ("age", "gender", "ethnicity")
"""The attributes a pack labels. All three are *perceived*: a view of an image, never an identity."""

COLUMNS: Mapping[str, str] = MappingProxyType({"age": "age_group", "gender": "gender", "ethnicity": "ethnicity"})
"""The column of a label table or truth file that holds an attribute's class."""


@dataclass(frozen=True)
class Taxonomy:
    """The classes of each attribute, in the order of a pack's outputs.

    Parameters
    ----------
    name : str
        What the taxonomy is called in a pack's manifest.
    classes : mapping of str to tuple of str
        For each of `ATTRIBUTES`, its classes in order.
    """

    name: str
    classes: Mapping[str, tuple[str, ...]]

    def index(self, attribute: str, value: str) -> int:
        """Return the position of a class, or raise `KeyError` where it is not one.

        Examples
        --------
        >>> FAIRFACE.index("ethnicity", "Indian")
        5
        """
        try:
            return self.classes[attribute].index(value)
        except ValueError:
            raise KeyError(value) from None


GENDERS = ("male", "female")

FAIRFACE = Taxonomy(
    "fairface",
    MappingProxyType(
        {
            "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
            "gender": GENDERS,
            "ethnicity": (
                "White",
                "Black",
                "Latino_Hispanic",
                "East Asian",
                "Southeast Asian",
                "Indian",
                "Middle Eastern",
            ),
        }
    ),
)
"""The classes of FairFace (Kärkkäinen and Joo, WACV 2021), spelled as its label file spells them."""

UTKFACE = Taxonomy(
    "utkface",
    MappingProxyType(
        {
            "age": ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80 and over"),
            "gender": GENDERS,
            "ethnicity": ("White", "Black", "Asian", "Indian", "Others"),
        }
    ),
)
"""The classes of UTKFace and the AGE data set, with age in decades."""

TAXONOMIES: Mapping[str, Taxonomy] = MappingProxyType({t.name: t for t in (FAIRFACE, UTKFACE)})

FAIRFACE_TO_UTKFACE: Mapping[str, str] = MappingProxyType(
    {
        "White": "White",
        "Black": "Black",
        "Latino_Hispanic": "Others",
        "East Asian": "Asian",
        "Southeast Asian": "Asian",
        "Indian": "Indian",
        "Middle Eastern": "Others",
    }
)
"""FairFace's seven ethnicities in UTKFace's five, as UTKFace describes its class Others."""


def group_of_age(years: float, groups: Sequence[str]) -> str:
    """Return the age group that holds an age.

    Parameters
    ----------
    years : float
        Age in years, 0 or more. Fractions count as their whole year: 9.9 is in ``3-9``.
    groups : sequence of str
        Groups in ascending order, written ``low-high`` with both ends inside; the last one is open.

    Raises
    ------
    ValueError
        If the age is negative or not a finite number.

    Examples
    --------
    >>> group_of_age(9.9, FAIRFACE.classes["age"])
    '3-9'
    >>> group_of_age(70, FAIRFACE.classes["age"])
    'more than 70'
    """
    if not 0 <= years < math.inf:
        raise ValueError(f"{years} is not an age in years")
    for group in groups[:-1]:
        if int(years) <= int(group.split("-")[1]):
            return group
    return groups[-1]
