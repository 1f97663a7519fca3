"""Provenance: real repositories, real and made-up distributions, and everything that may be missing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from expedition.recording import provenance
from expedition.recording.provenance import collect_provenance, git_diff

KEYS = {
    *("git", "git_error", "argv", "cwd", "hostname", "cpu", "memory_bytes", "gpus", "os", "python"),
    *("distributions", "threads", "environment", "boot_id", "time_zone"),
}


@pytest.fixture(autouse=True)
def git_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    config = tmp_path / "gitconfig"
    # A user's configuration that would spoil a diff
    config.write_text(
        "[init]\n\tdefaultBranch = trunk\n[color]\n\tui = always\n"
        "[diff]\n\tnoprefix = true\n\trelative = true\n"
        "[status]\n\tshowUntrackedFiles = no\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))


def git(cwd: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "exps").mkdir(parents=True)
    git(root, "init", "-q")
    (root / "exps" / "exp_a.py").write_text("A = 1\n")
    (root / "weights.bin").write_bytes(bytes(range(256)))
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def git_part(root: Path, exclude: Path | None = None) -> dict[str, object]:
    part = collect_provenance(rootdir=root, argv=[], exclude=exclude)["git"]
    assert isinstance(part, dict)
    return part


class TestGit:
    def test_clean(self, repo: Path) -> None:
        assert git_part(repo / "exps") == {
            "commit": git(repo, "rev-parse", "HEAD"),
            "branch": "trunk",
            "dirty": False,
            "untracked": [],
            "untracked_count": 0,
            "diff": None,
            "root": str(repo),
        }
        assert git_diff(repo) == (b"", False)

    def test_dirty_staged_untracked(self, repo: Path) -> None:
        (repo / "exps" / "exp_a.py").write_text("A = 2\n")
        assert git_part(repo)["dirty"] is True
        git(repo, "add", ".")
        assert git_part(repo)["dirty"] is True
        (repo / "ö n.py").write_text("")
        part = git_part(repo)
        assert part["untracked"] == ["ö n.py"]

    def test_untracked_alone_is_not_dirty_and_is_limited(self, repo: Path) -> None:
        for index in range(provenance.MAX_UNTRACKED + 5):
            (repo / f"new{index:03}.py").touch()
        part = git_part(repo)
        assert part["dirty"] is False
        assert part["untracked"] == [f"new{index:03}.py" for index in range(provenance.MAX_UNTRACKED)]
        assert part["untracked_count"] == provenance.MAX_UNTRACKED + 5

    def test_detached_head(self, repo: Path) -> None:
        git(repo, "checkout", "-q", "--detach")
        part = git_part(repo)
        assert part["branch"] is None
        assert part["commit"] == git(repo, "rev-parse", "HEAD")

    def test_diff_restores_the_work_tree(self, repo: Path, tmp_path: Path) -> None:
        (repo / "exps" / "exp_a.py").write_text("A = 'ü'\n", encoding="latin-1")
        (repo / "weights.bin").write_bytes(bytes(reversed(range(256))))
        (repo / "staged.py").write_text("S = 1\n")
        git(repo, "add", "staged.py")
        found = git_diff(repo / "exps")  # a folder below the top: still the whole repository
        assert found is not None
        diff, cut = found
        assert not cut
        clone = tmp_path / "clone"
        git(tmp_path, "clone", "-q", str(repo), str(clone))
        git(clone, "apply", "-", stdin=diff)
        for name in ("exps/exp_a.py", "weights.bin", "staged.py"):
            assert (clone / name).read_bytes() == (repo / name).read_bytes()

    def test_diff_is_cut_at_the_limit(self, repo: Path) -> None:
        (repo / "exps" / "exp_a.py").write_text("A = 2\n" * 10_000)
        found = git_diff(repo, max_bytes=1000)
        assert found is not None
        assert len(found[0]) == 1000
        assert found[1] is True
        full = git_diff(repo)
        assert full is not None
        assert git_diff(repo, max_bytes=len(full[0])) == full

    def test_no_commits(self, tmp_path: Path) -> None:
        root = tmp_path / "new"
        root.mkdir()
        git(root, "init", "-q")
        (root / "a.py").write_text("a\n")
        part = git_part(root)
        assert (part["commit"], part["branch"], part["dirty"]) == (None, "trunk", False)
        assert part["untracked"] == ["a.py"]
        assert git_diff(root) == (b"", False)
        git(root, "add", ".")
        assert git_part(root)["dirty"] is True
        found = git_diff(root)
        assert found is not None
        assert b"+a\n" in found[0]

    def test_excluded_folder(self, repo: Path) -> None:
        results = repo / "results [1]"  # characters of a glob are taken literally
        results.mkdir()
        (results / "tracked").write_text("1")
        git(repo, "add", ".")
        git(repo, "commit", "-qm", "x")
        (results / "tracked").write_text("2")
        (results / "new").write_text("")
        part = git_part(repo / "exps", results)
        assert (part["dirty"], part["untracked"]) == (False, [])
        assert git_diff(repo / "exps", exclude=results) == (b"", False)
        assert git_part(repo)["dirty"] is True
        for outside in (repo.parent / "elsewhere", repo):
            assert git_part(repo, outside)["dirty"] is True

    @pytest.mark.parametrize("where", ["plain", "bare", ".git", "missing"])
    def test_no_work_tree(self, tmp_path: Path, where: str, repo: Path) -> None:
        folder = tmp_path / where
        if where == "bare":
            git(tmp_path, "clone", "-q", "--bare", str(repo), "bare")
        elif where == "plain":
            folder.mkdir()
        elif where == ".git":
            folder = repo / ".git"
        assert collect_provenance(rootdir=folder, argv=[])["git"] is None
        assert git_diff(folder) is None

    def test_git_missing(self, repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
        found = collect_provenance(rootdir=repo, argv=[])
        assert found["git"] is None
        assert found["git_error"] == "git cannot be run"
        assert git_diff(repo) is None

    def test_dubious_ownership_is_reported(self, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if os.getuid() != 0:
            pytest.skip("needs root to give the folder away")
        os.chown(repo, 12345, 12345)
        os.chown(repo / ".git", 12345, 12345)
        monkeypatch.delenv("SUDO_UID", raising=False)
        found = collect_provenance(rootdir=repo, argv=[])
        assert found["git"] is None
        assert "dubious ownership" in str(found["git_error"])
        assert git_diff(repo) is None

    def test_variables_of_a_git_hook_are_ignored(
        self, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
        monkeypatch.setenv("GIT_INDEX_FILE", ".git/next-index")
        monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
        (repo / "exps" / "exp_a.py").write_text("A = 2\n")
        assert git_part(repo)["root"] == str(repo)
        found = git_diff(repo)
        assert found is not None
        assert b"+A = 2" in found[0]

    def test_files_touched_but_equal(self, repo: Path) -> None:
        index = repo / ".git" / "index"
        os.utime(repo / "weights.bin", (1, 1))  # makes the cached stat of the file stale
        before = index.read_bytes()
        assert git_part(repo)["dirty"] is False
        assert index.read_bytes() == before  # no lock was taken
        assert git_diff(repo) == (b"", False)
        assert not (repo / ".git" / "index.lock").exists()

    def test_a_git_that_hangs(self, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tools = tmp_path / "tools"
        tools.mkdir()
        (tools / "git").write_text("#!/bin/sh\n/bin/sleep 60 &\n/bin/sleep 60\n")
        (tools / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(tools))
        monkeypatch.setattr(provenance, "GIT_TIMEOUT", 0.2)
        start = time.monotonic()
        found = collect_provenance(rootdir=repo, argv=[])
        assert time.monotonic() - start < 5
        assert found["git"] is None
        assert "longer than" in str(found["git_error"])

    def test_a_status_that_fails_leaves_the_commit(
        self, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = git(repo, "rev-parse", "HEAD")
        (repo / ".git" / "index").write_bytes(b"damaged")
        part = collect_provenance(rootdir=repo, argv=[])
        assert isinstance(part["git"], dict)
        assert (part["git"]["commit"], part["git"]["dirty"]) == (commit, None)
        assert "status" in str(part["git_error"])
        assert git_diff(repo) is None


class TestCollect:
    def test_keys_and_strict_json(self, tmp_path: Path) -> None:
        found = collect_provenance(rootdir=tmp_path, argv=["pytest", "--experiments", "a\udcff.py"])
        assert set(found) == KEYS
        again = json.loads(json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8"))
        assert again == found
        assert found["argv"] == ["pytest", "--experiments", "a\\udcff.py"]
        assert found["cwd"] == os.getcwd()
        assert found["python"]["executable"] == sys.executable  # type: ignore[index]

    def test_environment_by_allow_list_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_TOKEN", "hunter2-token")
        monkeypatch.setenv("SLURM_JOB_ID", "77")
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        found = collect_provenance(rootdir=tmp_path, argv=[])
        assert "hunter2" not in json.dumps(found)
        environment, threads = found["environment"], found["threads"]
        assert isinstance(environment, dict)
        assert isinstance(threads, dict)
        assert environment["SLURM_JOB_ID"] == "77"
        assert set(environment) <= set(provenance.ENVIRONMENT_ALLOWED)
        assert (threads["OMP_NUM_THREADS"], threads["MKL_NUM_THREADS"]) == ("3", None)
        assert len(threads) == 5

    def test_tolerates_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("no")

        for name in ("_cpu", "_gpus", "_operating_system", "_distributions", "_time_zone", "_git_state"):
            monkeypatch.setattr(provenance, name, broken)
        monkeypatch.setattr("socket.gethostname", broken)
        monkeypatch.setattr("os.getcwd", broken)
        found = collect_provenance(rootdir=tmp_path, argv=[])
        assert set(found) == KEYS
        assert found["cpu"] is found["distributions"] is found["hostname"] is found["cwd"] is None
        assert found["git_error"] == "git could not be asked"

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_machine(self, tmp_path: Path) -> None:
        found = collect_provenance(rootdir=tmp_path, argv=[])
        cpu = found["cpu"]
        assert isinstance(cpu, dict)
        assert cpu["logical"] == os.cpu_count()
        assert cpu["affinity"] == sorted(os.sched_getaffinity(0))
        assert isinstance(cpu["model"], str)
        memory = found["memory_bytes"]
        assert isinstance(memory, int)
        total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
        assert memory == int(total.split()[1]) * 1024
        assert len(str(found["boot_id"])) == 36

    def test_time_zone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        try:
            found = collect_provenance(rootdir=tmp_path, argv=[])["time_zone"]
        finally:
            monkeypatch.undo()
            time.tzset()
        assert found == {"name": "Asia/Kolkata", "abbreviation": "IST", "utc_offset_s": 19800}

    def test_gpus_do_not_start_cuda(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(*_: object) -> None:
            raise AssertionError("would start CUDA")

        idle = SimpleNamespace(is_initialized=lambda: False, device_count=never, get_device_properties=never)
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=idle))
        assert (
            collect_provenance(rootdir=tmp_path, argv=[])["gpus"] in ([], None)
            or Path("/proc/driver/nvidia").exists()
        )
        device = SimpleNamespace(name="A100", total_memory=40 << 30)
        active = SimpleNamespace(
            is_initialized=lambda: True, device_count=lambda: 1, get_device_properties=lambda _: device
        )
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=active))
        if not Path("/proc/driver/nvidia").exists():
            found = collect_provenance(rootdir=tmp_path, argv=[])["gpus"]
            assert found == [{"model": "A100", "memory_bytes": 40 << 30}]


def install(site: Path, name: str, version: str, direct_url: object = None, *, egg: bool = False) -> None:
    folder = site / (f"{name}.egg-info" if egg else f"{name}-{version}.dist-info")
    folder.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: wrong\n" + "words " * 5000
    (folder / ("PKG-INFO" if egg else "METADATA")).write_text(text, encoding="utf-8")
    if direct_url is not None:
        (folder / "direct_url.json").write_text(json.dumps(direct_url))


class TestDistributions:
    def test_equal_to_importlib_metadata(self) -> None:
        expected = {
            str(distribution.metadata["Name"]).lower().replace("_", "-").replace(".", "-")
            for distribution in importlib.metadata.distributions()
        }
        found = provenance._distributions()
        names = [str(entry["name"]) for entry in found]
        assert {name.lower().replace("_", "-").replace(".", "-") for name in names} == expected
        assert names == sorted(names, key=lambda name: name.lower().replace("_", "-"))
        for entry in found:
            assert entry["version"] == importlib.metadata.version(str(entry["name"]))

    def test_origins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(tmp_path, "editable", "1", {"url": "file:///home/a@b/x", "dir_info": {"editable": True}})
        vcs = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
        install(tmp_path, "from_git", "2", {"url": "https://me:s3cret@host:8/r.git", "vcs_info": vcs})
        archive = {"hashes": {"sha256": "00"}}
        install(tmp_path, "wheel", "3", {"url": "https://h/w.whl?sig=s3cret", "archive_info": archive})
        install(tmp_path, "plain", "4")
        install(tmp_path, "old", "5", egg=True)
        (tmp_path / "file-6.egg-info").write_text("Name: file\nVersion: 6\n")
        broken = tmp_path / "broken-1.dist-info"
        broken.mkdir()
        install(tmp_path, "bad_json", "7")
        (tmp_path / "bad_json-7.dist-info" / "direct_url.json").write_text("{")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        found = collect_provenance(rootdir=tmp_path, argv=[])["distributions"]
        assert found == [
            {"name": "bad_json", "version": "7"},
            {"name": "editable", "version": "1", "origin": {"url": "file:///home/a@b/x", "editable": True}},
            {"name": "file", "version": "6"},
            {
                "name": "from_git",
                "version": "2",
                "origin": {"url": "https://host:8/r.git", "vcs": "git", "commit": "abc"},
            },
            {"name": "old", "version": "5"},
            {"name": "plain", "version": "4"},
            {
                "name": "wheel",
                "version": "3",
                "origin": {"url": "https://h/w.whl", "hashes": {"sha256": "00"}},
            },
        ]

    def test_the_first_on_the_path_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(tmp_path / "a", "My.Dist", "2")
        install(tmp_path / "b", "my_dist", "1")
        monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b")])
        assert provenance._distributions() == [{"name": "My.Dist", "version": "2"}]

    def test_what_is_installed_and_removed_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        install(tmp_path, "first", "1")
        assert provenance._distributions() == [{"name": "first", "version": "1"}]
        install(tmp_path, "second", "1")
        shutil.rmtree(tmp_path / "first-1.dist-info")
        assert provenance._distributions() == [{"name": "second", "version": "1"}]

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("https://u:p@host/x", "https://host/x"),
            ("https://ghp_token@host/x@v1", "https://host/x@v1"),
            ("https://u:p#q?r@host/x", "https://host/x"),
            ("https://u:p@q@host/x", "https://host/x"),
            ("https://git:s3cret@host/x", "https://host/x"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("git@host:a/x.git", "git@host:a/x.git"),
            ("me:s3cret@host:a/x.git", "host:a/x.git"),
            ("https://host/x?token=s#frag", "https://host/x"),
            ("file:///a@b/c", "file:///a@b/c"),
            ("https://${U}:${P}@host/x", "https://host/x"),
            ("", ""),
        ],
    )
    def test_credentials_are_stripped(self, url: str, expected: str) -> None:
        assert provenance._without_credentials(url) == expected

    def test_fast(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for index in range(150):
            install(tmp_path, f"dist{index}", "1")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        spent = []
        for _ in range(3):
            provenance._distributions_in.cache_clear()
            start = time.process_time()
            assert len(provenance._distributions()) == 150
            spent.append(time.process_time() - start)
        assert min(spent) < 0.15
