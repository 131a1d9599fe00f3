"""The processes and functions that other nodes expect of every node, started with it.

::

    kernel_sup                     one_for_one, however often they end
    ├── user                       the group leader of what is started here
    ├── logger_proxy
    ├── net_kernel
    ├── rex
    ├── application_controller
    ├── global_name_server
    └── pg, and further scopes
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import gevent

from erlang_bridge.errors import exit_for
from erlang_bridge.kernel import applications, code_server, erlang_info, group_leader, otp_functions, standard, tables
from erlang_bridge.kernel.applications import ApplicationController
from erlang_bridge.kernel.logger_proxy import LoggerProxy
from erlang_bridge.kernel.multi_call import calling_process
from erlang_bridge.kernel.net_kernel import NetKernel
from erlang_bridge.kernel.rex import Rex
from erlang_bridge.otp import gen
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags, class_atom
from erlang_bridge.otp.gen_server import GenServer, start_server, wait_started
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process.exit_rules import SHUTDOWN
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.kernel")

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
USER: Final = Atom("user")
KERNEL_SUP: Final = Atom("kernel_sup")
RETRY_S: Final = 0.1
RESTARTS_A_SECOND: Final = 1_000_000
"""More than there can be: whoever kills these processes, they come back."""


class Kernel:
    """The kernel processes of one node: those that are kept running, while `is_running`."""

    def __init__(self, node: Any) -> None:
        self.is_running = True
        self._node = node
        self._children: list[ChildSpec] = []
        self._is_started = False

    @property
    def supervisor(self) -> Pid | None:
        """The pid of ``kernel_sup``."""
        pid: Pid | None = self._node.table.whereis(KERNEL_SUP)
        return pid

    def keep_running(self, name: Atom, server_class: type[GenServer], make_args: Callable[[], Any]) -> None:
        """Have a server run under ``kernel_sup``; each time that it is started again it gets new arguments.

        Raises:
            ErlangExit: it does not start.
        """
        spec = ChildSpec(name, _Start(name, server_class, make_args), modules=[class_atom(server_class)])
        self._children.append(spec)
        if not self._is_started:
            return
        with calling_process(self._node.table) as process:
            answer = gen.call(process, KERNEL_SUP, (Atom("start_child"), spec), None, module="supervisor")
        if answer[0] is not OK:
            self._children.remove(spec)
            raise exit_for(answer[1], f"start of {name}")

    def start(self) -> None:
        """Start the supervisor, and wait until all that have been given to `keep_running` run.

        Raises:
            ErlangExit: one of them does not start.
        """
        answer = wait_started(self._node.table, Supervisor, self._tree(), name=KERNEL_SUP)
        if answer[0] is not OK:
            raise exit_for(answer[1], f"start of {KERNEL_SUP}")
        self._is_started = True
        self._on_started(answer)

    def _tree(self) -> tuple[SupervisorFlags, list[ChildSpec]]:
        return SupervisorFlags(intensity=RESTARTS_A_SECOND, period_s=1), list(self._children)

    def _start_again(self) -> None:
        if self.is_running:
            start_server(self._node.table, Supervisor, self._tree(), self._on_started, name=KERNEL_SUP)

    def _on_started(self, answer: Any) -> None:
        if type(answer) is tuple and answer[0] is OK:
            process = self._node.table.find(answer[1])
            if process is not None:
                process.on_exit = self._ended
            else:
                self._start_again()
        elif self.is_running:
            log.error("%s did not start and is tried again: %r", KERNEL_SUP, answer)
            gevent.spawn_later(RETRY_S, self._start_again)

    def _ended(self, reason: Any) -> None:
        if self.is_running:
            log.error("%s has ended and is started again: %r", KERNEL_SUP, reason)
            # Its children have ended with it, and given back their names, by the time this has its first turn.
            self._start_again()


class _Start:
    """Starts one kernel process; called by ``kernel_sup``."""

    def __init__(self, name: Atom, server_class: type[GenServer], make_args: Callable[[], Any]) -> None:
        self._name = name
        self._server_class = server_class
        self._make_args = make_args
        self._failures = 0
        # What `supervisor:get_childspec/2` and reports show.
        self.__module__ = server_class.__module__
        self.__qualname__ = server_class.__qualname__

    def __call__(self, supervisor: Supervisor) -> Any:
        process = supervisor.process
        table = process.table
        if self._failures:
            gevent.sleep(RETRY_S)
        answer = wait_started(table, self._server_class, self._make_args(), name=self._name, parent=process, link=True)
        if type(answer) is not tuple or answer[0] is not OK:
            self._failures += 1
            return answer
        self._failures = 0
        if self._name is USER:
            user = answer[1]
            # Processes that start from now on; those that had the old one write to nobody, as on a BEAM.
            table.default_group_leader = process.group_leader = user
            started = table.find(user)
            if started is not None:
                started.group_leader = None
        return answer


def start(node: Any) -> Kernel:
    """Start the kernel processes of `node` and fill its table of callables.

    Raises:
        ErlangExit: one of them does not start.
    """
    standard.export_standard(node)
    for part in (erlang_info, applications, code_server, otp_functions, tables):
        part.export(node)
    kernel = Kernel(node)
    # First, so that the others have a group leader.
    kernel.keep_running(USER, group_leader.User, lambda: node.streams)
    kernel.keep_running(Atom("logger_proxy"), LoggerProxy, lambda: None)
    kernel.keep_running(Atom("net_kernel"), NetKernel, lambda: None)
    kernel.keep_running(Atom("rex"), Rex, lambda: None)
    kernel.keep_running(applications.APPLICATION_CONTROLLER, ApplicationController, lambda: None)
    node.global_names.start(kernel.keep_running)
    node.pg.start(kernel.keep_running)
    try:
        kernel.start()
    except BaseException:
        kernel.is_running = False
        node.table.close(SHUTDOWN)
        raise
    return kernel


def stop(node: Any) -> None:
    """Stop them again."""
    node.kernel.is_running = False
