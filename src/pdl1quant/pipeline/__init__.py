"""The only place that knows the order of the stages: staining, finding, judging, scores; `images` goes through all."""

from pdl1quant.pipeline.controls import ControlMember, blank_limit
from pdl1quant.pipeline.finding import SEGMENTERS, FoundCells, find_cells
from pdl1quant.pipeline.images import analyse_image, analyse_tile, score_image
from pdl1quant.pipeline.judging import judge_cells
from pdl1quant.pipeline.scores import CaseMember, holds_cells, repeated_members, score_blocks, score_case
from pdl1quant.pipeline.staining import StainSample, estimate_case, estimate_flags, sample_image, working_tile

__all__ = [
    "SEGMENTERS",
    "CaseMember",
    "ControlMember",
    "FoundCells",
    "StainSample",
    "analyse_image",
    "analyse_tile",
    "blank_limit",
    "estimate_case",
    "estimate_flags",
    "find_cells",
    "holds_cells",
    "judge_cells",
    "repeated_members",
    "sample_image",
    "score_blocks",
    "score_case",
    "score_image",
    "working_tile",
]
