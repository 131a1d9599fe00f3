"""What a Pub/Sub Topic takes and sends.

==================  ======================================================  ===================
message             what it says                                            reply
==================  ======================================================  ===================
`Forward`           this has been published                                 none
`SubRequest`        let me have what is published                           `SubReply`
`UnsubRequest`      no more                                                 `UnsubReply`
`TopicAdvert`       the topic's advert has changed                          none
==================  ======================================================  ===================

Source: nspec v0.2.0, "Pub/Sub Topic messages". There an acknowledgement does not say of what; that field is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.chunks import Chunk
from anoma.crypto import EMPTY_COMMITMENT, Signature, digest
from engines.messages import Message
from engines.network_registry.adverts import PublisherID, TopicID, expect_id, statement
from engines.network_registry.messages import TopicAdvert
from engines.storage.messages import ChunkCommitment
from engines.wire import Value

TopicMsgID = bytes
"""32 bytes: the digest of what is signed of a message."""

MAX_DEPS: Final = 64
MAX_SEEN: Final = 64
MAX_SEQ: Final = 2**63 - 1


class PubSubTopicMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "pub_sub_topic"


@dataclass(frozen=True, slots=True)
class TopicMsgContentMsg(Value):
    """Bytes that the subscribers can read.

    Attributes:
        data: encrypted by the publisher for whom it likes, or not.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class TopicMsgContentChunk(Value):
    """A chunk of an object.

    Attributes:
        key: the chunk's key, encrypted for those who may read it.
        chunk: as it is stored.
    """

    key: bytes
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class TopicMsgContentChunkRef(Value):
    """An object that is to be had elsewhere.

    Attributes:
        key: of its root chunk, encrypted for those who may read it.
        commitment: of a node that has the root chunk.
    """

    key: bytes
    commitment: ChunkCommitment


@dataclass(frozen=True, slots=True)
class TopicMsgAck(Value):
    """The publisher of this keeps another message.

    Attributes:
        message: id of that message.
        expiry: until when, in seconds since 1970-01-01 UTC.
    """

    message: TopicMsgID
    expiry: int


TopicMsgContent = TopicMsgContentMsg | TopicMsgContentChunk | TopicMsgContentChunkRef | TopicMsgAck


@dataclass(frozen=True, slots=True)
class TopicMsg(Value):
    """What somebody publishes in a topic.

    Attributes:
        publisher: who, a key for Ed25519, 32 bytes.
        seq: from 1, one more with each message of the publisher in the topic.
        deps: ids of messages of the topic that come before it for everybody.
        seen: ids of others that the publisher has seen.
        content: what it says.
        sig: of the publisher over the topic's id and the other fields.
    """

    publisher: PublisherID
    seq: int
    deps: tuple[TopicMsgID, ...]
    seen: tuple[TopicMsgID, ...]
    content: TopicMsgContent
    sig: Signature = EMPTY_COMMITMENT

    def __post_init__(self) -> None:
        expect_id(self.publisher, "the id of a publisher")
        for message in (*self.deps, *self.seen):
            expect_id(message, "the id of a message")
        if len(self.deps) > MAX_DEPS or len(self.seen) > MAX_SEEN:
            raise ValueError(f"a message has at most {MAX_DEPS} deps and {MAX_SEEN} seen")
        if not 1 <= self.seq <= MAX_SEQ:
            raise ValueError("expected a number of at least 1 as seq")

    def id_in(self, topic: TopicID) -> TopicMsgID:
        """Its id, as others name it in `deps` and `seen`."""
        return digest(statement(self, topic)).data


@dataclass(frozen=True, slots=True)
class Forward(PubSubTopicMessage):
    """Something has been published: to the topic from publishers and other nodes, and from it to subscribers.

    Attributes:
        message: as its publisher has signed it.
    """

    message: TopicMsg


@dataclass(frozen=True, slots=True)
class SubRequest(PubSubTopicMessage):
    """Have the sender get what is published from now on.

    On another node's topic it lasts for a while (`TopicLimits.lease_s`), and then has to be asked for again.

    Attributes:
        topic: which one is meant.
    """

    topic: TopicID


@dataclass(frozen=True, slots=True)
class Success(Value):
    """As was asked for."""


@dataclass(frozen=True, slots=True)
class Denied(Value):
    """Another topic is meant, there are subscribers enough, or the sender's node may not read."""


@dataclass(frozen=True, slots=True)
class NotSubscribed(Value):
    """There is nothing to end."""


@dataclass(frozen=True, slots=True)
class SubReply(PubSubTopicMessage):
    """Whether the sender of the request gets what is published.

    Attributes:
        topic: as in the request.
        result: whether it does.
    """

    topic: TopicID
    result: Success | Denied


@dataclass(frozen=True, slots=True)
class UnsubRequest(PubSubTopicMessage):
    """Send nothing more after the reply.

    Attributes:
        topic: which one is meant.
    """

    topic: TopicID


@dataclass(frozen=True, slots=True)
class UnsubReply(PubSubTopicMessage):
    """Nothing more comes.

    Attributes:
        topic: as in the request.
        result: whether anything came before.
    """

    topic: TopicID
    result: Success | NotSubscribed


MESSAGES: Final = (Forward, SubRequest, SubReply, UnsubRequest, UnsubReply, TopicAdvert)
