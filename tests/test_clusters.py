"""Ray and Slurm's workers as they are: real Ray on this machine, submitit's processes in place of Slurm's jobs."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import robustbench_ms as rbms
from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.events import CellDone, Note, Trouble
from robustbench_ms.evaluation.executors import ray, serving, slurm, submitting
from robustbench_ms.evaluation.executors.serving import ClusterStore, Tail
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.engines import Engine
from robustbench_ms.specs.settings import Settings
from tests.running import only
from tests.test_workers import NETWORKS, ROOT, WIDE, of_module, places_at, told

pytestmark = pytest.mark.xdist_group("clusters")  # one Ray a session


def on(spelling):
    return Settings(threads=1, on=Engine.read(spelling))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Three networks on 21 conditions, by one worker with one thread: (the suite, the cards, what the records say)."""
    folder = tmp_path_factory.mktemp("alone")
    path = folder / "wide.toml"
    path.write_text(WIDE)
    cards = [find_card(name) for name in NETWORKS]
    list(run(read_suite(path), cards, places_at(folder), Settings(threads=1)))
    return path, cards, told(folder, "wide-limit24")


def cells_of(folder):
    return len(list((folder / "cache" / "cells").glob("*.npz")))


def _actors():
    """The processes of Ray's actors of ours: those that this process is an ancestor of."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().startswith(b"ray::Actor") and _is_ours(int(folder.name)):
                    yield int(folder.name)
            except OSError:
                continue


def _is_ours(pid):
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()


def test_ray_with_a_worker_killed_ends_in_the_record_of_one_alone(alone, tmp_path, capfd):
    """A Ray of the run's own, two folders of caches, no disk between them."""
    path, cards, wanted = alone
    events, killed = [], None
    for event in run(read_suite(path), cards, places_at(tmp_path / "ray"), on("ray:workers=2")):
        events.append(event)
        if killed is None and len(only(events, CellDone)) == 20:
            killed = min(_actors())
            os.kill(killed, signal.SIGKILL)

    assert told(tmp_path / "ray", "wide-limit24") == wanted
    assert cells_of(tmp_path / "ray") == 63
    assert not list((tmp_path / "cache").rglob("cells/*.npz"))  # RBMS_CACHE, the workers' own
    assert any("died; another takes its place" in note.message for note in only(events, Note))
    assert len(only(events, CellDone)) <= 63 + 3  # at most one job is repeated
    assert capfd.readouterr() == ("", "")
    assert "A worker died" in (tmp_path / "ray" / "cache" / "ray.log").read_text()
    until = time.monotonic() + 60
    while list(_actors()) and time.monotonic() < until:  # the last one may still be at its end
        time.sleep(0.1)
    assert not list(_actors())


@pytest.mark.slow
def test_a_parent_on_ray_that_is_killed_goes_on(tiny, tmp_path):
    command = [
        sys.executable, "-m", "robustbench_ms", "run", str(tiny), "-m", "tests.fakes:Slow", "--batch-size", "2",
        "--on", "ray:workers=2", "--results", str(tmp_path / "r"), "--cache", str(tmp_path / "kept" / "cache"),
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and cells_of(tmp_path / "kept") < 2:
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = cells_of(tmp_path / "kept")
    assert 2 <= kept < 5

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("cells/*.npz")}
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)

    assert cells_of(tmp_path / "kept") == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_one_sentence_within_half_a_minute(tiny, places, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"the Ray cluster at 127\.0\.0\.1:1 \(RAY_ADDRESS\) did not answer"):
        list(run(read_suite(tiny), [of_module("build")], places, on("ray")))
    assert time.monotonic() - begin < 30 + 15  # a busy machine starts slowly


