"""The one exception hierarchy: every error this project raises on purpose is a LabelerError."""


class LabelerError(Exception):
    """An error whose message names the file, row or option, and what to do about it.

    A command prints the message on one line and ends with exit code 2.
    """


class StoreError(LabelerError):
    """The store cannot be walked: it is missing, or it is not a folder."""


class PackError(LabelerError):
    """A model pack is missing, damaged, or says something this version cannot use."""


class TableError(LabelerError):
    """A label table is missing, damaged, or not a label table at all."""


class TruthError(LabelerError):
    """A truth file or a data set's labels hold something that has no defined meaning."""


class DecodeError(LabelerError):
    """An image file could not become pixels.

    Parameters
    ----------
    status : str
        The row's status, one of `labeler.table.STATUSES` other than ``ok`` and ``no_face``.
    message : str
        One line for the ``error`` column.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
