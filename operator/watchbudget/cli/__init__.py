"""The command line: thin commands over the same engine that the operator uses."""
