"""`report`: pages as a person asks for them."""

import json
import os
import re
import shutil
import subprocess
from html import unescape

import pytest
from PIL import Image

STUDY = """
source: A small study
base: [model=pisa, model.width=0.125, trainer=cpu, trainer.batch_size=32, trainer.max_epochs=1, trainer.num_threads=1,
  data.synthetic.train=140, data.synthetic.val=70, data.synthetic.test=70]
rows:
  - {label: all}
  - {label: "<i>odd</i> & long", overrides: [model.conv_layers=4], published: {test/acc: 60.5}}
  - {label: broken, overrides: [optimizer.lr=1e30]}
"""

CHECK = """<script>
addEventListener("error", event => document.title = "error: " + event.message);
addEventListener("load", () => {
  const images = [...document.images];
  const [results] = document.getElementsByClassName("results");
  const order = () => results && [...results.querySelectorAll("tbody th")].map(label => label.textContent.slice(0, 4));
  const written = order();
  results?.querySelector("[value=rank]").click();
  const facts = {empty: images.filter(image => !image.naturalWidth).length, images: images.length, title: document.title,
                 width: document.documentElement.scrollWidth, inner: innerWidth,
                 written: written, sorted: order(), hidden: results?.querySelector(".of-costs").offsetWidth,
                 table: results?.querySelector("table").offsetWidth, box: results?.offsetWidth};
  parent.postMessage(JSON.stringify(facts), "*");
});
</script>"""
WRAPPER = """<!DOCTYPE html><pre id=told></pre>
<script>addEventListener("message", event => { document.getElementById("told").textContent = event.data; });</script>
<iframe src="page.html" style="width: WIDTHpx; height: 4000px; border: 0"></iframe>"""
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")
CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
CHROMIUM += ["--window-size=1200,4000", "--virtual-time-budget=15000", "--enable-logging=stderr", "--v=0"]


@pytest.fixture
def study(typed, tmp_path):
    file = tmp_path / "conf" / "study" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    words = ("--config-dir", str(file.parents[1]), "study=tiny", f"runs_dir={tmp_path / 'runs'}")
    return lambda verb, *more: typed(verb, *words, *more)


def told_by_browser(page, folder, width=360):
    """What a browser says of a page in a window of so many pixels, and its console."""
    folder.mkdir()
    (folder / "page.html").write_text(page.read_text().replace("</head>", f"{CHECK}</head>"))
    (folder / "wrapper.html").write_text(WRAPPER.replace("WIDTH", str(width)))
    command = [*CHROMIUM, f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "wrapper.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "LC_ALL": "C"})
    return json.loads(unescape(re.search(r'id="told">(.*?)</pre>', done.stdout)[1])), done.stderr.count("CONSOLE")


@pytest.mark.slow
def test_the_page_of_a_grid_includes_later_maps(typed, finished, typed_small, tmp_path):
    words = ["report", *typed_small, "trainer.max_epochs=1", f"runs_dir={finished.parents[1]}"]
    printed = typed(*words)
    assert printed.code == 0, printed.err
    (page,) = finished.parents[1].rglob("report.html")
    first = page.read_bytes()
    assert f"{page}" in printed.out
    assert "1 run, " in printed.out

    (finished / "explain").mkdir()
    Image.new("L", (40, 30)).save(finished / "explain" / "mean_maps.png")
    assert typed(*words, f"output={tmp_path / 'copy.html'}").code == 0
    assert "Mean heat map of each class: " in page.read_text()
    assert page.read_bytes() == (tmp_path / "copy.html").read_bytes() != first


@pytest.mark.slow
def test_a_browser_shows_the_page_on_a_phone(study, tmp_path):
    assert study("-m", "tracking=none").code == 1  # one row fails
    page = tmp_path / "runs" / "tiny" / "table" / "report.html"
    first, text = page.read_bytes(), page.read_text()
    assert "&lt;i&gt;odd&lt;/i&gt; &amp; long" in text
    assert "<i>" not in text
    assert "The training loss became" in text
    assert "60.5" in text
    assert "model.<wbr>conv_layers" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert study("report", "tracking=none").code == 0
    assert page.read_bytes() == first
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    facts, messages = told_by_browser(page, tmp_path / "browser")
    assert facts["images"] > 5
    assert (facts["empty"], facts["inner"], facts["title"], messages) == (0, 360, "tiny", 0)
    assert facts["width"] <= 360
    assert facts["written"] == ["all ", "<i>o", "brok"]
    assert facts["sorted"] in (["all ", "<i>o", "brok"], ["<i>o", "all ", "brok"])  # what failed is last
    assert facts["hidden"] == 0
    wide, _ = told_by_browser(page, tmp_path / "wide", 1200)
    assert wide["table"] <= wide["box"]  # nothing to scroll


@pytest.mark.long
def test_a_finished_run_has_a_page(typed, finished):
    printed = typed("report", f"run={finished.name[-10:]}", f"runs_dir={finished.parents[1]}")
    assert printed.code == 0, printed.err
    assert "1 run, 3 pictures" in printed.out
    text = (finished / "report.html").read_text()
    assert "Settings that are not the default" in text
    assert "explain run=" in text
    assert text.count("<img ") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["output=page.html"], "Give study=<name> or run=<id>"),
        (["study=quickstart", "run=a"], "not both"),
        (["run=a", "run=b"], r"run: was given 2 times"),
        (["run=a", "optimizer.lr=1"], "was settled when the run was trained"),
    ],
)
def test_contradictory_words_are_refused(typed, words, message):
    printed = typed("report", *words)
    assert printed.code == 1
    assert re.search(message, printed.err), printed.err


def test_an_untrained_study_says_what_to_run(study, tmp_path):
    printed = study("report", "tracking=none")
    assert printed.code == 1
    assert "tiny has no finished run yet. Train it first: python -m fer_ablate -m " in printed.err
    assert "study=tiny" in printed.err
    assert f"runs_dir={tmp_path / 'runs'}" in printed.err  # trained elsewhere, the same command would still find nothing
    assert not (tmp_path / "runs" / "tiny").exists()


@pytest.mark.slow
def test_a_failed_plot_is_tried_again(typed, small, finished):
    words = ("report", *small, "tracking.pictures=true", "trainer.max_epochs=1", "seed=0")
    assert typed(*words).code == 0
    (table,) = finished.parent.glob("*-table")
    kept = (table / "table.md").read_bytes()
    for file in (".digest", "table.md", "curves.png"):
        (table / file).unlink()
    (table / "curves.png").mkdir()  # where a file is to be
    printed = typed(*words)
    assert printed.code == 0, printed.err
    assert "note: The plots could not be made: Cannot write" in printed.out
    assert (table / "table.md").read_bytes() == kept
    assert "Traceback" in (table / "log.txt").read_text()
    (table / "curves.png").rmdir()
    assert "note: " not in typed(*words).out
    assert (table / "curves.png").is_file()
