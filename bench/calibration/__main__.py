"""Entry point of ``python bench/calibration``: makes this folder a package, with bench/results.py beside."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from calibration.command import main

    main()
