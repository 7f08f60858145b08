"""Claims about the classes and the maps between the taxonomies."""

from __future__ import annotations

import math

import pytest

from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE, FAIRFACE_TO_UTKFACE, TAXONOMIES, UTKFACE, group_of_age


@pytest.mark.parametrize("name", TAXONOMIES)
def test_every_taxonomy_has_each_attribute_with_distinct_classes(name: str) -> None:
    classes = TAXONOMIES[name].classes
    assert tuple(classes) == ATTRIBUTES == tuple(COLUMNS)
    assert all(len(set(names)) == len(names) >= 2 for names in classes.values())


def test_every_fairface_ethnicity_has_a_place_among_utkfaces() -> None:
    assert tuple(FAIRFACE_TO_UTKFACE) == FAIRFACE.classes["ethnicity"]
    assert set(FAIRFACE_TO_UTKFACE.values()) == set(UTKFACE.classes["ethnicity"])


@pytest.mark.parametrize(
    ("years", "fairface", "utkface"),
    [
        (0, "0-2", "0-9"),
        (2.99, "0-2", "0-9"),
        (3, "3-9", "0-9"),
        (9.9, "3-9", "0-9"),
        (10, "10-19", "10-19"),
        (69.5, "60-69", "60-69"),
        (70, "more than 70", "70-79"),
        (80, "more than 70", "80 and over"),
        (116, "more than 70", "80 and over"),
    ],
)
def test_an_age_belongs_to_the_group_of_its_whole_years(years: float, fairface: str, utkface: str) -> None:
    assert group_of_age(years, FAIRFACE.classes["age"]) == fairface
    assert group_of_age(years, UTKFACE.classes["age"]) == utkface


@pytest.mark.parametrize("years", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_what_is_no_age_is_refused(years: float) -> None:
    with pytest.raises(ValueError, match="not an age"):
        group_of_age(years, FAIRFACE.classes["age"])


@pytest.mark.parametrize("value", ["white", "", "03-Sep"])
def test_a_class_is_looked_up_by_its_exact_name(value: str) -> None:
    with pytest.raises(KeyError):
        FAIRFACE.index("ethnicity", value)


def test_the_taxonomies_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FAIRFACE.classes["age"] = ()  # type: ignore[index]
