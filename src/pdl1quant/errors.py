"""Every error that pdl1quant raises on purpose.

::

    Pdl1QuantError
    ├── UsageError            the call is wrong: nothing was read or written (exit code 2)
    │   ├── ConfigError       an unknown, ill-typed or out-of-range setting
    │   ├── AssayError        no such rule pack or indication, or a broken one
    │   ├── ModelError        a network without a card, with another hash, or that cannot be run
    │   └── ReviewError       edits that do not fit their results, or of a locked case
    ├── InputError            one input cannot be scored; the others can (exit code 1)
    │   ├── UnreadableError   damaged, truncated, empty or of an unknown type  -> status ``failed``: could not
    │   └── RefusedError      readable, but scoring it would be a guess        -> status ``refused``: will not
    │       ├── PixelSizeError
    │       ├── NotColourError
    │       └── NotHdabError
    └── OutputError           a result cannot be written or read back
        └── FullDiskError     there is no room for it, nor for any other

A message says what was met, where, and what to do, in one line.
"""

from __future__ import annotations


class Pdl1QuantError(Exception):
    """Base of all errors that pdl1quant raises on purpose."""


class UsageError(Pdl1QuantError):
    """The call is wrong; nothing was read or written."""


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type, or out of its range."""


class AssayError(UsageError):
    """A rule pack or an indication does not exist, or its file is broken."""


class ModelError(UsageError):
    """A network has no card, is not what its card says, or cannot be run."""


class ReviewError(UsageError):
    """Edits do not fit the results they are for, or the case is locked."""


class InputError(Pdl1QuantError):
    """One input cannot be scored; the others can."""


class UnreadableError(InputError):
    """The file is damaged, truncated, empty or of an unknown type."""


class RefusedError(InputError):
    """The image is readable, but scoring it would be a guess."""


class PixelSizeError(RefusedError):
    """The pixel size is missing, implausible, or contradicted by the nuclei."""


class NotColourError(RefusedError):
    """The image has one channel, or three equal ones."""


class NotHdabError(RefusedError):
    """The colours are not those of haematoxylin and DAB on a bright background."""


class OutputError(Pdl1QuantError):
    """A result cannot be written, or a written one cannot be read back."""


class FullDiskError(OutputError):
    """The disk, or what of it the user may fill, is full."""
