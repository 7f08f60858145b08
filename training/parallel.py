"""Gradients on several cores: one replica of the network a thread, each with its share of the batch.

Threads inside one operation meet at a barrier several hundred times a step; where another process holds a core for a
while, every meeting waits for it and a step takes ten times as long. Replicas meet once a step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from training.batches import Batch
from training.networks import Labeler
from training.pictures import Pixels

Loss = Callable[[Mapping[str, Tensor], Batch], Tensor]
"""From the logits of a batch and the batch to its mean loss."""


class Replicas:
    """A network and copies of it, which share the work of a step.

    Each replica normalises its batches by its own share (as is usual in data-parallel training); the running
    statistics are those of the network itself. The result depends on the number of replicas, not on timing, provided
    that the network draws no random numbers.

    Parameters
    ----------
    network : Labeler
        The network to train; its parameters get the gradients.
    count : int
        Replicas, the network itself included: one a core.
    mixed_precision : bool
        Convolutions in bfloat16.
    """

    def __init__(self, network: Labeler, count: int, *, mixed_precision: bool) -> None:
        self.networks = [network, *(copy.deepcopy(network) for _ in range(count - 1))]
        self.mixed_precision = mixed_precision
        self._parameters: list[list[Tensor]] = [list(replica.parameters()) for replica in self.networks]
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def gradients(self, batch: Batch, loss: Loss) -> float:
        """Put the gradient of a batch's mean loss into the network and return the loss.

        Parameters
        ----------
        batch : Batch
            With at least one crop for each replica.
        loss : callable
            See `Loss`.
        """
        shares = batch.split(len(self.networks))
        tasks = [self._pool.submit(self._share, replica, share, loss) for replica, share in enumerate(shares)]
        losses = [task.result() for task in tasks]
        weights = [len(share.crops) / len(batch.crops) for share in shares]
        first = [parameter.grad for parameter in self._parameters[0] if parameter.grad is not None]
        torch._foreach_mul_(first, weights[0])
        for parameters, weight in zip(self._parameters[1:], weights[1:], strict=True):
            others = [parameter.grad for parameter in parameters if parameter.grad is not None]
            torch._foreach_add_(first, others, alpha=weight)
        return float(np.average(losses, weights=weights))

    @torch.no_grad()
    def share_weights(self) -> None:
        """Copy the network's parameters to its replicas, after the optimiser has moved them."""
        for parameters in self._parameters[1:]:
            torch._foreach_copy_(parameters, self._parameters[0])

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _share(self, replica: int, share: Batch, loss: Loss) -> float:
        network = self.networks[replica].train()
        for parameter in self._parameters[replica]:
            parameter.grad = None
        crops = as_input(share.crops)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed_precision):
            outputs = network(crops)
        value = loss(outputs, share)
        torch.autograd.backward(value)
        return float(value.detach())


def as_input(crops: Pixels) -> Tensor:
    """Return crops (n, channels, height, width), uint8, as a network takes them: float32, 0 to 1."""
    return torch.from_numpy(crops).to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)
