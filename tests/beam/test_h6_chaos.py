import os
import random
import time

import gevent
import pytest

from tests.beam.test_global import *


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS","3"))))
def test_chaos(beam, beam_factory, other_release, node_factory, seed):
    rng = random.Random(seed + int(os.environ.get("BASE","0")))
    beams = [beam, beam_factory(release=other_release)]
    pys = [node_factory(), node_factory(), node_factory()]
    everyone = [*beams, *pys]
    pend = []
    t0 = time.monotonic()
    n = 0
    while time.monotonic() - t0 < float(os.environ.get("SECS","20")):
        a, b = rng.sample(everyone, 2)
        act = rng.choice(["connect"]*4+["disconnect"]*2+["register"]*4+["trans"])
        n += 1
        if act == "connect":
            if isinstance(a, Beam): a.begin("net_kernel:connect_node(N)", N=Atom(str(b.name)))
            else: a.connections.get(Atom(str(b.name)))
        elif act == "disconnect":
            if isinstance(a, Beam): a.begin("erlang:disconnect_node(N)", N=Atom(str(b.name)))
            else: a.disconnect(str(b.name))
        elif act == "register":
            nm = Atom(f"n{rng.randrange(4)}")
            if isinstance(a, Beam): pend.append((n, act, a, a.begin(f"global:re_register_name(N, {SLEEPER}), {{ok}}", N=nm)))
            else: pend.append((n, act, a, gevent.spawn(a.global_names.re_register_name, nm, sleeper(a))))
        elif isinstance(a, Beam): pend.append((n, act, a, a.begin("global:trans({r, self()}, fun() -> timer:sleep(5) end)")))
        else: pend.append((n, act, a, gevent.spawn(a.global_names.trans, "r", lambda: gevent.sleep(0.005))))
        gevent.sleep(rng.choice([0, 0.001, 0.01, 0.05, 0.3]))
    print("actions", n, "pending", sum(not (p.ready()) for _, _, _, p in pend))
    def state():
        out = []
        for x in everyone:
            if isinstance(x, Beam):
                out.append((x.name, members(x), x.eval("nodes()"), x.eval("ets:tab2list(global_locks)"), x.eval("get(), {_, _, _, I} = sys:get_status(global_name_server), ok")))
            else:
                s = x.table.names[Atom("global_name_server")].instance
                out.append((x.name, members(x), x.nodes(), s._locks._locks, dict(s._sessions._sessions), s._members.pending))
        return "\n".join(map(str, out))
    def heal():
        for x in everyone[1:]:
            if isinstance(x, Beam): x.begin("net_kernel:connect_node(N)", N=everyone[0].node)
            else: x.connections.get(everyone[0].node)
    ok = False
    for i in range(30):
        heal()
        t1 = time.monotonic()
        while time.monotonic() - t1 < 2 and not ok:
            ok = is_whole(everyone)
            gevent.sleep(0.02)
        if ok: break
    print("whole after", i)
    assert ok, state()
    for p in pend:
        if not until(p[3].ready, 15):
            pytest.fail(f"{p} stuck\n{state()}")
    for x in everyone:
        if isinstance(x, Beam): assert x.eval(f"global:register_name(node(), {SLEEPER})", timeout_s=10) is YES
        else:
            with gevent.Timeout(10): assert x.global_names.register_name(x.name, sleeper(x))
    names = [set(map(str, x.eval("global:registered_names()") if isinstance(x, Beam) else x.global_names.registered_names())) for x in everyone]
    tabs = []
    for x in everyone:
        tabs.append({nm: whereis(x, nm) for nm in sorted(names[0])})
    assert all(t == tabs[0] for t in tabs), "\n".join(map(str, tabs)) + "\n" + state()
