"""The processes and functions that other nodes expect of every node, started with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import gevent

from erlang_bridge.kernel import applications, code_server, erlang_info, group_leader, standard
from erlang_bridge.kernel.logger_proxy import LoggerProxy
from erlang_bridge.kernel.net_kernel import NetKernel
from erlang_bridge.kernel.rex import Rex
from erlang_bridge.otp.gen_server import GenServer, start_server
from erlang_bridge.terms import Atom

log = logging.getLogger("erlang_bridge.kernel")

OK: Final = Atom("ok")
USER: Final = Atom("user")
RETRY_S: Final = 0.1


class Kernel:
    """The kernel processes of one node: those that are kept running, while `is_running`."""

    def __init__(self) -> None:
        self.is_running = True


def start(node: Any) -> Kernel:
    """Start the kernel processes of `node` and fill its table of callables."""
    standard.export_standard(node)
    for part in (erlang_info, applications, code_server):
        part.export(node)
    kernel = Kernel()
    # First, so that the others have a group leader.
    _keep_running(node, kernel, USER, group_leader.User, lambda: node.streams)
    node.table.default_group_leader = node.table.whereis(USER)
    _keep_running(node, kernel, Atom("logger_proxy"), LoggerProxy, lambda: None)
    _keep_running(node, kernel, Atom("net_kernel"), NetKernel, lambda: None)
    _keep_running(node, kernel, Atom("rex"), Rex, lambda: None)
    keep_running = partial(_keep_running, node, kernel)
    node.global_names.start(keep_running)
    node.pg.start(keep_running)
    return kernel


def stop(node: Any) -> None:
    """Stop them again."""
    node.kernel.is_running = False


def _keep_running(
    node: Any, kernel: Kernel, name: Atom, server_class: type[GenServer], make_args: Callable[[], Any]
) -> None:
    """Start a server, and again whenever it has ended, each time with new arguments."""
    if not kernel.is_running:
        return

    def started(answer: Any) -> None:
        if type(answer) is tuple and answer[0] is OK:
            node.table.find(answer[1]).on_exit = ended
            if name is USER:
                # Processes that start from now on; those that had the old one write to nobody, as on a BEAM.
                node.table.default_group_leader = answer[1]
        elif kernel.is_running:
            log.error("%s did not start and is tried again: %r", name, answer)
            gevent.spawn_later(RETRY_S, _keep_running, node, kernel, name, server_class, make_args)

    def ended(reason: Any) -> None:
        if kernel.is_running:
            log.error("%s has ended and is started again: %r", name, reason)
            _keep_running(node, kernel, name, server_class, make_args)

    start_server(node.table, server_class, make_args(), started, name=name)
