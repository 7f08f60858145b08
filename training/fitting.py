"""The training of a small network: a moving average of its weights, and a checkpoint after every epoch."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training.batches import Batch, in_background
from training.networks import Labeler
from training.parallel import Loss, Replicas
from training.train import learning_rate, save_checkpoint, update_average
from training.trained import read_checkpoint

PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.02
AVERAGING = 0.998


class Fit(ABC):
    """The training of a network; one that is in the folder already is continued.

    Parameters
    ----------
    network : Labeler
        With fresh weights.
    epochs : int
        Until when.
    folder : Path
        Where the checkpoint goes.
    threads : int
        Replicas that share each batch, one a core. Another number gives slightly other weights.
    mixed_precision : bool
        Convolutions in bfloat16.
    """

    def __init__(
        self, network: Labeler, epochs: int, folder: Path, *, threads: int, mixed_precision: bool = False
    ) -> None:
        self.network, self.epochs = network, epochs
        self.average = copy.deepcopy(network)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        self.losses: list[float] = []
        self.path = folder / "last.pt"
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            checkpoint = read_checkpoint(self.path)
            self.network.load_state_dict(checkpoint["network"])
            self.average.load_state_dict(checkpoint["average"])
            self.optimiser.load_state_dict(checkpoint["optimiser"])
            self.losses = list(checkpoint["losses"])
        self.replicas = Replicas(network, threads, mixed_precision=mixed_precision)

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches in an epoch."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """What is made small."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; the same number gives the same."""

    def train(self, *, progress: bool = False) -> nn.Module:
        """Train to the last epoch and return the moving average of the weights."""
        self.replicas.share_weights()
        while len(self.losses) < self.epochs:
            started = time.perf_counter()
            self.losses.append(self.run_epoch(len(self.losses)))
            save_checkpoint(self.checkpoint(), self.path)
            if progress:
                seconds = time.perf_counter() - started
                tqdm.write(f"epoch {len(self.losses)}/{self.epochs}: loss {self.losses[-1]:.4f}, {seconds:.0f} s")
        self.replicas.close()
        return self.average.eval()

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that the next epoch needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
        }

    def run_epoch(self, epoch: int) -> float:
        """Show every batch of an epoch to the network once and return the mean loss."""
        losses = []
        for number, part in enumerate(in_background(self.batches(epoch))):
            step = epoch * self.steps + number
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(step, self.steps * self.epochs, 0.5 * self.steps, PEAK_RATE)
            losses.append(self.replicas.gradients(part, self.loss))
            self.optimiser.step()
            self.replicas.share_weights()
            update_average(self.average, self.network, min(AVERAGING, (1 + step) / (10 + step)))
        return float(np.mean(losses))
