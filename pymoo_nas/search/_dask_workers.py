"""Score candidates in other processes, on this machine or on a cluster, with Dask.

Dask schedules, restarts and transports (https://distributed.dask.org). Every worker gets the probe
once, as a plugin; a task is the text of one genotype. When a worker dies, another worker tries its
candidate again. When that worker dies too, the candidate counts as failed and the search goes on.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import torch

from pymoo_nas._machine import positive, threads_set, whole
from pymoo_nas.errors import WorkerError
from pymoo_nas.scores import Scores
from pymoo_nas.search._candidates import CandidateScorer
from pymoo_nas.search._steadiness import FAILED, Steadiness, steadiness

Found = TypeVar("Found", Scores, Steadiness)

MAX_DEATHS = 2
"""Number of deaths of processes started here after which Dask gives a candidate back."""

CONNECT_SECONDS = 30
"""Seconds to wait for the answer of a scheduler, and as many for its first worker."""

LOCAL: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": MAX_DEATHS - 1,
    # There is nothing to spill to disk, and a worker that pauses for lack of memory waits forever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.preload": ["pymoo_nas.search._dask_workers"],
    # Hundreds of feature maps are made and freed. By default (of Dask, and of glibc outside the
    # main thread) the memory of each goes back to the system at once. Fetching its pages again
    # takes as long as all the arithmetic (studies/speed.py).
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_MAX_": 0,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
}
"""Dask's settings for the processes that are started here."""

PATIENT: dict[str, Any] = {"distributed.deploy.lost-worker-timeout": "1000 days"}
"""Dask's setting while workers run. By default Dask waits 15 s for a lost process, and abandons for
good a process that is starting then. With this setting a new process starts after every death."""


