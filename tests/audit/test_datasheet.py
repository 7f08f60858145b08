"""The data sheet and its JSON-LD: what the audit knows, what only the owner can say, and nothing invented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit import croissant
from audit.cli import main
from audit.datasheet import ABOUT, DatasheetError, find_card, read_about, render
from audit.records import Document
from audit.result import audit_files, to_json
from audit.text import percent
from labeler.pack import models_folder, read_manifest
from tests.audit.tables import HOSTILE, Made, make

SAID = {key: f"What the owner says of {key}." for key in ABOUT}
HEADINGS = (
    "Motivation",
    "Composition",
    "Collection process",
    "Preprocessing, cleaning and labelling",
    "Uses",
    "Distribution",
    "Maintenance",
)
EVIL = '"><script>alert(1)</script> [x](http://a.b) `c` | **b**\u202e'


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    made = make(tmp_path_factory.mktemp("datasheet"), failures=HOSTILE)
    return audit_files(made.labels, made.truth)


def test_it_has_every_heading_of_a_data_sheet(document: Document) -> None:
    text = render(document, {}, None)
    found = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert found == [*HEADINGS, "Provenance"]


def test_it_holds_the_shares_the_outcomes_and_the_accuracies(document: Document) -> None:
    text = render(document, {}, None)
    assert "605 image files in the store faces" in text
    assert "5 files without labels: no face found 2, damaged 2, format not supported 1." in text
    for record in document["shares"]:
        if record["grade"] == "raw" and "×" not in record["attribute"] and record["status"] == "ok":
            assert f"| {percent(record['value'])} |" in text
    overall = next(r for r in document["performance"] if r["metric"] == "accuracy" and not r["group"])
    assert percent(overall["value"]).replace("\N{NO-BREAK SPACE}", " ") in text
    assert document["provenance"]["labels"]["sha256"] in text


def test_what_only_the_owner_can_say_is_marked_where_it_is_missing(document: Document) -> None:
    silent, told = render(document, {}, None), render(document, SAID, None)
    assert silent.count("The owner of the store can say it with `--about`") == 9
    assert "can say it with" not in told
    assert all(text in told for text in SAID.values())


def test_names_are_text_in_both(document: Document) -> None:
    changed = json.loads(to_json(document).replace("White", json.dumps(EVIL)[1:-1]))
    changed["store"]["name"] = changed["pack"]["name"] = changed["verdict"]["reasons"][0] = EVIL
    changed["provenance"]["labels"]["file"] = EVIL
    text = render(changed, {}, None)
    assert "<" not in text
    assert "[x]" not in text
    assert "http:" not in text
    assert "\u202e" not in text + to_json(croissant.describe(changed, {}, None))


def test_the_model_card_is_embedded_where_the_pack_is_at_hand(document: Document) -> None:
    folder = models_folder() / "fairface"
    if not (folder / "CARD.md").is_file():
        pytest.skip("the pack fairface is not here")
    assert find_card(document) is None
    own = json.loads(to_json(document))
    own["pack"].update(name="fairface", digest=read_manifest(folder).digest)
    card = find_card(own)
    assert card is not None
    text = render(own, {}, card)
    assert "## Appendix: the model card of the pack fairface" in text
    assert "#### What not for" in text
    assert text.count("\n# ") == 0
    assert any(
        "FairFace (CC-BY-4.0)" in tool for tool in croissant.describe(own, {}, card)["rai:machineAnnotationTools"]
    )
    own["pack"]["name"] = "../fairface"
    assert find_card(own) is None


def test_the_json_ld_says_what_it_conforms_to_and_describes_the_label_table(document: Document) -> None:
    made = croissant.describe(document, SAID, None)
    assert made["@type"] == "sc:Dataset"
    assert made["conformsTo"] == ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
    assert made["distribution"][0]["sha256"] == document["provenance"]["labels"]["sha256"]
    columns = {field["source"]["extract"]["column"] for field in made["recordSet"][0]["field"]}
    assert {"path", "status", "age", "age_group", "gender", "ethnicity"} <= columns
    assert json.loads(to_json(made)) == made


def test_every_responsible_property_is_one_of_the_vocabulary(document: Document) -> None:
    vocabulary = set(
        "dataCollection dataCollectionType dataCollectionMissingData dataCollectionRawData dataCollectionTimeframe "
        "dataPreprocessingProtocol dataImputationProtocol dataManipulationProtocol dataReleaseMaintenancePlan "
        "personalSensitiveInformation dataAnnotationProtocol dataAnnotationPlatform dataAnnotationAnalysis "
        "annotationsPerItem annotatorDemographics machineAnnotationTools dataSocialImpact dataBiases dataLimitations "
        "dataUseCases".split()
    )
    used = {key.removeprefix("rai:") for key in croissant.describe(document, SAID, None) if key.startswith("rai:")}
    assert used <= vocabulary
    assert len(used) == 14


def test_nothing_is_invented_that_nobody_said(document: Document) -> None:
    made = croissant.describe(document, {}, None)
    assert not {"license", "url", "creator", "datePublished", "version", "citeAs", "rai:dataCollection"} & set(made)
    assert croissant.unsaid({}) == ["licence", "url", "creator", "published"]


def test_an_empty_store_has_a_data_sheet(tmp_path: Path) -> None:
    nothing = audit_files(make(tmp_path, n=0).labels)
    assert "0 image files in the store faces" in render(nothing, {}, None)
    assert croissant.describe(nothing, {}, None)["rai:dataCollectionMissingData"] == "Each file was labelled."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 'red'", "colour is no key of it"),
        ("licence = 3", "licence is not a text"),
        ("licence = ''", "licence is not a text"),
        ("licence", "is not TOML"),
        ("licence = '\udcff'", "is not TOML"),
    ],
)
def test_a_file_about_the_store_that_means_nothing_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "about.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasheetError, match=message):
        read_about(tmp_path / "about.toml")


def test_a_missing_file_about_the_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasheetError, match="cannot be read"):
        read_about(tmp_path / "nowhere.toml")


def test_the_command_writes_both_and_says_what_is_left_out(made: Made, tmp_path: Path) -> None:
    (tmp_path / "about.toml").write_text("licence = 'CC0-1.0'\n")
    arguments = ["datasheet", str(made.labels), "--out", str(tmp_path / "sheet.md"), "--date", "2026-11-22"]
    arguments += ["--croissant", str(tmp_path / "sheet.json"), "--about", str(tmp_path / "about.toml")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "left out: url, creator, published" in done.output
    assert "| Audited | 2026-11-22, with efrs-labeler" in (tmp_path / "sheet.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "sheet.json").read_text(encoding="utf-8"))["license"] == "CC0-1.0"


def test_the_reference_library_accepts_the_json_ld(document: Document, tmp_path: Path) -> None:
    library = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    (tmp_path / "croissant.json").write_text(to_json(croissant.describe(document, SAID, None)), encoding="utf-8")
    assert library.Dataset(jsonld=tmp_path / "croissant.json").metadata.name == SAID["name"]
