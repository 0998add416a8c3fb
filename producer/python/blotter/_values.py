"""The values that a producer returns: its counters and its events."""

import logging
from typing import NamedTuple


class Stats(NamedTuple):
    """Counters and states of a producer. Slots and seqs count records; times are nanoseconds since 1970. `_asdict()` gives a dict."""

    producer_id: int
    "the id under which this producer's records are stored"
    accepted: int
    "records accepted: the last seq"
    sent: int
    "every seq up to this one is sent to Redis"
    committed: int
    "every seq up to this one is committed in PostgreSQL"
    held: int
    "slots of the journal that are in use, also by records of earlier producers"
    slots: int
    "slots of the journal"
    full: int
    "records refused because the journal was full"
    invalid: int
    "records refused because they were not valid or too long"
    resent: int
    "records sent again"
    evicted: int
    "sent records that were dropped from a full journal before they were confirmed"
    left_alone: int
    "journals that are not sent, as their records are for another Redis"
    connects: int
    "connections to Redis that came up"
    errors: int
    "error answers from Redis"
    redis_up: int
    "1 while connected"
    last_error_at_ns: int
    "when last_error began; 0: there is none now"
    misplaced: int
    "values that are kept in `extra` because their field cannot take them"
    last_error: str
    "what Redis or the connection says while records are not accepted; '' when all is well"
    journal: str
    "path of the journal"
    submit_p50_ns: int
    "what recording costs within the library, nanoseconds; -1: not measured yet"
    submit_p99_ns: int
    "the same, 99th percentile"
    submit_to_sent_p50_ns: int
    "from there to Redis' answer, nanoseconds"
    submit_to_sent_p99_ns: int
    "the same, 99th percentile"
    refused: int
    "calls that recorded nothing because of what they were given"


class Event(NamedTuple):
    """A change between a producer and PostgreSQL, reported once per change. `_asdict()` gives a dict. By name:

    redis_up
        connected, or no longer refusing; text: where
    redis_down
        not connected; text: why
    redis_refuses
        Redis answers an error, or another one: it is asked again; text: it
    full
        the journal became full
    room
        the journal has room again
    evicted
        sent records that wait for PostgreSQL had to make room; text: how many
    damaged
        records were found damaged in the journal and are lost; text: how many, where
    resend
        records that are not confirmed are sent again; text: how many and why
    not_synced
        msync fails: what is accepted now may not outlive a loss of power; text: why, where
    synced
        msync succeeds again; pages that the disk refused may still be missing there; text: where
    left_alone
        a journal's records are for another Redis, so they are not sent; text: which, and what to do
    clock
        the wall clock jumped ahead by more than an hour, or is believed again; text: how far
    """

    name: str
    "what has changed, one of the words above"
    text: str
    "details, '' where there are none"
    at_ns: int
    "when, nanoseconds since 1970"
    missed: int
    "how many events just before this one were forgotten before they were fetched"

    @property
    def level(self) -> int:
        """How serious it is, as a level of the module logging: INFO, WARNING, or ERROR where records are lost or may be."""
        return _LEVELS.get(self.name, logging.WARNING)


_LEVELS = {
    "redis_up": logging.INFO,
    "room": logging.INFO,
    "synced": logging.INFO,
    "full": logging.ERROR,
    "evicted": logging.ERROR,
    "damaged": logging.ERROR,
    "not_synced": logging.ERROR,
    "left_alone": logging.ERROR,
}
