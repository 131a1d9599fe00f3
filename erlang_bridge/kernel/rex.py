"""The process ``rex``: rpc for old nodes, C nodes (``erl_call``) and ``rpc:block_call``.

Source: OTP ``lib/kernel/src/rpc.erl``, ``handle_call/3``, ``handle_cast/2``, ``handle_info/2``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.errors import ProcessExit
from erlang_bridge.kernel import group_leader
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.otp import gen, reports
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.results import NoReply
from erlang_bridge.terms import Atom, Pid

BADRPC: Final = Atom("badrpc")
EXIT: Final = Atom("EXIT")
REX: Final = Atom("rex")
SEND_STDOUT_TO_CALLER: Final = Atom("send_stdout_to_caller")


class Rex(GenServer):
    """Runs functions of the node's table; each call in a process of its own, ``block_call`` one after the other."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case (Atom("call"), module, function, arguments, leader):
                self._run(caller[0], leader, module, function, arguments, lambda value: self._reply(caller, value))
            case (Atom("block_call"), module, function, arguments, leader):
                self._reply(caller, self._apply(caller[0], leader, module, function, arguments, self._process))
        return NoReply(state)

    def handle_cast(self, message: Any, state: Any) -> Any:
        match message:
            case (Atom("cast"), module, function, arguments, leader):
                self._run(self.pid, leader, module, function, arguments, lambda value: None)
        return NoReply(state)

    def handle_info(self, message: Any, state: Any) -> Any:
        match message:
            case (Pid() as client, (Atom("call"), module, function, arguments, leader)):

                def answer(value: Any) -> None:
                    self._process.table.send(None, client, (REX, value))

                self._run(client, leader, module, function, arguments, answer)
            case (Pid() as client, Atom("features_request")):
                self.send(client, (Atom("features_reply"), self.node.name, [Atom("erpc")]))
            case (Pid() as client, (Atom("sbcast"), Atom() as name, payload)):
                known = name in self._process.table.names
                self.send(name, payload)
                answer_to = self.node.name if known else (Atom("nonexisting_name"), name)
                self.send(client, (REX, self.node.name, answer_to))
            case (Pid() as client, (Atom("send"), Atom() as name, payload)):
                self.send(name, (client, payload))
        return NoReply(state)

    def _reply(self, caller: gen.Caller, value: Any) -> None:
        gen.reply(self._process, self._process.table, caller, value)

    def _run(
        self, client: Pid, leader: Any, module: Any, function: Any, arguments: Any, answer: Callable[[Any], None]
    ) -> None:
        table = self._process.table

        def body() -> None:
            process = table.current()
            value = self._apply(client, leader, module, function, arguments, process)
            try:
                answer(value)
            except Exception as error:
                answer((BADRPC, (EXIT, reports.exit_reason(error))))

        table.add_body(body, parent=self.pid)

    def _apply(self, client: Pid, leader: Any, module: Any, function: Any, arguments: Any, process: Any) -> Any:
        """Run the function with `leader` as its group leader: a pid, ``user``, or ``send_stdout_to_caller``."""
        own_leader, stdout = process.group_leader, None
        if type(leader) is Pid:
            process.group_leader = leader
        elif leader is SEND_STDOUT_TO_CALLER:
            process.group_leader = stdout = group_leader.start_stdout_to_caller(process, client)
        try:
            call = RemoteCall(self.node, process, client, process.group_leader)
            value = self._result(call, module, function, arguments)
        finally:
            process.group_leader = own_leader
        if stdout is not None:
            # What was printed comes before the result.
            group_leader.finish(process, stdout)
        return value

    def _result(self, call: RemoteCall, module: Any, function: Any, arguments: Any) -> Any:
        try:
            return self.node.callables.apply(call, module, function, arguments)
        except ProcessExit:
            raise
        except BaseException as error:
            kind, reason, trace = reports.classify(error)
            if kind == "throw":
                return reason
            return (BADRPC, (EXIT, (reason, trace) if kind == "error" else reason))
