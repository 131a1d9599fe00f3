"""Programs of transactions: data that says what to run, and how it is run one read at a time, as values.

`runnable` is what every kind of program is, `python`, `nock` and `nockma` are kinds, `kinds` the table of them, and
`execution` runs any of them under a label: which keys it may read and write.
"""

from __future__ import annotations

from anoma.programs.runnable import ABSENT, Absent, Failure, Output, Read, Runnable, Step, Write

__all__ = ["ABSENT", "Absent", "Failure", "Output", "Read", "Runnable", "Step", "Write"]
