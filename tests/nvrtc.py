"""NVRTC, the compiler that cupy calls, from NVIDIA's wheel: it needs neither cupy nor a card."""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError, distribution

PACKAGE = "nvidia-cuda-nvrtc"


class RefusedError(Exception):
    """A source did not compile, or did with a warning."""


def libraries():
    """Return where the files of the library lie; none where its package is not installed."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return []
    # In the order of loading: 13.0 finds its built-in functions only where they are loaded already.
    starts = ("libnvrtc-builtins.so", "libnvrtc.so")
    return [file.locate() for start in starts for file in files if file.name.startswith(start)]


class Nvrtc:
    """The compiler of these libraries, of which the last is asked."""

    def __init__(self, paths):
        self._library = [ctypes.CDLL(str(path)) for path in paths][-1]
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def cubin(self, name, source, options):
        """Return the program of a card; any line in the log is a refusal, as a warning is one."""
        program = ctypes.c_void_p()
        self._call(
            "CreateProgram", ctypes.byref(program), source.encode(), name.encode(), 0, None, None
        )
        try:
            told = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self._library.nvrtcCompileProgram(program, len(options), told)
            log = self._read("ProgramLog", program).decode().strip("\0\n")
            if status or log:
                raise RefusedError(log or self._reason(status))
            return self._read("CUBIN", program)
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _read(self, what, program):
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, text)
        return text.raw

    def _call(self, name, *arguments):
        status = getattr(self._library, f"nvrtc{name}")(*arguments)
        assert status == 0, f"nvrtc{name}: {self._reason(status)}"

    def _reason(self, status):
        return self._library.nvrtcGetErrorString(status).decode()
