"""Programs that are killed at a certain step."""

from __future__ import annotations

import textwrap

_KILLING = """\
import os, signal, sys

left = int(sys.argv.pop(1))

def killing(function):
    def killed(*arguments):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        function(*arguments)
    return killed

"""


def killed_before(*functions: str, code: str) -> str:
    """Return a program that does `code`, and is killed before the n-th call of some `functions` of `os`.

    n is its first argument, which `code` does not see.
    """
    names = [f"os.{name} = killing(os.{name})\n" for name in functions]
    return _KILLING + "".join(names) + textwrap.dedent(code)
