"""Entry point of ``python bench/storm``: makes this folder a package, with bench/results.py beside it."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from storm.command import main

    main()
