"""`python -m watchbudget`."""

from watchbudget.cli.main import main

main()
