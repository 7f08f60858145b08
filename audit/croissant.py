"""A data sheet for machines: Croissant 1.0 JSON-LD with the properties of its responsible-AI vocabulary 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from audit.datasheet import Card, statements
from audit.records import Document
from audit.text import shown

CONTEXT: Mapping[str, Any] = MappingProxyType(
    {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "citeAs": "cr:citeAs",
        "column": "cr:column",
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "equivalentProperty": "cr:equivalentProperty",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "extract": "cr:extract",
        "field": "cr:field",
        "fileObject": "cr:fileObject",
        "fileProperty": "cr:fileProperty",
        "fileSet": "cr:fileSet",
        "format": "cr:format",
        "includes": "cr:includes",
        "isLiveDataset": "cr:isLiveDataset",
        "jsonPath": "cr:jsonPath",
        "key": "cr:key",
        "md5": "cr:md5",
        "parentField": "cr:parentField",
        "path": "cr:path",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "recordSet": "cr:recordSet",
        "references": "cr:references",
        "regex": "cr:regex",
        "repeated": "cr:repeated",
        "replace": "cr:replace",
        "samplingRate": "cr:samplingRate",
        "sc": "https://schema.org/",
        "separator": "cr:separator",
        "source": "cr:source",
        "subField": "cr:subField",
        "transform": "cr:transform",
    }
)
"""The terms of Croissant 1.0 and of its responsible-AI vocabulary 1.0."""
CONFORMS = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
FIELDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "path": ("sc:Text", "The image file, relative to the store."),
        "status": ("sc:Text", "What became of it; only ok carries labels."),
        "age": ("sc:Float", "Expected perceived age in years."),
        "age_group": ("sc:Text", "Most likely perceived age group."),
        "age_confidence": ("sc:Float", "Its probability."),
        "gender": ("sc:Text", "Most likely perceived gender."),
        "gender_confidence": ("sc:Float", "Its probability."),
        "ethnicity": ("sc:Text", "Most likely perceived ethnicity."),
        "ethnicity_confidence": ("sc:Float", "Its probability."),
    }
)
"""Columns of the label table that the JSON-LD describes."""


def describe(document: Mapping[str, Any], about: Mapping[str, str], card: Card | None) -> Document:
    """Return the data sheet as Croissant 1.0 JSON-LD with the properties of Croissant's responsible-AI vocabulary 1.0.

    What nobody has said is left out, never invented: see `unsaid`.

    Parameters
    ----------
    document, about, card
        As `audit.datasheet.render` takes them.
    """
    known = statements(document, card)
    table = document["provenance"]["labels"]
    named = {
        "license": about.get("licence"),
        "url": about.get("url"),
        "version": about.get("version"),
        "datePublished": about.get("published"),
        "citeAs": about.get("citation"),
        "creator": {"@type": "sc:Organization", "name": about["creator"]} if "creator" in about else None,
    }
    stated = {
        "rai:dataCollection": about.get("collection"),
        "rai:dataCollectionTimeframe": about.get("timeframe"),
        "rai:dataCollectionMissingData": " ".join(known["missing"]),
        "rai:dataPreprocessingProtocol": [
            text for text in (about.get("preprocessing"), *known["preprocessing"]) if text
        ],
        "rai:dataAnnotationProtocol": known["labels"],
        "rai:dataAnnotationAnalysis": [*known["agreement"], *known["errors"]],
        "rai:annotationsPerItem": " ".join(
            ["One prediction of each attribute for each labelled image.", *known["people"]]
        ),
        "rai:machineAnnotationTools": known["tools"],
        "rai:personalSensitiveInformation": known["sensitive"],
        "rai:dataBiases": [*known["shares"], *known["balance"], *known["repeats"]],
        "rai:dataLimitations": known["limits"],
        "rai:dataUseCases": [text for text in (about.get("uses"), *known["uses"]) if text],
        "rai:dataSocialImpact": about.get("impact"),
        "rai:dataReleaseMaintenancePlan": about.get("maintenance"),
    }
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS),
        "name": about.get("name") or shown(document["store"]["name"]),
        "description": about.get("description") or " ".join([*known["instances"], known["labels"][0]]),
        **{key: value for key, value in named.items() if value is not None},
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "labels",
                "name": shown(table["file"]),
                "contentUrl": shown(table["file"]),
                "encodingFormat": "application/x-parquet",
                "sha256": table["sha256"],
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "One record for every image file found.",
                "key": {"@id": "images/path"},
                "field": [_field(name, *about_it) for name, about_it in FIELDS.items()],
            }
        ],
        **{key: value for key, value in stated.items() if value},
    }


def _field(name: str, kind: str, description: str) -> Document:
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": "labels"}, "extract": {"column": name}},
    }


def unsaid(about: Mapping[str, str]) -> list[str]:
    """Return the keys that Croissant requires of every data set and that only the owner can say.

    Examples
    --------
    >>> unsaid({"licence": "CC-BY-4.0", "url": "https://example.org"})
    ['creator', 'published']
    """
    return [key for key in ("licence", "url", "creator", "published") if key not in about]
