"""Panels of the board and the expressions of their queries: rates of counters, and the largest of what several show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    Panel = stat.Panel | timeseries.Panel
    Query = tuple[str, str]
    """An expression, and the legend of its series."""

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The Prometheus that the viewer chose."""
HERE = 'namespace=~"$namespace"'
"""The selector of the namespaces that the viewer chose."""


def rate_of(counter: str, which: str = HERE, *labels: str) -> str:
    """Return the rate of a counter over all processes."""
    return f"sum{_by(labels)} (rate({counter}{{{which}}}[$__rate_interval]))"


def largest(gauge: str, which: str, *labels: str) -> str:
    """Return a gauge that several processes may show."""
    return f"max{_by(labels)} ({gauge}{{{which}}})"


def quantile_of(quantile: float, histogram: str, which: str, *labels: str) -> str:
    """Return a quantile of a histogram over all processes."""
    rates = f"sum{_by((*labels, 'le'))} (rate({histogram}_bucket{{{which}}}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {rates})"


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def number(title: str, expression: str, limits: tuple[float, float] | None = None, unit: str = "short") -> Panel:
    """Return a panel of one number, which is orange from the first limit on, and red from the second."""
    steps = [Threshold(value=None, color="green")]
    if limits:
        steps += [Threshold(value=limit, color=color) for limit, color in zip(limits, ("orange", "red"), strict=True)]
    return (
        stat.Panel()
        .title(title)
        .unit(unit)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(prometheus.Dataquery().expr(expression).ref_id("A"))
        .height(4)
        .span(3)
    )


def lines_of(title: str, *queries: Query, unit: str = "short", stacked: bool = False) -> Panel:
    """Return a panel of lines over time."""
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel = (
        timeseries.Panel()
        .title(title)
        .unit(unit)
        .min(0)
        .fill_opacity(60 if stacked else 8)
        .legend(legend.show_legend(True))  # noqa: FBT003
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .height(8)
        .span(6 if len(queries) == 1 and not stacked else 12)
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for position, (expression, shown) in enumerate(queries):
        query = prometheus.Dataquery().expr(expression).legend_format(shown).ref_id("ABCDEF"[position])
        panel = panel.with_target(query)
    return panel
