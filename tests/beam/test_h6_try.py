import os, signal, gevent, shutil
from tests.beam.test_global import *
from erlang_bridge.testing.beams import EvalTimeout
def test_x(beam, beam_factory, other_release, node):
    second = beam_factory(release=other_release)
    meet(beam, second, node)
    beam.eval("erlang:disconnect_node(N)", N=node.name)
    for at in (beam, second, node):
        try:
            for i in range(300):
                if members(at) == set(): break
                gevent.sleep(0.02)
        except EvalTimeout:
            os.kill(at.pid, signal.SIGUSR1)
            gevent.sleep(3)
            for f in at.directory.iterdir(): print(f)
            shutil.copy(at.directory/"erl_crash.dump", "/tmp/h6/dump")
            raise
