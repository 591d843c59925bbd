"""The explorer: it draws what Keras draws, fast, and says what is wrong where it cannot."""

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import export_onnx
import numpy as np
import pytest
from playwright import sync_api

from gan_utils import latent, models

MODULE = "const explorer = await import('./explorer.js');"
WAIT = 120_000  # milliseconds; a busy machine takes its time to load 19 MB


@pytest.fixture
def explorer(page: sync_api.Page, server: str) -> sync_api.Page:
    """The page when faces and walk can be used."""
    page.set_default_timeout(WAIT)
    page.goto(f"{server}/explorer/index.html")
    page.wait_for_selector("#walk fieldset:enabled")
    return page


@pytest.fixture(scope="module")
def keras_of() -> Callable[..., np.ndarray]:
    """What a shipped network returns."""
    return lambda name, *inputs: models.load_pretrained(name)(list(inputs) if len(inputs) > 1 else inputs[0]).numpy()


def run(page: sync_api.Page, name: str, *inputs: np.ndarray) -> np.ndarray:
    flat = [np.asarray(values).ravel().tolist() for values in inputs]
    call = f"async ([name, count, inputs]) => {{ {MODULE} return [...await explorer.run(name, count, ...inputs)]; }}"
    return np.array(page.evaluate(call, [name, len(inputs[0]), flat]), np.float32)


def three_latents() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((3, 100)).astype(np.float32)


def frame(page: sync_api.Page, selector: str) -> np.ndarray:
    """Bytes of a canvas, (height, width, 3), as it is now."""
    read = """canvas => [canvas.height, canvas.width,
        ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"""
    height, width, *values = page.locator(selector).evaluate(read)
    return np.array(values).reshape(height, width, 4)[:, :, :3]


def pixels(page: sync_api.Page, selector: str) -> np.ndarray:
    """Bytes of a canvas after all that is being drawn."""
    page.evaluate(f"async () => {{ {MODULE} await Promise.all(explorer.drawings); }}")
    return frame(page, selector)


def moved(site: pathlib.Path, face: int, **amounts: float) -> np.ndarray:
    """The latent, (1, 100), of a plain face moved along directions."""
    content = json.loads((site / "explorer" / "explorer.json").read_text(encoding="utf-8"))
    steps = [amount * np.array(content["directions"][name]) for name, amount in amounts.items()]
    return np.float32(np.array(content["faces"][face]) + sum(steps))[np.newaxis]


def test_networks_agree_with_keras(explorer, keras_of):
    z, labels = three_latents(), np.eye(10, dtype=np.float32)[[3, 0, 8]]
    faces, digits = keras_of("faces_generator", z), keras_of("mnist_conditional_generator", z, labels)
    answers = {
        "faces_generator": (faces, z),
        "faces_discriminator": (keras_of("faces_discriminator", faces), faces),
        "mnist_conditional_generator": (digits, z, labels),
        "mnist_discriminator": (keras_of("mnist_discriminator", digits), digits),
    }
    for name, (expected, *inputs) in answers.items():
        difference = np.abs(run(explorer, name, *inputs) - expected.ravel()).max()
        print(f"{name}: largest difference to Keras {difference:.0e}")
        assert difference <= 1e-4, name


def test_twenty_new_images_a_second(explorer):
    draw = f"""async () => {{
        {MODULE}
        const [canvas, start, count] = [document.getElementById('face'), performance.now(), 60];
        for (let seed = 0; seed < count; seed++) {{
            explorer.paint(canvas, await explorer.run('faces_generator', 1, explorer.latent(seed)));
        }}
        return 1000 * count / (performance.now() - start);
    }}"""
    rate = explorer.evaluate(draw)
    print(f"{rate:.0f} new images of 32 × 32 a second")
    assert rate >= 20


def test_paths_are_those_of_the_package(explorer):
    a, b, _ = three_latents()
    for name, path in (("line", latent.linear), ("arc", latent.spherical)):
        call = f"async ([a, b]) => {{ {MODULE} return [0, 0.25, 0.5, 0.75, 1].map(t => explorer.{name}(a, b, t)); }}"
        found = explorer.evaluate(call, [a.tolist(), b.tolist()])
        np.testing.assert_allclose(found, path(a, b, 5), atol=1e-5)


def test_latents_are_standard_normal(explorer):
    call = f"async () => {{ {MODULE} return Array.from({{length: 300}}, (_, seed) => explorer.latent(seed)); }}"
    z = np.array(explorer.evaluate(call))
    assert z.shape == (300, 100)
    assert abs(z.mean()) < 0.03
    assert abs(z.std() - 1.0) < 0.03
    assert abs(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]) < 0.03  # neighbours in number are no neighbours


def test_what_the_notebook_gave(site):
    content = json.loads((site / "explorer" / "explorer.json").read_text(encoding="utf-8"))
    assert len(content["directions"]) == 10
    np.testing.assert_allclose(np.linalg.norm(list(content["directions"].values()), axis=1), 1.0, atol=1e-4)
    assert np.shape(content["faces"]) == (51, 100)


def test_a_notebook_without_an_explorer_is_refused(tmp_path):
    cells = [{"cell_type": "code", "source": ["x = 1"]}, {"cell_type": "markdown", "source": ["## 1 · Something else"]}]
    path = tmp_path / "05.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    with pytest.raises(ValueError, match=r"05\.ipynb has no section 'An explorer'"):
        export_onnx.notebook_explorer(path)


