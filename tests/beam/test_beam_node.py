"""The test kit's own real nodes: what comes back, what is reported, what survives."""

import os

import gevent
import pytest

from erlang_bridge.errors import ErlangError, ErlangExit, ErlangThrow, NoProcess
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.testing import (
    INIT_ANSWER,
    BeamDied,
    BeamFailure,
    EvalTimeout,
    MalformedSource,
    NoBeam,
    NotSeen,
    ProcessDied,
    Terminal,
    find_elixir,
)
from erlang_bridge.testing.epmd import Epmd
from erlang_bridge.testing.releases import inspect_release, packaged_erl

# -- evaluating -------------------------------------------------------------------------------


def test_a_value_comes_back(shared_beam):
    assert shared_beam.eval("lists:sum([1, 2])") == 3
    assert shared_beam.eval("{ok, <<1>>, [a | b]}.")[:2] == (Atom("ok"), b"\x01")


def test_bindings_are_terms(shared_beam):
    assert shared_beam.eval("{X, lists:reverse(List)}", X={1: "é"}, List=[1, 2]) == ({1: "é".encode()}, [2, 1])


def test_several_expressions_give_the_last_value(shared_beam):
    assert shared_beam.eval("A = 1, B = A + 1, {A, B}") == (1, 2)


def test_source_may_be_any_unicode(shared_beam):
    assert shared_beam.eval('"λ→é"') == [ord(character) for character in "λ→é"]


def test_call_needs_no_parsing(shared_beam):
    assert shared_beam.call("erlang", "byte_size", b"abc") == 3


def test_each_evaluation_has_a_process_of_its_own(shared_beam):
    assert shared_beam.eval("self()") != shared_beam.eval("self()")


def test_big_terms_both_ways(shared_beam):
    big = os.urandom(1 << 20) * 20
    assert shared_beam.eval("{byte_size(B), B}", B=big) == (len(big), big)


@pytest.mark.parametrize(
    ("source", "exception", "reason"),
    [
        ("error({bad, 1})", ErlangError, (Atom("bad"), 1)),
        ("throw(ball)", ErlangThrow, Atom("ball")),
        ("exit(gone)", ErlangExit, Atom("gone")),
        ("exit(normal)", ErlangExit, Atom("normal")),
        ("exit(noproc)", NoProcess, Atom("noproc")),
        ("exit(self(), kill), receive after infinity -> ok end", ProcessDied, Atom("killed")),
    ],
)
def test_failures_are_exceptions(shared_beam, source, exception, reason):
    with pytest.raises(exception) as caught:
        shared_beam.eval(source)
    assert caught.value.reason == reason


@pytest.mark.parametrize("source", ["1 +", "foo bar", '"open'])
def test_what_is_no_expression_says_so(shared_beam, source):
    with pytest.raises(MalformedSource, match=r"\(at "):
        shared_beam.eval(source)


def test_no_answer_in_time_says_so(shared_beam):
    with pytest.raises(EvalTimeout, match=r"no answer within 0\.05 s: timer:sleep"):
        shared_beam.eval("timer:sleep(500)", timeout_s=0.05)
    assert shared_beam.eval("ok") == Atom("ok")


def test_evaluations_overlap_and_do_not_block_other_greenlets(shared_beam):
    slow = shared_beam.begin("receive after 200 -> slow end")
    assert shared_beam.eval("quick") == Atom("quick")
    assert not slow.ready()
    turn = gevent.spawn(gevent.sleep, 0.05)
    assert slow.result() == Atom("slow")
    assert turn.ready()


def test_wait_until(shared_beam):
    pid = shared_beam.eval("spawn(fun() -> timer:sleep(50) end)")
    assert shared_beam.wait_until("not is_process_alive(P)", P=pid) is True
    with pytest.raises(EvalTimeout, match="still False"):
        shared_beam.wait_until("false", timeout_s=0.05)


