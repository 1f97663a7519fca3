"""Shell completion: what a shell asks, and what a real bash makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from expedition.cli.main import main
from tests.cli.conftest import Expedition


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]):
    """Ask as a shell does: the words of the line, the last of which is to be completed."""

    def ask(*words: str, shell: str = "bash") -> list[str]:
        quoted = " ".join(f'"{word}"' if " " in word else word for word in ("expedition", *words))
        monkeypatch.setenv("COMP_WORDS", quoted)
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setenv("_EXPEDITION_COMPLETE", f"{shell}_complete")
        monkeypatch.setattr(sys, "argv", ["expedition"])
        with pytest.raises(SystemExit) as stopped:
            main([])
        assert stopped.value.code == 0
        lines = capsysbinary.readouterr().out.decode().splitlines()
        return [line.partition(",")[2] for line in lines if line] if shell == "bash" else lines

    return ask


def test_commands_options_and_choices(offered) -> None:
    assert offered("ar") == ["archive"]
    assert {"run", "validate", "new", "experiments", "completion"} <= {*offered("")}
    assert {"list", "tag", "repair"} <= {*offered("archive", "")}
    assert offered("archive", "list", "--sel") == ["--select"]
    assert offered("archive", "list", "--format", "l") == ["latex"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]


def test_runs_of_the_archive(project: Path, offered) -> None:
    assert offered("archive", "show", "") == ["a=1", "a=2", "a=3", "a=4", "exp_other"]
    assert offered("archive", "show", "exp_mix[") == [f"exp_mix[a={a}]" for a in (1, 2, 3, 4)]
    assert offered("archive", "diff", "a=1", "exp_o") == ["exp_other", "exp_other[exp_other]"]
    assert offered("archive", "show", "nothing") == []
    folder = next(project.glob("results/exp_mix/*/0001-a=2"))
    name = f"{folder.parent.name}/{folder.name}"
    assert offered("archive", "delete", name[:-4]) == [name]
    os.rename("results", "out")
    assert offered("archive", "show", "") == []
    assert "a=1" in offered("archive", "--archive", "out", "show", "")
    assert "a=1" in offered("archive", "show", "--archive", "out", "")
    assert not Path("results").exists()


def test_columns_and_selections(project: Path, offered) -> None:
    assert offered("archive", "list", "--columns", "rm") == ["rmse.mean"]
    assert offered("archive", "list", "--columns", "status,rm") == ["status,rmse.mean"]
    assert offered("archive", "list", "--columns", "params.") == [
        "params.SIZE",
        "params.a",
        "params.gain",
        "params.word",
    ]
    assert offered("archive", "list", "--sort", "dur") == ["duration"]
    assert offered("archive", "scan", "stat") == ["status"]
    assert offered("archive", "list", "--select", "a < 1 and stat") == ["a < 1 and status"]
    text = "experiment == 'exp_"
    assert offered("archive", "list", "--select", text) == [
        "experiment == 'exp_mix'",
        "experiment == 'exp_other'",
    ]


def test_what_was_deleted(project: Path, offered, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered("archive", "restore", "") == []
    monkeypatch.delenv("_EXPEDITION_COMPLETE")
    assert main(["archive", "delete", "exp_mix[a=2]", "--yes"]) == 0
    deletion, place = offered("archive", "restore", "")[-2:]
    assert place.startswith("exp_mix/")
    assert place.endswith("-a=2")
    assert offered("archive", "restore", deletion[:-2]) == [deletion]


def test_other_shells(project: Path, offered) -> None:
    assert offered("archive", "show", "a=2", shell="zsh") == ["plain", "a=2", "exp_mix, failed"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_for_both_names(expedition: Expedition, shell: str) -> None:
    script = expedition("completion", shell).exits(0).out
    assert f"_EXPEDITION_COMPLETE={shell}_complete" in script
    assert f"_XPD_COMPLETE={shell}_complete" in script


ASK = """
eval "$(expedition completion bash)"
COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE={line!r}; COMP_POINT={point}
_xpd_completion xpd "${{COMP_WORDS[COMP_CWORD]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "words", "replies"),
    [
        ("xpd archive o", ["xpd", "archive", "o"], ["overview"]),
        # bash takes words apart at "=", and replaces what stands behind the last.
        ("xpd archive show a", ["xpd", "archive", "show", "a"], ["a=1", "a=2", "a=3", "a=4"]),
        ("xpd archive show a=", ["xpd", "archive", "show", "a", "="], ["1", "2", "3", "4"]),
        ("xpd archive show a=2", ["xpd", "archive", "show", "a", "=", "2"], ["2"]),
        ("xpd archive list --format=m", ["xpd", "archive", "list", "--format", "=", "m"], ["markdown"]),
        ("xpd archive list --sort=dur", ["xpd", "archive", "list", "--sort", "=", "dur"], ["duration"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_in_bash(project: Path, tmp_path: Path, line: str, words: list[str], replies: list[str]) -> None:
    scripts = tmp_path / "bin"
    scripts.mkdir()
    for name in ("expedition", "xpd"):
        text = f"#!{sys.executable}\nfrom expedition.cli.main import main\nraise SystemExit(main())\n"
        (scripts / name).write_text(text)
        (scripts / name).chmod(0o755)
    program = ASK.format(
        words=" ".join(f"'{word}'" for word in words), last=len(words) - 1, line=line, point=len(line)
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    # Short names such as k3f9/0 begin with letters of chance.
    assert [reply for reply in done.stdout.splitlines() if "/" not in reply] == replies, done.stderr


def test_short_names_of_tables(project: Path, offered) -> None:
    from expedition import Archive

    row = next(row for row in Archive("results").rows() if row.id == "a=2")
    letters = row.reference.partition("/")[0]
    assert row.reference in offered("archive", "show", f"{letters}/")
    assert row.reference in offered("archive", "delete", letters[:2])
    assert row.reference not in offered("archive", "show", "")
