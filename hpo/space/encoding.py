"""Configurations as points: each parameter from 0 (low) to 1 (high), on its logarithm if it is sampled so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.space.scale import at_part, part_of_range
from hpo.space.search_space import SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Points = NDArray[np.float64]


class UnitCubeEncoder:
    """Encoder of the configurations of a space as points.

    A point has one column for each of Optuna's parameters. The column of a choice holds its index, that of a parameter
    that is not active NaN.

    Attributes:
        distributions: Optuna's, by Optuna's names, in the order of the columns.
    """

    def __init__(self, space: SearchSpace) -> None:
        from optuna.distributions import CategoricalDistribution

        self.distributions: dict[str, BaseDistribution] = space.distributions()
        kinds = [isinstance(one, CategoricalDistribution) for one in self.distributions.values()]
        self._categorical = np.array(kinds, dtype=bool)

    def point(self, params: Mapping[str, Any]) -> Points:
        """Return the point of a configuration, of shape (columns,).

        Args:
            params: by Optuna's names; names of another space are ignored.
        """
        return np.array(
            [self.coordinate(name, params[name]) if name in params else np.nan for name in self.distributions]
        )

    def coordinate(self, name: str, value: Any) -> float:
        """Return the coordinate of one value of a parameter."""
        return _coordinate(self.distributions[name], value)

    def squared_distances(self, points: Points, others: Points) -> Points:
        """Return the squared distances between two sets of points.

        Another choice is at distance 1, and so is a parameter that only one of the two has. One that neither has adds
        nothing.

        Args:
            points: of shape (n, columns).
            others: of shape (m, columns).

        Returns:
            Of shape (n, m).
        """
        squares: Points = np.zeros((len(points), len(others)))
        apart = np.empty_like(squares)
        # One column after the other and in place, which needs the least memory and time.
        columns = zip(self._categorical, points.T[:, :, None], np.ascontiguousarray(others.T), strict=True)
        for categorical, one, other in columns:
            if categorical:
                np.not_equal(one, other, out=apart)
            else:
                np.subtract(one, other, out=apart)
                apart *= apart
            unknown, others_unknown = np.isnan(one[:, 0]), np.isnan(other)
            if unknown.any() or others_unknown.any():
                apart[:, others_unknown] = 1
                apart[unknown] = ~others_unknown
            squares += apart
        return squares

    def value(self, name: str, at: float) -> Any:
        """Return the value of a numeric parameter at a coordinate.

        Args:
            name: Optuna's.
            at: the coordinate; it is clipped to [0, 1].
        """
        from optuna.distributions import FloatDistribution, IntDistribution

        distribution = self.distributions[name]
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        low, high, step = distribution.low, distribution.high, distribution.step
        at = min(max(at, 0.0), 1.0)
        if step is None or distribution.log:
            value = at_part(at, low, high, distribution.log)
        else:  # counted in steps, for the product of a double and a large integer is not exact
            value = min(low + round(at * ((high - low) / step)) * step, high)
        return round(value) if isinstance(distribution, IntDistribution) else value


def _coordinate(distribution: BaseDistribution, value: Any) -> float:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.to_internal_repr(value))
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    return part_of_range(value, distribution.low, distribution.high, distribution.log)
