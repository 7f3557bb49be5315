"""What runs on a GPU and is checked and timed: a case, its check, a clock, and the card's ceilings.

Only where a ceiling is measured is cupy or torch imported: the tests run all else on a card and a
clock of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

# Repeats that are timed; fewer where one takes so long that all of them would take too long.
REPEATS, FEWEST = 25, 5
# Launches between two events, each on arrays of its own.
_MOST_LAUNCHES = 16
# Bytes that are copied to know the bandwidth, and to keep the device busy while launches queue up.
_COPIED, _OVER_PCIE = 2**31, 2**28
# Side of the products whose rates are the ceilings, and a block of scores of a million rows.
_SIDE, _BLOCK = 8192, (6720, 10_000, 784)
# Copies of a case: enough to be more than twice the second-level cache, where that takes so many.
_MOST_COPIES = 64


class CheckError(AssertionError):
    """Something else was found than numpy finds."""


@dataclass(frozen=True)
class Case:
    """Something that runs on arrays of its own, what it must find, and what that costs at least.

    ``within`` gives relative and absolute errors by output; what it does not name must be equal.
    ``reset`` puts back what a run overwrites, outside of what is timed. ``rate`` is the type that
    ``n_flops`` are done in, and names the ceiling. A run that is ``queued`` does not wait for the
    device: its launches can be handed over while the device is kept busy, so that no gap between
    them is timed. Of ``n_held`` bytes it may touch a few only. What a run has ``told`` goes into
    the row of its times.
    """

    run: Callable[[], Any]
    n_bytes: int = 0
    n_flops: int = 0
    n_held: int = 0
    rate: str = "float64"
    found: Callable[[], dict[str, np.ndarray]] = dict
    expected: Callable[[], dict[str, np.ndarray]] = dict
    within: dict[str, tuple[float, float]] = field(default_factory=dict)
    reset: Callable[[], None] | None = None
    queued: bool = True
    told: dict[str, Any] = field(default_factory=dict)


def check(case):
    """Run a case once and compare it; return the largest |found - expected| / |expected|."""
    case.run()
    found, largest = case.found(), 0.0
    for name, right in case.expected().items():
        if found[name].shape != right.shape:
            raise CheckError(f"{name} has shape {found[name].shape} and not {right.shape}")
        seen, right = found[name].astype(np.float64), right.astype(np.float64)  # noqa: PLW2901
        rtol, atol = case.within.get(name, (0.0, 0.0))
        # Not "off > allowed": what is not a number is wrong.
        wrong = ~(np.abs(seen - right) <= atol + rtol * np.abs(right))
        if wrong.any():
            at = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise CheckError(
                f"{name}: {wrong.sum()} of {wrong.size} are wrong, first {list(at)}, which is "
                f"{seen[at]:.17g} and not {right[at]:.17g}"
            )
        size = float(np.linalg.norm(right))
        if size > 0.0:
            largest = max(largest, float(np.linalg.norm(seen - right)) / size)
    return largest


# --- building cases


def poisoned(card, shape, dtype):
    """Return an array on the card that holds what no kernel writes."""
    return card.put(np.full(shape, np.nan if dtype.startswith("float") else -77, dtype=dtype))


def launched(card, name, *, grid, threads, arguments, outputs, shared=0, macros=None, **rest):
    """Return the case of one launch."""
    return Case(
        run=lambda: card.launch(name, grid, threads, arguments, shared=shared, **(macros or {})),
        found=lambda: {label: card.get(array) for label, array in outputs.items()},
        **rest,
    )


def called(call, **rest):
    """Return the case of a call of the library that returns arrays of the host by name."""
    last: dict[str, np.ndarray] = {}

    def run():
        last.update(call())

    return Case(run=run, found=lambda: last, queued=False, **rest)


def blocks(n, size):
    """Return how many blocks of a size cover n."""
    return -(-n // size)


def integers(*numbers):
    """Return numbers as a kernel takes them."""
    return tuple(np.int32(number) for number in numbers)


# --- timing


class Clock(Protocol):
    """Events on a device, and the host's own time."""

    def keep_busy(self) -> None:
        """Give the device work that takes longer than some launches take the host."""

    def event(self) -> Any:
        """Record an event."""

    def milliseconds(self, start: Any, end: Any) -> float:
        """Wait for the later event, and return the time between the two."""

    def seconds(self) -> float:
        """Return the time of the host."""


