"""The specification's two patterns of an engine."""

from __future__ import annotations

from typing import Any

import pytest

from engines.effects import Effects, SetMailbox, SetTimer
from engines.environment import Environment, Mailbox
from engines.guards import Elapsed, EngineConfig, MessageArrived, Turn, run, step
from engines.messages import Address, EngineID, Envelope, MalformedEnvelope, Message, read_fields
from engines.template import behaviour as template
from engines.template.environment import (
    CustomData,
    FirstKindMailboxState,
    FirstOptionTimerHandle,
    SecondKindMailboxState,
    SecondOptionTimerHandle,
    TemplateSettings,
    TemplateState,
)
from engines.template.messages import ExampleReply, ExampleReplyError, ExampleReplyOk, ExampleRequest, JustHi
from engines.template_minimum import behaviour as minimum
from engines.template_minimum import messages as minimum_messages
from engines.wire import fields_to_term
from erlang_bridge.terms import Atom, Pid

NODE = "py@127.0.0.1"
CONFIG = EngineConfig(NODE, "template", TemplateSettings())
LOCAL = [EngineID(None, "me"), EngineID(NODE, "me"), Pid(Atom(NODE), 1, 0, 1)]
FOREIGN = [EngineID("other@h", "me"), Pid(Atom("other@h"), 1, 0, 1), None]
HI = TemplateState(CustomData("Hello World!"))


def first() -> Environment[Any]:
    return template.BEHAVIOUR.first_environment(template.start(None)[1])


def turn(message: Message, sender: Address | None, mailbox: int = 0) -> tuple[Environment[Any], Effects[Any] | None]:
    envelope = Envelope(sender, CONFIG.engine_id, message, mailbox)
    return step(template.BEHAVIOUR, CONFIG, first(), MessageArrived(envelope), 0.0)


def test_the_first_environment():
    assert first().state == TemplateState(CustomData("taskQueue"))
    assert first().mailboxes == {
        0: Mailbox(FirstKindMailboxState(1)),
        1: Mailbox(SecondKindMailboxState("hello", field_two=True)),
    }


def test_just_hi_takes_the_word_over():
    for sender in (*LOCAL, *FOREIGN):
        environment, effects = turn(JustHi(), sender)
        assert environment.state == HI
        assert effects == Effects(HI)


def test_an_example_is_answered_and_the_state_stays():
    answered = Effects(TemplateState(), replies=(ExampleReply(ExampleReplyOk(1)),))
    assert all(turn(ExampleRequest(1, 2), sender)[1] == answered for sender in LOCAL)


def test_an_example_from_elsewhere_does_nothing():
    for sender in FOREIGN:
        assert turn(ExampleRequest(1, 2), sender, mailbox=0) == (first(), None)
        assert turn(ExampleRequest(1, 2), sender, mailbox=1) == (first(), None)


def test_a_reply_does_nothing():
    assert turn(ExampleReply(ExampleReplyError.EXAMPLE_ERROR_ONE), LOCAL[0])[1] is None


def test_both_in_sequence():
    environment, effects = turn(ExampleRequest(1, 2), LOCAL[0], mailbox=1)
    assert environment.state == HI
    # The second sees what the first has made: its effect has that state.
    assert effects == Effects(HI, replies=(ExampleReply(ExampleReplyOk(1)),))


def test_actions_whose_arguments_are_not_theirs_are_left_out():
    trigger = MessageArrived(Envelope(None, CONFIG.engine_id, JustHi()))
    output = template.GuardOutput(template.DO_BOTH, (template.FirstArgument(1),))
    assert run(output, Turn(CONFIG, first(), trigger, 0.0)) is None


def test_two_kinds_of_mailbox_states_and_of_timer_handles():
    handles = (FirstOptionTimerHandle(1), SecondOptionTimerHandle("one", arg_two=False))
    changed = first().after(
        Effects(
            HI,
            timers=tuple(SetTimer(handle, delay_s) for handle, delay_s in zip(handles, (2.0, 1.0), strict=True)),
            mailboxes=(SetMailbox(0, SecondKindMailboxState("now", field_two=False)),),
        ),
        time_s=10.0,
    )
    assert changed.timers == {handles[0]: 12.0, handles[1]: 11.0}
    assert changed.due(20.0) == (handles[1], handles[0])
    assert changed.mailboxes[0].state == SecondKindMailboxState("now", field_two=False)
    after, effects = step(template.BEHAVIOUR, CONFIG, changed, Elapsed(handles), 20.0)
    assert effects is None
    assert after.timers == {}


def test_settings():
    assert template.start(None)[0] == TemplateSettings(1, "hello world")
    assert template.start({Atom("example"): 7, Atom("value"): b"x"})[0] == TemplateSettings(7, "x")
    for wrong in ({Atom("example"): -1}, {Atom("example"): b"x"}, 7):
        with pytest.raises(ValueError, match="expected|should"):
            template.start(wrong)


def test_arguments_are_natural_numbers():
    for request_class in (ExampleRequest, minimum_messages.ExampleRequest):
        assert read_fields(request_class, {Atom("arg_one"): 0, Atom("arg_two"): 1}) == request_class(0, 1)
        with pytest.raises(MalformedEnvelope, match="two natural numbers"):
            read_fields(request_class, {Atom("arg_one"): -1, Atom("arg_two"): 1})


def test_results_as_terms():
    assert fields_to_term(ExampleReply(ExampleReplyOk(1))) == {
        Atom("result"): (Atom("example_reply_ok"), {Atom("arg_one"): 1})
    }
    assert fields_to_term(ExampleReply(ExampleReplyError.EXAMPLE_ERROR_TWO)) == {
        Atom("result"): Atom("example_error_two")
    }


# -- the minimum ------------------------------------------------------------------------------


def minimum_turn(message: Message, sender: Address | None) -> tuple[Environment[Any], Effects[Any] | None]:
    environment = minimum.BEHAVIOUR.first_environment(minimum.start("anything")[1])
    envelope = Envelope(sender, CONFIG.engine_id, message)
    return step(minimum.BEHAVIOUR, CONFIG, environment, MessageArrived(envelope), 0.0)


def test_the_minimum_answers_with_the_digits():
    answered = Effects(None, replies=(minimum_messages.ExampleReply(minimum_messages.ReplyPayload("12")),))
    assert all(minimum_turn(minimum_messages.ExampleRequest(12, 3), sender)[1] == answered for sender in LOCAL)


def test_the_minimum_says_when_there_are_too_many_digits():
    error = minimum_messages.ReplyError("arg_one has too many digits")
    effects = minimum_turn(minimum_messages.ExampleRequest(10**5000, 3), LOCAL[0])[1]
    assert effects == Effects(None, replies=(minimum_messages.ExampleReply(error),))


def test_the_minimum_does_nothing_on_anything_else():
    assert minimum_turn(minimum_messages.JustHi(), LOCAL[0])[1] is None
    for sender in FOREIGN:
        assert minimum_turn(minimum_messages.ExampleRequest(1, 2), sender)[1] is None
