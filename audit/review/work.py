"""What there is to do: whose turn is which image, what an answer must hold, when differences are settled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from audit.review.agreement import Labels, differences, disputed, kappas, settled
from audit.review.errors import RefusedError
from audit.review.forecast import Curves, Outlook, from_answers
from audit.review.sheets import UNNAMED, Line, Sheets, person
from audit.review.store import KINDS, Event, Store
from audit.sheet import ADJUDICATED, EXTRA
from audit.wording import NO_FACE
from labeler.taxonomy import ATTRIBUTES

AHEAD = 8
"""Images named in advance, so that the page can load them before they are needed."""
LONGEST_NOTE = 2000
_ID = re.compile(r"[0-9a-f]{32}")

Message = Mapping[str, Any]
Document = dict[str, Any]


@dataclass(frozen=True)
class Review:
    """The images of some sheets, and the answers to them.

    Parameters
    ----------
    sheets : Sheets
        What is to be labelled.
    store : Store
        The answers.
    numbers : mapping of str to int
        The number of each path, in the order in which they are shown.
    guesses : mapping of int to labels
        The model's labels, shown to nobody before all differences are settled; empty where there is no label table.
    curves : Curves or None
        What the label table makes one expect of the intervals.
    """

    sheets: Sheets
    store: Store
    numbers: Mapping[str, int]
    guesses: Mapping[int, Labels]
    curves: Curves | None = None

    @classmethod
    def begin(
        cls, sheets: Sheets, store: Store, guesses: Mapping[str, Labels] | None = None, curves: Curves | None = None
    ) -> Review:
        """Return the review of some sheets: their images are numbered, answers that they hold are taken over.

        Parameters
        ----------
        sheets, store, curves
            See the class.
        guesses : mapping of str to labels, optional
            The model's labels by path.
        """
        numbers = store.add_images(sheets.designs)
        latest = store.latest()
        for names in sheets.assigned().values():
            for name in sorted(names):
                store.add_annotator(name)
        brought = []
        for line in sheets.lines:
            who = line.annotator or UNNAMED
            if line.answered and numbers[line.path] not in latest.get(who, {}):
                who = who if who == ADJUDICATED else store.add_annotator(who)
                number = numbers[line.path]
                name = f"sheet:{number}:{who}"
                brought.append(Event(name, who, "sheet", number, "answer", dict(line.labels), line.note))
        store.record_all(brought)
        return cls(sheets, store, numbers, {numbers[path]: given for path, given in (guesses or {}).items()}, curves)

    @cached_property
    def _assigned(self) -> dict[int, frozenset[str]]:
        """The people that each image is for, in lower case; none for everybody."""
        found = self.sheets.assigned()
        return {self.numbers[path]: frozenset(name.lower() for name in names) for path, names in found.items()}

    @cached_property
    def _weights(self) -> dict[int, float]:
        """How many images of the store each image stands for."""
        designs = self.sheets.designs
        return {self.numbers[path]: 1 / float(design["inclusion_probability"]) for path, design in designs.items()}

    def _images_of(self, annotator: str, events: Mapping[int, Event]) -> list[int]:
        if annotator == UNNAMED:
            # Nobody can go on under this name: what it brought along is all there will be.
            return [number for number in self.numbers.values() if _complete(events.get(number))]
        name = annotator.lower()
        assigned = ((number, self._assigned[number]) for number in self.numbers.values())
        return [number for number, people in assigned if not people or name in people or number in events]

    def enter(self, name: str) -> str:
        """Return the annotator that a name stands for, a new one if need be.

        Raises
        ------
        RefusedError
            As `audit.review.sheets.person`, and if no image is for this person.
        """
        name = person(name)
        if not self._images_of(name, self.store.latest().get(name, {})):
            known = sorted({who for people in self.sheets.assigned().values() for who in people})
            raise RefusedError(f"No image is for {name}; these sheets are for {', '.join(known)}.")
        return self.store.add_annotator(name)

    def state(self, annotator: str) -> Document:
        """Return what a person has done and which images come next, as the page reads it.

        Images whose answer was taken back come first, then new ones in the sheets' order, then those passed over.
        """
        latest = self.store.latest()
        events = latest.get(annotator, {})
        images = self._images_of(annotator, events)
        people = self._progress(latest)
        done = [number for number in images if _complete(events.get(number))]
        answered = set(done)
        undone = [n for n, event in events.items() if event.kind == "undo"]
        skipped = [n for n, event in events.items() if event.kind == "skip"]
        passed = {*answered, *undone, *skipped}
        line = [*reversed(undone), *(n for n in images if n not in passed), *skipped]
        given = [n for n in events if n in answered]
        return {
            "annotator": annotator,
            "total": len(images),
            "done": len(done),
            "next": [
                {"image": n, "note": events[n].note if n in events else "", "ask": list(ATTRIBUTES)}
                for n in line[:AHEAD]
            ],
            "last": given[-1] if given else None,
            "waiting_for": [one["name"] for one in people if one["done"] < one["total"]],
            "adjudication": _all_finished(people),
            "outlook": [asdict(outlook) for outlook in self._outlooks(latest)],
        }

    def _people(self, latest: Mapping[str, Mapping[int, Event]]) -> list[str]:
        """Return everybody who has answered or is expected to, the first to come first."""
        expected = {name for names in self._assigned.values() for name in names}
        here = set(self.numbers.values())
        return [
            name
            for name in self.store.annotators()
            if name.lower() in expected or any(_complete(e) and n in here for n, e in latest.get(name, {}).items())
        ]

    def _progress(self, latest: Mapping[str, Mapping[int, Event]]) -> list[Document]:
        found = []
        for name in self._people(latest):
            events = latest.get(name, {})
            images = self._images_of(name, events)
            found.append({"name": name, "done": sum(_complete(events.get(n)) for n in images), "total": len(images)})
        return found

    def _given(self, latest: Mapping[str, Mapping[int, Event]]) -> dict[int, dict[str, Labels]]:
        """Return what people said of each image."""
        found: dict[int, dict[str, Labels]] = {number: {} for number in self.numbers.values()}
        for name in self._people(latest):
            for number, event in latest.get(name, {}).items():
                if number in found and _complete(event):
                    found[number][name] = event.labels
        return found

    def _decisions(self, latest: Mapping[str, Mapping[int, Event]]) -> dict[int, Labels]:
        events = latest.get(ADJUDICATED, {})
        return {number: event.labels for number, event in events.items() if event.kind == "answer"}

    def _outlooks(self, latest: Mapping[str, Mapping[int, Event]]) -> list[Outlook]:
        given = {n: said for n, said in self._given(latest).items() if said}
        if self.curves is not None:
            return [self.curves.outlook(attribute, len(given)) for attribute in ATTRIBUTES]
        weights, found = self._weights, []
        for attribute in ATTRIBUTES:
            known = (*self.sheets.classes[attribute], *EXTRA)
            first = [known.index(str(next(iter(said.values()))[attribute])) for said in given.values()]
            every = list(weights.values())
            found.append(from_answers(attribute, first, [weights[n] for n in given], len(known), every))
        return found

    def progress(self) -> Document:
        """Return how far everybody is, and how far they agree."""
        latest = self.store.latest()
        answers: dict[str, dict[int, Labels]] = {name: {} for name in self._people(latest)}
        for number, said in self._given(latest).items():
            for name, labels in said.items():
                answers[name][number] = labels
        return {
            "people": self._progress(latest),
            "agreement": [asdict(kappa) for kappa in kappas(answers, self.sheets.classes)],
        }

    def record(self, message: Message, by: str) -> Document:
        """Store what the page sends and return the new state; a message that comes again changes nothing.

        Parameters
        ----------
        message : mapping
            ``id`` (32 hexadecimal digits), ``annotator``, ``image``, ``kind``, ``labels``, ``note`` and ``made``.
        by : str
            Who is at the page.

        Raises
        ------
        RefusedError
            If it cannot be stored.
        """
        event = self._event(message, by)
        settling = event.annotator == ADJUDICATED
        self.store.record(event, self._settle_check if settling else self._answer_check)
        return self.adjudication() if settling else self.state(event.annotator)

    def _event(self, message: Message, by: str) -> Event:
        texts = {name: message.get(name) for name in ("id", "annotator", "kind", "note", "made")}
        labels, image = message.get("labels"), message.get("image")
        if (
            not all(isinstance(text, str) and _storable(text) for text in texts.values())
            or not isinstance(labels, dict)
            or not isinstance(image, int)
            or not _ID.fullmatch(str(texts["id"]))
            or texts["kind"] not in KINDS
        ):
            raise RefusedError("This answer is damaged.")
        if image not in set(self.numbers.values()):
            raise RefusedError("The sheet has no image with this number.", 404)
        known = {ADJUDICATED, *self.store.annotators()}
        if texts["annotator"] not in known:
            raise RefusedError("This annotator is unknown; enter your name anew.")
        given = {name: labels.get(name) for name in ATTRIBUTES} if texts["kind"] == "answer" else {}
        for name, value in given.items():
            if value is not None and value not in (*self.sheets.classes[name], *EXTRA):
                raise RefusedError(f"{value!r} is not a class of {name}.")
        if NO_FACE in given.values():
            # A picture without a face has none for any attribute.
            given = dict.fromkeys(ATTRIBUTES, NO_FACE)
        return Event(
            id=str(texts["id"]),
            annotator=str(texts["annotator"]),
            by=by,
            image=image,
            kind=str(texts["kind"]),
            labels=given,
            note=str(texts["note"]),
            made=str(texts["made"]),
        )

    def _answer_check(self, event: Event) -> None:
        if event.kind == "answer" and None in event.labels.values():
            raise RefusedError("This answer is not complete.")
        decision = self.store.latest().get(ADJUDICATED, {}).get(event.image)
        if decision is not None and decision.kind == "answer":
            raise RefusedError("The differences about this image are settled; its answers stay.", 409)

    def _settle_check(self, event: Event) -> None:
        latest = self.store.latest()
        if not _all_finished(self._progress(latest)):
            raise RefusedError("Differences are settled once everybody has finished.", 409)
        open_questions = disputed(self._given(latest)[event.image])
        if not open_questions or event.kind == "skip":
            raise RefusedError("Nobody differs about this image.", 409)
        if event.kind == "answer" and any(event.labels[name] is None for name in open_questions):
            raise RefusedError("This answer is not complete.")

    def adjudication(self) -> Document:
        """Return the images about which people differ and nobody has decided.

        Raises
        ------
        RefusedError
            If somebody has not finished.
        """
        latest = self.store.latest()
        if not _all_finished(self._progress(latest)):
            raise RefusedError("Differences are settled once everybody has finished.", 409)
        decided = self._decisions(latest)
        given = self._given(latest)
        cases = {number: disputed(said) for number, said in given.items() if disputed(said)}
        left = [number for number in cases if number not in decided]
        here = [number for number in decided if number in cases]
        return {
            "annotator": ADJUDICATED,
            "total": len(cases),
            "done": len(cases) - len(left),
            "next": [
                {
                    "image": number,
                    "note": "",
                    "ask": list(cases[number]),
                    "said": [{"name": name, **labels} for name, labels in given[number].items()],
                }
                for number in left[:AHEAD]
            ],
            "last": here[-1] if here else None,
            "model": bool(self.guesses),
            "adjudication": True,
            "waiting_for": [],
            "outlook": [],
        }

    def reveal(self) -> list[Document]:
        """Return where people and the model differ, from when on no answer can change.

        Raises
        ------
        RefusedError
            If somebody has not finished, differences are not settled, or there is no label table.
        """
        if self.adjudication()["next"]:
            raise RefusedError("The model's labels are shown once all differences are settled.", 409)
        if not self.guesses:
            raise RefusedError("There is no label table, so the model's labels are not known.", 409)
        self.store.reveal(self.numbers.values())
        latest = self.store.latest()
        decisions = self._decisions(latest)
        found = []
        for number, said in self._given(latest).items():
            people, model = settled(said, decisions.get(number)), self.guesses.get(number, {})
            different = differences(people, model)
            if different and said:
                found.append(
                    {
                        "image": number,
                        "differences": [
                            {"attribute": name, "people": people[name], "model": model.get(name)} for name in different
                        ],
                    }
                )
        return found

    def lines(self) -> list[Line]:
        """Return the sheets with the answers that stand: a line for each image and person, an empty one where none."""
        answers = self.store.answers()
        found: list[Line] = []
        assigned = self.sheets.assigned()
        designs = {line.path: line.design for line in self.sheets.lines}
        for path, design in designs.items():
            number = self.numbers[path]
            own = [
                Line(path, design, "" if name == UNNAMED else name, event.labels, event.note)
                for name, events in answers.items()
                for event in [events.get(number)]
                if event is not None
            ]
            here = {line.annotator.lower() for line in own}
            waiting = [name for name in sorted(assigned[path]) if name.lower() not in here]
            empty = [Line(path, design, name, dict.fromkeys(ATTRIBUTES), "") for name in waiting]
            found += [*own, *empty] or [Line(path, design, "", dict.fromkeys(ATTRIBUTES), "")]
        return found

    def history(self) -> Document:
        """Return everything that was ever answered, skipped or taken back, with who and when."""
        paths = {number: path for path, number in self.numbers.items()}
        events = [
            {**asdict(event), "path": paths[event.image]} for event in self.store.history() if event.image in paths
        ]
        return {
            "schema_version": 1,
            "sheets": list(self.sheets.names),
            "purposes": [{"text": text, "since": since} for text, since in self.store.purposes],
            "annotators": self.store.annotators(),
            "answers": events,
        }


def _all_finished(people: Sequence[Document]) -> bool:
    """Tell whether there are several people and nobody has anything left to do."""
    return len(people) > 1 and all(one["done"] == one["total"] for one in people)


def _complete(event: Event | None) -> bool:
    return event is not None and event.kind == "answer" and None not in event.labels.values()


def _storable(text: str) -> bool:
    """Tell whether a text can be kept: not too long, no zero byte, no half of a character."""
    try:
        return len(text.encode()) <= 4 * LONGEST_NOTE and "\0" not in text
    except UnicodeEncodeError:
        return False
