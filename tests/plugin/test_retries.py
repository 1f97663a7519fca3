"""Retries: a run that failed is run again, as a new attempt of the same run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from expedition import Trajectory
from tests.plugin.conftest import Lab

FLAKY = """
from pathlib import Path
import pytest

COUNTS = Path(__file__).parent / "counts"

def begun(name):
    COUNTS.mkdir(exist_ok=True)
    file = COUNTS / name
    number = int(file.read_text()) if file.exists() else 0
    file.write_text(str(number + 1))
    return number

@experiment(retries=2)
@experiment.parametrize("x", [0, 1, 2, 3])
def exp_a(e, x: int = 0):
    number = begun(str(x))
    e["number"] = number
    e.track("seed", e.seed)
    e["first"] = float(e.rng.random())
    assert number >= x, f"only {number}"
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
def test_a_run_is_tried_again_until_it_ends_well_or_was_tried_often_enough(
    lab: Lab, workers: tuple[str, ...]
) -> None:
    lab.experiment(FLAKY)
    outcome = lab.run("--junitxml=j.xml", *workers).exits(1)
    outcome.says("RETRY exp_a.py::exp_a[x=1]: AssertionError: only 0 (attempt 2 of 3)")
    outcome.says("RETRY exp_a.py::exp_a[x=3]: AssertionError: only 1 (attempt 3 of 3)")
    outcome.says("1 failed, 3 passed, 5 retried")
    records = {record.params["x"]: record for record in lab.records()}
    assert {x: record.status for x, record in records.items()} == {
        0: "done",
        1: "done",
        2: "done",
        3: "failed",
    }
    for x, record in records.items():
        assert record.attempt == min(x, 2)
        assert record.data["number"] == min(x, 2)
        earlier = record.attempts
        assert [one.attempt for one in earlier] == list(range(record.attempt))
        for one in earlier:
            assert (one.status, one.seed, one.key) == ("failed", record.seed, record.key)
            assert one.error is not None
            assert one.error.message.startswith(f"only {one.attempt}")
            assert one.data["first"] == record.data["first"]
            assert one.stopped is not None
    (sweep,) = lab.sweeps()
    with Trajectory.open(sweep) as trajectory:
        assert trajectory.runs.attempt.values.tolist() == [0, 1, 2, 2]
        assert list(trajectory.res.number[:]) == [0, 1, 2, 2]
    suite = ElementTree.parse(lab.path / "j.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "0")
    assert len(suite.findall("testcase")) == 4


def test_earlier_attempts_are_shown_with_a_run(lab: Lab) -> None:
    lab.experiment(FLAKY)
    lab.run("--where", "x == 2").exits(0)
    lab.pytest("--archive-show", "x=2").exits(0).says(
        "earlier attempts", "failed: AssertionError: only 0", "failed: AssertionError: only 1", "attempt 3"
    )
    shown = lab.pytest("--archive-show", "x=2", "--archive-format", "json").exits(0)
    assert '"attempts"' in shown.out


def test_options_go_before_the_marker_and_the_marker_before_what_it_extends(lab: Lab) -> None:
    lab.experiment("@experiment(retries=1)\ndef exp_a(e):\n    assert False\n")
    lab.run("--run-retries", 0).exits(1).omits("RETRY")
    lab.run("--run-retries", 3).exits(1).says("(attempt 4 of 4)")
    lab.experiment(
        'child = experiment.extend("exp_a.py")\nother = experiment.extend("exp_a.py", retries=2)', "exp_b.py"
    )
    lab.run(path="exp_b.py").exits(1).says(
        "exp_b.py::child: AssertionError: assert False (attempt 2 of 2)"
    ).says("exp_b.py::other: AssertionError: assert False (attempt 3 of 3)")
    lab.file("exp_c.yml", "extend: exp_a.py\nretries: 4\n")
    lab.run(path="exp_c.yml").exits(1).says("(attempt 5 of 5)")


def test_fixtures_of_the_function_are_set_up_anew_and_wider_ones_stay(lab: Lab) -> None:
    lab.experiment(
        """
        import pytest
        @pytest.fixture(scope="session")
        def wide():
            print("WIDE UP")
            yield []
            print("WIDE DOWN")
        @pytest.fixture(scope="module")
        def middle(wide):
            return []
        @pytest.fixture
        def narrow(middle):
            middle.append("up")
            yield len(middle)
            middle.append("down")
        @experiment(retries=1)
        @experiment.parametrize("x", [1, 2])
        def exp_a(e, wide, middle, narrow, x: int = 0):
            wide.append(x)
            e["wide"] = list(wide)
            e["middle"] = list(middle)
            assert wide.count(x) == 2
        """
    )
    lab.run().exits(0)
    first, second = lab.records()
    assert (first.data["wide"], second.data["wide"]) == ([1, 1], [1, 1, 2, 2])
    assert second.data["middle"] == ["up", "down", "up", "down", "up", "down", "up"]
    text = "".join(one.log for record in (first, second) for one in (*record.attempts, record))
    assert (text.count("WIDE UP"), text.count("WIDE DOWN")) == (1, 1)


def test_a_fixture_that_failed_is_tried_again_with_the_run(lab: Lab) -> None:
    lab.experiment(
        FLAKY.replace("begun(str(x))", "wide")
        .replace("(e, x", "(e, wide, x")
        .replace("number >= x", "number")
        + """
@pytest.fixture(scope="session")
def wide():
    number = begun("wide")
    assert number, "not yet"
    return number
"""
    )
    lab.run().exits(0).says("RETRY exp_a.py::exp_a[x=0]: AssertionError: not yet", "4 passed, 1 retried")
    assert [record.attempt for record in lab.records()] == [1, 0, 0, 0]


def test_what_is_no_failure_is_not_tried_again(lab: Lab) -> None:
    lab.experiment(
        """
        import pytest
        @experiment(retries=2)
        @pytest.mark.xfail
        def exp_expected(e): assert False
        @experiment(retries=2)
        @pytest.mark.xfail(strict=True)
        def exp_unexpected(e): pass
        @experiment(retries=2)
        def exp_skips(e): e.skip("no")
        @experiment(retries=2)
        def exp_prunes(e): e.prune()
        """
    )
    lab.run().exits(1).omits("RETRY")
    assert {record.experiment: record.attempt for record in lab.records()} == dict.fromkeys(
        ("exp_expected", "exp_unexpected", "exp_skips", "exp_prunes"), 0
    )


def test_an_interruption_is_not_tried_again(lab: Lab) -> None:
    lab.experiment("@experiment(retries=2)\ndef exp_a(e): raise KeyboardInterrupt\n")
    lab.spawn("--experiments", ".").exits(2).omits("RETRY")
    assert lab.record().status == "interrupted"


def test_maxfail_counts_how_runs_end_at_last(lab: Lab) -> None:
    lab.experiment(FLAKY)
    lab.run("-x").exits(1).says("1 failed, 3 passed, 5 retried")
    lab.file("counts/2", "0")
    lab.run("-x", "--run-retries", 1, "--where", "x >= 2").exits(1).says(
        "stopping after 1 failures", "1 retried"
    )


def test_the_debugger_stops_at_the_first_failure(lab: Lab) -> None:
    lab.experiment(FLAKY)
    lab.spawn("--experiments", ".", "--pdb", "--where", "x == 1").says("PDB post_mortem").omits("RETRY")
    assert lab.record().attempt == 0


def test_last_failed_takes_the_last_attempt(lab: Lab) -> None:
    lab.experiment(FLAKY)
    lab.run().exits(1)
    lab.run("--lf").exits(0).says("rerun previous 1 failure")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--run-retries", "-1"), "--run-retries: retries is a whole number from 0 to 1,000"),
        (("--run-retries", "many"), "but got 'many'"),
        (
            ("--run-timeout", "soon"),
            "--run-timeout: a timeout is a number of seconds, such as 3600 (0 for none)",
        ),
        (("--run-timeout=-3",), "but got '-3'"),
        (("--run-timeout", "nan"), "but got 'nan'"),
        (("--run-timeout", "9" * 5000), "and ten years at most, but got inf"),
        (("--run-retries", "9" * 5000), "but got inf"),
        (("-o", f"experiment_timeout_grace={'9' * 500}"), "and ten years at most"),
        (("-o", f"experiment_seed={'9' * 5000}"), "at most 1,000 digits"),
        (("-o", f"experiment_max_generations={'9' * 5000}"), "ini experiment_max_generations must be"),
        (("-o", "experiment_timeout_grace=x"), "ini experiment_timeout_grace must be a number of seconds"),
    ],
)
def test_wrong_limits_are_refused(lab: Lab, arguments: tuple[str, ...], message: str) -> None:
    lab.experiment("@experiment\ndef exp_a(e): pass\n")
    lab.refused(*arguments, workers=False).says(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("timeout: soon", "exp_x.yml:2: timeout: a timeout is a number of seconds"),
        (f"timeout: {'9' * 400}", "exp_x.yml:2: timeout: a timeout is a number of seconds"),
        ("retries: 1.5", "exp_x.yml:2: retries: retries is a whole number"),
        ("retries: true", "exp_x.yml:2: retries: retries is a whole number"),
    ],
)
def test_wrong_limits_of_a_config_are_found_by_validation(lab: Lab, line: str, message: str) -> None:
    lab.experiment("@experiment\ndef exp_a(e): pass\n")
    lab.file("exp_x.yml", f"extend: exp_a.py\n{line}\n")
    lab.run("--experiment-validate", path="exp_x.yml").exits(4).says(message)


