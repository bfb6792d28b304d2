"""What a signal does that comes at a bad moment."""

from __future__ import annotations

import os
import signal

import pytest

from lifeos.signals import deaf_to_signals, signals_wait


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_body(number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with signals_wait():
            os.kill(os.getpid(), number)
            done.append("the rest of the body")
    assert done == ["the rest of the body"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_second_signal_while_something_is_ended_is_not_heard() -> None:
    with deaf_to_signals():
        os.kill(os.getpid(), signal.SIGTERM)


def test_without_a_signal_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with signals_wait():
        pass
    assert signal.getsignal(signal.SIGINT) is before
