"""Streams of rows against the worst that a GPU may do: copies as late as they are allowed to be."""

from __future__ import annotations

import types

import numpy as np
import pytest

from gssl_poison.kernels import cuda_stream


class Stream:
    """Work in order, none of which is done before somebody has to wait for it."""

    def __init__(self):
        self.work = []

    def wait_event(self, event):
        at = event.at
        self.work.append(lambda: event.happen(at))

    def run(self):
        while self.work:
            self.work.pop(0)()

    def synchronize(self):
        self.run()


class Event:
    """A place in a stream's work."""

    def __init__(self):
        self.at = None

    def record(self, stream):
        mark = []
        stream.work.append(lambda: mark.append(True))
        self.at = (stream, mark)

    def happen(self, at):
        if at is not None:
            stream, mark = at
            while not mark:
                stream.work.pop(0)()

    def synchronize(self):
        self.happen(self.at)


class Array:
    """Memory of a device: what is set reads its source when the stream comes to it."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, key):
        return Array(self.values[key])

    def set(self, source, stream):
        stream.work.append(lambda: np.copyto(self.values, source))


class Device:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def stub(main, streams, **changed):
    def new_stream(*, non_blocking):
        assert non_blocking
        streams.append(Stream())
        return streams[-1]

    cuda = {
        "get_current_stream": lambda: main,
        "Stream": new_stream,
        "Event": Event,
        "Device": Device,
    }
    return types.SimpleNamespace(
        cuda=types.SimpleNamespace(**(cuda | changed)),
        empty=lambda shape, dtype: Array(np.full(shape, 99, dtype=dtype)),
    )


def run(X, parts, rng, **changed):
    """Return what a kernel sees in each part, launched when the part is given."""
    main, streams, seen = Stream(), [], []
    cupy = stub(main, streams, **changed)

    def pinned(shape, dtype):
        return np.full(shape, 77, dtype=dtype)

    most = max(part.size for part in parts)
    for block in cuda_stream.stream(cupy, pinned, X, parts, most):
        place = len(seen)
        seen.append(None)

        def kernel(block=block, place=place):
            seen[place] = block.values.copy()

        main.work.append(kernel)
        if rng.random() < 0.3:
            main.synchronize()
    main.synchronize()
    assert not streams[0].work
    return seen


def case(rng, n_parts):
    X = rng.integers(0, 50, (400, 3)).astype(np.uint8)
    return X, [rng.permutation(400)[: rng.integers(1, 40)] for _ in range(n_parts)]


@pytest.mark.parametrize("n_parts", [1, 2, 3, 9])
def test_every_kernel_sees_its_own_rows(rng, n_parts):
    for _ in range(5):
        X, parts = case(rng, n_parts)
        for seen, part in zip(run(X, parts, rng), parts, strict=True):
            np.testing.assert_array_equal(seen, X[part])


def test_nothing_to_stream():
    streams = []
    assert not list(cuda_stream.stream(stub(Stream(), streams), np.empty, np.empty((4, 2)), [], 0))


def test_a_value_that_cannot_be_read_is_raised_where_it_is_asked_for(rng):
    X, parts = case(rng, 3)

    class Broken(Event):
        def record(self, stream):
            raise MemoryError(f"no more for {stream}")

    with pytest.raises(MemoryError, match="no more"):
        run(X, parts, rng, Event=Broken)


class Deaf(Stream):
    """A stream that waits for nobody."""

    def wait_event(self, event):
        pass


class Hasty(Event):
    """An event that the host never waits for."""

    def synchronize(self):
        pass


@pytest.mark.parametrize("left_out", ["host", "caller", "copies"])
def test_a_wait_that_is_left_out_is_noticed(rng, left_out):
    """Each of the three waits is needed: without it some kernel sees the rows of another part."""
    X, parts = case(rng, 9)
    main = Deaf() if left_out == "caller" else Stream()
    copies = Deaf() if left_out == "copies" else Stream()
    event = Hasty if left_out == "host" else Event
    cupy = stub(
        main, [], Event=event, Stream=lambda *, non_blocking: copies if non_blocking else None
    )
    most, seen = max(part.size for part in parts), []
    for block in cuda_stream.stream(cupy, np.empty, X, parts, most):
        main.work.append(lambda block=block: seen.append(block.values.copy()))
        # Who does not wait is as early as can be; all others are late.
        for one in (main, copies):
            if isinstance(one, Deaf):
                one.run()
    main.synchronize()
    assert not all(np.array_equal(one, X[part]) for one, part in zip(seen, parts, strict=True))