@pytest.mark.parametrize(
    "limit", ["timeout=10**400", "timeout=10**5000", "timeout=1e300", "retries=10**5000"]
)
def test_numbers_without_end_are_no_limits(lab: Lab, limit: str) -> None:
    lab.experiment(f"@experiment({limit})\ndef exp_a(e): pass\n")
    lab.run().exits(4).says(f"@experiment({limit.partition('=')[0]}=…)", "but got").omits("Traceback")


def test_limits_of_a_config_may_come_from_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMES", "1")
    lab.experiment("@experiment\ndef exp_a(e): assert False\n")
    lab.file("exp_x.yml", "extend: exp_a.py\nretries: ${TIMES}\n")
    lab.run(path="exp_x.yml").exits(1).says("(attempt 2 of 2)")


def test_a_system_without_the_signals_refuses_timeouts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expedition.plugin.timeouts.CAN_TIME_OUT", False)
    lab.experiment("@experiment(timeout=5)\ndef exp_a(e): pass\n")
    lab.refused(workers=False).says("exp_a: this system has not the signals that a timeout needs")
    lab.run("--run-timeout", 0).exits(0)


def test_what_a_hook_asks_for_is_set_up_anew_in_every_attempt(lab: Lab) -> None:
    lab.experiment("""
from pathlib import Path
import pytest

@pytest.fixture(scope="session")
def wide():
    been = Path(__file__).with_name("been")
    been.write_text((been.read_text() if been.exists() else "") + "x")
    if len(been.read_text()) < 5:
        raise OSError("not yet")

@experiment.hook("before_run")
def before(e, wide):
    pass

@experiment(retries=2)
@experiment.parametrize("x", [0, 1])
def exp_a(e, x: int = 0):
    pass
""")
    lab.run().exits(1).says("1 failed, 1 passed, 3 retried")
    assert [(record.status, record.attempt) for record in lab.records()] == [("failed", 2), ("done", 1)]


def test_a_failed_teardown_that_is_followed_by_another_attempt_is_no_test_of_its_own(lab: Lab) -> None:
    lab.experiment("""
import pytest

ended = []

@pytest.fixture
def broken_once():
    yield
    ended.append(1)
    if len(ended) == 1:
        raise OSError("in the teardown")

@experiment(retries=1)
@experiment.parametrize("x", [0, 1])
def exp_a(e, broken_once, x: int = 0):
    pass
""")
    lab.run("--junitxml=j.xml").exits(0).says("2 passed, 1 retried")
    suite = ElementTree.parse(lab.path / "j.xml").getroot()[0]
    assert [case.get("name") for case in suite.findall("testcase")] == ["exp_a[x=0]", "exp_a[x=1]"]
