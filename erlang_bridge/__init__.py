"""A Python node of an Erlang cluster: processes that a BEAM links, monitors, calls and supervises as its own.

Example::

    from erlang_bridge import Atom, GenServer, Node, Reply

    class Counter(GenServer):
        def init(self, start): return start
        def handle_call(self, request, caller, state):
            match request:
                case Atom("read"): return Reply(state, state)
                case (Atom("add"), int(n)): return Reply(Atom("ok"), state + n)

    node = Node("py@127.0.0.1", cookie="secret")
    counter = node.start(Counter, 0, name="counter")

Source of the words used here: Erlang/OTP's manuals; a name is spelt as OTP spells it.
"""

from erlang_bridge.errors import (
    BadCookie,
    BridgeError,
    CallingSelf,
    CallTimeout,
    ConfigError,
    ConnectionLost,
    EpmdError,
    EpmdUnreachable,
    ErlangError,
    ErlangException,
    ErlangExit,
    ErlangThrow,
    EtfDecodeError,
    EtfEncodeError,
    EtfError,
    HandshakeError,
    ModuleNotLoaded,
    ModuleNotPushed,
    NameTaken,
    NoConnection,
    NodeNotRegistered,
    NoProcess,
    ProcessExit,
)
from erlang_bridge.etf.structs import struct
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.group_leader import Streams
from erlang_bridge.net.options import NetOptions
from erlang_bridge.node import Node
from erlang_bridge.otp.child_specs import ChildSpec, DynamicSupervisorFlags, InvalidSpec, SupervisorFlags
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.otp.results import Ignore, Init, NoReply, Reply, Stop
from erlang_bridge.otp.supervisor import DynamicSupervisor, Supervisor
from erlang_bridge.terms import Atom, BitString, Export, Fun, ImproperList, Map, Pid, Port, Record, Reference
from erlang_bridge.version import __version__ as __version__

__all__ = [
    "Atom",
    "BadCookie",
    "BitString",
    "BridgeError",
    "CallTimeout",
    "CallingSelf",
    "ChildSpec",
    "ConfigError",
    "ConnectionLost",
    "DynamicSupervisor",
    "DynamicSupervisorFlags",
    "EpmdError",
    "EpmdUnreachable",
    "ErlangError",
    "ErlangException",
    "ErlangExit",
    "ErlangThrow",
    "EtfDecodeError",
    "EtfEncodeError",
    "EtfError",
    "Export",
    "Fun",
    "GenServer",
    "HandshakeError",
    "Ignore",
    "ImproperList",
    "Init",
    "InvalidSpec",
    "Map",
    "ModuleNotLoaded",
    "ModuleNotPushed",
    "NameTaken",
    "NetOptions",
    "NoConnection",
    "NoProcess",
    "NoReply",
    "Node",
    "NodeNotRegistered",
    "OwnProcess",
    "Pid",
    "Port",
    "ProcessExit",
    "Record",
    "Reference",
    "RemoteCall",
    "Reply",
    "Stop",
    "Streams",
    "Supervisor",
    "SupervisorFlags",
    "struct",
]
