"""What a probe refuses before it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import validate_data

from wirework.core import WireworkError


class DataTypeError(WireworkError, TypeError):
    """A sparse matrix or Python objects as activations: scikit-learn asks for a TypeError."""


@contextmanager
def about(what: str) -> Iterator[None]:
    """Errors of the block say in front what they are about, such as a feature and a site."""
    try:
        yield
    except WireworkError as error:
        raise WireworkError(
            error.code, f"{what}: {error.message}",
            expected=error.expected, got=error.got, hint=error.hint,
        ) from None  # fmt: skip


def check_data(estimator: Any, X: Any, y: Any, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """X (n, d), float64 or float32, and y (n), as scikit-learn reads them.

    Raises `probe-data-invalid` and `probe-not-finite`.
    """
    X, y = _validated(estimator, X, y=y, ensure_min_samples=2, **options)
    check_finite(X)
    return X, y


def check_new_data(estimator: Any, X: Any) -> NDArray[Any]:
    """X (n, d) to predict from. Raises `probe-data-invalid` and `probe-not-finite`."""
    X = _validated(estimator, X, reset=False)
    check_finite(X)
    return np.asarray(X)


def check_constant(X: NDArray[Any]) -> None:
    """Raises `probe-constant-columns`."""
    constant = np.flatnonzero(X.max(axis=0) == X.min(axis=0))
    if len(constant):
        raise WireworkError(
            "probe-constant-columns",
            f"{len(constant)} of {X.shape[1]} neurons have one and the same value in all rows",
            expected="neurons that vary",
            got=f"constant: {_first(constant)}",
            hint="drop them, or allow_constant=True: they are then never chosen",
        )


def check_classes(y: NDArray[Any], least: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The two classes, ascending, and which rows (n) are of the second.

    Raises `probe-labels-invalid`, `probe-one-class`, `probe-too-few`.
    """
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        raise WireworkError(
            "probe-labels-invalid",
            f"Unknown label type: {kind}; a probe tells two classes apart",
            expected="two classes",
            got=f"{kind} labels",
            hint="SparseProbeRegressor, where the target is a number",
        )
    classes, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) > 2:
        raise WireworkError(
            "probe-labels-invalid",
            f"Only binary classification is supported. The type of the target is {kind}.",
            expected="two classes",
            got=f"{len(classes)} classes",
            hint="one probe for every class against the rest",
        )
    if len(classes) < 2:
        raise WireworkError(
            "probe-one-class",
            f"all {len(y)} labels are of one class",
            expected="rows of both classes",
            got=f"only {classes[0]}",
        )
    if counts.min() < least:
        raise WireworkError(
            "probe-too-few",
            f"the class {classes[counts.argmin()]} has too few rows",
            expected=f"at least {least} of each class",
            got=f"{counts.min()} of {len(y)} rows",
            hint="label more text, or lower min_class_size",
        )
    return classes, which == 1


def require_neurons(site: str, neurons: Sequence[int], width: int) -> None:
    """Raises `neuron-absent`."""
    wrong = [neuron for neuron in neurons if not 0 <= neuron < width]
    if wrong:
        raise WireworkError(
            "neuron-absent", f"{site} has no neuron {wrong[0]}",
            expected=f"0 … {width - 1}", got=str(wrong[0]),
        )  # fmt: skip


def _validated(estimator: Any, X: Any, **options: Any) -> Any:
    try:
        return validate_data(
            estimator, X, dtype=[np.float64, np.float32], ensure_all_finite=False, **options
        )
    except TypeError as error:
        raise DataTypeError("probe-data-invalid", str(error)) from error
    except ValueError as error:
        raise WireworkError("probe-data-invalid", str(error)) from error


def check_k(k: Any, limit: int) -> None:
    """Raises `probe-k-invalid`."""
    if not isinstance(k, Integral) or not 1 <= int(k) <= limit:
        raise WireworkError(
            "probe-k-invalid",
            f"a probe on {k} neurons cannot be fitted",
            expected=f"1 <= k <= {limit}, the neurons that are searched",
            got=f"k = {k}",
        )


def check_finite(X: NDArray[Any]) -> None:
    """Raises `probe-not-finite`."""
    # A sum is finite where all terms are, or nearly always: the columns are looked at if not.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(X.sum()):
            return
    bad = np.flatnonzero(~np.isfinite(X).all(axis=0))
    if len(bad):
        raise WireworkError(
            "probe-not-finite",
            f"{len(bad)} of {X.shape[1]} neurons hold NaN or inf (infinity)",
            expected="finite activations",
            got=f"neurons {_first(bad)}",
        )


def _first(indices: NDArray[np.int64]) -> str:
    some = ", ".join(str(i) for i in indices[:5])
    return some + (", ..." if len(indices) > 5 else "")
