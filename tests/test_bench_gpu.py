"""The benchmark of the GPU without one: its checks, its clock and its table.

Kernels run here on the CPU. What is left to a card is what cupy does.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_on_cpu import KERNELS, DeviceArray, ShimCard, build

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import _gpu_checks  # noqa: E402
import _gpu_influence  # noqa: E402
import _gpu_peers  # noqa: E402
import bench_gpu  # noqa: E402
import common  # noqa: E402
from _gpu_checks import Case, CheckError, check, measure  # noqa: E402

import gssl_poison as gp  # noqa: E402
from gssl_poison.kernels import cuda  # noqa: E402

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")

# What stands for the macro of a source in the checks of small sizes.
TYPES = {
    "center_rows": ("unsigned char", "float"),
    "encode_rows": ("unsigned char", "float"),
    "slice_rows": ("float",),
    "row_shares": ("float", "int"),
    "column_totals": ("float", "int"),
    "flip_errors": ("128", "64"),
}
# A change of a source, and the operation whose check must notice it.
CHANGES = [
    ("row_shares", "if (j != column) ", "", "row_shares"),
    ("flip_errors", "most + tie", "most", "flip_errors"),
    ("nearest", "(a == b && i < j)", "(a == b && i > j)", "nearest"),
    ("propagation_step", "clamped ? own : score", "clamped ? score : score", "loop"),
]


def small(table):
    """Return every case that is checked at a small size."""
    return [
        pytest.param(build, size, id="-".join([build.__name__, *map(str, size)]))
        for build, (sizes, _) in table.items()
        for size in sizes
    ]


def source_of(name, was, becomes):
    text = (KERNELS / f"{name}.cu").read_text()
    assert was in text
    return text.replace(was, becomes)


@pytest.fixture(scope="module")
def card(kernel_folder):
    """Give a card whose kernels are compiled, two at a time."""
    jobs = []
    for path in sorted(KERNELS.glob("*.cu")):
        found = re.findall(r"#ifndef (\w+)", path.read_text())
        macros = [{macro: kind} for macro in found for kind in TYPES[path.stem]] or [{}]
        jobs += [(path.stem, None, given) for given in macros]
    for name, was, becomes, _ in CHANGES:
        macros = {"row_shares": {"SCORE": "float"}, "flip_errors": {"ROWS": "128"}}
        jobs.append((name, source_of(name, was, becomes), macros.get(name, {})))
    build("add_parts", kernel_folder)  # and what all of them begin with
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(build, n, kernel_folder, text, **kw) for n, text, kw in jobs]:
            done.result()
    return ShimCard(kernel_folder)


def test_every_kernel_is_checked():
    names = {path.stem for path in KERNELS.glob("*.cu")}
    assert {call.__name__ for call in bench_gpu.KERNELS} == names


@pytest.mark.parametrize(("call", "size"), small(bench_gpu.KERNELS | bench_gpu.WHOLE))
def test_checks_pass(card, call, size):
    assert check(call(card, np.random.default_rng(), *size)) < 1e-6


class IdleCard(ShimCard):
    """A card whose kernels do nothing."""

    def launch(self, *given, **named):
        pass


@pytest.mark.parametrize("call", bench_gpu.KERNELS, ids=lambda call: call.__name__)
def test_what_is_not_written_is_noticed(tmp_path, call):
    size = bench_gpu.KERNELS[call][0][-1]
    with pytest.raises(CheckError, match="are wrong, first"):
        check(call(IdleCard(tmp_path), np.random.default_rng(0), *size))


@pytest.mark.parametrize(("name", "was", "becomes", "noticed_by"), CHANGES)
def test_a_changed_kernel_fails(card, name, was, becomes, noticed_by):
    text = source_of(name, was, becomes)

    class Changed(ShimCard):
        def launch(self, kernel, grid, threads, arguments, shared=0, **macros):
            if kernel != name:
                return super().launch(kernel, grid, threads, arguments, shared, **macros)
            changed = build(kernel, self.folder, text, **macros)
            return changed(grid, (threads,), arguments, shared=shared)

    operations = {call.__name__: call for call in bench_gpu.KERNELS | bench_gpu.WHOLE}
    call = operations[noticed_by]
    size = next(s for s in (bench_gpu.KERNELS | bench_gpu.WHOLE)[call][0] if s[0] > 1)
    with pytest.raises(CheckError):
        check(call(Changed(card.folder), np.random.default_rng(0), *size))


def test_a_check_tells_what_is_wrong():
    def case(found, expected, **within):
        return Case(
            lambda: None,
            found=lambda: {"x": np.array(found)},
            expected=lambda: {"x": np.array(expected)},
            within=within,
        )

    with pytest.raises(CheckError, match=r"x: 1 of 2 are wrong, first \[1\], which is 3 and not 2"):
        check(case([1, 3], [1, 2]))
    with pytest.raises(CheckError, match="which is nan"):
        check(case([np.nan], [1.0], x=(1e9, 1e9)))
    with pytest.raises(CheckError, match="has shape"):
        check(case([1.0, 1.0], [1.0]))
    assert check(case([1.1], [1.0], x=(0.11, 0.0))) == pytest.approx(0.1)


# --- counts of influence


@pytest.mark.parametrize("name", _gpu_influence.SMALL)
def test_expected_counts(name):
    X, n_labeled, gamma = _gpu_influence.mir_data(name)
    fitted = gp.Direct().fit(gp.RBFGraph(X, gamma), np.arange(n_labeled))
    found = gp.measure_influence(fitted)
    expected = _gpu_influence.EXPECTED[name]
    assert _gpu_influence.summary(found.mir, found.undecided) == expected
    assert _gpu_influence.count_by_numpy(name) == expected
    assert (found.undecided > 0) == name.startswith("tied")


def test_all_counts_are_expected():
    assert set(_gpu_influence.EXPECTED) == set(_gpu_influence.MIR)


def test_what_several_threads_took_is_not_added_up():
    assert _gpu_influence.covered([]) == 0.0
    assert _gpu_influence.covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]) == 4.0


def test_no_numba(card, tmp_path):
    code = f"""
