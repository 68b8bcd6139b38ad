"""Finished results in the formats of other programs: spreadsheets, AnnData, DICOM, RO-Crate."""

from pdl1quant.exports.run import EXPORTS, ExportJob, export_results

__all__ = ["EXPORTS", "ExportJob", "export_results"]