def test_directions_do_what_they_say(site, keras_of):
    judge = models.load_pretrained("faces_attributes")
    for name in ("smile", "glasses", "beard", "long hair", "skin", "turn"):
        ends = [np.concatenate([moved(site, face, **{name: amount}) for face in range(51)]) for amount in (-5.0, 5.0)]
        found = judge.predict(keras_of("faces_generator", np.concatenate(ends)), verbose=0)
        readings = found["hair_style"][:, 1] if name == "long hair" else found[name].ravel()
        print(f"{name}: {readings[:51].mean():.2f} at −5, {readings[51:].mean():.2f} at +5")
        assert readings[51:].mean() > readings[:51].mean() + 0.2


def test_a_slider_changes_what_keras_would_change(explorer, site, keras_of):
    plain = pixels(explorer, "#face")
    assert explorer.locator("#norm").inner_text() == f"{np.linalg.norm(moved(site, 0)):.1f}"
    explorer.locator("input[name=smile]").fill("4")
    explorer.locator("input[name=turn]").fill("-2")
    smiling = pixels(explorer, "#face")
    assert (plain != smiling).any()
    z = moved(site, 0, smile=4, turn=-2)
    image = keras_of("faces_generator", z)
    np.testing.assert_allclose(smiling, np.clip((image[0] + 1) * 127.5, 0, 255), atol=1)
    logit = float(keras_of("faces_discriminator", image)[0, 0])
    assert f"Logit {logit:+.1f}".replace("-", "−") in explorer.locator("#opinion").inner_text()
    explorer.locator("#reset").click()
    assert (pixels(explorer, "#face") == plain).all()


def test_faces_by_number_and_by_keyboard(explorer):
    first = pixels(explorer, "#face")
    explorer.locator("#another").click()
    assert int(explorer.locator("#number").input_value()) > 50
    assert (pixels(explorer, "#face") != first).any()
    explorer.locator("#number").fill("0")
    assert (pixels(explorer, "#face") == first).all()
    explorer.locator("#plain").press("Enter")
    assert explorer.locator("#number").input_value() == "1"
    explorer.locator("input[name=glasses]").press("End")
    assert explorer.locator("input[name=glasses] + output").inner_text() == "+5.0"
    explorer.wait_for_function("document.getElementById('face').ariaLabel === 'Generated face 1 with glasses +5.0'")


def test_walk_goes_on_until_it_is_stopped(explorer):
    explorer.locator("#t").fill("0")
    np.testing.assert_allclose(pixels(explorer, "#between"), pixels(explorer, "#from"), atol=1)
    explorer.locator("#play").click()
    explorer.wait_for_function("document.getElementById('walked').textContent.includes('images a second')")
    print(re.search(r"\d+ new images a second", explorer.locator("#walked").inner_text())[0])
    assert (frame(explorer, "#between") != frame(explorer, "#from")).any()
    explorer.locator("#play").click()
    still = pixels(explorer, "#between")
    explorer.wait_for_timeout(500)
    assert (pixels(explorer, "#between") == still).all()


def test_digits_are_those_asked_for(explorer):
    explorer.locator("#text").scroll_into_view_if_needed()
    explorer.wait_for_selector("#digits fieldset:enabled")
    explorer.locator("#text").fill("3, 1 and 4")
    explorer.wait_for_function("document.querySelectorAll('#written canvas').length === 3")
    explorer.locator("[value=each]").check()
    pages: list[Any] = []
    for _ in range(2):
        explorer.locator("#again").click()
        pages.append([pixels(explorer, f"#written figure:nth-child({place}) canvas") for place in (1, 2, 3)])
    assert not np.array_equal(*pages)
    images = np.float32(pages[-1])[..., :1] / 127.5 - 1.0
    _, logits = models.load_pretrained("mnist_classifier").predict(images, verbose=0)
    assert (logits.argmax(axis=1) == [3, 1, 4]).sum() >= 2  # 997 of 1000 are, by the manifest
    explorer.locator("#text").fill("none")
    explorer.wait_for_function("document.getElementById('digits-opinion').textContent.includes('Type digits')")


def test_without_webassembly_a_sentence(page, server):
    page.add_init_script("delete self.WebAssembly")
    page.goto(f"{server}/explorer/index.html")
    status = page.locator("#status.trouble")
    status.wait_for()
    assert "WebAssembly" in status.inner_text()
    assert page.locator("fieldset:enabled").count() == 0


def test_without_a_network_a_sentence(page, server):
    page.route("**/faces_generator.onnx", lambda route: route.abort())
    page.goto(f"{server}/explorer/index.html")
    status = page.locator("#status.trouble")
    status.wait_for(timeout=WAIT)
    assert "could not load" in status.inner_text()
    page.faults.clear()


def test_sizes_are_those_named(page, server, site):
    folder = site / "explorer"
    page.goto(f"{server}/explorer/index.html")
    page.wait_for_selector("#walk fieldset:enabled", timeout=WAIT)
    text = " ".join(page.locator("footer").inner_text().split())
    vendor = sum(path.stat().st_size for path in (folder / "vendor").iterdir())
    sizes = {"the runtime, ": vendor, "directions ": (folder / "explorer.json").stat().st_size}
    sizes |= {"faces, G ": (folder / "faces_generator.onnx").stat().st_size}
    sizes |= {"MB and D ": (folder / "faces_discriminator.onnx").stat().st_size}
    sizes |= {"in sight, G ": (folder / "mnist_conditional_generator.onnx").stat().st_size}
    for words, size in sizes.items():
        assert f"{words}{size / 1e6:.1f} MB" in text
    first = sum(size for words, size in sizes.items() if "sight" not in words)
    assert f"Loading the networks: {first / 1e6:.1f} MB" in (folder / "index.html").read_text(encoding="utf-8")


def test_narrow(explorer):
    explorer.set_viewport_size({"width": 390, "height": 844})
    explorer.locator("#text").scroll_into_view_if_needed()
    explorer.wait_for_selector("#written canvas")
    assert explorer.evaluate("document.documentElement.scrollWidth") <= 390