import sys
sys.path[:0] = [{str(BENCHMARKS)!r}, {str(Path(__file__).parent)!r}]
import bench_gpu, _gpu_peers, _gpu_influence
from cuda_on_cpu import ShimCard
card, draw = ShimCard({str(card.folder)!r}), bench_gpu.np.random.default_rng
for call, (sizes, _) in bench_gpu.WHOLE.items():
    size = ("tied float32",) if call is _gpu_influence.influence else sizes[0]
    bench_gpu.check(call(card, draw(), *size))
assert not set(sys.modules) & {{"numba", "cupy", "torch"}}
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# --- the clock


class FakeClock:
    """Time that passes by what is done."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def spend(self, what, milliseconds):
        self.now += milliseconds
        self.done.append(what)

    def keep_busy(self):
        self.spend("busy", 7.0)

    def event(self):
        self.done.append("event")
        return self.now

    def milliseconds(self, start, end):
        return end - start

    def seconds(self):
        return self.now / 1e3


def test_launches_take_turns_and_are_timed_together():
    clock = FakeClock()
    cases = [Case(lambda k=k: clock.spend(k, k + 1.0)) for k in range(6)]
    times = measure(clock, cases, repeats=5)
    assert times == [3500.0] * 5  # microseconds: the mean of 1 to 6 ms, nothing of the 7 ms
    assert clock.done[:6] == [0, 1, 2, 3, 4, 5]  # not timed
    assert clock.done[6:15] == ["busy", "event", 0, 1, 2, 3, 4, 5, "event"]


def test_many_copies_take_turns_over_several_measurements():
    clock = FakeClock()
    cases = [Case(lambda k=k: clock.spend(k, 1.0)) for k in range(20)]
    measure(clock, cases, repeats=5)
    runs = [k for k in clock.done[20:] if isinstance(k, int)]
    assert runs == [k % 20 for k in range(16 * 5)]


def test_two_copies_are_launched_four_times():
    clock = FakeClock()
    measure(clock, [Case(lambda k=k: clock.spend(k, 1.0)) for k in range(2)], repeats=5)
    assert clock.done[2:9] == ["busy", "event", 0, 1, 0, 1, "event"]


def test_what_is_put_back_is_not_timed():
    clock = FakeClock()
    case = Case(lambda: clock.spend("run", 2.0), reset=lambda: clock.spend("reset", 50.0))
    assert measure(clock, [case, case], repeats=5) == [2000.0] * 5
    assert clock.done[2:7] == ["reset", "busy", "event", "run", "event"]


def test_what_waits_is_timed_alone_and_not_for_too_long():
    clock = FakeClock()
    case = Case(lambda: clock.spend("run", 3000.0), queued=False)
    assert measure(clock, [case], most_seconds=1.0) == [3e6] * _gpu_checks.FEWEST
    assert "busy" not in clock.done
    assert len(measure(FakeClock(), [Case(lambda: None)])) == _gpu_checks.REPEATS >= 20


def test_copies_exceed_the_cache():
    cache = 50 * 2**20
    for size in (10**6, 10**7, 10**8, 10**10):
        n = _gpu_checks.copies_of(Case(print, n_bytes=size), cache)
        assert 2 <= n <= 64
        assert n * size >= min(2 * cache, 64 * size)
    assert _gpu_checks.copies_of(Case(print, n_bytes=10**10, queued=False), cache) == 1
    assert _gpu_checks.copies_of(Case(print, n_bytes=5, n_held=10**9), cache) == 2


def test_a_row_has_both_numbers_of_the_roofline():
    case = Case(print, n_bytes=3 * 10**9, n_flops=10**12, rate="float32", told={"extra": 1})
    ceilings = {"copy": 3000.0, "float32": 50_000.0}
    row = _gpu_checks.row_of(
        case, [30_000.0, 40_000.0, 50_000.0], ceilings, operation="x", kind="kernel", size=(3, 4)
    )
    assert (row["us by bytes"], row["us by FLOPs"]) == pytest.approx((1000.0, 20_000.0))
    assert row["of copy bandwidth"] == pytest.approx(0.025)
    assert row["of its rate"] == row["of roofline"] == pytest.approx(0.5)
    assert (row["median us"], row["q1 us"], row["q3 us"]) == (40_000.0, 35_000.0, 45_000.0)
    assert (row["size"], row["extra"]) == ("3x4", 1)
    case.told["us of rechecks"] = 30_000.0
    row = _gpu_checks.row_of(case, [40_000.0], ceilings, operation="x", kind="call", size=())
    assert row["of its rate, rechecks aside"] == pytest.approx(2.0)
    # A ceiling that could not be measured hides nothing else.
    known = _gpu_checks.row_of(case, [1e3], {"copy": 3e3}, operation="x", kind="y", size=())
    assert known["of roofline"] == pytest.approx(1.0)
    assert np.isnan(known["of its rate"])


# --- all of it, on something like cupy


class FakeCupy:
    """The tests' card's functions, and what else of cupy the benchmark itself calls."""

    __version__ = "14.2.0"

    class Event:
        def record(self):
            self.at = time.perf_counter()

        def synchronize(self):
            pass

    def __init__(self):
        runtime = SimpleNamespace(
            getDevice=lambda: 0,
            getDeviceProperties=lambda _: {"name": b"A card", "l2CacheSize": 2**10},
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
        )
        self.allocator = "pool"
        self.cuda = SimpleNamespace(
            runtime=runtime,
            Event=self.Event,
            get_elapsed_time=lambda a, b: 1e3 * (b.at - a.at),
            set_allocator=lambda which: setattr(self, "allocator", which),
            get_current_stream=lambda: "the stream",
        )

    def __getattr__(self, name):
        return getattr(ShimCard.xp, name)

    def copyto(self, there, here):
        there[...] = here

    def get_default_memory_pool(self):
        return SimpleNamespace(free_all_blocks=lambda: None)


@pytest.fixture
def machine(card, monkeypatch, tmp_path):
    """Give a machine with a card: small ceilings, results in a folder of the test's own."""
    there = ShimCard(card.folder)
    there.xp = FakeCupy()
    monkeypatch.setattr(cuda, "card", lambda: there)
    sizes = {"_COPIED": 2**10, "_OVER_PCIE": 2**10, "_SIDE": 32, "_BLOCK": (16, 32, 48)}
    for name, value in sizes.items():
        monkeypatch.setattr(_gpu_checks, name, value)
    monkeypatch.setattr(_gpu_checks, "find_spec", lambda _: None)
    monkeypatch.setattr(_gpu_checks, "pcie", lambda *_: None)
    results = tmp_path / "benchmarks" / "results"
    results.parent.mkdir()
    for module in (bench_gpu, common):
        monkeypatch.setattr(module, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["benchmarks/bench_gpu.py"])
    timed = {"add_parts": [(3, 5), (4, 5)], "greedy_round": [(40, 9, 2)]}
    for table in (bench_gpu.KERNELS, bench_gpu.WHOLE):
        for call, (few, _) in table.items():
            monkeypatch.setitem(table, call, (few, timed.get(call.__name__, [])))
    return SimpleNamespace(card=there, results=results)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_run(machine, capsys, tmp_path):
    copy = tmp_path / "copy.csv"
    only = ["--only", "add_parts,greedy_round", "--out", str(copy), "--seed", "5"]
    assert bench_gpu.main(only) == 0
    rows = rows_of(machine.results / "gpu-part.csv")
    assert rows == rows_of(copy)
    found = [(row["operation"], row["kind"], row["size"]) for row in rows]
    ceilings = ["copy", "float32", "float64", "int8", "float32 16x32x48", "int8 16x32x48"]
    assert found == [
        ("add_parts", "check", "3 small"),
        ("greedy_round", "check", "1 small"),
        *((name, "ceiling", "") for name in ceilings),
        ("add_parts", "kernel", "3x5"),
        ("add_parts", "kernel", "4x5"),
        ("greedy_round", "call", "40x9x2"),
    ]
    assert all(row["machine"].startswith("A card, ") and row["cupy"] == "14.2.0" for row in rows)
    assert rows[-1]["error"] == "0"
    assert float(rows[-1]["of copy bandwidth"]) > 0.0
    said = capsys.readouterr().out
    assert "skipped: torch is not installed" in said
    assert "11 rows, 0 failures" in said


