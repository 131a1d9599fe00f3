"""A Pub/Sub Topic as a process, and what others call to use it.

The Network Registry starts one for each topic whose advert it has. What is published comes to subscribers as
`Forward`, an envelope.
"""

from __future__ import annotations

import logging
from typing import Any

from anoma.crypto import PrivateKey
from engines.engine import Client, Engine, tell
from engines.messages import Address, EngineID, Envelope, Message, decode_envelope, encode_envelope
from engines.network_registry.adverts import TopicID, signed, topic_name
from engines.pub_sub_topic.behaviour import BEHAVIOUR, Note
from engines.pub_sub_topic.messages import (
    MESSAGES,
    Forward,
    SubRequest,
    Success,
    TopicMsg,
    TopicMsgContent,
    TopicMsgID,
    UnsubRequest,
)
from erlang_bridge import OwnProcess

log = logging.getLogger("engines.network")


def subscribe(client: Client, topic: TopicID, subscriber: Address, timeout_s: float | None = 5.0) -> bool:
    """Have a process of this node or its cluster get what is published in a topic; whether it does.

    Raises:
        ErlangExit: no answer; ``noproc``: nothing is known of that topic.
    """
    return _ask_as(client, topic, subscriber, SubRequest(topic), timeout_s)


def unsubscribe(client: Client, topic: TopicID, subscriber: Address, timeout_s: float | None = 5.0) -> bool:
    """End a subscription; whether there was one.

    Raises:
        ErlangExit: no answer; ``noproc``: nothing is known of that topic.
    """
    return _ask_as(client, topic, subscriber, UnsubRequest(topic), timeout_s)


def publish(
    client: Client,
    topic: TopicID,
    key: PrivateKey,
    seq: int,
    content: TopicMsgContent,
    *,
    deps: tuple[TopicMsgID, ...] = (),
    seen: tuple[TopicMsgID, ...] = (),
) -> TopicMsgID:
    """Publish something. Does not wait.

    Args:
        key: the publisher's own.
        seq: one more than that of the publisher's last message in the topic; 1 for the first.

    Returns:
        The id of the message, for `deps` of others.
    """
    message = signed(TopicMsg(key.public.data, seq, deps, seen, content), key, topic)
    tell(client, topic_name(topic), Forward(message))
    return message.id_in(topic)


def _ask_as(client: Client, topic: TopicID, sender: Address, message: Message, timeout_s: float | None) -> bool:
    name = topic_name(topic)
    answer = client.call(name, encode_envelope(Envelope(sender, EngineID(None, name), message)), timeout_s)
    reply: Any = decode_envelope(answer, MESSAGES).message
    return isinstance(reply.result, Success)


class PubSubTopic(Engine):
    """Takes what is published in a topic, and gives it to its subscribers."""

    engine = BEHAVIOUR

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        match operation:
            case Note(text):
                log.warning("%s", text)
        return None
