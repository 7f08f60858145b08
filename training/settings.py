"""The settings of a training run: one JSON file beside the run says everything needed to repeat it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from labeler.errors import LabelerError
from training.augment import Augmentation

BALANCES = ("none", "ethnicity", "gender,ethnicity", "gender,ethnicity,age_group")


@dataclass(frozen=True)
class Settings:
    """What a training run does.

    Parameters
    ----------
    network : str
        A name of `training.networks.NETWORKS`.
    width, height : int
        Size of the crop in pixels.
    colour : str
        ``gray`` or ``rgb``.
    framing : str
        ``landmarks`` (faces aligned to `labeler.faces.TEMPLATE`) or ``whole`` (the picture is the crop).
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
    seed : int
        Of everything.
    augmentation : Augmentation
        How the crops are disturbed.
    """

    network: str = "residual"
    width: int = 48
    height: int = 48
    colour: str = "gray"
    framing: str = "landmarks"
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
    balance: str = "none"
    balance_power: float = 0.5
    validation: int = 2000
    patience: int = 0
    mixed_precision: bool = True
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

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
