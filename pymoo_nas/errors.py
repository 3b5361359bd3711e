"""Exceptions of pymoo_nas, in one family.

    PymooNasError
    ├── GenotypeError      a text or a tuple that spells no cell
    ├── OperationError     an unknown or unusable candidate operation
    ├── DatasetError       images or labels that are absent or do not fit
    ├── NetworkError       a network that cannot take these images
    ├── ScoreError         a network or a batch that cannot be scored
    │   └── MemoryLimitError   a limit of memory that is too low for a network
    ├── SearchError        settings of a search that contradict each other
    ├── DeviceError        a device that is not there
    ├── WorkerError        processes or a cluster that cannot be used
    ├── ExportError        a network that cannot be exported, or a file that cannot be used
    ├── ReportError        a report that cannot be made or written
    └── RunError           a run folder that is missing, in use or incomplete

Every message says what was given, what was expected and what to do. All are `ValueError`s, so that
code that knows nothing of this package can catch them too.
"""


class PymooNasError(ValueError):
    """An error that a user can mend; the command line prints it and exits with 2."""


class GenotypeError(PymooNasError):
    """A text or a tuple that spells no cell."""


class OperationError(PymooNasError):
    """An unknown or unusable candidate operation."""


class DatasetError(PymooNasError):
    """Images or labels that are absent or do not fit."""


class NetworkError(PymooNasError):
    """A network that cannot take these images."""


class ScoreError(PymooNasError):
    """A network or a batch of images that cannot be scored."""


class MemoryLimitError(ScoreError):
    """A limit of memory that is too low to score a network."""


class SearchError(PymooNasError):
    """Settings of a search that contradict each other or cannot be met."""


class DeviceError(PymooNasError):
    """A device that is not there."""


class WorkerError(PymooNasError):
    """Processes or a cluster that cannot be used."""


class ExportError(PymooNasError):
    """A network that cannot be exported, or an exported file that cannot be used."""


class ReportError(PymooNasError):
    """A report that cannot be made or written."""


class RunError(PymooNasError):
    """A run folder that is missing, in use or incomplete."""
