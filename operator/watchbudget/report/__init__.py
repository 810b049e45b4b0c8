"""How a verdict is shown: for people at a terminal, as data, and as a page."""