class GpuClock:
    """Events of the GPU that cupy computes on; see `_gpu_checks.Clock`."""

    def __init__(self, cupy):
        self.cupy = cupy
        # Not zeros, which may move faster than data do.
        self.here = cupy.arange(_COPIED // 8).view("uint8")
        self.there = cupy.empty(self.here.shape, dtype="uint8")

    def keep_busy(self):
        self.cupy.copyto(self.there, self.here)

    def event(self):
        event = self.cupy.cuda.Event()
        event.record()
        return event

    def milliseconds(self, start, end):
        end.synchronize()
        return self.cupy.cuda.get_elapsed_time(start, end)

    def seconds(self):
        return time.perf_counter()


def copies_of(case, cache):
    """Return how many cases to take turns with, so that none finds its inputs in the cache."""
    size = max(case.n_bytes, case.n_held, 1)
    if not case.queued:
        # From the host, or in parts; where it is far more than the cache, no turns are needed.
        return 1 if size > 2 * cache else 2
    return int(np.clip(2 * cache // size + 1, 2, _MOST_COPIES))


def measure(clock, cases, *, repeats=REPEATS, most_seconds=8.0):
    """Time cases in turns with device events, after one run of each; return microseconds a run.

    Cases with a ``reset``, or that wait for the device, are timed one by one.
    """
    for case in cases:
        case.run()
    queued = all(case.queued for case in cases)
    single = not queued or any(case.reset is not None for case in cases)
    together = 1 if single else min(max(len(cases), 4), _MOST_LAUNCHES)
    times, turn, began = [], 0, clock.seconds()
    while len(times) < repeats and (len(times) < FEWEST or clock.seconds() - began < most_seconds):
        chosen = [cases[(turn + k) % len(cases)] for k in range(together)]
        turn += together
        for case in chosen:
            if case.reset is not None:
                case.reset()
        if queued:
            clock.keep_busy()
        start = clock.event()
        for case in chosen:
            case.run()
        times.append(1e3 * clock.milliseconds(start, clock.event()) / together)
    return times


def roofline(case, ceilings):
    """Return the two times, in microseconds, that a case takes at least by the ceilings.

    ``ceilings`` holds GB/s of "copy", and GFLOP/s by type; what it lacks is not a number.
    """
    rates = (ceilings.get(name, np.nan) for name in ("copy", case.rate))
    return tuple(
        n / rate / 1e3 for n, rate in zip((case.n_bytes, case.n_flops), rates, strict=True)
    )


def row_of(case, times, ceilings, *, operation, kind, size, **more):
    """Return a row of the table: what it took, and how near that is to what it must."""
    median, low, high = (float(q) for q in np.quantile(times, [0.5, 0.25, 0.75]))
    row = {
        "operation": operation,
        "kind": kind,
        "size": "x".join(map(str, size)),
        "median us": median,
        "q1 us": low,
        "q3 us": high,
        "runs": len(times),
    }
    if case.n_bytes or case.n_flops:
        by_bytes, by_flops = roofline(case, ceilings)
        row |= {
            "MB": case.n_bytes / 1e6,
            "MFLOP": case.n_flops / 1e6,
            "type": case.rate,
            "us by bytes": by_bytes,
            "us by FLOPs": by_flops,
            "of copy bandwidth": by_bytes / median,
            "of its rate": by_flops / median,
            "of roofline": float(np.fmax(by_bytes, by_flops)) / median,
        }
        if "us of rechecks" in case.told:
            # By numpy here, in one thread: neither the card's time nor what the library takes.
            row["of its rate, rechecks aside"] = by_flops / (median - case.told["us of rechecks"])
    return row | case.told | more


# --- ceilings


def ceilings_of(card, clock, report):
    """Measure the card's own rates: GB/s of copies, GFLOP/s of products by type."""
    xp, known = card.xp, {}
    rng = np.random.default_rng()

    def rate(name, case, per):
        times = report.attempt(name, lambda: measure(clock, [case], most_seconds=3.0))
        if times:
            # Bytes or operations a microsecond, in thousands: GB/s or GFLOP/s.
            known[name] = per / float(np.median(times)) / 1e3
            report.add({"operation": name, "size": "", "kind": "ceiling", "rate": known[name]})

    rate("copy", Case(clock.keep_busy), 2 * _COPIED)

    def product(name, dtype, shape):
        rows, columns, inner = shape
        A, B = (
            card.put(
                rng.integers(-99, 99, size, dtype=np.int8)
                if dtype == "int8"
                else rng.random(size, dtype="float32").astype(dtype)
            )
            for size in ((rows, inner), (columns, inner))
        )
        out = card.empty((rows, columns), "int32" if dtype == "int8" else dtype)
        rate(name, Case(lambda: card.multiply(A, B, out)), 2 * rows * columns * inner)

    block = "x".join(map(str, _BLOCK))
    for dtype in ("float32", "float64", "int8"):
        product(dtype, dtype, (_SIDE,) * 3)
    for dtype in ("float32", "int8"):
        product(f"{dtype} {block}", dtype, _BLOCK)
    report.attempt("rates of torch", lambda: torch_rates(rate))
    report.attempt("PCIe", lambda: pcie(xp, rate))
    return known


def torch_rates(rate):
    """Measure products that are coarser than any here, for comparison."""
    if find_spec("torch") is None:
        print("skipped: torch is not installed")
        return
    import torch

    for name, dtype, coarse in (("tf32", "float32", True), ("bf16", "bfloat16", False)):
        A, B = (torch.randn(_SIDE, _SIDE, device="cuda").to(getattr(torch, dtype)) for _ in "AB")
        torch.backends.cuda.matmul.allow_tf32 = coarse
        rate(name, Case(lambda a=A, b=B: a @ b.T), 2 * _SIDE**3)
    torch.backends.cuda.matmul.allow_tf32 = False


def pcie(xp, rate):
    """Measure copies between the host and the card."""
    import cupyx

    there, stream = xp.empty(_OVER_PCIE, dtype="uint8"), xp.cuda.get_current_stream()
    pinned, pageable = cupyx.empty_pinned(_OVER_PCIE, "uint8"), np.empty(_OVER_PCIE, "uint8")
    for name, host in (("pinned", pinned), ("pageable", pageable)):
        host[:] = 1
        ways = {
            "up": lambda h=host: there.set(h, stream=stream),
            "down": lambda h=host: there.get(stream=stream, out=h, blocking=False),
        }
        for way, call in ways.items():
            rate(f"{name} {way}", Case(call, queued=False), _OVER_PCIE)
