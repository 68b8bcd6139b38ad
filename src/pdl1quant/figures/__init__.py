"""Figures for papers, from the folder of a run: tissue with its cells, scores with intervals, the threshold."""

from pdl1quant.figures.run import FigureJob, draw_figures

__all__ = ["FigureJob", "draw_figures"]
