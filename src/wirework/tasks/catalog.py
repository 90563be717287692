"""Where tasks come from: the shipped catalog by name, or a file of one's own by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wirework.core.errors import WireworkError, unknown_choice
from wirework.tasks.complaint import Complaint, Source, raise_first
from wirework.tasks.expand import expand
from wirework.tasks.pairs import pair_complaints
from wirework.tasks.pairs_file import parse_pairs_file
from wirework.tasks.task import Task
from wirework.tasks.toml_file import parse_task_file

_CATALOG = Path(__file__).with_name("catalog")
_SUFFIXES = (".toml", ".jsonl")


@dataclass(frozen=True)
class TaskInfo:
    """One line about a shipped task. Counts are numbers of pairs and of templates."""

    name: str
    description: str
    local: bool
    fit: int
    select: int
    report: int
    templates: int
    report_only: int


def catalog_names() -> list[str]:
    """Names of the shipped tasks, sorted."""
    files = _CATALOG.rglob("*.toml")
    return sorted(file.relative_to(_CATALOG).with_suffix("").as_posix() for file in files)


def list_tasks() -> list[TaskInfo]:
    """What is in the catalog."""
    return [_info(load_task(name)) for name in catalog_names()]


def _info(task: Task) -> TaskInfo:
    return TaskInfo(
        name=task.name,
        description=task.description,
        local=task.local,
        fit=len(task.fit),
        select=len(task.select),
        report=len(task.report),
        templates=len(task.templates),
        report_only=len(task.report_only),
    )


def load_task(name_or_path: str | Path) -> Task:
    """A task of the catalog by name (`python/single_double_quote`), or a .toml or .jsonl file.

    Raises `task-unknown`, `task-file-missing`, `task-file-kind`, and the first error of
    `read_task`, naming the others.
    """
    task, complaints = read_task(name_or_path)
    raise_first(complaints)
    assert task is not None, "a task file without a complaint gives a task"
    return task


def read_task(name_or_path: str | Path) -> tuple[Task | None, list[Complaint]]:
    """Like `load_task`, but gives all that is wrong inside the file; None where it gives no task.

    Raises `task-unknown`, `task-file-missing`, `task-file-kind`, `task-not-text`.
    """
    path = find_file(name_or_path)
    shipped = path.relative_to(_CATALOG).as_posix() if path.is_relative_to(_CATALOG) else ""
    source = Source.read(path, shipped)
    if path.suffix == ".jsonl":
        return parse_pairs_file(source)
    file, found = parse_task_file(source)
    if file is None or found:
        return None, found
    pairs, answers, found = expand(file, source)
    found = found or pair_complaints(pairs, answers, source)
    task = Task(
        name=file.name or (shipped or path.name).removesuffix(path.suffix),
        description=file.description,
        local=file.local,
        answers=answers,
        **pairs,
        source=source.name,
        line=source.line_of("local") if file.local else None,
    )
    return task, found


def find_file(name_or_path: str | Path) -> Path:
    """Raises `task-unknown` and `task-file-kind`."""
    text = str(name_or_path)
    names = catalog_names()
    if text in names:
        return _CATALOG / f"{text}.toml"
    path = Path(text)
    if path.suffix in _SUFFIXES:
        return path
    if path.exists():
        raise WireworkError(
            "task-file-kind",
            f"{text} is no task file",
            expected=f"a file whose name ends in {' or '.join(_SUFFIXES)}",
            got=text,
        )
    raise unknown_choice("task-unknown", "task", text, names)
