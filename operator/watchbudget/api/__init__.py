"""The WatchBudget object and the terms it is written in.

Lowest layer of the package: everything else imports it, it imports nothing of ours.
"""
