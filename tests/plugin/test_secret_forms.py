"""Secrets that are more than one text, and the ways out that are no files of the run: cache, options, messages."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Lab
from tests.thoroughness import further


def everything(lab: Lab) -> str:
    """The content of every file of the archive, and of the report for other programs."""
    files = [*(lab.path / "results").rglob("*"), *lab.path.glob("*.xml")]
    return "\n".join(str(p) + p.read_bytes().decode("utf-8", "replace") for p in files if p.is_file())


@pytest.mark.parametrize("workers", [(), *further(("-n2",))])
def test_every_part_of_a_secret_is_one(lab: Lab, workers: tuple[str, ...]) -> None:
    lab.experiment(
        """
        import logging
        from expedition import Secret
        LOGIN: Secret[dict] = {"user": "user-aaaa", "words": ["word-bbbb", b"byte-cccc"]}
        KEY: Secret[str] = "-----BEGIN\\nline-dddd-eeee\\nline-ffff-gggg\\n-----END"

        @experiment
        def exp_a(e, record_property):
            record_property("key", LOGIN["user"])
            print(LOGIN["user"], LOGIN["words"], LOGIN["words"][1].decode())
            logging.warning("logged %s", LOGIN["words"][0])
            raise ValueError("refused\\n" + KEY)
        """
    )
    options = ("--showlocals", "--junitxml=report.xml", "-o", "junit_family=xunit1", "--log-cli-level=INFO")
    text = lab.run(*workers, *options).exits(1).says("refused").text
    found = everything(lab)
    assert "logged ***" in found
    for part in ("user-aaaa", "word-bbbb", "byte-cccc", "line-dddd-eeee", "line-ffff-gggg"):
        assert part not in text
        assert part not in found


def test_what_a_program_reads_as_a_secret_is_not_kept_as_it_was_written(lab: Lab) -> None:
    lab.experiment(
        "from expedition import Secret\nKEY: Secret[str] = ''\nPIN: Secret[int] = 0\n@experiment\ndef exp_a(e): pass"
    )
    lab.run("-P", "KEY='it''s-aaaa'", "--param=exp_a:PIN=0007", "-P", "PIN=012").exits(0)
    found = everything(lab)
    assert "s-aaaa" not in found
    assert '"KEY=***", "--param=exp_a:PIN=***", "-P", "PIN=***"' in found


def test_the_cache_does_not_have_it(lab: Lab) -> None:
    text = """
        from expedition import Secret
        KEY: Secret[str] = "key-aaaa"
        PIN: Secret[int] = 12

        @experiment.stage
        def loaded(PIN): return len(KEY) + (PIN > 0)

        @experiment
        def exp_a(e, loaded):
            @e.cache.cached("f", scope=(KEY,))
            def f(url): return PIN > 0
            f(f"https://{KEY}@host")
            for attempt in (lambda: e.cache.cached("g")(lambda: KEY)(), lambda: e.cache.save("h", [KEY])):
                try:
                    attempt()
                except TypeError as error:
                    assert "secrets are not recorded" in str(error)
                else:
                    raise AssertionError("it was kept")
        """
    lab.experiment(text)
    lab.run("--why-stale").exits(0)
    found = everything(lab)
    assert "key-aaaa" not in found
    assert '"parameter PIN": "***"' in found
    lab.run("--why-stale", "-P", "KEY=key-bbbb", "-P", "PIN=13").exits(0).omits("stale: loaded", "stale: f")


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("exp_b.py", "KEY = INHERIT(lambda key: key / 2)\nb = experiment.extend('exp_a.py')", ()),
        ("exp_b.yml", "extend: exp_a.py\nparameters: {KEY: {inherit: '* 2'}}", ()),
        (
            "exp_b.py",
            "b = experiment.extend('exp_a.py')\n@experiment.testing\ndef t(e): raise KeyError(e.KEY)",
            ("--testing",),
        ),
    ],
)
def test_no_refusal_shows_it(lab: Lab, name: str, text: str, options: tuple[str, ...]) -> None:
    lab.experiment(
        "from expedition import Secret\nKEY: Secret[str] = 'key-aaaa'\n@experiment\ndef exp_a(e): pass"
    )
    head = "from expedition import INHERIT, experiment\n" if name.endswith(".py") else ""
    lab.file(name, head + text)
    lab.refused(*options).says(name, "Error").omits("key-aaaa")


def test_a_line_feed_at_its_end_hides_nothing(lab: Lab) -> None:
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[str] = ""

        @experiment
        def exp_a(e):
            raise ValueError(f"refused by host: {KEY}")
        """
    )
    outcome = lab.run("-P", 'KEY="tok-aaaa-bbbb\\n"', "--junitxml=report.xml").exits(1)
    outcome.says("refused by host: ***").omits("tok-aaaa")
    assert "tok-aaaa" not in everything(lab)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_no_piece_of_a_long_one_is_left_where_pytest_cuts_it(lab: Lab, workers: tuple[str, ...]) -> None:
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[str] = ""
        SHORT: Secret[str] = "short-piece-of-a-key"

        @experiment.parametrize("n", range(3))
        def exp_a(e, n: int):
            local, items = KEY, [SHORT] * 20
            if n == 0:
                assert local == "abc"
            if n == 1:
                assert items == ["abc"]
            raise ValueError([local])
        """
    )
    key = "Q7" + "abcdefghij" * 60 + "Z9"
    options = ("-P", f"KEY={key}", "--showlocals", "--junitxml=report.xml")
    found = lab.run(*workers, *options).exits(1).says("***...***").text + everything(lab)
    for piece in ("Q7ab", "hijabc", "ijZ9", "short-", "a-key"):
        assert piece not in found, piece
