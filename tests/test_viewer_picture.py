"""Pictures of circuits for papers."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from viewer_circuits import quote_task, random_circuit
from wirework.circuit import Circuit, every_node
from wirework.core import WireworkError
from wirework.viewer.picture import circuit_picture

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(task=quote_task(), keep=0.25)


def texts(path: Path) -> list[str]:
    return ["".join(found.itertext()) for found in ElementTree.parse(path).iter(f"{SVG}text")]


def test_the_picture_names_everything_in_letters(circuit: Circuit, tmp_path: Path) -> None:
    nodes = every_node(circuit.nodes)
    path = tmp_path / "a.svg"
    points = circuit_picture(
        circuit, path, labels={str(nodes[0]): "<b> & $x$", str(nodes[1]): "a" * 99}
    )
    assert points == pytest.approx(8.25)
    found = texts(path)
    for node in nodes:
        kind = node.site.kind
        short = f"{kind[-1]}{node.index}" if kind in ("attn.q", "attn.k") else str(node.index)
        assert short in found
    assert {"<b> & $x$", "python/single_double_quote", "single", "double", "q · k"} <= set(found)
    assert any(text.startswith("aaa") and text.endswith("…") for text in found)
    assert {"weight above 0", "weight below 0", "residual channel", "steers attention"} <= set(
        found
    )
    assert "helps when kept" not in found
    before = path.read_bytes()
    circuit_picture(circuit, path, labels={str(nodes[0]): "<b> & $x$", str(nodes[1]): "a" * 99})
    assert path.read_bytes() == before


def test_lines_are_as_many_as_weights_and_links(circuit: Circuit, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    circuit_picture(circuit, path)
    colours = [found.get("style", "") for found in ElementTree.parse(path).iter(f"{SVG}path")]
    signs = [weight > 0 for _, weight in circuit.edges()]
    for colour, count in (("#0072b2", sum(signs)), ("#d55e00", len(signs) - sum(signs))):
        assert sum(colour in style for style in colours) > count, "and the legend's, and answers'"


def test_effects_colour_the_boxes(circuit: Circuit, tmp_path: Path) -> None:
    nodes = every_node(circuit.nodes)
    effects = {str(node): -1.0 if i % 2 else 1.0 for i, node in enumerate(nodes)}
    path = tmp_path / "a.svg"
    circuit_picture(circuit, path, effects=effects)
    assert {"helps when kept", "hurts"} <= set(texts(path))
    text = path.read_text()
    assert "#cfe5f3" in text and "#fbdcc8" in text


def test_png_has_the_width_asked_for(circuit: Circuit, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    points = circuit_picture(circuit, path, width=8.0)
    image = imread(path)
    assert image.shape[1] == 8 * 160
    assert 5 <= points <= 8
    assert np.ptp(image[..., :3]) > 0.9, "ink on paper"
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1], :3]
    np.testing.assert_array_equal(corners, 1.0)


def test_letters_stay_readable(circuit: Circuit, tmp_path: Path) -> None:
    with pytest.raises(WireworkError) as raised:
        circuit_picture(circuit, tmp_path / "a.png", width=1.0)
    assert raised.value.code == "picture-too-narrow"
    least = float(raised.value.hint.removeprefix("--width "))
    assert circuit_picture(circuit, tmp_path / "a.png", width=least) >= 5
    with pytest.raises(WireworkError) as raised:
        circuit_picture(circuit, tmp_path / "a.pdf")
    assert raised.value.code == "picture-format"
