from __future__ import annotations

import logging

import pytest

from watchbudget.controller.trouble import Trouble


def test_the_same_is_told_once_until_it_is_over(caplog: pytest.LogCaptureFixture):
    trouble = Trouble(logging.getLogger("watchbudget.test"))
    for error in ("refused", "refused", "slow", "slow", "refused"):
        trouble.tell("Not read", ValueError(error))
    assert caplog.messages == ["Not read: refused", "Not read: slow", "Not read: refused"]
    trouble.over()
    trouble.tell("Not read", ValueError("refused"))
    assert len(caplog.messages) == 4
