"""Tools for the machine: devices, memory, files, folders, and errors in plain words."""

from pymoo_nas._machine._devices import (
    MAX_SEED,
    exact_convolutions,
    processor,
    resolve_device,
    seeded,
    threads_set,
)
from pymoo_nas._machine._execution import as_written, uncompiled
from pymoo_nas._machine._files import (
    NUMBER,
    Kinds,
    atomic_write,
    check_kinds,
    expanded,
    holds_other,
    in_shell,
    in_unicode,
    read_object,
    strict_json,
    without_controls,
    write_csv,
    write_json,
)
from pymoo_nas._machine._folders import (
    LOCK,
    cache_folder,
    check_writable,
    locked,
    make_folder,
    unwritable,
)
from pymoo_nas._machine._imports import import_name, imported
from pymoo_nas._machine._memory import free_memory, is_out_of_memory, release_freed_memory
from pymoo_nas._machine._network_errors import network_errors
from pymoo_nas._machine._number_checks import LARGEST, not_negative, positive, share, whole
from pymoo_nas._machine._progress import ConsoleProgress, Progress, Report
from pymoo_nas._machine._tensorboard import (
    TENSORBOARD,
    Curves,
    forget_curves,
    has_curves,
    require_tensorboard,
)
from pymoo_nas._machine._version import versions

__all__ = [
    "LARGEST",
    "LOCK",
    "MAX_SEED",
    "NUMBER",
    "TENSORBOARD",
    "ConsoleProgress",
    "Curves",
    "Kinds",
    "Progress",
    "Report",
    "as_written",
    "atomic_write",
    "cache_folder",
    "check_kinds",
    "check_writable",
    "exact_convolutions",
    "expanded",
    "forget_curves",
    "free_memory",
    "has_curves",
    "holds_other",
    "import_name",
    "imported",
    "in_shell",
    "in_unicode",
    "is_out_of_memory",
    "locked",
    "make_folder",
    "network_errors",
    "not_negative",
    "positive",
    "processor",
    "read_object",
    "release_freed_memory",
    "require_tensorboard",
    "resolve_device",
    "seeded",
    "share",
    "strict_json",
    "threads_set",
    "uncompiled",
    "unwritable",
    "versions",
    "whole",
    "without_controls",
    "write_csv",
    "write_json",
]
