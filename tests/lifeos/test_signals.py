"""What a signal does that comes at a bad moment."""

from __future__ import annotations

import os
import signal

import pytest

from lifeos import signals
from lifeos.signals import deaf_to_signals, signals_wait, stop_signals
from tests.capabilities import POSIX


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_waits_for_the_end_of_the_body(name: str) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with signals_wait():
            os.kill(os.getpid(), getattr(signal, name))
            done.append("the rest of the body")
    assert done == ["the rest of the body"]


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_second_signal_while_something_is_ended_is_not_heard() -> None:
    with deaf_to_signals():
        os.kill(os.getpid(), signal.SIGTERM)


def test_without_a_signal_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with signals_wait():
        pass
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_ends_a_run_from_outside_does_what_ctrl_c_does(name: str) -> None:
    with pytest.raises(KeyboardInterrupt), stop_signals():
        os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """nohup: the terminal may be closed, and the run goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_windows_break_is_taken_wherever_ctrl_c_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes for Ctrl-Break, and for a console that is closed; Python has its name on Windows alone, so another number stands for it."""
    stand_in = signal.SIGTERM
    monkeypatch.setattr(signal, "SIGBREAK", stand_in, raising=False)
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    assert stand_in in signals.take(signal.default_int_handler, ("SIGINT", "SIGHUP", "SIGBREAK"))
    signals.take(signal.SIG_DFL, ("SIGTERM",))
