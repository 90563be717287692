"""What `wirework explain` asks the whole model: labels of nodes, predicates of edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wirework.cli.circuits import model_of
from wirework.cli.session import Session, require_targets
from wirework.core import Edge, Node, WireworkError
from wirework.core.stats import share_interval

if TYPE_CHECKING:
    from wirework.circuit import Circuit
    from wirework.explain import NodeLabel, WeightPredicate
    from wirework.probing import FeatureSet, LabelledTexts, LabelledTokens


@dataclass(frozen=True)
class ModelQuestion:
    """A circuit file, its model, and the labelled text; `pairs`: on which edges are ranked."""

    place: Path
    model: str | None
    features: str
    text: str
    max_bytes: int
    pairs: int
    seed: int

    def answer(self, run: Session, labels: bool, weights: int | None) -> None:
        """Labels of all nodes, predicates of so many edges; both are kept as evidence."""
        if self.model is None:
            raise WireworkError(
                "labels-need-model", "labels and predicates are looked for in the whole model",
                expected="--model", hint="wirework explain CIRCUIT --labels --model RUN",
            )  # fmt: skip
        from wirework.circuit import Circuit
        from wirework.explain import Evidence, evidence_path, label_nodes, weight_predicates
        from wirework.probing import feature_set, read_labels

        own = read_labels(Path(self.features)) if self.features.endswith(".jsonl") else None
        asked = feature_set(self.features) if own is None else own.feature_set
        circuit = Circuit.load(self.place)
        kept = evidence_path(self.place)
        require_targets(kept)
        known = Evidence.load(kept) if kept.exists() else Evidence(circuit.model_hash, {})
        checkpoint = model_of(circuit, self.place, self.model)
        labelled = self._labelled(run, self.model, asked, own)
        told: dict[str, Any] = {}
        if labels:
            named = label_nodes(
                circuit, checkpoint, labelled, seed=self.seed, features=asked, start=run.progress
            )
            known = replace(known, labels=named)
            told |= {str(node): label.to_json() for node, label in named.items()}
            self._show(run, _label_table(named))
        if weights is not None:
            edges = self._edges(run, circuit)[:weights]
            found = weight_predicates(
                checkpoint, edges, labelled, seed=self.seed, start=run.progress
            )  # fmt: skip
            known = replace(known, predicates=found)
            told |= {str(edge): predicate.to_json() for edge, predicate in found.items()}
            self._show(run, _predicate_text(found))
        known.save(kept)
        if run.as_json:
            run.show("", told)

    def _labelled(
        self, run: Session, model: str, asked: FeatureSet, own: LabelledTexts | None
    ) -> LabelledTokens:
        from wirework.probing import ProbedModel, label_tokens

        probed = ProbedModel.load(model)
        if own is None:
            return probed.label(asked, self.text, self.max_bytes, run.progress)
        return label_tokens(own.documents, probed.cut, asked, start=run.progress)

    def _edges(self, run: Session, circuit: Circuit) -> list[Edge]:
        """Those first whose cut changes the task loss most."""
        from wirework.ablation import PromptTensors
        from wirework.data import Tokenizer
        from wirework.explain import edge_effects
        from wirework.tasks import Task

        tokenizer = Tokenizer.from_json(circuit.tokenizer)
        encoded = Task.from_json(circuit.task).encode(tokenizer, circuit.network.context)
        prompts = PromptTensors.of(encoded.report).first(self.pairs)
        effects = edge_effects(circuit, prompts, start=run.progress)
        return [effect.edge for effect in sorted(effects, key=lambda effect: -abs(effect.loss))]

    @staticmethod
    def _show(run: Session, found: Table | str) -> None:
        if not run.as_json:
            run.show(found, None)


def _label_table(labels: Mapping[Node, NodeLabel]) -> Table:
    table = Table(title="What each node tells, on held-out documents; F1 beside that of always\n"
                  "saying yes; share of its effect on the task that this explains",
                  title_justify="left", box=None)  # fmt: skip
    table.add_column("node", no_wrap=True)
    for name in ("F1", "95%", "yes", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tells", overflow="fold")
    for node, label in labels.items():
        best, share = label.best, label.share.value
        if best is None or not label.explained:
            table.add_row(str(node), *4 * ("",), f"(unexplained: {label.unexplained})")
            continue
        table.add_row(
            str(node), f"{best.f1:.2f}", f"{best.low:.2f}-{best.high:.2f}",
            f"{best.chance_f1:.2f}", "-" if share is None else f"{share:.0%}",
            f"{'' if best.direction == 'on' else 'off: '}{best}",
        )  # fmt: skip
    return table


def _predicate_text(found: Mapping[Edge, WeightPredicate]) -> str:
    """Two lines for every edge: a row of numbers, and where it matters."""
    robust = sum(predicate.robust for predicate in found.values())
    low, high = share_interval(robust, len(found))
    chance = sum(predicate.robust_by_chance for predicate in found.values())
    wide = max(map(len, map(str, found)), default=0)
    lines = [
        "When each weight matters, on held-out documents: rise of the loss without it, in",
        "millinats a token; score of the predicate, beside that of rolled labels",
        f"{'edge':{wide}} {'rise':>9} {'score':>6} {'95%':>15} {'rolled':>7} {'coverage':>9}",
    ]
    for edge, predicate in found.items():
        best, control = predicate.best, predicate.control
        row = f"{edge!s:{wide}} {1000 * predicate.rise:+9.3f}"
        if best is not None:
            interval = f"[{best.low:.2f}, {best.high:.2f}]"
            rolled = "-" if control is None else f"{control.score:.2f}"
            row += f" {best.score:6.2f} {interval:>15} {rolled:>7} {best.coverage:9.2f}"
        told = f"where {best}" if predicate.robust else f"(unexplained: {predicate.unexplained})"
        lines += [row, f"  {told}"]
    share = f"robust: {robust} of {len(found)} ({low:.0%}-{high:.0%})"
    return "\n".join([*lines, f"{share}, with rolled labels {chance}"])
