"""A classifier of cells from cells that a person labelled: read, match, fit, judge, write.

scikit-learn, onnx and matplotlib (the extra ``train``) are imported where they are used.
"""

from __future__ import annotations

from pdl1quant.training.figures import calibration_error
from pdl1quant.training.fit import Fitted, fit_classifier
from pdl1quant.training.run import TrainingJob, train
from pdl1quant.training.write import write_classifier

__all__ = ["Fitted", "TrainingJob", "calibration_error", "fit_classifier", "train", "write_classifier"]
