"""200 models of 76 cells: how long after opening the table is there and sorted once."""

from __future__ import annotations

import shutil

import numpy as np

from robustbench_ms.site import build
from tests.records import keys, record_of, written


def bench_a_page_of_200_models(tmp_path, monkeypatch):
    from playwright.sync_api import sync_playwright

    random, folder = np.random.default_rng(0), tmp_path / "results" / "made"
    folder.mkdir(parents=True)
    for i in range(200):
        correct = random.random((76, 100)) < 0.4 + 0.002 * i
        accuracies = dict(zip(keys(), correct.mean(axis=1).tolist(), strict=True))
        record = record_of(accuracies, f"net-{i}", summary=("mean_corruption_accuracy", "clean_accuracy"))
        written(record, folder, correct)
    monkeypatch.setattr(build, "examples", lambda names, progress: {})
    build.build_site([tmp_path / "results"], tmp_path / "site")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = []
        for _ in range(5):
            page = browser.new_page()
            page.goto((tmp_path / "site" / "suite-made.html").as_uri(), wait_until="commit")
            page.wait_for_function("document.querySelector('.count')?.textContent.startsWith('200')")
            # The click and a frame after it; performance.now() counts from the page's opening.
            times.append(
                page.evaluate(
                    """() => new Promise((done) => {
                        document.querySelector('th[data-key=clean_accuracy] button').click();
                        requestAnimationFrame(() => setTimeout(() => done(performance.now())));
                    })"""
                )
            )
        browser.close()
    print(f"table of 200 models drawn and sorted: {np.median(times):,.0f} ms after opening (median of 5)")
    assert np.median(times) < 2000
