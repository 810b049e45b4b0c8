"""Runs `watchbudget` as the image and its Deployment do: as a user that no passwd file knows.

Arguments: the command line, python -m watchbudget ... Nothing in the environment says who it is, and HOME is
what the Dockerfile says.
"""

from __future__ import annotations

import os
import pwd
import sys
from typing import NoReturn


def unknown(uid: int) -> NoReturn:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def main() -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):  # where getpass.getuser looks first
        os.environ.pop(name, None)
    os.environ["HOME"] = "/"
    pwd.getpwuid = unknown
    sys.argv = ["watchbudget", *sys.argv[4:]]
    from watchbudget.cli.main import main as run  # noqa: PLC0415 - what it loads shall see the above

    run()


if __name__ == "__main__":
    main()
