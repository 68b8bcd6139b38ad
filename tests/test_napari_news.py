"""What another reviewer did meanwhile is seen in the viewer, whatever the drive does; without a window."""

import os
import shutil
import subprocess
import sys
import threading

import pytest

from pdl1quant.review import EditKind, Review, open_results
from review_bench import tumour_rows
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer
EVERY_MS = 20


@pytest.fixture
def out(scored_field, tmp_path):
    return shutil.copytree(scored_field, tmp_path / "result")


@pytest.fixture
def work(desktop, out, monkeypatch):
    monkeypatch.setattr("pdl1quant.napari.news.EVERY_MS", EVERY_MS)
    return desktop(out)


def test_what_another_reviewer_changed_is_said_and_shown_when_wanted(work, out):
    news = work.widget.news_button
    work.settle(5 * EVERY_MS)
    assert news.isHidden()
    results = open_results(out)
    other = Review(results, results.image(work.review.image.stem))
    other.edit(EditKind.CLASS, reviewer="Bo", cells=other.ids(tumour_rows(other, 3)), to="stroma")
    work.qtbot.waitUntil(lambda: not news.isHidden())
    news.click()
    assert work.widget.numbers.text(3, 2).endswith(f" / {other.counts.n_tumour:,}")
    assert news.isHidden()
    assert {work.kind(row) for row in tumour_rows(work.review, 3)} == {"Stroma"}


def test_a_drive_that_hangs_does_not_stop_the_window(work, monkeypatch):
    ledger, looks, goes_on, stat = work.review.ledger.path, [], threading.Event(), os.stat

    def hanging(path, *args, **how):
        if path == ledger:
            looks.append(threading.current_thread())
            goes_on.wait(10)
        return stat(path, *args, **how)

    monkeypatch.setattr(os, "stat", hanging)
    work.qtbot.waitUntil(lambda: bool(looks))
    work.settle(5 * EVERY_MS)
    assert len(looks) == 1  # never two at once
    ledger.parent.mkdir(exist_ok=True)
    ledger.write_bytes(b"another reviewer")
    goes_on.set()
    work.qtbot.waitUntil(lambda: not work.widget.news_button.isHidden())
    assert threading.main_thread() not in looks


def test_a_window_that_is_closed_is_not_looked_for_any_more(work, monkeypatch):
    ledger, looks, stat = work.review.ledger.path, [], os.stat

    def counted(path, *args, **how):
        looks.append(path)
        return stat(path, *args, **how)

    monkeypatch.setattr(os, "stat", counted)
    work.qtbot.waitUntil(lambda: ledger in looks)
    work.widget.close()
    looks.clear()
    work.settle(5 * EVERY_MS)
    assert ledger not in looks


def test_the_window_closes_and_the_process_ends_while_the_drive_hangs(out):
    program = """
import os, sys, threading
from pathlib import Path
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication
from pdl1quant.napari.review_widget import ReviewWidget
app = QApplication([])
widget = ReviewWidget(ViewerModel())
widget.open(Path(sys.argv[1]))
ledger, stat, hangs = widget.desk.review.ledger.path, os.stat, threading.Event()
def hanging(path, *args, **how):
    if path == ledger:
        hangs.set()
        threading.Event().wait()
    return stat(path, *args, **how)
os.stat = hanging
widget.news.look()
assert hangs.wait(60)
app.processEvents()
widget.close()
print("closed")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(out)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")
