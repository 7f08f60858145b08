"""What a network is trained towards: softened labels, the years of an age, and the outputs of teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, smooth_l1_loss, softmax

from training.batches import Batch
from training.networks import Labeler
from training.settings import Settings
from training.sources import TrainingData
from training.years import expected_years, year_numbers, year_targets


def target_tables(class_counts: Mapping[str, int], smoothing: float, age_softness: float) -> dict[str, Tensor]:
    """Return, for each attribute, the target distribution of each class, shape (classes, classes).

    One-hot, smoothed evenly (Szegedy et al. 2016); for age a discrete bell over neighbouring groups (label
    distribution learning, Gao et al. 2017), for a neighbouring group is less wrong than a distant one.
    """
    tables: dict[str, Tensor] = {}
    for name, count in class_counts.items():
        table = torch.eye(count)
        if name == "age" and age_softness > 0:
            steps = torch.arange(count, dtype=torch.float32)
            table = torch.exp(-0.5 * ((steps[:, None] - steps[None, :]) / age_softness) ** 2)
            table = table / table.sum(dim=1, keepdim=True)
        tables[name] = (1 - smoothing) * table + smoothing / count
    return tables


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (n, K) against target distributions (n, K)."""
    return -(targets * log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def distillation_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return ``T² CE(targets, softmax(logits / T))``, shape (): Hinton et al. 2015.

    The factor keeps the gradient's size whatever the temperature.
    """
    return temperature**2 * soft_cross_entropy(logits / temperature, targets)


def disagreement(logits: Tensor) -> Tensor:
    """Return how far the answers to two crops of one picture differ, shape (): their mean symmetric divergence.

    ``(KL(p || q) + KL(q || p)) / 2`` of the probabilities of each pair (Liang et al. 2021, "R-Drop: regularized dropout
    for neural networks"), for logits (2 n, K) in which the crops of a picture follow one another.
    """
    first, second = log_softmax(logits.float(), dim=1).reshape(-1, 2, logits.shape[1]).unbind(1)
    return ((first.exp() - second.exp()) * (first - second)).sum(dim=1).mean() / 2


class Teachers:
    """Trained networks whose outputs on a crop, averaged over them and perhaps its mirror image, are soft targets.

    Parameters
    ----------
    networks : sequence of Labeler
        In evaluation mode; several threads may ask them at once.
    taught : sequence of set of str
        For each network, the attributes whose classes are those of the network to train.
    temperature : float
        Divides the logits before the softmax.
    flip : bool
        Average over the crop and its mirror image.
    mixed_precision : bool
        Convolutions in bfloat16.
    """

    def __init__(
        self,
        networks: Sequence[Labeler],
        taught: Sequence[set[str]],
        temperature: float,
        *,
        flip: bool,
        mixed_precision: bool,
    ) -> None:
        self.networks = list(networks)
        self.taught = list(taught)
        self.temperature = temperature
        self.flip = flip
        self.mixed_precision = mixed_precision

    @torch.no_grad()
    def targets(self, crops: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return for each attribute that is taught the mean probabilities, shape (n, classes).

        `crops` are those of the same pictures for each network: (n, channels, height, width).
        """
        found: dict[str, list[Tensor]] = {}
        for network, taught, own in zip(self.networks, self.taught, crops, strict=True):
            views = torch.cat([own, torch.flip(own, [3])]) if self.flip else own
            views = views.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed_precision):
                outputs = network(views)
            for name in taught & outputs.keys():
                probabilities = softmax(outputs[name].float() / self.temperature, dim=1)
                found.setdefault(name, []).extend(torch.split(probabilities, len(own)))
        return {name: torch.stack(values).mean(dim=0) for name, values in found.items()}


class Objective:
    """The loss of a training run.

    Parameters
    ----------
    data : TrainingData
        Labels and, where age is learned in years, the years.
    settings : Settings
        How targets are softened and losses weighted.
    taught : mapping of str to Tensor
        For each attribute that is taught, what the teachers say of every picture's undisturbed crop, shape
        (pictures, classes). The network sees the disturbed crop, so that it learns to say the same of both.
    """

    def __init__(self, data: TrainingData, settings: Settings, taught: Mapping[str, Tensor] | None = None) -> None:
        self.settings = settings
        self.taught = dict(taught or {})
        labels = {name: torch.from_numpy(data.labels[name]) for name in settings.names}
        counts = {name: data.class_counts[name] for name in settings.names}
        tables = target_tables(counts, settings.label_smoothing, settings.age_softness)
        self.years: Tensor | None = None
        if settings.age_years and data.years is not None:
            self.years = torch.from_numpy(data.years)
            labels["age"] = torch.from_numpy(year_numbers(data.years))
            tables["age"] = year_targets(settings.year_softness)
        self.targets = {name: tables[name][labels[name]] for name in settings.names}

    def __call__(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the mean loss of a batch from its logits; see `training.parallel.Loss`."""
        losses = []
        for name, logits in outputs.items():
            loss = soft_cross_entropy(logits, _mixed(self.targets[name], batch))
            if name in self.taught:
                temperature, weight = self.settings.distillation_temperature, self.settings.distillation
                loss = (1 - weight) * loss + weight * distillation_loss(
                    logits, _mixed(self.taught[name], batch), temperature
                )
            if self.settings.agreement:
                loss = loss + self.settings.agreement * disagreement(logits)
            losses.append(self.settings.weight(name) * loss)
        if self.years is not None and "age" in outputs:
            wanted = _mixed(self.years[:, None], batch)[:, 0]
            losses.append(self.settings.expectation * smooth_l1_loss(expected_years(outputs["age"]), wanted))
        return torch.stack(losses).sum()


def _mixed(targets: Tensor, batch: Batch) -> Tensor:
    """Return the targets of a batch's crops, shape (n, classes), of those of every picture; mixed as the crops are."""
    own = targets[torch.from_numpy(batch.indices)]
    if batch.partners is None or batch.shares is None:
        return own
    shares = torch.from_numpy(batch.shares)[:, None]
    return shares * own + (1 - shares) * targets[torch.from_numpy(batch.partners)]
