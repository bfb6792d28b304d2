"""Many jobs over one or several back ends, each kept busy: two prompts wait behind the one that runs.

    with Dispatcher(servers, ahead=2) as dispatcher:
        for finished in dispatcher.run(jobs):
            ...

or, where what comes next depends on what came out, `put` as many as `wanted` says and `wait`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from tools.backends.backend import Backend, PromptEnd
from tools.backends.dispatched_jobs import Finished, Job, Needs, Prepare, SentPrompt, needs_of
from tools.backends.server_lane import Listeners, ServerLane
from tools.backends.task_pool import TaskPool

__all__ = ["Dispatcher", "Finished", "Job", "Needs", "Prepare", "SentPrompt", "needs_of"]

CLOSE_SECONDS = 5.0


def is_hourly(server: Backend) -> bool:
    """Whether work costs nothing beside the hour, or nothing at all."""
    tariff = server.tariff(1.0)
    return not tariff.usd_per_work_second and not tariff.usd_per_credit


class Dispatcher:
    """Feeds jobs to servers in the order they were put, so that jobs that share models run together.

    A dead server's jobs move to the others, and it is tried again now and then; a job that a restarted server lost is
    submitted again, `MAX_LOSSES` times at most; failures that can heal are tried `retries` times more, after `POST /free` where memory
    ran out.
    An outage that is waited out is told when it begins and when it ends.
    Every attempt has a prompt id of its own, told to `on_submit(job, prompt_id, server_url)` just before it is posted
    (from a server's thread); a back end that has a name of its own for it tells `on_accepted(job, prompt_id, handle)` just after.
    `on_failed_try(outcome, server_url)` hears of a failure that is tried again; the last one of a job is its Finished.
    `on_refused(outcome, server_url)` hears of a prompt that a server refused and another gets.
    A job that failed is tried on another server first. A server on which `FAILURES_IN_A_ROW` tries in a row fail rests while others
    work, one that refuses `REFUSALS_IN_A_ROW` prompts in a row gets no more that need the same, and one that is busy is left alone.

    When `expect(0)` has said that no more comes, a server takes what waits only where the others would not have made it earlier. One
    that is idle is given what waits in a slower one's queue, and then, where `second_answers` allows it, makes once more what
    would end last: `hourly` on servers that are paid by the hour or not at all, `all`, or `off`. Such a try is told to
    `on_second(job, prompt_id, server_url)` in place of `on_submit`. The first answer is the job's; what becomes of the other, or of
    one that came to nothing while the other was under way, is told to `on_dropped(job, outcome, server_url)`.
    `on_note(text)` gets one line for a person whenever something of this happens.

    The servers must be connected, but for those whose URLs are in `left_out`: they begin as dead ones do, and take part from when they
    answer. `admit(server)` is asked whenever a server comes (back), and raises UnavailableError where it is not to take part yet.
    They are not closed here, but their prompts are followed by threads of the dispatcher until `close`.
    """

    def __init__(
        self,
        servers: Sequence[Backend],
        *,
        ahead: int = 2,
        retries: int = 2,
        on_submit: Callable[[Job, str, str], None] | None = None,
        on_accepted: Callable[[Job, str, str], None] | None = None,
        on_failed_try: Callable[[PromptEnd, str], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        on_second: Callable[[Job, str, str], None] | None = None,
        on_dropped: Callable[[Job, PromptEnd, str], None] | None = None,
        on_refused: Callable[[PromptEnd, str], None] | None = None,
        second_answers: str = "off",
        left_out: Collection[str] = (),
        admit: Callable[[Backend], None] = lambda server: None,
    ) -> None:
        listeners = Listeners(
            on_submit or (lambda job, prompt_id, url: None),
            on_accepted or (lambda job, prompt_id, handle: None),
            on_failed_try or (lambda outcome, url: None),
            on_note or (lambda text: None),
            on_second or (lambda job, prompt_id, url: None),
            on_dropped or (lambda job, outcome, url: None),
            on_refused or (lambda outcome, url: None),
        )
        hourly = {server.url for server in servers if second_answers != "off" and is_hourly(server)}
        urls = [server.url for server in servers]
        spare = set(urls) if second_answers == "all" else hourly
        self._pool = TaskPool(urls, left_out, spare=spare, priced=set(urls) - hourly)
        self._lanes = [ServerLane(server, self._pool, listeners, ahead=ahead, retries=retries, admit=admit) for server in servers]
        for lane in self._lanes:
            lane.start()

    @property
    def wanted(self) -> int:
        """How many more jobs the servers could take now."""
        waiting = self._pool.waiting()  # first: one that is taken meanwhile counts twice, never not at all
        rooms = {lane.server.url: lane.room for lane in self._lanes if lane.alive}
        bound = [can_run for can_run in waiting if can_run is not None]
        taken = len(waiting) - len(bound)
        if bound:  # those that only some can run leave the room of the others free
            taken += min(len(bound), sum(max(0, room) for url, room in rooms.items() if any(can_run(url) for can_run in bound)))
        return max(0, sum(rooms.values()) - taken)

    @property
    def busy(self) -> bool:
        """Whether any job that was put has not been handed out by `wait`."""
        return self._pool.busy

    @property
    def holding(self) -> set[str]:
        """The URLs of the servers that hold prompts."""
        return self._pool.holding

    def put(self, job: Job) -> None:
        """Add a job behind those that wait."""
        self._pool.put(job)

    def expect(self, more: int | None, *, may_pay: bool = True) -> None:
        """Say how many more jobs will be put, None where that is not known. `may_pay`: a second answer may cost something."""
        self._pool.expect(more, may_pay=may_pay)

    def wait(self, timeout: float) -> list[Finished]:
        """The jobs that ended since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises UnavailableError when no server is left, after handing out everything that ended before.
        """
        return self._pool.wait(timeout)

    def run(self, jobs: Iterable[Job], count: int | None = None) -> Iterator[Finished]:
        """Every job, in the order in which they end. `jobs`, of which there are `count`, is read only as far as the servers want more."""
        source = iter(jobs)
        more, left = True, count
        self.expect(left)
        while True:
            while more and self.wanted:
                job = next(source, None)
                more = job is not None
                if job is not None:
                    self.put(job)
                    left = left - 1 if left else None
                self.expect(left if more else 0)
            if not more and not self.busy:
                return
            yield from self.wait(timeout=1.0)

    def close(self) -> None:
        """Cancel what has not ended (only ours), and stop."""
        self._pool.close()
        until = time.monotonic() + CLOSE_SECONDS
        for lane in self._lanes:
            lane.join(max(0.1, until - time.monotonic()))

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
