"""Figures for Prometheus at /metrics.

Metrics owns a registry of its own (nothing is shared through prometheus-client's global one), the counts of requests
and whatever other parts register; all of it dies with the object. Counting a request costs about a microsecond: plain
integers in a dictionary, which become metric families only when somebody asks.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = logging.getLogger(__name__)

Value = float | Mapping[str, float]


class Histogram:
    """Counts of observed values. Not for threads: the loop alone observes."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """As Prometheus wants it: (upper bound, values up to it)."""
        rows, sum_ = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            sum_ += count
            rows.append(("+Inf" if bound == float("inf") else repr(bound), float(sum_)))
        return rows


class Metrics(Collector):
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self._figures: dict[str, tuple[str, str, Callable[[], Value], str]] = {}
        self._histograms: dict[str, tuple[str, Histogram]] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answered request. route: the declared path, never the one that was asked for."""
        key = (method, route, status)
        histogram = self._requests.get(key)
        if histogram is None:
            key = (method if method in _KNOWN_METHODS else "OTHER", route, status)
            histogram = self._requests.setdefault(key, Histogram(BUCKETS))
        histogram.observe(seconds)

    def gauge(self, name: str, doc: str, read: Callable[[], Value], *, label: str = "") -> None:
        """A figure that is read when Prometheus asks. With a label `read` gives one value for each of its values."""
        self._figures[name] = ("gauge", doc, read, label)

    def counter(self, name: str, doc: str, read: Callable[[], Value], *, label: str = "") -> None:
        """As `gauge`, of something that only rises."""
        self._figures[name] = ("counter", doc, read, label)

    def histogram(self, name: str, doc: str, bounds: tuple[float, ...] = BUCKETS) -> Histogram:
        """A histogram to observe values with, on the loop."""
        histogram = Histogram(bounds)
        self._histograms[name] = (doc, histogram)
        return histogram

    def render(self) -> tuple[bytes, str]:
        """The page and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def describe(self) -> Iterator[Metric]:  # what the registry asks at registration: nothing is fixed yet
        return iter(())

    def collect(self) -> Iterator[Metric]:
        requests = HistogramMetricFamily(
            "http_request_duration_seconds", "Time to answer", labels=["method", "route", "status"]
        )
        for (method, route, status), histogram in list(self._requests.items()):
            requests.add_metric([method, route, str(status)], histogram.cumulated(), histogram.total)
        yield requests
        for name, (doc, histogram) in self._histograms.items():
            family = HistogramMetricFamily(name, doc)
            family.add_metric([], histogram.cumulated(), histogram.total)
            yield family
        for name, (kind, doc, read, label) in self._figures.items():
            try:
                yield _family(name, kind, doc, read(), label)
            except Exception as error:  # one part's figure must not take all others away
                _log.warning("the figure %s cannot be read: %s: %s", name, type(error).__name__, error)
        yield from _process()


def _family(name: str, kind: str, doc: str, value: Value, label: str) -> Metric:
    family_of = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    if isinstance(value, Mapping):
        family = family_of(name, doc, labels=[label or "kind"])
        for key, number in value.items():
            family.add_metric([key], float(number))
        return family
    return family_of(name, doc, value=float(value))


def _process() -> Iterator[Metric]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield CounterMetricFamily("process_cpu_seconds", "User and system time", value=used.ru_utime + used.ru_stime)
    yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory", value=resident_bytes())
    yield GaugeMetricFamily("process_time_seconds", "This process's clock", value=time.time())
    if (files := open_files()) is not None:
        yield GaugeMetricFamily("process_open_fds", "Open files and sockets", value=files)


def resident_bytes() -> int:
    """Memory in use now; on systems without /proc the most that was ever in use."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def open_files() -> int | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return None
