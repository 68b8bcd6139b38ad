"""What workers need before their first step, imported once by the process that they are forked from.

To import it takes most of the second in which a worker starts: time that few processors would have had for the work.
Nothing here is called; the module is read by its name (`workers`).
"""

from __future__ import annotations

import gc
from contextlib import suppress

gc.disable()
with suppress(Exception):  # what is wrong is said by the worker that misses it
    import pdl1quant.batch.slide_work  # noqa: F401
    from pdl1quant.kernels.compiled import get_ready

    get_ready()
gc.freeze()  # workers share this memory for as long as nothing is written to it, not even by who looks for garbage
gc.enable()