def test_a_failure_hides_nothing_else(machine, monkeypatch, capsys):
    launch = machine.card.launch

    def broken(name, *given, **named):
        if name == "add_parts":
            raise RuntimeError("no such kernel")
        return launch(name, *given, **named)

    monkeypatch.setattr(machine.card, "launch", broken)
    assert bench_gpu.main(["--only", "add_parts,greedy_round"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"FAILED add_parts \(3, 5\) \(seed \d+\): RuntimeError: no such kernel", said)
    assert rows_of(machine.results / "gpu-part.csv")[-1]["operation"] == "greedy_round"


def test_a_full_run(machine, monkeypatch, capsys):
    for table in ("KERNELS", "WHOLE"):
        few = list(getattr(bench_gpu, table).items())[-1:]
        monkeypatch.setattr(bench_gpu, table, dict(few))
    monkeypatch.setattr(_gpu_peers, "peers_of", lambda: [("influence", (), "pykeops", None)])
    asked = []
    monkeypatch.setattr(bench_gpu, "time_host", lambda _, command: asked.append(command))
    monkeypatch.setenv("PATH", "/nowhere")
    assert bench_gpu.main(["--sanitize"]) == 0
    assert asked == [[sys.executable, bench_gpu.__file__, "--host"]]
    said = capsys.readouterr().out
    heads = re.findall(r"^--- (.*?),", said, re.MULTILINE)
    assert heads == [
        *("checks of small sizes", "ceilings", "each kernel", "each call", "peers"),
        *("our CPU path", "compute-sanitizer"),
    ]
    assert "skipped: pykeops is not installed" in said
    assert (machine.results / "gpu.csv").exists()


def test_small_checks_are_what_a_sanitizer_runs(machine):
    assert bench_gpu.main(["--small-kernels", "--only", "add_parts,loop"]) == 0
    assert machine.card.xp.allocator is None
    assert set(machine.card.launched) == {"add_parts"}
    assert bench_gpu.main(["--small", "--only", "loop"]) == 0
    assert "propagation_step" in machine.card.launched
    assert not machine.results.exists()


def test_no_card(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda.card.cache_clear()
    assert bench_gpu.main([]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("device='cuda' needs cupy")
    assert said.err.count("\n") == 1
    assert not said.out


def test_a_name_that_is_none(machine, capsys):
    assert bench_gpu.main(["--only", "nothing"]) == 1
    assert "nothing names no operation" in capsys.readouterr().err


def test_goals(capsys):
    report = bench_gpu.Report()
    row = {"operation": "step", "size": "13007x2x100", "kind": "call"}
    report.rows = [row | {"of copy bandwidth": 0.81}]
    bench_gpu.judge_goals(report)
    report.rows = [row | {"of copy bandwidth": 0.79}]
    bench_gpu.judge_goals(report)
    said = capsys.readouterr().out.splitlines()
    assert [line[:10] for line in said] == ["goal met: ", "goal misse"]
    # Every goal names something that is timed.
    sizes = {
        (call.__name__, "x".join(map(str, size)))
        for call, (_, timed) in (bench_gpu.KERNELS | bench_gpu.WHOLE).items()
        for size in timed
    }
    assert {goal[:2] for goal in bench_gpu.GOALS} <= sizes


@pytest.mark.parametrize(("status", "summary"), [(0, "ERROR SUMMARY: 0 errors"), (9, "1 error")])
def test_sanitizer(monkeypatch, tmp_path, capsys, status, summary):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\necho '{summary}'\nexit {status}\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    report = bench_gpu.Report()
    bench_gpu.sanitize(report)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [line.split()[1] for line in calls] == ["memcheck", "racecheck", "synccheck"]
    assert [line.split()[-1] for line in calls] == ["--small"] + ["--small-kernels"] * 2
    assert len(report.failures) == (3 if status else 0)


def test_no_sanitizer(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    report = bench_gpu.Report()
    bench_gpu.sanitize(report)
    assert not report.failures
    assert "compute-sanitizer is not on PATH" in capsys.readouterr().out


def test_pcie(monkeypatch):
    class Memory(np.ndarray):
        """Takes and gives bytes as a cupy array does."""

        def set(self, host, stream=None):
            assert stream == "the stream"
            self[...] = host

        def get(self, stream=None, order="C", out=None, blocking=True):
            assert (stream, order, blocking) == ("the stream", "C", False)
            out[...] = self

    monkeypatch.setattr(_gpu_checks, "_OVER_PCIE", 2**10)
    cupyx = SimpleNamespace(empty_pinned=np.empty)
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    xp = SimpleNamespace(
        empty=lambda size, dtype: np.empty(size, dtype).view(Memory),
        cuda=SimpleNamespace(get_current_stream=lambda: "the stream"),
    )
    names = []

    def rate(name, case, per):
        case.run()
        names.append((name, case.queued, per))

    _gpu_checks.pcie(xp, rate)
    assert [name for name, *_ in names] == [
        *("pinned up", "pinned down", "pageable up", "pageable down")
    ]


def test_the_clock_of_a_card():
    cupy = FakeCupy()
    clock = _gpu_checks.GpuClock.__new__(_gpu_checks.GpuClock)
    clock.cupy = cupy
    clock.here, clock.there = (np.zeros(4).view(DeviceArray) for _ in range(2))
    start = clock.event()
    clock.keep_busy()
    assert clock.milliseconds(start, clock.event()) >= 0.0


# --- others


def test_peers_count_the_same():
    pytest.importorskip("torch")
    report = bench_gpu.Report()
    peers = list(_gpu_peers.peers_of("cpu", small=True))
    clock = _gpu_checks.GpuClock.__new__(_gpu_checks.GpuClock)
    clock.cupy, clock.here, clock.there = FakeCupy(), np.zeros(1), np.zeros(1)
    bench_gpu.time_peers(clock, report, {}, peers)
    assert not report.failures
    assert [row["operation"] for row in report.rows] == [
        *("influence", "step", "flip_errors", "rows_of_weights", "harmonic")
    ]
    assert report.rows[0]["rows counted otherwise"] == 0


def test_our_cpu_path(capsys):
    measured = [json.dumps(one) for one in _gpu_peers.on_host(small=True, repeats=1)]
    assert len(measured) == 4
    report, said = bench_gpu.Report(), "\n".join(measured)
    bench_gpu.time_host(report, [sys.executable, "-c", f"print({said!r})"])
    assert [row["operation"] for row in report.rows] == [json.loads(one)[0] for one in measured]
    assert report.rows[0]["median us"] == pytest.approx(1e6 * json.loads(measured[0])[2][0])
    with pytest.raises(RuntimeError, match="status 3"):
        bench_gpu.time_host(report, [sys.executable, "-c", "raise SystemExit(3)"])
    slow = f"print({measured[0]!r}, flush=True); import time; time.sleep(60)"
    bench_gpu.time_host(report, [sys.executable, "-c", slow], most_seconds=0.5)
    assert len(report.rows) == 5
    assert "the CPU path was stopped after 0 s" in capsys.readouterr().out
