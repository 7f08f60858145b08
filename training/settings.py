"""The settings of a training run: one JSON file beside the run says everything needed to repeat it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from labeler.errors import LabelerError
from labeler.taxonomy import ATTRIBUTES
from training.augment import Augmentation

BALANCES = ("none", "ethnicity", "gender,ethnicity", "gender,ethnicity,age_group")


@dataclass(frozen=True)
class Settings:
    """What a training run does.

    Parameters
    ----------
    network : str
        A name of `training.networks.NETWORKS`.
    attributes : str
        What is learned: some of `labeler.taxonomy.ATTRIBUTES`, with commas between. A pack needs all three.
    init : str
        Name of the run whose weights training starts from; empty for fresh weights.
    teachers : str
        Names of the runs whose outputs are soft targets, with commas between; empty for none.
    distillation : float
        Weight of the teachers' targets against the labels, 0 to 1 (Hinton et al. 2015, "Distilling the knowledge in
        a neural network").
    teacher_flip : bool
        Whether teachers are averaged over the crop and its mirror image, for twice their time.
    distillation_temperature : float
        Divides the logits of teachers and network alike before they are compared.
    width, height : int
        Size of the crop in pixels.
    colour : str
        ``gray`` or ``rgb``.
    framing : str
        ``landmarks`` (faces aligned to `labeler.faces.TEMPLATE`) or ``whole`` (the picture is the crop).
    margin : float
        Of aligned faces: the crop's size as a multiple of the template's; above 1 it shows more around the face.
    epochs, batch : int
        Passes over the training pictures; crops a step.
    learning_rate, weight_decay : float
        Of AdamW (Loshchilov and Hutter 2019); the rate rises over `warm_up` epochs, then falls as a cosine to 0.
    warm_up : float
        Epochs.
    early_epochs, early_side : int
        So many epochs at the start see crops reduced to this side, which costs less a picture and so buys more epochs
        (progressive resizing, Howard 2018); the rest see the crop's full size.
    averaging : float
        Decay of the moving average of the weights a step; the average is what is validated and exported.
    label_smoothing : float
        Share of the target spread evenly over all classes.
    age_softness : float
        Standard deviation, in age groups, of the bell that the target of age is; 0 for one-hot targets.
    age_years : bool
        Whether age is learned as a distribution over single years (`training.years`), for data with ages in years.
    year_softness : float
        Standard deviation, in years, of the bell that its target is.
    expectation : float
        Weight of the smooth absolute error of the expected age in years.
    age_weight, gender_weight, ethnicity_weight : float
        What each attribute's loss counts: gender, the easiest, has the smallest loss and moves the trunk least.
    agreement : float
        Weight of how far the answers to two disturbed crops of one picture differ (`training.objective.disagreement`),
        so that the label hangs less on how the face lies in the crop. Above 0, an epoch shows every picture twice.
    mix_up : float
        Parameter of the beta distribution that says in which shares two crops are mixed (Zhang et al. 2018, "mixup");
        the other crop is one of another perceived ethnicity where the batch has any. 0 mixes none.
    balance : str
        One of `BALANCES`: groups sampled so that each combination is shown more equally often.
    balance_power : float
        1 shows every group equally often, 0 as often as it occurs.
    validation : int
        Pictures cut out of the training split for early stopping, choice and calibration.
    patience : int
        Epochs without a better validation loss after which training stops; 0 never stops early.
    mixed_precision : bool
        Convolutions in bfloat16.
    rounding : bool
        Whether the network rounds as in int8 while it learns, so that its weights settle where rounding costs least:
        for a few epochs from a trained run (`init`) before ``export --int8``.
    seed : int
        Of everything.
    augmentation : Augmentation
        How the crops are disturbed.
    """

    network: str = "residual"
    attributes: str = ",".join(ATTRIBUTES)
    init: str = ""
    teachers: str = ""
    distillation: float = 0.5
    distillation_temperature: float = 2.0
    teacher_flip: bool = True
    width: int = 48
    height: int = 48
    colour: str = "gray"
    framing: str = "landmarks"
    margin: float = 1.0
    epochs: int = 8
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.5
    early_epochs: int = 0
    early_side: int = 36
    averaging: float = 0.998
    label_smoothing: float = 0.05
    age_softness: float = 0.5
    age_years: bool = False
    year_softness: float = 2.5
    expectation: float = 0.1
    age_weight: float = 1.0
    gender_weight: float = 1.0
    ethnicity_weight: float = 1.0
    agreement: float = 0.0
    mix_up: float = 0.0
    balance: str = "none"
    balance_power: float = 0.5
    validation: int = 2000
    patience: int = 0
    mixed_precision: bool = True
    rounding: bool = False
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes that are learned, in the order of `labeler.taxonomy.ATTRIBUTES`."""
        wanted = self.attributes.split(",")
        return tuple(name for name in ATTRIBUTES if name in wanted)

    @property
    def views(self) -> int:
        """How many crops of a picture a step sees: two where their answers shall agree."""
        return 2 if self.agreement else 1

    def weight(self, attribute: str) -> float:
        """Return what an attribute's loss counts."""
        return {"age": self.age_weight, "gender": self.gender_weight, "ethnicity": self.ethnicity_weight}[attribute]

    def to_document(self) -> dict[str, Any]:
        """Return the settings as a JSON document."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str = "settings") -> Settings:
        """Read settings from a JSON document; what it does not name keeps its default.

        Raises
        ------
        LabelerError
            If it names a setting that does not exist, or a value of another kind.

        Examples
        --------
        >>> Settings.from_document({"epochs": 3, "augmentation": {"flip": 0.0}}).augmentation.flip
        0.0
        """
        values = dict(document)
        inner = values.pop("augmentation", {})
        if not isinstance(inner, Mapping):
            raise LabelerError(f"{where}: augmentation must be an object of settings")
        augmentation = replace(Augmentation(), **_checked(Augmentation(), inner, f"{where}: augmentation"))
        settings = replace(cls(), **_checked(cls(), values, where), augmentation=augmentation)
        settings.check(where)
        return settings

    def check(self, where: str) -> None:
        """Raise `LabelerError` where a value cannot work."""
        if self.framing not in ("landmarks", "whole"):
            raise LabelerError(f"{where}: framing is {self.framing!r}; expected landmarks or whole")
        if self.colour not in ("gray", "rgb"):
            raise LabelerError(f"{where}: colour is {self.colour!r}; expected gray or rgb")
        if self.balance not in BALANCES:
            raise LabelerError(f"{where}: balance is {self.balance!r}; expected one of {' | '.join(BALANCES)}")
        if not self.names or set(self.attributes.split(",")) - set(ATTRIBUTES):
            raise LabelerError(f"{where}: attributes is {self.attributes!r}; expected some of {','.join(ATTRIBUTES)}")
        if not 0 <= self.distillation <= 1 or self.distillation_temperature <= 0 or self.mix_up < 0:
            raise LabelerError(
                f"{where}: distillation must be 0 to 1, distillation_temperature above 0 and mix_up 0 or more"
            )
        if self.agreement < 0 or (self.agreement and (self.mix_up or self.batch % 2)):
            raise LabelerError(f"{where}: agreement must be 0 or more, and above 0 goes with an even batch, not mix_up")
        if self.margin <= 0 or (self.framing == "whole" and self.margin != 1):
            raise LabelerError(f"{where}: margin is {self.margin}; expected more than 0, and 1 with whole pictures")
        for name in ("width", "height", "epochs", "batch", "validation"):
            if getattr(self, name) < 1:
                raise LabelerError(f"{where}: {name} is {getattr(self, name)}; expected 1 or more")


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """Read settings from a JSON file.

    Raises
    ------
    LabelerError
        If the file is missing, is not JSON, or holds a setting that does not exist.
    """
    name = os.fspath(path)
    try:
        document = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise LabelerError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise LabelerError(f"{name}: is not JSON ({error}); mend it") from error
    if not isinstance(document, Mapping):
        raise LabelerError(f"{name}: must be a JSON object of settings")
    return Settings.from_document(document, name)


def _checked(defaults: Settings | Augmentation, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {item.name: getattr(defaults, item.name) for item in fields(defaults)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise LabelerError(f"{where}: no setting is called {name!r}; there are {', '.join(known)}")
        kind = type(known[name])
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise LabelerError(f"{where}: {name} is {value!r}; expected {kind.__name__}")
        checked[name] = value
    return checked
