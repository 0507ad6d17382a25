"""Ranks of networks over several data sets as plain values; `ranks` computes them."""

from dataclasses import dataclass

JOINED = " + "
"""Between the titles of data sets that have the same test images."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of networks over the data sets on which all of them have a score.

    Args:
        data: titles of these data sets; those with the same test images are one, such as `a + b`.
        means: network -> mean rank, 1 is best.
        by_data: network -> rank on each of the data sets.
        p: of Friedman's test, or of Wilcoxon's for two networks; None where it was not tested.
        f: Friedman's statistic as the F of Iman and Davenport, infinite if all data sets agree; None where there is none.
        critical_difference: of mean ranks, after Nemenyi; None for two networks and where it was not tested.
        ordered: pairs that are told apart, the better network first.
        sentences: what all of this says.
    """

    data: tuple[str, ...]
    means: dict[str, float]
    by_data: dict[str, tuple[float, ...]]
    p: float | None
    f: float | None
    critical_difference: float | None
    ordered: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]

    def place_of(self, title: str) -> int | None:
        """The place in `data` of a data set, or of those that it is one with; None if it is not ranked."""
        return next((place for place, line in enumerate(self.data) if title in (line, *line.split(JOINED))), None)
