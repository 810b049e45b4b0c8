"""Runs `watchbudget` as in a pod: with the pod's account, and as a user that no passwd file knows.

Arguments: the command line, python -m watchbudget ... The server, its authority and the token of the
kubeconfig that is named there are found as a pod finds them, by the environment and by files; the option is
dropped. Nothing says who the user is, and HOME is what the Dockerfile says.
"""

from __future__ import annotations

import base64
import os
import pwd
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import yaml

WRAPPER = (sys.executable, __file__)
"""What an `OperatorProcess` is wrapped in."""

OPTION = "--kubeconfig="


def unknown(uid: int) -> NoReturn:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def be_nobody() -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):  # where getpass.getuser looks first
        os.environ.pop(name, None)
    os.environ["HOME"] = "/"
    pwd.getpwuid = unknown


def be_in_a_pod(kubeconfig: Path) -> None:
    raw = yaml.safe_load(kubeconfig.read_text())
    cluster, user = raw["clusters"][0]["cluster"], raw["users"][0]["user"]
    address = urlsplit(cluster["server"])
    token, authority = kubeconfig.with_suffix(".token"), kubeconfig.with_suffix(".ca")  # gone with it
    token.touch(0o600)
    token.write_text(user["token"])
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    from kubernetes.aio.config import incluster_config  # noqa: PLC0415 - it shall load as nobody

    incluster_config.SERVICE_TOKEN_FILENAME = str(token)
    incluster_config.SERVICE_CERT_FILENAME = str(authority)
    os.environ.pop("KUBECONFIG", None)
    os.environ["KUBERNETES_SERVICE_HOST"] = str(address.hostname)
    os.environ["KUBERNETES_SERVICE_PORT"] = str(address.port)


def main() -> None:
    given = sys.argv[4:]
    be_nobody()
    be_in_a_pod(Path(next(each for each in given if each.startswith(OPTION)).removeprefix(OPTION)))
    sys.argv = ["watchbudget", *(each for each in given if not each.startswith(OPTION))]
    from watchbudget.cli.main import main as run  # noqa: PLC0415 - what it loads shall see the above

    run()


if __name__ == "__main__":
    main()
