from erlang_bridge import Atom, GenServer, Node, NoReply, Reply


class Counter(GenServer):
    """OTP's contract: the state goes in and comes out, `match` reads the message."""

    def init(self, start):
        return start

    def handle_call(self, request, caller, state):
        match request:
            case Atom("read"):
                return Reply(state, state)
            case (Atom("add"), int(amount)):
                return Reply(Atom("ok"), state + amount)

    def handle_cast(self, message, state):
        match message:
            case (Atom("add"), int(amount)):
                return NoReply(state + amount)


if __name__ == "__main__":
    with Node("py@127.0.0.1", cookie="chocolate", engines={"counter": Counter}) as node:
        print("READY", node.name, flush=True)
        node.wait()