def test_a_shell_keeps_bindings_links_and_mail(shared_beam):
    shell = shared_beam.shell()
    pid = shell.pid
    assert isinstance(pid, Pid)
    shell.eval("process_flag(trap_exit, true), Child = spawn_link(fun() -> receive Reason -> exit(Reason) end end)")
    shared_beam.eval("Shell ! {mail, 1}", Shell=pid)
    assert shell.eval("receive {mail, N} -> N end") == 1
    assert shell.eval("Child ! boom, receive {'EXIT', Child, Why} -> Why end") == Atom("boom")
    assert shell.pid == pid
    shell.end()
    shared_beam.wait_until("not is_process_alive(P)", P=pid)


def test_a_dead_shell_says_so(shared_beam):
    shell = shared_beam.shell()
    with pytest.raises(ProcessDied):
        shell.eval("exit(self(), kill), receive after infinity -> ok end")
    with pytest.raises(ProcessDied) as caught:
        shell.eval("1")
    assert caught.value.reason == Atom("noproc")


# -- output -----------------------------------------------------------------------------------


def test_output_goes_to_the_log_and_not_into_the_line(beam):
    beam.eval('io:put_chars([<<0, 0, 0, 5>>, "noise\\n"]), io:format(standard_error, "on stderr~n", [])')
    beam.eval('logger:error("a logged error")')
    beam.wait_for_log("a logged error")
    beam.wait_for_log("on stderr")
    assert "noise" in beam.log_text()
    with pytest.raises(EvalTimeout, match="noise"):
        beam.wait_for_log("never printed", timeout_s=0.05)


# -- life and death ---------------------------------------------------------------------------


def test_names_and_cookies(beam_factory, beam_cookie):
    long, short = beam_factory(), beam_factory(name="short_name@localhost")
    assert long.eval("{node(), erlang:get_cookie()}") == (long.node, Atom(beam_cookie))
    assert short.eval("node()") == Atom("short_name@localhost")


def test_two_nodes_meet(beam_factory):
    one, two = beam_factory(), beam_factory(hidden=True)
    assert one.eval("net_adm:ping(N)", N=two.node) == Atom("pong")
    assert one.eval("{nodes(), nodes(hidden)}") == ([], [two.node])


def test_kill_and_restart_make_a_new_incarnation(beam):
    pid, creation = beam.pid, beam.creation
    assert beam.kill() == -9
    assert not beam.running
    beam.restart()
    assert beam.pid != pid
    assert beam.creation != creation
    assert beam.eval("node()") == beam.node


def test_a_frozen_node_answers_after_the_thaw(beam):
    beam.freeze()
    assert beam.running
    late = beam.begin("late")
    with pytest.raises(EvalTimeout):
        late.result(timeout_s=0.1)
    beam.thaw()
    assert late.result() == Atom("late")


def test_a_frozen_node_can_be_killed(beam):
    beam.freeze()
    assert beam.kill() == -9


def test_stop_is_orderly(beam):
    beam.eval(
        "spawn(fun() -> process_flag(trap_exit, true), register(last, self()),"
        ' receive after infinity -> ok end end), logger:error("was here")'
    )
    assert beam.stop() == 0
    assert not beam.running
    assert beam.stop() == 0


def test_the_end_of_a_node_is_told_with_its_last_words(beam):
    with pytest.raises(BeamDied, match=r"(?s)halt.*exit status 1.*Slogan: last words"):
        beam.eval('erlang:halt("last words")')
    assert beam.wait_exit() == 1
    with pytest.raises(BeamDied, match="not running"):
        beam.eval("1")


def test_a_node_that_cannot_start_says_why(beam_factory, unused_epmd_port):
    beam = beam_factory(start=False, epmd_port=unused_epmd_port)
    with pytest.raises(BeamDied, match="econnrefused"):
        beam.start()


def test_a_taken_name_is_a_failure(beam, beam_factory):
    with pytest.raises(BeamFailure, match="in use by another Erlang node"):
        beam_factory(name=beam.name)


def test_an_unexpected_end_is_noticed(beam):
    beam.begin("erlang:halt(7)")
    beam._program.wait(5)
    with pytest.raises(BeamDied, match="exit status 7"):
        beam.check_not_crashed()
    beam.kill()
    beam.check_not_crashed()


# -- modules ----------------------------------------------------------------------------------


