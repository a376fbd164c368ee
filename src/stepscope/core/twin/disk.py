"""The way to the disk, begun while a file is still being written: otherwise fsync waits for all of it at the end."""

import contextlib
import os

__all__ = ["begin_to_disk"]


def begin_to_disk(descriptor: int, start: int, length: int) -> bool:
    """Send a part of a file on its way to the disk, as far as the system takes such advice.

    The advice is about reading, but what it does to pages that are not on disk yet is to send them there.

    Returns:
        Whether that was done. Where it was not, the caller asks again later, for more.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # a pipe or a file system that takes no advice
            os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)
    return True
