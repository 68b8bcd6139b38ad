"""How far the scores of a finished run agree with those of readers, and the readers with one another."""

from pdl1quant.agreement.run import Agreement, AgreementJob, LeftOut, compare_readers

__all__ = ["Agreement", "AgreementJob", "LeftOut", "compare_readers"]
