"""Servers that tests start."""

from __future__ import annotations

import time
from typing import Any

import gevent

from erlang_bridge import Atom, ErlangExit, GenServer, Ignore, NoReply, Reply, Stop

OK = Atom("ok")


class Counter(GenServer):
    """Adds up. ``init`` misbehaves on request."""

    def init(self, args: Any) -> Any:
        match args:
            case Atom("raise"):
                raise ValueError("no such start")
            case Atom("stop"):
                return Stop(Atom("not_today"))
            case Atom("ignore"):
                return Ignore()
            case Atom("exit"):
                raise ErlangExit(Atom("went_away"))
            case (Atom("slow"), float(seconds)):
                gevent.sleep(seconds)
                return 0
        return args if isinstance(args, int) else 0

    def handle_call(self, request: Any, caller: Any, state: int) -> Any:
        match request:
            case Atom("read"):
                return Reply(state, state)
            case (Atom("add"), int(amount)):
                return Reply(OK, state + amount)
            case Atom("crash"):
                raise RuntimeError("asked to crash")
            case (Atom("stop"), reason):
                return Stop(reason, state, reply=OK)
            case (Atom("exit"), reason):
                raise ErlangExit(reason)
            case Atom("unencodable"):
                return Reply(object(), state)
            case (Atom("sleep"), float(seconds)):
                gevent.sleep(seconds)
                return Reply(OK, state)
            case (Atom("block"), float(seconds)):
                # The whole interpreter, not only this process: what a careless C extension does.
                time.sleep(seconds)
                return Reply(OK, state)
            case (Atom("later"), float(seconds)):
                self.send_after(seconds, (Atom("answer"), caller))
                return NoReply(state)
            case (Atom("call"), target, inner):
                return Reply(self.call(target, inner), state)
        return None

    def handle_cast(self, message: Any, state: int) -> Any:
        match message:
            case (Atom("add"), int(amount)):
                return NoReply(state + amount)
            case Atom("crash"):
                raise RuntimeError("asked to crash")
            case (Atom("stop"), reason):
                return Stop(reason, state)
        return None

    def handle_info(self, message: Any, state: int) -> Any:
        match message:
            case (Atom("answer"), caller):
                self.reply(caller, (Atom("late"), state))
                return NoReply(state)
        return super().handle_info(message, state)


class Crasher(GenServer):
    """Traps exits, and is slow to end where its argument says so: ``(linger, seconds)``."""

    trap_exit = True

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        return Reply(state, state)

    def terminate(self, reason: Any, state: Any) -> None:
        match state:
            case (Atom("linger"), float(seconds)):
                gevent.sleep(seconds)
            case (Atom("tell"), pid):
                self.send(pid, (Atom("terminate"), reason))


class Idle(GenServer):
    """Does nothing, and drops what it is sent."""

    def handle_info(self, message: Any, state: Any) -> NoReply:
        return NoReply(state)
