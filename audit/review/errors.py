"""The errors of a review: a call that cannot be carried out, and a request that is refused."""

from __future__ import annotations

from labeler.errors import LabelerError


class ReviewError(LabelerError):
    """A review cannot be started, cut or exported as it was asked for."""


class RefusedError(LabelerError):
    """A request of the page that is not followed; the message is shown there.

    Parameters
    ----------
    message : str
        One line.
    status : int
        The HTTP status.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
