import os, signal, gevent, shutil, time, logging
import tests.beam.test_global as tg
from tests.beam.test_global import *
tg.PROGRAM = tg.PROGRAM.replace("import os, signal, sys", '''import os, signal, sys, logging
logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s")
from erlang_bridge.node import Node as N
oe = N._emit
def emit(self, node, control, payload, connect):
    logging.debug("EMIT %s %r %r %s", node, control, payload, connect)
    return oe(self, node, control, payload, connect)
N._emit = emit
os_ = N._on_signals
def ons(self, ch, sigs):
    for s in sigs: logging.debug("GOT %s %r", ch.node, s)
    return os_(self, ch, sigs)
N._on_signals = ons
''')
def test_y(beam_factory, other_release, python_program, tmp_path):
    beam, second = beam_factory(arguments=TICKS), beam_factory(release=other_release, arguments=TICKS)
    meet(beam, second)
    program = python_program.start("py_frozen@127.0.0.1", beam)
    assert until(lambda: members(second) == {beam.name, "py_frozen@127.0.0.1"}, 10)
    program.signal(signal.SIGSTOP)
    assert beam.eval(f"global:register_name(name, {SLEEPER})", timeout_s=3 * TICKTIME_S) is YES
    assert until(lambda: is_whole([beam, second]), 10)
    program.signal(signal.SIGCONT)
    print("THAW", time.strftime("%H:%M:%S"))
    t0=time.monotonic()
    assert second.eval("global:register_name(again, self())", timeout_s=10) is YES
    print(beam.eval("net_adm:ping('py_frozen@127.0.0.1')"), time.monotonic()-t0)
    try:
      for i in range(40):
        if members(second) == {beam.name, "py_frozen@127.0.0.1"}: break
        print(round(time.monotonic()-t0,2), members(beam), members(second), beam.eval("nodes()"), second.eval("nodes()"))
        gevent.sleep(0.5)
      else: assert 0
    finally:
      print(program.log_path.read_text())
      print(beam.log_text()); print("-----"); print(second.log_text())
