"""What can be wrong with one template of a TOML task file, each mistake with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wirework.core.errors import WireworkError, nearest
from wirework.tasks.complaint import Complaint, Source
from wirework.tasks.template import Placeholder, TaskFile, Template, split_text


def check_template(
    index: int, template: Template, file: TaskFile, source: Source
) -> tuple[list[Complaint], set[str]]:
    """Complaints about the template with this index, and the slots that it uses."""
    line = source.line_of("template", index, "text")
    found: list[Complaint] = []
    parts: list[list[Placeholder]] = []
    for text in (template.text, *template.answer):
        try:
            pieces = split_text(text)
        except WireworkError as error:
            where = source.where(source.line_containing(error.got, line))
            return [Complaint.from_error(error, where)], set()
        parts.append([piece for piece in pieces if isinstance(piece, Placeholder)])
    placeholders = [placeholder for part in parts for placeholder in part]
    used = {placeholder.slot for placeholder in placeholders}
    known = (*file.slots, *file.exchange, *file.contrast)
    found += [
        Complaint(
            "template-placeholder-unknown",
            f"template {template.name!r} has a placeholder for no slot",
            source.where(source.line_containing(f"{{{name}", line)),
            expected=f"one of {', '.join(known)}",
            got=f"{{{name}}}",
            hint=f"{{{nearest(name, known)}}}" if nearest(name, known) else "",
        )
        for name in sorted(used - set(known))
    ]
    found += [
        Complaint(
            "contrast-numbered",
            f"template {template.name!r} numbers a contrast",
            source.where(source.line_containing(f"{{{piece.slot}:{piece.number}", line)),
            expected="the same filling of a contrast everywhere in a template",
            got=f"{{{piece.slot}:{piece.number}}}",
            hint=f"{{{piece.slot}}}",
        )
        for piece in placeholders
        if piece.number and piece.slot in file.contrast
    ]
    if exchanged := sorted(used & set(file.exchange)):
        found += _check_exchange(template, exchanged, parts, file, source, index)
    else:
        found += _check_contrasts(template, used & set(file.contrast), file, source, index)
    return found, used


def _check_exchange(
    template: Template,
    exchanged: Sequence[str],
    parts: Sequence[Sequence[Placeholder]],
    file: TaskFile,
    source: Source,
    index: int,
) -> list[Complaint]:
    """Both kinds of sides at once; an answer that is missing, unseen, or the same on both sides."""
    text, *answers = parts
    line = source.where(source.line_of("template", index, "text"))
    answer_line = source.where(source.line_of("template", index, "answer"))
    found = []
    if contrasts := sorted({piece.slot for piece in text} & set(file.contrast)):
        found.append(_mixed(template, [*exchanged, *contrasts], line))
    if not answers:
        found.append(
            Complaint(
                "template-without-answer",
                f"template {template.name!r} does not say what is right after its prompts",
                line,
                expected="a line `answer`",
                got="none",
                hint=f'answer = " {{{exchanged[0]}:1}}"',
            )
        )
    moving = {Placeholder(slot, number) for slot in exchanged for number in (1, 2)}
    for answer, pieces in zip(template.answer, answers, strict=True):
        if unseen := sorted(f"{{{p.slot}:{p.number}}}" for p in set(pieces) - set(text)):
            found.append(
                Complaint(
                    "template-answer-unseen",
                    f"the prompts of template {template.name!r} do not hold what their answer says",
                    answer_line,
                    expected="placeholders of the prompt",
                    got=", ".join(unseen),
                )
            )
        elif not moving & set(pieces):
            found.append(_same_answer(template, answer, exchanged, answer_line))
    return found


def _check_contrasts(
    template: Template, names: set[str], file: TaskFile, source: Source, index: int
) -> list[Complaint]:
    """No contrast, contrasts of several pairs of answers, or an answer of its own beside one."""
    line = source.where(source.line_of("template", index, "text"))
    found = [
        _same_answer(
            template,
            answer,
            [*file.exchange],
            source.where(source.line_of("template", index, "answer")),
        )
        for answer in template.answer[:1]
    ]
    sides = {frozenset(file.contrast[name]) for name in names}
    if not sides:
        known = (*file.exchange, *file.contrast)
        found.append(
            Complaint(
                "template-without-contrast",
                f"template {template.name!r} has no contrast, so both its sides are the same",
                line,
                expected=f"a placeholder out of {', '.join(known)}",
                got=template.text,
                hint=_placeholder(known[0], file.exchange) if known else "",
            )
        )
    elif len(sides) > 1:
        found.append(_mixed(template, sorted(names), line))
    return found


def _mixed(template: Template, names: Sequence[str], where: str) -> Complaint:
    return Complaint(
        "template-contrasts-differ",
        f"template {template.name!r} mixes contrasts of different answers",
        where,
        expected="contrasts between the same two sets of answers, or exchanges",
        got=", ".join(names),
    )


def _same_answer(
    template: Template, answer: str, exchanged: Sequence[str], where: str
) -> Complaint:
    return Complaint(
        "template-answer-same",
        f"an answer of template {template.name!r} is the same on both sides",
        where,
        expected="a placeholder that changes places in the counterfactual; a template with a "
        "contrast takes its answers from [answers]",
        got=repr(answer),
        hint=f"{{{exchanged[0]}:1}}" if exchanged else "",
    )


def _placeholder(name: str, exchange: Mapping[str, object]) -> str:
    return f"{{{name}:1}}" if name in exchange else f"{{{name}}}"