def test_an_address_is_tried_by_another_process(tiny, places, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    for probe, words in (
        ("import time; time.sleep(60)", "did not answer within 0 seconds"),
        (
            "import sys; print('Version mismatch: the cluster has 2.1'); sys.exit(1)",
            "cannot be joined: Version mismatch",
        ),
    ):
        monkeypatch.setattr(ray, "_PROBE", probe)
        monkeypatch.setattr(ray, "PATIENCE", 0.3 if "sleep" in probe else 60)
        with pytest.raises(UserError, match=words):
            list(run(read_suite(tiny), [of_module("build")], places, on("ray")))


# submitit's processes


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(slurm, "GRACE", 0.2)
    monkeypatch.setattr(slurm, "ASKED", 0.5)


def _hello(folder, name):
    (path,) = (folder / "cache" / "runs").glob(f"slurm-*/workers/{name}.hello")
    return serving.read_note(path)


def test_jobs_of_which_one_is_killed_end_in_the_record_of_one_alone(alone, tmp_path):
    path, cards, wanted = alone
    places, events, killed = places_at(tmp_path / "jobs"), [], None
    for event in run(read_suite(path), cards, places, on("slurm:cluster=local,workers=2")):
        events.append(event)
        if killed is None and len(only(events, CellDone)) >= 20:
            killed = _hello(tmp_path / "jobs", "0-0")["pid"]
            os.kill(killed, signal.SIGKILL)

    notes = [note.message for note in only(events, Note)]
    assert told(tmp_path / "jobs", "wide-limit24") == wanted
    assert any(note == "worker 0 died; it is submitted again" for note in notes)
    assert len(only(events, CellDone)) <= 63 + 3
    assert not list((tmp_path / "jobs" / "cache" / "runs").iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a job that outlives its parent
def test_a_parent_that_is_started_again_goes_on_with_the_jobs_that_are_there(tiny, tmp_path, monkeypatch):
    places, command = places_at(tmp_path / "jobs"), on("slurm:cluster=local,workers=1")
    cards, submitted, submit = [of_module("Slow", "slow")], [], submitting.Jobs.submit
    monkeypatch.setattr(submitting.Jobs, "submit", lambda *words: submitted.append(words) or submit(*words))
    for event in run(read_suite(tiny), cards, places, command):
        if isinstance(event, CellDone):
            break  # as killed: the generator is closed, and the worker lives on

    events = list(run(read_suite(tiny), cards, places, command))

    assert any("1 workers of an earlier run are still there" in note.message for note in only(events, Note))
    assert len(submitted) == 1
    done = [event.key for event in only(events, CellDone)]
    assert len(done) == len(set(done)) == 5  # told again, by the one worker
    assert told(tmp_path / "jobs").keys() == {"slow"}


def test_locks_that_do_not_hold_between_hosts_are_told_once(tiny, tmp_path, monkeypatch):
    """Stood in for by a parent that holds no byte: the first worker gets it."""
    claim = Claims.claim
    monkeypatch.setattr(Claims, "claim", lambda self, *what: serving.PARENT in what or claim(self, *what))

    events = list(
        run(read_suite(tiny), [of_module("build")], places_at(tmp_path / "jobs"), on("slurm:cluster=local"))
    )

    (note,) = [note.message for note in only(events, Note) if "locks" in note.message]
    assert "do not hold between this host and" in note
    assert "there are no claims" in note
    assert cells_of(tmp_path / "jobs") == 5


def test_without_locks_nobody_is_marked(tmp_path, places):
    cells = places.writable(places.cache / "cells", "cache")
    folder = ClusterStore.fresh(places.cache)
    for locks, wanted in ((False, [0, 0, 0, 0]), (True, [0, 1, 2, 3])):
        found = []
        for _ in range(4):
            store = ClusterStore(cells, Claims(cells), folder, locks=locks)
            found.append(store.begin_probe("card", "probe"))
            if locks:  # its process died; without locks all are at it at once
                store.claims.release(folder.name, "card")
        assert found == wanted
    assert store.failed("card") is not None


def test_a_limit_that_ends_a_worker_blames_no_model(tmp_path, places):
    """What it had begun is unmarked; after a death the next one would find it."""
    cells = places.writable(places.cache / "cells", "cache")
    folder = ClusterStore.fresh(places.cache)
    store = ClusterStore(cells, Claims(cells), folder, locks=True)
    store.begin_probe("card", "probe")
    assert store.claim("protocol", {"card": "subject"}, "clean").ours == ("card",)
    assert len(list((folder / "begun").iterdir())) == 2

    store.withdraw()

    assert not list((folder / "begun").iterdir())
    assert store.claim("protocol", {"card": "subject"}, "clean").ours == ("card",)
    store.release()


def test_a_worker_that_does_not_see_the_folder_is_one_sentence(tiny, places, tmp_path):
    blind = tmp_path / "blind"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(blind.stat().st_mode | stat.S_IXUSR)

    with pytest.raises(
        UserError, match=r"the first worker ended and left no word in .*slurm-.*: the cache must be"
    ):
        list(run(read_suite(tiny), [of_module("build")], places, on(f"slurm:cluster=local,python={blind}")))


@pytest.mark.slow
def test_a_worker_that_refuses_is_not_submitted_again(tiny, places):
    with pytest.raises(
        UserError, match=r"no worker is left: worker 0 on \S+: model lost: no module named 'nowhere'"
    ):
        list(
            run(
                read_suite(tiny),
                [rbms.Card("lost", build="nowhere:build")],
                places,
                on("slurm:cluster=local"),
            )
        )


@pytest.mark.slow
def test_a_model_that_kills_its_jobs_is_stopped_by_name(tiny, tmp_path):
    events = list(
        run(
            read_suite(tiny),
            [of_module("segfaults_at_once", "worse"), of_module("build", "good")],
            places_at(tmp_path / "jobs"),
            on("slurm:cluster=local"),
        )
    )

    assert [event.card for event in only(events, Trouble)] == ["worse"]
    assert told(tmp_path / "jobs").keys() == {"good"}


def test_events_are_read_once_and_whole(tmp_path):
    tail, file = Tail(tmp_path), tmp_path / "0-0"
    with file.open("ab", buffering=0) as out:
        serving._tell(out, Note("one"))
        half = tmp_path / "half"
        with half.open("wb") as other:
            serving._tell(other, Note("two"))
        content = half.read_bytes()
        half.unlink()
        out.write(content[:7])
        assert [event.message for event in tail.new()] == ["one"]
        out.write(content[7:])
    assert [event.message for event in tail.new()] == ["two"]
    assert not list(tail.new())


# a Slurm of scripts


SBATCH = """\
#!/bin/sh
echo "$@" >> {root}/submitted
grep -q partition=nowhere "$1" && echo "sbatch: error: invalid partition specified: nowhere" >&2 && exit 1
id=$(wc -l < {root}/submitted)
cp "$1" {root}/script-$id
sed -n 's/#SBATCH --job-name=//p' "$1" > {root}/name-$id
SLURM_JOB_ID=$id setsid sh "$1" > /dev/null 2>&1 & echo $! > {root}/new-$id
mv {root}/new-$id {root}/pid-$id # whole at once: sacct takes a job without a number for one that has ended
echo "Submitted batch job $id"
"""
SRUN = """\
#!/bin/sh
while [ "$1" != "${1#--}" ]; do case "$1" in --output) out=$2; shift 2;; --error) shift 2;; *) shift;; esac; done
exec "$@" > $(echo "$out" | sed "s/%j/$SLURM_JOB_ID/; s/%t/0/") 2>&1
"""
SQUEUE = """\
#!/bin/sh
for file in {root}/pid-*; do
  id=${{file##*-}}; kill -0 $(cat $file) 2> /dev/null && echo "$id $(cat {root}/name-$id)"
done
echo "77 another-job"
"""
SACCT = """\
#!/bin/sh
echo "JobID|State|NodeList"
for file in {root}/pid-*; do
  id=${{file##*-}}; kill -0 $(cat $file) 2> /dev/null && state=RUNNING || state=COMPLETED; echo "$id|$state|here"
done
"""


@pytest.fixture
def slurm_of_scripts(tmp_path, monkeypatch):
    """Slurm's commands as shell scripts, which start each job at once; the folder of what was submitted."""
    root = tmp_path / "slurm"
    root.mkdir()
    texts = {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": SACCT, "scancel": "#!/bin/sh\n"}
    texts = {name: text.format(root=root) for name, text in texts.items()} | {"srun": SRUN}
    for name, text in texts.items():
        file = root / name
        file.write_text(text)
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}{os.pathsep}{os.environ['PATH']}")
    return root


def test_what_waits_in_slurms_queue_is_found_by_name_and_not_submitted_twice(
    tiny, tmp_path, slurm_of_scripts
):
    places, command = places_at(tmp_path / "jobs"), on("slurm:workers=2,time=00:10:30,partition=cpu")
    cards = [of_module("Slow", "slow")]
    for event in run(read_suite(tiny), cards, places, command):
        if isinstance(event, CellDone):
            break

    events = list(run(read_suite(tiny), cards, places, command))

    assert any("workers of an earlier run are still there" in note.message for note in only(events, Note))
    assert len((slurm_of_scripts / "submitted").read_text().splitlines()) == 2
    assert "--time=11" in (slurm_of_scripts / "script-1").read_text()
    assert len({event.key for event in only(events, CellDone)}) == 5
    assert told(tmp_path / "jobs").keys() == {"slow"}


@pytest.mark.usefixtures("slurm_of_scripts")
def test_a_job_that_slurm_refuses_is_told_in_its_words(tiny, places):
    with pytest.raises(
        UserError, match=r"Slurm refused the job of worker 0: .*invalid partition specified: nowhere"
    ):
        list(run(read_suite(tiny), [of_module("build")], places, on("slurm:partition=nowhere")))


def test_slurm_that_is_not_there_is_one_sentence(tiny, places, monkeypatch):
    monkeypatch.setattr(submitting.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="--on slurm needs Slurm's sbatch, which is not on this machine"):
        list(run(read_suite(tiny), [of_module("build")], places, on("slurm")))
