"""rbms gate as people run it: records in files, folders and commits, and models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from robustbench_ms.records.record import read_record
from robustbench_ms.reports.markdown import code, escape
from tests.simulated import answers, kept, pair, record, turned_wrong

RULES = ("--rule", "clean_accuracy=4pp", "--rule", "mean_corruption_accuracy=2pp")


@pytest.fixture
def before(tmp_path):
    return kept(tmp_path / "before", record(answers()))


@pytest.fixture
def same(tmp_path):
    return kept(tmp_path / "now", record(answers()))


@pytest.fixture
def worse(tmp_path):
    return kept(tmp_path / "now", record(turned_wrong(answers(), 90)), "worse")


@pytest.fixture
def repository(tmp_path):
    """A git repository whose results hold a record; the working tree then lost 90 answers."""
    root = tmp_path / "repo"
    results = root / "results"
    kept(results / "cifar10-c", record(answers()))

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *who, "-C", root, *words], check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q", "-b", "trunk")
    git("add", "-A")
    git("commit", "-q", "-m", "a record")
    kept(results / "cifar10-c", record(turned_wrong(answers(), 90)))
    return root, git


def test_a_record_that_lost_nothing_passes(rbms, same, before):
    done = rbms("gate", same, "--against", before, *RULES)

    assert done.code == 0
    assert "**pass**: `mine` against" in done.out
    assert "the same network gives the same raw answers" in done.out


def test_a_record_that_lost_too_much_fails_and_the_number_is_named(rbms, worse, before):
    done = rbms("gate", worse, "--against", before, *RULES)

    assert done.code == 1
    assert "`clean_accuracy=4pp` fail: it loses 15.00 pp, at least 12." in done.out
    assert "`mean_corruption_accuracy=2pp` pass" in done.out
    assert "beyond chance in 1 of 76 cells: clean -15.0 pp" in done.out


def test_what_is_unsure_fails_unless_lenient(rbms, tmp_path):
    one, other = pair(600, (0.04, 0.02), seed=1)
    files = kept(tmp_path / "now", other), "--against", kept(tmp_path / "before", one), *RULES
    strict, lenient = rbms("gate", *files), rbms("gate", *files, "--lenient")

    assert (strict.code, lenient.code) == (1, 0)
    assert "samples would settle it" in strict.out
    assert "noticed four times in five" in strict.out


def test_the_suites_own_rules_are_the_default(rbms, same, before):
    done = rbms("gate", same, "--against", before, "--json").json()

    assert [r["rule"] for r in done["candidates"][0]["rules"]] == [
        "clean_accuracy=1pp",
        "mean_corruption_accuracy=0.5pp",
        "any:accuracy=5pp",
    ]


def test_a_suite_of_ones_own_has_no_known_rules(rbms, tmp_path):
    path = kept(tmp_path / "now", record(answers(), suite="mine-limit50"))
    done = rbms("gate", path, "--against", kept(tmp_path / "before", record(answers())))

    assert done.code == 2
    assert "suite 'mine' of this record is not shipped" in done.err
    assert "--rule" in done.err


def test_json_tells_everything(rbms, worse, before):
    done = rbms("gate", worse, "--against", before, *RULES, "--json")
    told = done.json()
    rule = told["candidates"][0]["rules"][0]

    assert done.code == 1
    assert told["passed"] is False
    assert rule["rule"] == "clean_accuracy=4pp"
    assert (rule["state"], rule["n"], rule["changed"]) == ("fail", 600, 90)
    assert rule["loss"] == pytest.approx(0.15)
    assert rule["lower"] < rule["loss"] < rule["upper"]
    assert rule["tolerated"] == pytest.approx(0.04)
    assert [c["cell"] for c in told["candidates"][0]["worse_cells"]] == ["clean"]


def test_the_summary_for_a_pull_request_is_appended_and_cannot_be_broken_out_of(rbms, tmp_path, before):
    path = kept(tmp_path / "now", record(answers()), "odd", card="a|b`<script>@team\n# Title")
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    rbms("gate", path, "--against", before, *RULES, "--markdown", summary)
    text = summary.read_text()

    assert text.startswith("before\n## Robustness gate\n")
    head = next(line for line in text.splitlines() if "against" in line)
    assert head.startswith("**pass**: `a\\|b'<script>@team # Title` against")  # code, where nothing is markup
    assert "\n# Title" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a|b", "a\\|b"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("[x](http://evil)", "\\[x\\](http:&#47;/evil)"),
        ("hi @team, see #12", "hi &#64;team, see &#35;12"),
        ("one\n\n# two", "one # two"),
        ("*a* _b_ `c` gaussian_noise", "\\*a\\* \\_b\\_ \\`c\\` gaussian_noise"),
        ("www.evil.com &amp;", "www&#46;evil.com &amp;amp;"),
    ],
)
def test_text_stays_text_in_markdown(text, safe):
    assert escape(text) == safe


def test_names_stay_in_their_code():
    assert code("a`b|c\nd") == "`a'b\\|c d`"


def test_annotations_are_githubs_and_escape_what_would_end_them(rbms, tmp_path, before):
    path = kept(tmp_path / "now", record(turned_wrong(answers(), 90)), "odd", card="a\n::error::100 %")
    done = rbms("gate", path, "--against", before, *RULES, "--annotate")
    lines = [line for line in done.out.splitlines() if line.startswith("::")]

    assert len(lines) == 1
    assert lines[0].startswith(
        "::error title=rbms gate%3A clean_accuracy=4pp fail::a%0A::error::100 %25: it loses"
    )


def test_annotations_of_a_pass_and_of_what_is_let_in(rbms, tmp_path, same, before):
    one, other = pair(600, (0.04, 0.02), seed=1)
    files = kept(tmp_path / "a", other), "--against", kept(tmp_path / "b", one), *RULES

    assert (
        "::notice title=rbms gate::mine: 2 rules hold"
        in rbms("gate", same, "--against", before, *RULES, "--annotate").out
    )
    assert "::warning title=" in rbms("gate", *files, "--annotate", "--lenient").out
    assert rbms("gate", *files, "--annotate", "--json").code == 2


@pytest.mark.parametrize(
    "place", ["{}/mine.json", "{}/cifar10-c/mine.json", "{}/cifar10-c/reference/mine.json"]
)
def test_a_folder_is_searched_for_the_record_of_that_name(rbms, tmp_path, same, place):
    path = tmp_path / place.format("folder")
    kept(path.parent, record(answers()))
    done = rbms("gate", same, "--against", tmp_path / "folder", *RULES)

    assert done.code == 0
    assert "mine.json" in done.out.splitlines()[0]


def test_an_accepted_reference_is_found_before_a_plain_record(rbms, tmp_path, same):
    kept(tmp_path / "folder" / "cifar10-c", record(turned_wrong(answers(), 50)))
    kept(tmp_path / "folder" / "cifar10-c" / "reference", record(answers()))
    done = rbms("gate", same, "--against", tmp_path / "folder", *RULES, "--json").json()

    assert done["candidates"][0]["rules"][0]["changed"] == 0


def test_nothing_to_compare_with_is_no_failed_gate(rbms, tmp_path, same):
    (tmp_path / "empty").mkdir()
    folder = rbms("gate", same, "--against", tmp_path / "empty", *RULES)
    default = rbms("gate", same, *RULES, "--lenient")

    assert (folder.code, default.code) == (2, 2)
    assert "there is nothing to compare with: neither" in folder.out
    assert "rbms accept makes a record the reference" in default.out


def test_a_record_is_not_compared_with_itself(rbms, tmp_path, same):
    alone = rbms("gate", same, "--against", same, *RULES)
    folder = rbms("gate", same, "--against", same.parent, *RULES)

    assert alone.code == 2
    assert "cannot be its own reference" in alone.err
    assert folder.code == 2
    shown = same.parent
    assert (
        escape(f"there is nothing to compare with: {shown / 'mine.json'} is the record being judged")
        in folder.out
    )
    accepted = rbms("accept", same, "--results", same.parent).out.strip().splitlines()[-1].partition(" (")[0]
    judged = rbms("gate", accepted, "--results", same.parent, *RULES)
    assert escape(f"{accepted} is the record being judged; rbms accept makes") in judged.out


def test_a_reference_that_is_this_very_model_or_another_card_is_told_first(rbms, tmp_path, same, before):
    def first(*words):
        done = rbms("gate", *words, *RULES)
        told = rbms("gate", *words, *RULES, "--json").json()["candidates"][0]["notes"][0]
        assert escape(told) == done.out.splitlines()[1].removeprefix(
            "- "
        )  # below the verdict, above the table
        return told

    subject = read_record(before).subject["digest"]
    assert first(same, "--against", before) == (
        f"the reference is this very model (subject {subject}): nothing changed since that record, or it was written "
        "after the change"
    )
    other = kept(tmp_path / "other", record(answers()), "resnet32")
    assert "this very model under another name, resnet32" in first(same, "--against", other)
    other = kept(tmp_path / "other", record(turned_wrong(answers(), 1)), "resnet32")
    assert (
        first(same, "--against", other)
        == "the reference is another card, resnet32, and the candidate is mine"
    )
    assert (
        "the reference is this very model"
        in rbms("gate", same, "--against", before, *RULES, "--annotate").out
    )


def test_a_commit_is_a_reference(rbms, repository):
    root, git = repository
    now = root / "results" / "cifar10-c" / "mine.json"
    options = ("--results", root / "results", *RULES)

    for against in ("git:trunk", f"git:{git('rev-parse', 'HEAD').strip()}", "git:HEAD"):
        done = rbms("gate", now, "--against", against, *options)
        assert done.code == 1
        assert "loses 15.00 pp" in done.out
    git("add", "-A")
    git("commit", "-q", "-m", "worse")
    assert rbms("gate", now, "--against", "git:HEAD", *options).code == 0
    assert rbms("gate", now, "--against", "git:HEAD~1", *options).code == 1


def test_a_path_in_a_commit_is_a_reference(rbms, repository, monkeypatch):
    root, _ = repository
    monkeypatch.chdir(root)
    now = root / "results" / "cifar10-c" / "mine.json"

    for against in ("git:HEAD:results", "git:HEAD:results/cifar10-c/mine.json"):
        assert "loses 15.00 pp" in rbms("gate", now, "--against", against, *RULES).out
    missing = rbms("gate", now, "--against", "git:HEAD:results/none.json", *RULES)
    assert missing.code == 2
    assert "the commit has no file results/none.json" in missing.err


@pytest.mark.parametrize("ref", ["trunc", "", "--help", "-h", "HEAD~7", "a b"])
def test_a_git_ref_that_does_not_exist_is_named(rbms, repository, ref):
    root, _ = repository
    now = root / "results" / "cifar10-c" / "mine.json"
    done = rbms("gate", now, f"--against=git:{ref}", "--results", root / "results", *RULES)

    assert done.code == 2
    assert f"--against git:{ref}: the repository has no commit of that name" in done.err
    assert ("did you mean 'trunk'" in done.err) == (ref == "trunc")


def test_a_commit_without_the_record_is_nothing_to_compare_with(rbms, repository):
    root, _ = repository
    new = kept(root / "results" / "cifar10-c", record(answers()), "new")
    done = rbms("gate", new, "--against", "git:HEAD", "--results", root / "results", *RULES)

    assert done.code == 2
    assert "results/cifar10-c/new.json at HEAD" in done.out


def test_a_commit_needs_a_repository(rbms, tmp_path, same):
    done = rbms("gate", same, "--against", "git:HEAD", "--results", tmp_path / "results", *RULES)

    assert done.code == 2
    assert "is in no git repository" in done.err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--against", "{before}/min.json"), "no such file or folder; did you mean 'mine.json'?"),
        (("--against", "nowhere/x.json"), "no such file or folder"),
        (("--against", "{before}", "--rule", "clean=1pp"), "no metric named 'clean'"),
        (("--against", "{before}", "--rule", "clean_accuracy=1"), "the unit is missing"),
        (("--against", "{before}", "--alpha", "5"), "alpha must be at least 1e-9 and below 0.5, not 5"),
        (("--against", "{before}", "-m", "resnet20"), "--model speak of what is measured"),
        (("--against", "{before}", "--precision", "bf16"), "--precision speak of what is measured"),
        (("--against", "{before}", "--weights-key", "ema"), "--weights-key speak of what is measured"),
        (("--against", "{before}", "--limit", "50"), "--limit speak of what is measured"),
    ],
)
def test_mistakes_are_told_in_a_sentence(rbms, same, before, argv, told):
    done = rbms("gate", same, *(word.format(before=before.parent) for word in argv))

    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_damaged_records_are_named(rbms, tmp_path, same, before):
    before.write_text("{}")
    reference = rbms("gate", same, "--against", before, *RULES)
    same.with_name("mine.correct.npz").write_bytes(b"no zip")
    candidate = rbms("gate", same, "--against", kept(tmp_path / "b", record(answers())), *RULES)

    assert (reference.code, candidate.code) == (2, 2)
    assert "before/mine.json: not a record" in reference.err
    assert "now/mine.correct.npz: damaged" in candidate.err


def test_a_summary_that_cannot_be_written_is_told(rbms, tmp_path, same, before):
    done = rbms("gate", same, "--against", before, *RULES, "--markdown", tmp_path / "no" / "summary.md")

    assert done.code == 2
    assert "--markdown" in done.err


def test_the_gate_of_records_loads_no_torch(same, before):
    """In a process in which torch cannot be imported."""
    script = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['rbms', *sys.argv[1:]]\n"
        "from robustbench_ms.cli import main; main()"
    )
    for words in (["gate", same, "--against", before, *RULES], ["compare", before, same]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
