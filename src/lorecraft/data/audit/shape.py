"""Whether rows are records at all, in what order their turns stand, and what would be trained."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from lorecraft.data.audit.check import Check, Mark, Marks, records
from lorecraft.data.audit.finding import Finding, Severity, Spot
from lorecraft.data.audit.rows import Entry, Rows
from lorecraft.data.forms import UNKNOWN
from lorecraft.data.views import Mapped

ROLES = ("system", "user", "assistant")
FEW = 0.1
"""So small a share of records of another form is rather a mistake than a mixture."""


class Unreadable(Marks):
    """Broken lines, and rows that are no record; files that cannot be read, or not to their end."""

    name = "unreadable"
    severity = "error"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        if entry.problem:
            unknown = entry.problem.startswith(UNKNOWN)
            yield entry.problem, "--map says which columns they are" if unknown else ""

    def findings(self, rows: Rows) -> Iterator[Finding]:
        for file, why in rows.broken:
            yield Finding(self.name, self.severity, f"{file}: {why}", 1)
        yield from super().findings(rows)


class Pairs(Marks):
    """Preference pairs that prefer nothing."""

    name = "pairs"
    severity = "error"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        if entry.rejected and entry.rejected.split() == entry.answer.split():
            yield "the chosen and the rejected answer are the same", ""


class Roles(Marks):
    """Roles that no chat template knows, and turns out of order."""

    name = "roles"
    severity = "error"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        roles = [message.role for message in entry.record.messages] if entry.record else []
        kinds = {f"unknown role '{role}'": role for role in roles if role not in ROLES}
        if not kinds and roles:
            kinds = dict.fromkeys(_out_of_order(roles), "")
        for kind in kinds:
            yield kind, ", ".join(roles[:12])

    def severity_of(self, kind: str) -> Severity:
        return "warning" if kind == _UNANSWERED else self.severity


_UNANSWERED = "the last turn is the user's, and nothing answers it"


def _out_of_order(roles: Sequence[str]) -> Iterator[str]:
    spoken = roles[1:] if roles[0] == "system" else roles
    if "system" in spoken:
        yield "a system's turn that is not the first"
    if spoken and spoken[0] == "assistant":
        yield "the assistant speaks first"
    if any(first == second for first, second in pairwise(spoken)):
        yield "two turns in a row of one role"
    if "assistant" in spoken and spoken[-1] == "user":
        yield _UNANSWERED


class Trained(Check):
    """Records without anything to train, and plain texts, all trained, among chats."""

    name = "trained"

    def __init__(self) -> None:
        self._forms = bytearray()

    def look(self, entries: Sequence[Entry]) -> bytes:
        return bytes(map(_form, entries))

    def take(self, looked: bytes) -> None:
        self._forms += looked

    def findings(self, rows: Rows) -> Iterator[Finding]:
        for split, (start, end) in zip(rows.splits, rows.bounds, strict=True):
            forms = self._forms[start:end]
            texts, chats, silent = (forms.count(form) for form in (_TEXT, _CHAT, _SILENT))
            if silent and texts + chats:  # otherwise they are questions, as an exam's
                yield self._finding(
                    "error", f"{split.name}: nothing is trained", silent, _SILENT, (start, end)
                )
            if 0 < texts <= FEW * chats:
                what = f"{split.name}: plain texts, all of which is trained, among {chats:,} chats"
                yield self._finding("warning", what, texts, _TEXT, (start, end))

    def _finding(
        self, severity: Severity, what: str, count: int, form: int, bounds: tuple[int, int]
    ) -> Finding:
        places = array("q", (i for i in range(*bounds) if self._forms[i] == form))
        spots = Mapped(lambda index: Spot((index,)), places)
        return Finding(self.name, severity, f"{what}: {records(count)}", count, spots)


_NONE, _TEXT, _CHAT, _SILENT = range(4)


def _form(entry: Entry) -> int:
    if entry.record is None:
        return _NONE
    if entry.record.text:
        return _TEXT
    spoken = any(message.role == "assistant" for message in entry.record.messages)
    return _CHAT if spoken else _SILENT
