"""Every error and warning the package raises.

Each message has three parts in one sentence or two: the value that was found, the rule it breaks
and the remedy. All errors derive from `GsslPoisonError`, and each also derives from the builtin
exception a caller would already be catching.
"""

from __future__ import annotations


class GsslPoisonError(Exception):
    """Base of every error the package raises on purpose."""


class InputError(GsslPoisonError, ValueError):
    """A value the user gave breaks a rule: NaN, a bad gamma, a column that is not there."""


class InputTypeError(GsslPoisonError, TypeError):
    """An argument is of a kind the function does not take, or kinds are mixed."""


class DeviceError(GsslPoisonError, ValueError):
    """The device asked for cannot run the operation here."""


class DatasetNotFoundError(GsslPoisonError, RuntimeError):
    """A named data set is neither on this machine nor to be had from here."""


class UnreachedError(InputError):
    """Points that no label reaches, where every point must have a score."""


class NumericalError(GsslPoisonError, ArithmeticError):
    """The answer exists, but float64 cannot hold the numbers on the way to it."""


class ConvergenceWarning(UserWarning):
    """An iteration stopped before it had the accuracy that was asked for."""
