"""Privileges: a worker that runs as root gives up writing where the permissions say that nobody may.

The files of an environment may be shared with other environments by hard links, read-only. To root that means nothing
as long as it has ``CAP_DAC_OVERRIDE``; without it a model that opens an installed file for writing gets the same
``PermissionError`` as anybody. Reading stays as it was: the capability for that is another one, and where root does not
have it, as in most containers, nothing is given up, since then files of other users could not be read any more. The
builder does not share files by hard links there.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

DAC_OVERRIDE = 1
DAC_READ_SEARCH = 2
PR_CAPBSET_DROP = 24
_VERSION_3 = 0x20080522


def give_up_override() -> None:
    """Give up ``CAP_DAC_OVERRIDE``, for this process and what it starts, if reading needs it no more than before."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
        # effective, permitted, inheritable; twice 32 bits of each
        sets = (ctypes.c_uint32 * 6)()
        if libc.capget(header, sets) != 0:
            return
        if not sets[0] & (1 << DAC_OVERRIDE) or not sets[0] & (1 << DAC_READ_SEARCH):
            return
        libc.prctl(PR_CAPBSET_DROP, DAC_OVERRIDE, 0, 0, 0)
        for index in range(3):
            sets[index] &= ~(1 << DAC_OVERRIDE)
        libc.capset(header, sets)
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a system that is not Linux
        return