class Workers:
    """Processes that score candidates; used as a context.

    The number of workers does not change the scores. On equal machines, one process with as many
    threads gives the same scores to the bit: the seed of the problem decides everything random.

    Args:
        n: processes to start on this machine; with CUDA one per device is enough.
        address: in place of `n`, the address of a running Dask scheduler, such as
            ``tcp://10.0.0.1:8786``; pymoo-nas must be installed where its workers run.
        threads: torch's threads for one candidate; None divides the threads of this process among
            the processes that are started here, and takes 1 on a cluster.
        seconds: longest time to score one candidate, which then has failed, and to measure its
            gradients, which then count as not steady; None for no limit.
        memory: bytes that a process started here may take before it is ended; None divides the
            memory of the machine among the processes.

    Raises:
        WorkerError: Dask is not installed; neither or both of `n` and `address` are given; on
            entering the context, no scheduler answers, or the scheduler has no workers.
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        address: str | None = None,
        threads: int | None = None,
        seconds: float | None = None,
        memory: int | None = None,
    ) -> None:
        if (n is None) == (address is None):
            raise WorkerError(f"workers: n={n}, address={address}; expected one of the two")
        if n is not None:
            n = whole("workers: n", n, error=WorkerError)
        if threads is None:
            threads = max(1, torch.get_num_threads() // n) if n is not None else 1
        threads = whole("workers: threads", threads, error=WorkerError)
        if seconds is not None:
            seconds = positive("workers: seconds", seconds, error=WorkerError)
        if memory is not None:
            memory = int(positive("workers: memory", memory, error=WorkerError))
        try:
            import distributed  # noqa: F401, PLC0415 - an extra
        except ImportError as error:
            raise WorkerError(
                "workers need Dask: pip install 'pymoo-nas[dask]', or search without workers"
            ) from error
        self.n = n
        self.address = address
        self.threads = threads
        self.seconds = seconds
        self.memory = memory
        self._disconnect()

    def _disconnect(self) -> None:
        """Forget the connection, so that nothing counts as open."""
        self._client: Any = None
        self._open = ExitStack()
        self._held: CandidateScorer | None = None
        self._plugin = ""

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings without the connection; a copy has to be entered anew."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._disconnect()

    def __enter__(self) -> Workers:
        try:
            self._connect()
        except BaseException:
            self._close()
            raise
        return self

    def _connect(self) -> None:
        import dask  # noqa: PLC0415
        import distributed  # noqa: PLC0415

        where: Any = self.address
        if self.n is not None:
            self._open.enter_context(dask.config.set(PATIENT))
            with dask.config.set({**LOCAL, **_waiting()}):
                cluster = distributed.LocalCluster(
                    n_workers=self.n,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    **({"memory_limit": self.memory} if self.memory else {}),
                    dashboard_address="127.0.0.1:0",
                    silence_logs="CRITICAL",  # the reason of a failed candidate says it
                )
            where = self._open.enter_context(cluster)
        try:
            client = distributed.Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
            self._client = self._open.enter_context(client)
        except (OSError, ValueError, TimeoutError) as error:
            raise WorkerError(
                f"no Dask scheduler answers at {self.address} within {CONNECT_SECONDS} s "
                f"({error}); expected an address such as tcp://10.0.0.1:8786"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise WorkerError(
                f"scheduler {self.address} has no workers after {CONNECT_SECONDS} s; start some"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def score(
        self, scorer: CandidateScorer, texts: Sequence[str], n_checked: int = 0
    ) -> Iterator[tuple[int, Scores]]:
        """Score candidates; results come as they are ready.

        A candidate at which every worker dies counts as failed.

        Args:
            scorer: see `CandidateScorer`; it travels once to each worker.
            texts: texts of genotypes of its search space.
            n_checked: number of genotypes, from the first, that are checked with plain autograd.

        Yields:
            the place in `texts`, and the scores.

        Raises:
            ScoreError: see `CandidateScorer.score`.
        """
        jobs = [partial(_scores, check=place < n_checked) for place in range(len(texts))]
        limit = f", or took longer than {self.seconds:g} s" if self.seconds else ""
        reason = f"failed: every worker that tried it died (killed, or out of memory){limit}"
        yield from self._results(scorer, texts, jobs, lambda: scorer.not_scored(reason))

    def steadiness(
        self, scorer: CandidateScorer, texts: Sequence[str]
    ) -> Iterator[tuple[int, Steadiness]]:
        """Measure the steadiness of candidates; results come as they are ready.

        A candidate at which every worker dies counts as one whose gradients explode.

        Args:
            scorer: see `score`.
            texts: texts of genotypes of its search space.

        Yields:
            the place in `texts`, and the steadiness.
        """
        jobs = [steadiness] * len(texts)
        yield from self._results(scorer, texts, jobs, lambda: FAILED)

    def _results(
        self,
        scorer: CandidateScorer,
        texts: Sequence[str],
        jobs: Sequence[Callable[[Any, CandidateScorer], Found]],
        failed: Callable[[], Found],
    ) -> Iterator[tuple[int, Found]]:
        """Do a job for each text in a worker; yield its place and the result, in any order.

        Args:
            scorer: of all jobs.
            texts: texts of genotypes.
            jobs: (genotype, scorer) → result, in a worker, one for each text.
            failed: gives the result where every worker dies.
        """
        from distributed import as_completed  # noqa: PLC0415
        from distributed.scheduler import KilledWorker  # noqa: PLC0415

        if self._client is None:
            raise WorkerError(
                "the workers are closed; score within `with Workers(...) as problem.workers:`, or "
                "set problem.workers = None"
            )
        self._send(scorer)
        places = {
            self._submit(text, job): place
            for place, (text, job) in enumerate(zip(texts, jobs, strict=True))
        }
        died = []
        try:
            for future in as_completed(list(places), loop=self._client.loop):
                try:
                    yield places[future], future.result()
                except KilledWorker:
                    died.append(places[future])
            # Dask blames every candidate that waited for a dead worker. Now each is tried alone.
            for place in died:
                future = self._submit(texts[place], jobs[place])
                places[future] = place
                try:
                    yield place, future.result()
                except KilledWorker:
                    yield place, failed()
        finally:
            self._client.cancel(list(places))

    def _submit(self, text: str, job: Callable[[Any, CandidateScorer], Any]) -> Any:
        return self._client.submit(
            _done,
            self._plugin,
            text,
            job,
            threads=self.threads,
            seconds=self.seconds,
            key=f"{text}-{secrets.token_hex(8)}",
            pure=False,
        )

    def _send(self, scorer: CandidateScorer) -> None:
        """Send the scorer to all workers, also to workers that start later."""
        if self._held is scorer:
            return
        if self._plugin:
            self._client.unregister_worker_plugin(self._plugin)
        self._held, self._plugin = scorer, f"pymoo-nas-{secrets.token_hex(8)}"
        self._client.register_plugin(_plugin_of(scorer), name=self._plugin)

    def _close(self) -> None:
        """Close everything that is open, even if a part of that fails."""
        with self._open:
            if self._plugin and self.address is not None and self._client.status == "running":
                # A cluster that goes on must not keep the probe.
                self._client.unregister_worker_plugin(self._plugin)
            self._client = self._held = None
            self._plugin = ""


def scoring_processes(
    n: int | None = None,
    address: str | None = None,
    *,
    threads: int | None = None,
    seconds: float | None = None,
) -> AbstractContextManager[Workers | None]:
    """Open the workers that are asked for; this process gets as many threads as one worker.

    Args:
        n: see `Workers`.
        address: see `Workers`; without `n` and `address` this process scores, and None is yielded.
        threads: see `Workers`; without workers, None takes torch's number.
        seconds: see `Workers`.

    Raises:
        WorkerError: a time limit without workers; see also `Workers`.
    """
    if n is not None or address is not None:
        workers = Workers(n, address=address, threads=threads, seconds=seconds)
        return _opened(workers, workers.threads)
    if seconds is not None:
        raise WorkerError(
            f"--candidate-seconds {seconds:g}: only a process of its own can be stopped; add "
            "--workers 1 or more"
        )
    return _opened(nullcontext(), threads)


def _waiting() -> dict[str, str]:
    """Dask's setting with which threads that wait in a process started here sleep, not spin.

    Beside other work, threads that spin take the time of those that compute
    (studies/contention.py). A policy that the user has set stays.
    """
    policy = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    return {"distributed.nanny.pre-spawn-environ.OMP_WAIT_POLICY": policy}


@contextmanager
def _opened(workers: AbstractContextManager[Any], threads: int | None) -> Iterator[Any]:
    with threads_set(threads), workers as opened:
        yield opened


def dask_setup(worker: Any) -> None:
    """Ignore Ctrl-C, which the search handles; Dask calls this in every process started here."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _plugin_of(scorer: CandidateScorer) -> Any:
    from distributed import WorkerPlugin  # noqa: PLC0415

    class ScorerPlugin(WorkerPlugin):
        """Carries the scorer to a worker with images on the CPU, and there to its device."""

        def __init__(self) -> None:
            self.device = scorer.probe.images.device
            self.scorer = scorer.on(torch.device("cpu"))

        def setup(self, worker: Any) -> None:
            self.lock = threading.Lock()
            if self.device.type == "cuda":
                n_devices = torch.cuda.device_count()
                if not n_devices:
                    raise WorkerError(f"worker {worker.name}: no CUDA device there; use the CPU")
                index = int(worker.name) if str(worker.name).isdigit() else 0
                own = self.device.index if self.device.index is not None else index % n_devices
                self.scorer = self.scorer.on(torch.device("cuda", own))

    return ScorerPlugin()


def _scores(genotype: Any, scorer: CandidateScorer, *, check: bool) -> Scores:
    return scorer.score(genotype, check=check)


def _done(
    plugin: str,
    text: str,
    job: Callable[[Any, CandidateScorer], Found],
    *,
    threads: int,
    seconds: float | None,
) -> Found:
    """Do a job for one genotype in a worker; the worker dies when that takes too long."""
    # The first count of a network in a process imports this, which takes longer than most
    # candidates: before the clock of the candidate starts.
    import torch._dynamo  # noqa: PLC0415
    from distributed import get_worker  # noqa: PLC0415

    held: Any = get_worker().plugins[plugin]
    scorer: CandidateScorer = held.scorer
    # One candidate at a time: weights are drawn from torch's global generator, and a time limit
    # ends the process.
    with held.lock:
        torch.set_num_threads(threads)
        # A thread cannot be stopped from outside, a process can; Dask starts another one.
        alarm = threading.Timer(seconds, os._exit, args=(1,)) if seconds else None
        if alarm is not None:
            alarm.daemon = True
            alarm.start()
        try:
            return job(scorer.search_space.parse(text), scorer)
        finally:
            if alarm is not None:
                alarm.cancel()
