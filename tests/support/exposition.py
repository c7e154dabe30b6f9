"""Metrics as Prometheus reads them, by their names and the values of their labels in the order of the table."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from shardwise.metrics.table import METRICS

Series = Mapping[tuple[str, ...], float]

_LABELS = {name: metric.labels for metric in METRICS for name in metric.series}


def series_of(text: str) -> Series:
    """Read all series. Buckets of histograms are left out."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (
            sample.name,
            *(sample.labels[label] for label in _LABELS.get(sample.name, sorted(sample.labels))),
        ): sample.value
        for sample in samples
        if "le" not in sample.labels
    }
