"""A run's folder -> a report that opens in a browser from the disk: no network, the same input gives the same bytes."""

from pdl1quant.report.write import Written, write_report

__all__ = ["Written", "write_report"]
