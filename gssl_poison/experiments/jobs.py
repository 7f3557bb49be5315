"""Tasks on whatever joblib runs them on, and workers that end with the run they belong to."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Sequence

from gssl_poison.exceptions import GsslPoisonError
from gssl_poison.experiments.measuring import Task

# Seconds between looks at whether the run is still there.
_LOOK = 0.5
# Who adopts a process whose parent has died.
_INIT = 1


def run_tasks(
    work: Callable[[Task], None],
    tasks: Sequence[Task],
    n_jobs: int | None,
    most: int | None = None,
) -> list[GsslPoisonError]:
    """Do some tasks, as many at a time as is said and as memory holds.

    Parameters
    ----------
    work : callable
        Of a task; can be pickled.
    tasks : sequence of Task
    n_jobs : int, optional
        By default, and with whatever backend, what an enclosing ``joblib.parallel_config`` says; 1
        is here and now, whatever backend is set.
    most : int, optional
        What memory holds.

    Returns
    -------
    list of GsslPoisonError
        Why tasks could not be done to their end: the others are done all the same. Any other error
        ends the run at once.
    """
    from joblib import Parallel, delayed, effective_n_jobs
    from joblib.parallel import get_active_backend

    if n_jobs == 1:
        found = [_refusal_of(work, task) for task in tasks]
    else:
        jobs = effective_n_jobs(n_jobs)
        at_once = min(jobs, len(tasks), most or jobs)
        # One by one as they come, where the backend can: an error is seen when it happens.
        one_by_one = getattr(get_active_backend()[0], "supports_return_generator", False)
        return_as = "generator_unordered" if one_by_one else "list"
        found = list(
            Parallel(n_jobs=at_once, return_as=return_as, pre_dispatch="all")(
                delayed(_as_long_as_wanted)(work, task) for task in tasks
            )
        )
    return [error for error in found if error is not None]


def _refusal_of(work: Callable[[Task], None], task: Task) -> GsslPoisonError | None:
    """Do a task; return why it could not be done, if the package itself says so."""
    try:
        work(task)
    except GsslPoisonError as error:
        return error
    return None


def _as_long_as_wanted(work: Callable[[Task], None], task: Task) -> GsslPoisonError | None:
    """Do a task, and end with the run: a worker whose run is killed would go on for hours."""
    parent = os.getppid()
    if parent != task.owner:
        if parent == _INIT and os.getpid() != task.owner and _is_gone(task):
            os._exit(1)  # killed between two tasks
        # The run itself, or a worker that a cluster looks after.
        return _refusal_of(work, task)
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            if os.getppid() != task.owner:
                os._exit(1)

    looking = threading.Thread(target=look, name="owner", daemon=True)
    looking.start()
    try:
        return _refusal_of(work, task)
    finally:
        over.set()
        looking.join()


def _is_gone(task: Task) -> bool:
    """Tell whether the run that a task belongs to was here, and is here no more."""
    if task.host != platform.node():
        return False
    try:
        os.kill(task.owner, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
