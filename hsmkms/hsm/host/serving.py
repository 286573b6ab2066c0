"""The loop of a host: a thread for each session, and one that watches for the end of the socket.

Laws:

- the end of the socket is the end of the process, at once and whatever is going on: no plaintext outlives its caller;
- a sick token is answered as such, and then the process ends;
- what is kept unsealed is destroyed when its time is over, or when the call in hand then is done;
- a verb's values are never logged.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import pkcs11

from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm import messages
from hsmkms.hsm.host import adopting, attaching, faults, making, purposes, verbs
from hsmkms.hsm.host.arrivals import Arrivals
from hsmkms.hsm.host.departures import Departures
from hsmkms.hsm.host.faults import TokenSick
from hsmkms.hsm.messages import Fault, FaultKind, Reply, Request
from hsmkms.hsm.parts import CustodyItem
from hsmkms.hsm.settings import HostExit
from hsmkms.log import REQUEST_ID

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from hsmkms.hsm.host.adopting import Standing
    from hsmkms.hsm.host.canary import Canary
    from hsmkms.hsm.host.session import TokenSession
    from hsmkms.hsm.host.workbench import Workbench
    from hsmkms.hsm.report import TokenDescription
    from hsmkms.hsm.settings import HostSettings

_logger = logging.getLogger(__name__)


class Host:
    """A logged-in module on one side, a socket on the other."""

    def __init__(
        self,
        connection: socket.socket,
        settings: HostSettings,
        sessions: Sequence[TokenSession],
        token: TokenDescription,
    ) -> None:
        """Take the socket, and sessions of a logged-in user."""
        self._connection = connection
        self._settings = settings
        self._sessions = sessions
        self._token = token
        self._benches: list[Workbench] = []
        self._standing: Standing | None = None
        self._adopting = threading.Lock()
        self._arrivals = Arrivals(connection, self._leave)
        self._departures = Departures(connection, self._leave, sessions=len(sessions))
        self._exit = HostExit.ORPHANED
        self._counting = threading.Lock()
        self._counts: Counter[str] = Counter()

    def serve(self) -> NoReturn:
        """Obey until the socket ends; then end the process."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        while not self._benches:
            request = self._arrivals.next()
            if request is not None and not self._refused(request):
                self._answer_unattached(request)
        first, *others = self._benches
        for bench in others:
            threading.Thread(target=self._work, args=(bench,), daemon=True).start()
        self._work(first)

    def _refused(self, request: Request) -> bool:
        """Tell whether this host does not do what it was asked, and answer so."""
        if purposes.allowed(request.verb, self._settings.purpose):
            return False
        verb, purpose = type(request.verb).__name__, self._settings.purpose.value
        _logger.error("verb refused", extra={"verb": verb, "why": f"a host started to {purpose} does not do it"})
        self._reply(request.number, Fault(kind=FaultKind.REFUSED))
        return True

    # --- the socket ------------------------------------------------------------------------------------

    def _watch(self) -> NoReturn:
        """End the process with the socket, also while all threads work and none reads."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)  # and POLLHUP and POLLERR, which nobody need ask for
        while not poll.poll():
            pass
        self._leave()

    def _leave(self) -> NoReturn:
        os._exit(self._exit)

    def _reply(self, number: int, answer: messages.Answer) -> None:
        self._departures.send(Reply(number=number, answer=answer))

    # --- before Attach ---------------------------------------------------------------------------------

    def _answer_unattached(self, request: Request) -> None:
        verb = request.verb
        started = time.monotonic()
        try:
            answer = self._prepare(verb)
        except TokenUnusable as unusable:
            answer = Fault(kind=FaultKind.UNUSABLE, message=unusable.message)
        except TokenSick as sick:
            self._end_sick(request, sick)
        except Exception:
            _logger.exception("verb failed", extra={"verb": type(verb).__name__})
            answer = Fault(kind=FaultKind.INTERNAL)
        self._log(verb, started, answer)
        self._reply(request.number, answer)

    def _prepare(self, verb: messages.Verb) -> messages.Answer:
        edition = self._settings.edition
        match verb:
            case messages.Attach():
                purpose = self._settings.purpose
                self._benches = attaching.attach(self._sessions, verb.place, edition, self._token, purpose)
                return _attached(self._benches[0].canary)
            case messages.Initialise():
                made = making.initialise(self._sessions[0], verb.place, edition, self._token)
                return messages.Initialised(objects=tuple(map(CustodyItem.of, made)))
            case messages.MakeSealingKeys():
                made = making.make_sealing_keys(self._sessions[0], verb, edition, self._token)
                return messages.Initialised(objects=tuple(map(CustodyItem.of, made)))
            case messages.DestroySealingKeys():
                count = making.destroy_sealing_keys(self._sessions[0], verb, edition, self._token)
                return messages.SealingKeysDestroyed(count=count)
            case _:
                _logger.error("verb refused", extra={"verb": type(verb).__name__, "why": "before Attach"})
                return Fault(kind=FaultKind.REFUSED)

    # --- after Attach ----------------------------------------------------------------------------------

    def _work(self, bench: Workbench) -> NoReturn:
        while True:  # without names of its own, or a host that waits would keep its last plaintext
            self._serve(bench, self._next(bench))

    def _serve(self, bench: Workbench, request: Request) -> None:
        if self._refused(request):
            return
        REQUEST_ID.set(request.request_id)
        started = time.monotonic()
        try:
            answer = self._obeyed(bench, request.verb)
        except TokenSick as sick:
            self._end_sick(request, sick)
        except Exception:
            # A defect of ours must cost one call, not the host: the caller learns that it is our fault.
            _logger.exception("verb failed", extra={"verb": type(request.verb).__name__})
            answer = Fault(kind=FaultKind.INTERNAL)
        self._log(request.verb, started, answer)
        microseconds = round((time.monotonic() - started) * 1_000_000)
        reply = Reply(number=request.number, answer=answer, microseconds=microseconds)
        self._departures.send_or_hold(request.verb, reply)

    def _obeyed(self, bench: Workbench, verb: messages.Verb) -> messages.Answer:
        """Carry out a verb with the sealing keys that the deployment has by now."""
        if not isinstance(verb, messages.Adopt):
            adopting.follow(bench, self._standing)
            return verbs.answer(bench, verb, self._token)
        with self._adopting:
            adopting.follow(bench, self._standing)
            try:
                self._standing = adopting.adopt(bench, verb.place, self._token)
            except TokenUnusable as unusable:
                return Fault(kind=FaultKind.UNUSABLE, message=unusable.message)
        return _attached(bench.canary)

    def _next(self, bench: Workbench) -> Request:
        """Return the next request; until then tidy the session whenever that is due, also if nobody asks any more."""
        self._tidy(bench)
        request = self._arrivals.at_hand()
        if request is not None:
            self._departures.make_way(request.verb)
            return request
        self._departures.send_held()
        while True:
            request = self._arrivals.next(min(bench.materials.seconds_left, bench.pairs.seconds_left))
            if request is not None:
                return request
            self._tidy(bench)

    @staticmethod
    def _tidy(bench: Workbench) -> None:
        """Destroy what was kept for as long as it may be."""
        for kept in (bench.materials, bench.pairs):
            try:
                kept.drop_overdue()
            except pkcs11.PKCS11Error as error:
                _logger.error("an unsealed object was not destroyed", extra={"answer": faults.word(error)})

    def _end_sick(self, request: Request, sick: TokenSick) -> NoReturn:
        verb = type(request.verb).__name__
        _logger.critical("the token is sick; this host ends", extra={"verb": verb, "answer": sick.word})
        self._exit = HostExit.TOKEN_SICK  # whoever reads the answer hangs up, perhaps before we come to the end
        self._reply(request.number, Fault(kind=FaultKind.SICK))
        self._leave()

    def _log(self, verb: messages.Verb, started: float, answer: messages.Answer) -> None:
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        name = type(verb).__name__
        with self._counting:
            self._counts[name] += 1
            count = self._counts[name]
        outcome = answer.kind.value if isinstance(answer, Fault) else "done"
        milliseconds = round((time.monotonic() - started) * 1000, 3)
        _logger.debug("verb", extra={"verb": name, "count": count, "milliseconds": milliseconds, "outcome": outcome})


def _attached(canary: Canary) -> messages.Attached:
    return messages.Attached(algorithms=frozenset(canary.ciphertexts), ciphers=canary.ciphers)