def test_a_module_compiled_elsewhere_runs(shared_beam, compile_erlang):
    code = compile_erlang("-module(seven).\n-export([f/0]).\nf() -> 7.\n")
    assert shared_beam.load_module(code) == Atom("seven")
    assert shared_beam.call("seven", "f") == 7


def test_a_supervisor_without_a_compiler(shared_beam):
    shared_beam.load_module(INIT_ANSWER)
    supervisor = shared_beam.eval(
        "{ok, S} = supervisor:start_link(init_answer, {ok, {#{strategy => rest_for_one}, []}}), unlink(S), S"
    )
    assert shared_beam.call("supervisor", "which_children", supervisor) == []
    shared_beam.eval("exit(S, shutdown)", S=supervisor)


def test_a_module_that_is_none_is_refused(shared_beam):
    with pytest.raises((ErlangError, BeamFailure)):
        shared_beam.load_module(b"FOR1 and nothing more")


# -- finding ----------------------------------------------------------------------------------


def test_the_release_is_what_it_says(shared_beam, beam_release):
    assert shared_beam.eval("erlang:system_info(otp_release)") == [ord(digit) for digit in str(beam_release.otp)]
    assert beam_release.program("epmd").is_file()
    with pytest.raises(NoBeam):
        beam_release.program("no_such_program")


def test_run_bits_are_set_again(beam_release):
    erl = packaged_erl()
    assert erl is not None
    emulator = next(erl.parent.parent.glob("erts-*/bin/beam.smp"))
    for program in (erl, emulator):
        program.chmod(0o644)
    packaged_erl()
    assert inspect_release(erl).otp == 28


def test_what_does_not_run_is_named(tmp_path):
    liar = tmp_path / "erl"
    liar.write_text("#!/bin/sh\necho hello\n")
    liar.chmod(0o755)
    with pytest.raises(NoBeam, match=str(liar)):
        inspect_release(liar)


def test_an_epmd_whose_port_is_taken_says_so(beam_release, epmd_port, tmp_path):
    epmd = Epmd(beam_release, epmd_port, tmp_path)
    with pytest.raises(NoBeam, match=str(epmd_port)):
        epmd.start()


# -- Elixir -----------------------------------------------------------------------------------


def test_elixir_evaluates_both_languages(elixir):
    assert elixir.eval("Enum.sum(list)", list=[1, 2]) == 3
    assert elixir.eval_erlang("lists:sum(List)", List=[1, 2]) == 3
    assert elixir.eval('{nil, "é", :ok}') == (None, "é".encode(), Atom("ok"))


def test_elixir_exceptions_are_errors_with_the_struct_as_reason(elixir):
    with pytest.raises(ErlangError) as caught:
        elixir.eval('raise ArgumentError, "no"')
    assert caught.value.reason[Atom("__struct__")] == Atom("Elixir.ArgumentError")


def test_elixir_shells_keep_modules_and_bindings(elixir):
    shell = elixir.shell()
    shell.eval("a = 5")
    assert shell.eval("defmodule Twice do\n def of(n), do: 2 * n\nend\nTwice.of(a)") == 10


def test_elixir_restarts_under_its_name(elixir):
    creation = elixir.creation
    elixir.freeze()
    elixir.restart()
    assert elixir.creation != creation
    assert elixir.eval("node()") == elixir.node


def test_no_elixir_without_its_beam():
    assert find_elixir([]) is None


# -- terminals --------------------------------------------------------------------------------


def test_erl_at_a_terminal(beam_release, tmp_path):
    with Terminal([str(beam_release.erl)], tmp_path) as erl:
        erl.expect(r"1> ")
        erl.type('X = lists:seq(1, 3), io:format("<~p>~n", [X]).')
        erl.expect(r"^<\[1,2,3\]>$")
        with pytest.raises(NotSeen, match="never"):
            erl.expect("never", timeout_s=0.05)
        erl.type("q().")
        assert erl.wait_exit() == 0


def test_iex_at_a_terminal(elixir_release, tmp_path):
    with Terminal([str(elixir_release.elixir.with_name("iex"))], tmp_path) as iex:
        iex.expect(r"iex\(1\)> ")
        iex.type("Enum.sum(1..4)")
        iex.expect(r"^10$")
