"""Attribution graphs for the public viewers: schema, unwritten rules, ids, queries and keys."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from viewer_circuits import random_circuit
from wirework.circuit import Circuit, every_node
from wirework.core import Node, Site, WireworkError
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.explain import explain_scores
from wirework.interop.neuronpedia import (
    GraphConfig,
    attribution_graph,
    check_graph,
    graph_schema,
    graph_text,
)
from wirework.interop.neuronpedia.check import MOST_BYTES, require_size
from wirework.interop.neuronpedia.ids import (
    LARGEST,
    cantor,
    cantor_inverse,
    feature_id,
    logit_row,
    parse_feature_id,
    row_of,
    rows,
    site_of,
)

PROMPT = "x = 'abc + y"
Graph = dict[str, Any]


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit()


@pytest.fixture(scope="module")
def tokens(circuit: Circuit) -> list[int]:
    return Tokenizer.from_json(circuit.tokenizer).encode(PROMPT)


@pytest.fixture(scope="module")
def whole(circuit: Circuit, tokens: list[int]) -> Graph:
    return attribution_graph(circuit, np.array(tokens))


def features(graph: Graph) -> list[Graph]:
    return [node for node in graph["nodes"] if node["feature_type"] not in ("embedding", "logit")]


def valid(graph: Any) -> bool:
    return bool(Draft7Validator(graph_schema()).is_valid(graph))


def test_the_graph_is_valid_and_follows_the_rules(whole: Graph) -> None:
    back = json.loads(graph_text(whole))
    assert back == whole
    Draft7Validator.check_schema(graph_schema())
    assert valid(back)
    assert check_graph(back) == []
    assert len(features(back)) > 100 and len(back["links"]) > 300


def test_every_node_that_is_not_zero_is_there_with_its_value(
    circuit: Circuit, tokens: list[int], whole: Graph
) -> None:
    run = circuit.trace(np.array([tokens]), np.float64)
    expected = {
        (str(node), place): float(value)
        for node in every_node(circuit.nodes)
        for place, value in enumerate(run.sites[node.site][0, :, node.index])
        if value != 0
    }
    found = {
        (node["wirework_node"], node["ctx_idx"]): node["activation"]
        for node in [*features(whole), *whole["qk_only_nodes"].values()]
    }
    assert found.items() <= expected.items()
    linked = {end for link in whole["links"] for end in (link["source"], link["target"])}
    for name, place in expected.keys() - found.keys():
        assert feature_id(Node.parse(name), place, 2) not in linked
    assert whole["nodes"][0]["clerp"] == f'Emb: "{PROMPT[0]}"'
    assert whole["metadata"]["prompt"] == PROMPT == "".join(whole["metadata"]["prompt_tokens"])
    assert whole["metadata"]["wirework_token_ids"] == tokens


def test_links_add_up_in_the_file(whole: Graph) -> None:
    sums: dict[str, float] = {}
    for link in whole["links"]:
        sums[link["target"]] = sums.get(link["target"], 0.0) + link["weight"]
    for node in whole["nodes"]:
        if node["feature_type"] == "embedding":
            continue
        stands = node.get("wirework_logit", node.get("wirework_before", node.get("activation")))
        found = sums.get(node["node_id"], 0.0) + node["wirework_constant"]
        assert math.isclose(found, stands, rel_tol=0, abs_tol=1e-9), node["node_id"]


def test_logits_come_most_probable_first_with_shares_of_all_answers(
    circuit: Circuit, tokens: list[int], whole: Graph
) -> None:
    raw = circuit.logits(np.array([tokens]), np.float64)[0, -1]
    shares = np.exp(raw - raw.max()) / np.exp(raw - raw.max()).sum()
    logits = [node for node in whole["nodes"] if node["feature_type"] == "logit"]
    assert len(logits) == min(10, len(raw))
    kept = {node["feature"]: node["token_prob"] for node in logits}
    answers = circuit.network.answers.tolist()
    for token, share in kept.items():
        assert share == pytest.approx(shares[answers.index(token)], abs=1e-12)
    assert [n["feature"] for n in logits if n["is_target_logit"]] == [answers[int(raw.argmax())]]
    few = attribution_graph(circuit, np.array(tokens), config=GraphConfig(logits=2))
    assert sum(node["feature_type"] == "logit" for node in few["nodes"]) == 2


def test_ids_are_unique_and_can_be_taken_apart(whole: Graph) -> None:
    for key in ("node_id", "jsNodeId"):
        ids = [node[key] for node in whole["nodes"]]
        assert len(set(ids)) == len(ids)
    numbers: dict[int, str] = {}
    for node in features(whole):
        name = node["wirework_node"]
        assert numbers.setdefault(node["feature"], name) == name
        place = parse_feature_id(node["node_id"], 2)
        assert place == (Node.parse(name), node["ctx_idx"])
        row, index = cantor_inverse(node["feature"])
        assert (str(row), index) == (node["layer"], Node.parse(name).index)
        assert str(site_of(row, 2)) == whole["metadata"]["wirework_rows"][str(row)]
    for node in whole["nodes"]:
        if node["feature_type"] in ("embedding", "logit"):
            assert parse_feature_id(node["node_id"], 2) is None


@given(st.integers(1, 60))
def test_rows_stand_for_sites_one_to_one(n_layer: int) -> None:
    known = sites(n_layer)
    numbers = [row_of(site, n_layer) for site in known]
    assert numbers == list(range(1, 8 * n_layer + 2))
    assert [site_of(row, n_layer) for row in numbers] == list(known)
    assert site_of(0, n_layer) is None and site_of(logit_row(n_layer), n_layer) is None
    assert list(rows(n_layer).values()) == [*map(str, known), "logit"]


@given(st.integers(0, 2000), st.integers(0, LARGEST - 2001))
def test_cantor_numbers_survive_the_square_root_of_a_browser(row: int, index: int) -> None:
    number = cantor(row, index)
    assert cantor_inverse(number) == (row, index)
    total = math.floor((math.sqrt(8 * number + 1) - 1) / 2)
    assert (total - (number - total * (total + 1) // 2), number - total * (total + 1) // 2) == (
        row,
        index,
    )


def test_numbers_beyond_the_browser_are_refused() -> None:
    with pytest.raises(WireworkError) as raised:
        cantor(1, LARGEST - 1)
    assert raised.value.code == "graph-node-too-large"


def test_queries_and_keys_are_the_terms_of_the_scores(circuit: Circuit, tokens: list[int]) -> None:
    graph = attribution_graph(circuit, np.array(tokens), config=GraphConfig(query_key=10_000))
    described = {node["node_id"] for node in graph["nodes"]} | graph["qk_only_nodes"].keys()
    traced = [node for node in graph["nodes"] if node.get("qk_tracing_results")]
    assert len(traced) > 10
    checked = 0
    for node in traced:
        found = Node.parse(node["wirework_node"])
        assert found.site.kind == "attn.out" and found.site.layer is not None
        for q_id, k_id, weight in node["qk_tracing_results"]["pair_wise_contributors"]:
            assert {q_id, k_id} <= described
            query, key = parse_feature_id(q_id, 2), parse_feature_id(k_id, 2)
            assert query is not None and key is not None
            assert query[0].index == key[0].index and query[1] == node["ctx_idx"] >= key[1]
            head = query[0].index // circuit.network.d_head
            if checked < 25:
                scores = explain_scores(circuit, found.site.layer, head, np.array([tokens]))
                channel = scores.channels.index(query[0].index % circuit.network.d_head)
                term = scores.terms[channel, 0, query[1], key[1]]
                assert weight == pytest.approx(term, abs=1e-12)
                checked += 1
    assert checked == 25
    few = attribution_graph(circuit, np.array(tokens), config=GraphConfig(query_key=1))
    lists = [node.get("qk_tracing_results", {}).values() for node in few["nodes"]]
    assert max(len(one) for some in lists for one in some) == 1
    none = attribution_graph(circuit, np.array(tokens), config=GraphConfig(query_key=0))
    assert "qk_only_nodes" not in none
    assert not any("qk_tracing_results" in node for node in none["nodes"])


def test_pruned_graphs_are_smaller_and_still_follow_the_rules(
    circuit: Circuit, tokens: list[int], whole: Graph
) -> None:
    config = GraphConfig(node_threshold=0.8, edge_threshold=0.9)
    pruned = attribution_graph(circuit, np.array(tokens), config=config)
    assert check_graph(pruned) == [] and valid(pruned)
    assert len(pruned["nodes"]) < len(whole["nodes"])
    weights = {(link["source"], link["target"]): link["weight"] for link in whole["links"]}
    assert 0 < len(pruned["links"]) < len(weights) / 2
    assert all(weights[k["source"], k["target"]] == k["weight"] for k in pruned["links"])
    assert pruned["metadata"]["node_threshold"] == 0.8
    assert pruned["metadata"]["pruning_settings"] == {"node_threshold": 0.8, "edge_threshold": 0.9}


def test_labels_are_shown_and_hostile_ones_do_no_harm(circuit: Circuit, tokens: list[int]) -> None:
    node = every_node(circuit.nodes)[0]
    hostile = '<img src=x onerror=alert(1)> (p=no) "quoted" </script> \u2028 a < b'
    graph = attribution_graph(circuit, np.array(tokens), labels={node: hostile})
    clerps = [n["clerp"] for n in features(graph) if n["wirework_node"] == str(node)]
    shown = '‹img src=x onerror=alert(1)> (p=no) "quoted" ‹/script> \u2028 a < b'
    assert clerps and set(clerps) == {f"{node}: {shown}"}
    assert check_graph(json.loads(graph_text(graph))) == []


def test_metadata_is_whole(circuit: Circuit, whole: Graph) -> None:
    metadata = whole["metadata"]
    assert metadata["schema_version"] == 1
    assert metadata["info"]["generator"]["name"] == "wirework"
    assert metadata["info"]["generator"]["version"]
    assert metadata["scan"] == f"wirework-{circuit.model_hash[:12]}"
    assert metadata["slug"].startswith("python-single_double_quote-")
    assert whole["qParams"] == {
        "pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": "",
    }  # fmt: skip
    config = GraphConfig(
        slug="../a b/c", scan="my-model", created_ms=5, features_url="https://a.org/f"
    )
    named = attribution_graph(circuit, np.array([1, 2]), config=config)["metadata"]
    assert (named["slug"], named["scan"]) == ("a-b-c", "my-model")
    assert named["info"]["create_time_ms"] == 5
    assert named["feature_details"] == {"feature_json_base_url": "https://a.org/f"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c: attribution_graph(c, np.array([3])), "graph-prompt-short"),
        (lambda c: attribution_graph(c, np.array([3, 10**6])), "token-unknown"),
        (
            lambda c: attribution_graph(
                c, np.array([3, 4]), config=GraphConfig(node_threshold=0.0, edge_threshold=0.0)
            ),
            "graph-empty",
        ),
        (lambda c: require_size(MOST_BYTES + 1), "graph-too-large"),
        (lambda c: GraphConfig.parse({"node_threshold": 1.5}), "config-invalid"),
        (lambda c: graph_text({"weight": math.nan}), "graph-not-finite"),
        (
            lambda c: attribution_graph(random_circuit(runs_alone=False), np.array([1, 2])),
            "circuit-needs-model",
        ),
    ],
)
def test_mistakes_have_codes(circuit: Circuit, change: Callable[[Circuit], Any], code: str) -> None:
    with pytest.raises(WireworkError) as raised:
        change(circuit)
    assert raised.value.code == code


def _logit(graph: Graph) -> Graph:
    return next(node for node in graph["nodes"] if node["feature_type"] == "logit")


def _flat(graph: Graph) -> None:
    for node in graph["nodes"]:
        node["layer"] = "E" if node["layer"] == "E" else "0"


def _one_token(graph: Graph) -> None:
    graph["metadata"]["prompt_tokens"] = ["x"]
    for node in graph["nodes"]:
        node["ctx_idx"] = 0


BREAKS: dict[str, tuple[Callable[[Graph], Any], str]] = {
    "1": (lambda g: features(g)[0].update(layer="0.attn"), "rule 1"),
    "2": (_flat, "rule 2"),
    "3": (lambda g: _logit(g).update(clerp='Output "a"'), "rule 3"),
    "3, in the token": (lambda g: _logit(g).update(clerp='Output "(p=" (p=0.1)'), "rule 3"),
    "4": (_one_token, "rule 4"),
    "5": (lambda g: features(g)[0].update(feature=LARGEST * LARGEST), "rule 5"),
    "6": (
        lambda g: g["nodes"].append({**features(g)[0], "node_id": "1_9999_0", "feature": None}),
        "rule 6",
    ),
    "7": (lambda g: g["nodes"][0].update(clerp="mine"), "rule 7"),
    "cantor": (lambda g: features(g)[0].update(feature=0), "not Cantor's"),
    "markup": (lambda g: features(g)[0].update(clerp="<b>x"), "markup"),
    "twice": (lambda g: g["nodes"].append(features(g)[0]), "several nodes share"),
    "lost link": (lambda g: g["links"][0].update(source="1_9999_0"), "not there"),
    "same link": (lambda g: g["links"].append(g["links"][0]), "second link"),
    "no number": (lambda g: g["links"][0].update(weight=math.inf), "no number"),
    "position": (lambda g: features(g)[0].update(ctx_idx=99), "outside the prompt"),
    "influence": (lambda g: features(g)[0].update(influence=1.5), "outside 0 to 1"),
    "pinned": (lambda g: g["qParams"].update(pinnedIds=["7_7_7"]), "not there"),
    "supernode": (lambda g: g["qParams"].update(supernodes=[["a", "7_7_7"]]), "not there"),
    "supernode shape": (lambda g: g["qParams"].update(supernodes=["a"]), "not a list"),
    "qk": (
        lambda g: features(g)[0].update(
            qk_tracing_results={"pair_wise_contributors": [["7_7_7", "7_7_7", 1.0]]}
        ),
        "nowhere described",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_every_rule_is_checked(whole: Graph, name: str) -> None:
    change, says = BREAKS[name]
    broken = copy.deepcopy(whole)
    change(broken)
    found = check_graph(broken)
    assert any(says in complaint for complaint in found), found
    assert valid(broken), "the schema alone does not see it"


def _without(*path: str) -> Callable[[Graph], Any]:
    def change(graph: Graph) -> None:
        part: Any = graph
        for key in path[:-1]:
            part = part[int(key)] if isinstance(part, list) else part[key]
        del part[path[-1]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        *[_without(key) for key in ("metadata", "qParams", "nodes", "links")],
        *[_without("metadata", key) for key in ("slug", "scan", "prompt_tokens", "prompt")],
        *[
            _without("nodes", "20", key)
            for key in (
                *("node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId"),
                "clerp",
            )
        ],
        *[_without("links", "0", key) for key in ("source", "target", "weight")],
        lambda g: g["nodes"][0].update(ctx_idx="0"),
        lambda g: g["nodes"][0].update(ctx_idx=True),
        lambda g: g["nodes"][0].update(layer=1.5),
        lambda g: g["links"][0].update(weight="1"),
        lambda g: g["metadata"].update(prompt_tokens=[1]),
        lambda g: g["metadata"].update(info={"create_time_ms": "now"}),
        lambda g: g.update(qk_only_nodes={"1_1_1": {}}),
        lambda g: g.update(nodes={}),
    ],
)  # fmt: skip
def test_the_check_sees_what_the_schema_sees(whole: Graph, change: Callable[[Graph], Any]) -> None:
    broken = copy.deepcopy(whole)
    change(broken)
    assert not valid(broken)
    assert check_graph(broken)


@pytest.mark.parametrize("value", [None, [], 3, "x", {}, {"nodes": 1}, {"metadata": []}])
def test_anything_can_be_checked(value: Any) -> None:
    assert check_graph(value)


def test_complaints_about_many_places_are_one(whole: Graph) -> None:
    broken = copy.deepcopy(whole)
    for node in broken["nodes"]:
        del node["clerp"]
    assert len(check_graph(broken)) == 1
    assert f"and {len(broken['nodes']) - 3:,} more" in check_graph(broken)[0]


def test_a_site_without_a_row_is_none() -> None:
    assert site_of(row_of(Site(1, "mlp.out"), 2), 1) is None
