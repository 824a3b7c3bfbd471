"""The files of hub/, checked by the tools that read them, as far as those are installed here."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from traitlets.config import Config, PyFileConfigLoader

from autograder.build import ROOT
from autograder.doctor import CONTAINERS
from autograder.term.start import start
from autograder.term.student_start import NOT_FOR_STUDENTS

HUB = ROOT / "hub"
HAND_IN = {"@jupyter/nbgrader:assignment-list", "@jupyter/nbgrader:menu"}  # on a hub, students need these
VALUES = yaml.safe_load((HUB / "z2jh/values.yaml").read_text(encoding="utf-8"))
GRADING = list(yaml.safe_load_all((HUB / "z2jh/grading.yaml").read_text(encoding="utf-8")))


def config_of(name: str) -> Config:
    """A configuration file as traitlets loads it."""
    path = HUB / name
    return PyFileConfigLoader(path.name, path=str(path.parent)).load_config()


def environment_of(config: Config, user: str) -> dict[str, str]:
    """What a user's server gets in its environment."""
    values = config.Spawner.environment.get_value({})
    spawner = SimpleNamespace(user=SimpleNamespace(name=user))
    return {name: value(spawner) if callable(value) else value for name, value in values.items()}


# ---- students' JupyterLab --------------------------------------------------------------------------------------------
def test_students_have_what_hands_in_and_nothing_else_of_nbgraders() -> None:
    page = json.loads((HUB / "students/labconfig/page_config.json").read_text(encoding="utf-8"))
    assert page == {"disabledExtensions": dict.fromkeys(sorted(set(NOT_FOR_STUDENTS) - HAND_IN), True)}
    files = VALUES["singleuser"]["extraFiles"]
    assert files["page_config"]["data"] == page
    server = json.loads((HUB / "students/jupyter_server_config.json").read_text(encoding="utf-8"))
    assert files["server_config"]["data"] == server


def test_jupyterlab_and_its_server_obey(tmp_path: Path) -> None:
    """In a process of its own, since Jupyter keeps its paths; with the settings and without."""
    script = """
import json
from jupyter_core.paths import jupyter_config_path
from jupyter_server.config_manager import recursive_update
from jupyter_server.extension.config import ExtensionConfigManager
from jupyter_server.serverapp import ServerApp
from jupyterlab_server.config import get_page_config
from traitlets.config import Config
app = ServerApp()
app.config_file_name = "jupyter_server_config"
app.load_config_file(suppress_errors=False)
page = get_page_config([], None)
print(json.dumps([sorted(page["disabledExtensions"]), dict(app.config.ServerApp.get("jpserver_extensions", {}))]))
"""
    found = []
    for place in (HUB / "students", tmp_path):
        environment = os.environ | {"JUPYTER_CONFIG_PATH": str(place), "JUPYTER_CONFIG_DIR": str(tmp_path / "none")}
        command = [sys.executable, "-W", "ignore", "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert set(NOT_FOR_STUDENTS) - HAND_IN <= set(found[0][0])
    assert not set(NOT_FOR_STUDENTS) & set(found[1][0])
    assert found[0][1]["nbgrader.server_extensions.formgrader"] is False
    assert found[1][1].get("nbgrader.server_extensions.formgrader") is not False


# ---- JupyterHub ------------------------------------------------------------------------------------------------------
def test_threads_stay_few_and_only_the_graders_server_has_formgrader() -> None:
    config = config_of("lecturekit.py")
    student, grader = environment_of(config, "anna"), environment_of(config, "lecturekit")
    assert {student[f"{library}_NUM_THREADS"] for library in ("OMP", "MKL", "OPENBLAS")} == {"2"}
    assert student["JUPYTER_CONFIG_PATH"] == "/etc/lecturekit/students"
    assert grader["JUPYTER_CONFIG_PATH"] == ""
    mounts = {file["mountPath"] for file in VALUES["singleuser"]["extraFiles"].values()}
    assert {"/etc/lecturekit/students/labconfig/page_config.json", "/etc/jupyter/nbgrader_config.py"} <= mounts
    assert config.KubeSpawner.environment.get_value({}).keys() == student.keys()


def test_what_the_hub_has_already_stays() -> None:
    """The chart has roles, services and an environment of its own when our files are read."""
    for name in ("lecturekit.py", "tljh/lecturekit_tljh.py"):
        text = (HUB / name).read_text(encoding="utf-8")
        config = Config()
        config.JupyterHub.load_roles = [{"name": "culler"}]
        config.JupyterHub.load_groups = {"others": {}}
        config.JupyterHub.services = [{"name": "cull-idle"}]
        config.KubeSpawner.environment = {"THEIRS": "1"}
        exec(compile(text, name, "exec"), {"get_config": lambda config=config: config})
        assert config.JupyterHub.load_roles[0] == {"name": "culler"}
        assert "others" in config.JupyterHub.load_groups
        assert config.JupyterHub.services[0] == {"name": "cull-idle"}
        assert config.KubeSpawner.environment["THEIRS"] == "1"


@pytest.mark.parametrize(
    ("names", "spawner"),
    [
        (["lecturekit.py", "tljh/lecturekit_tljh.py"], "systemdspawner.SystemdSpawner"),
        (["lecturekit.py", "z2jh/lecturekit_z2jh.py"], "kubespawner.KubeSpawner"),
    ],
)
def test_jupyterhub_takes_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], spawner: str
) -> None:
    """Every name is a setting of its class, and the hub's own checks of roles and scopes pass."""
    hub = pytest.importorskip("jupyterhub.app", reason="jupyterhub is not installed: it belongs to a hub's environment")
    module = pytest.importorskip(spawner.split(".")[0], reason="this hub's spawner is not installed")
    from jupyterhub import orm
    from jupyterhub.spawner import Spawner

    monkeypatch.chdir(tmp_path)
    config = Config()
    for name in names:
        config.merge(config_of(name))
    ours = getattr(module, spawner.split(".")[1])
    known = {"JupyterHub": hub.JupyterHub, "Spawner": Spawner, ours.__name__: ours}
    for section in set(config) & set(known):
        assert set(config[section]) <= set(known[section].class_trait_names(config=True))
    assert set(config) - set(known) <= {"KubeSpawner"}
    if "z2jh" in names[1]:  # there the chart's values have the service
        config.JupyterHub.services = [{"name": name, **about} for name, about in VALUES["hub"]["services"].items()]
    config.JupyterHub.db_url = "sqlite://"
    config.JupyterHub.cookie_secret_file = str(tmp_path / "cookie")
    config.JupyterHub.authenticator_class = "dummy"
    config.Authenticator.allow_all = True
    app = hub.JupyterHub(config=config)

    async def start() -> None:
        app.init_logging()
        app.init_db()
        app.init_hub()
        app.init_oauth()
        await app.init_role_creation()
        await app.init_users()
        await app.init_groups()
        app.init_services()
        await app.init_role_assignment()

    asyncio.run(start())
    teachers = orm.Role.find(app.db, "teachers")
    assert "access:servers!user=lecturekit" in teachers.scopes
    assert [group.name for group in teachers.groups] == ["teachers"]
    app.db.close()


def test_only_the_graders_pod_has_the_courses_volume() -> None:
    pytest.importorskip("kubernetes_asyncio.client", reason="kubernetes_asyncio belongs to a hub on Kubernetes")
    from kubernetes_asyncio.client import V1Container, V1ObjectMeta, V1Pod, V1PodSpec

    hook = config_of("z2jh/lecturekit_z2jh.py").KubeSpawner.modify_pod_hook

    def pod_of(user: str) -> V1Pod:
        pod = V1Pod(metadata=V1ObjectMeta(name="p"), spec=V1PodSpec(containers=[V1Container(name="notebook")]))
        return hook(SimpleNamespace(user=SimpleNamespace(name=user)), pod)

    assert pod_of("anna").spec.volumes is None
    assert pod_of("anna").spec.containers[0].volume_mounts is None
    (volume,) = pod_of("lecturekit").spec.volumes
    assert volume.persistent_volume_claim.claim_name == GRADING[0]["metadata"]["name"]
    (mount,) = pod_of("lecturekit").spec.containers[0].volume_mounts
    assert mount.mount_path == "/srv/lecturekit"


@pytest.mark.parametrize("name", ["door/nbgrader_config.py", "students/nbgrader_config.py"])
def test_nbgrader_takes_its_configuration(name: str) -> None:
    pytest.importorskip("ngshare_exchange", reason="ngshare_exchange is not installed: it belongs to a hub's servers")
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.exchange import ExchangeFactory

    config = config_of(name)
    exchange = ExchangeFactory(config=config)
    assert exchange.collect.__module__.startswith("ngshare_exchange")
    assert set(config.CourseDirectory) <= set(CourseDirectory.class_trait_names(config=True))


# ---- The Littlest JupyterHub -----------------------------------------------------------------------------------------
def test_the_littlest_hub_knows_every_entry() -> None:
    """The keys that its own configurer reads."""
    known = {
        "users": {"allowed", "banned", "admin", "extra_user_groups"},
        "limits": {"memory", "cpu"},
        "user_environment": {"default_app"},
        "services": {"cull"},
    }
    config = yaml.safe_load((HUB / "tljh/config.yaml").read_text(encoding="utf-8"))
    assert set(config) <= set(known)
    for section, values in config.items():
        assert set(values) <= known[section]
    cull = {"enabled", "timeout", "every", "concurrency", "users", "max_age", "remove_named_servers"}
    assert set(config["services"]["cull"]) <= cull
    assert VALUES["singleuser"]["memory"]["limit"] == config["limits"]["memory"]
    assert VALUES["singleuser"]["cpu"]["limit"] == config["limits"]["cpu"]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if not (tool := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    units = []
    for path in sorted((HUB / "systemd").glob("lecturekit-grade.*")):
        text = path.read_text(encoding="utf-8").replace("/srv/lecturekit/main/hub/grade.sh", "/bin/true")
        units.append(tmp_path / path.name)
        units[-1].write_text(text.replace("User=jupyter-lecturekit", "User=daemon"), encoding="utf-8")
    assert len(units) == 3
    done = subprocess.run([tool, "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if "lecturekit" in line]
    assert (about, done.returncode) == ([], 0), done.stderr
    broken = tmp_path / "lecturekit-grade.timer"
    broken.write_text(broken.read_text(encoding="utf-8").replace("OnCalendar=", "OnKalendar="), encoding="utf-8")
    done = subprocess.run([tool, "verify", "--man=no", str(broken)], capture_output=True, text=True, check=False)
    assert "OnKalendar" in done.stderr


# ---- grade.sh --------------------------------------------------------------------------------------------------------
STUB = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in
  "term check "*) exec "$AUTOGRADER" "$@" ;;
  "collect --update lab02") exit 0 ;;
  "collect --update "*)
    lab=$3; mkdir -p "inbox/anna/$lab"; echo "2026-09-28 20:59:59 UTC" > "inbox/anna/$lab/timestamp.txt" ;;
  "term grade lab01 "*) exit "${GRADE_STATUS:-0}" ;;
  "term send "*) mkdir -p letters/anna; echo "page of $3" > "letters/anna/$3.html" ;;
esac
"""


@pytest.fixture
def night(tmp_path: Path):
    """Runs grade.sh with programs that only note how they were called; returns its exit status and those calls."""
    if sys.platform == "win32":
        pytest.skip("a POSIX shell is needed")
    for name in ("autograder", "nbgrader"):
        stub = tmp_path / "bin" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(STUB, encoding="utf-8")
        stub.chmod(0o755)
    (tmp_path / "door").mkdir()
    start(tmp_path / "term")
    years = {1: 2025, 2: 2025, 3: 2025, 4: 2999}  # the last one isn't open yet
    times = "[labs.lab0{0}]\nopens = {1}-09-01 09:00:00\ncloses = {1}-09-1{0} 09:00:00\n"
    labs = "".join(times.format(*lab) for lab in years.items())
    head = 'id = "class"\ntimezone = "Europe/Moscow"\nsecret_file = "secret.txt"\n'
    (tmp_path / "term/course.toml").write_text(head + labs, encoding="utf-8")

    def run(**more: str) -> tuple[int, list[str]]:
        log = tmp_path / "log"
        log.write_text("", encoding="utf-8")
        places = {"TERM_ROOT": str(tmp_path / "term"), "DOOR": str(tmp_path / "door"), "LOG": str(log)}
        places["AUTOGRADER"] = str(Path(sys.executable).with_name("autograder"))
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        done = subprocess.run([str(HUB / "grade.sh")], env=os.environ | {"PATH": path} | places | more, check=False)
        calls = log.read_text(encoding="utf-8").replace(str(tmp_path), "").splitlines()
        return done.returncode, [call for call in calls if "term check" not in call]

    return run


def test_a_night_takes_in_and_grades_what_was_handed_in(night) -> None:
    status, calls = night()
    assert status == 0
    assert calls == [
        "nbgrader collect --update lab01",
        "autograder term collect lab01 --root /term --folder inbox",
        "autograder term grade lab01 --root /term",
        "nbgrader collect --update lab02",
        "nbgrader collect --update lab03",
        "autograder term collect lab03 --root /term --folder inbox",
        "autograder term grade lab03 --root /term",
    ]


@pytest.mark.parametrize("status", ["1", "2"])
def test_a_lab_in_trouble_does_not_stop_the_others(night, status: str) -> None:
    worst, calls = night(GRADE_STATUS=status)
    assert worst == int(status)
    assert calls[-1] == "autograder term grade lab03 --root /term"


def test_pages_go_back_once(night, tmp_path: Path) -> None:
    calls = night(SEND="yes")[1]
    assert [call for call in calls if "release" in call] == [f"nbgrader release_feedback lab0{n}" for n in (1, 3)]
    folder = tmp_path / "door/outbox/anna/lab01"
    assert (folder / "lab01.html").read_text(encoding="utf-8") == "page of lab01\n"
    assert (folder / "timestamp.txt").read_text(encoding="utf-8") == "2026-09-28 20:59:59 UTC\n"
    assert all((tmp_path / place).stat().st_mode & 0o077 == 0 for place in ("door", "term"))
    status, calls = night(SEND="yes")
    assert (status, [call for call in calls if "release" in call]) == (0, [])


def test_without_its_folders_it_refuses(night) -> None:
    assert night(DOOR="")[0] == 2
    assert night(TERM_ROOT="/nowhere")[0] == 2


def test_shellcheck_finds_nothing() -> None:
    if not (
        tool := shutil.which("shellcheck", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    ):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([tool, str(HUB / "grade.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# ---- Kubernetes ------------------------------------------------------------------------------------------------------
def test_the_job_has_what_the_cage_needs() -> None:
    """As `autograder doctor` says it, without `privileged`."""
    assert "hostUsers: false" in CONTAINERS[-1]
    pod = GRADING[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert pod["hostUsers"] is False
    assert context["procMount"] == "Unmasked"
    assert {context[kind]["type"] for kind in ("seccompProfile", "appArmorProfile")} == {"Unconfined"}
    assert "privileged" not in context
    assert GRADING[1]["spec"]["concurrencyPolicy"] == "Forbid"
    assert container["image"] == ":".join(VALUES["singleuser"]["image"].values())


@pytest.mark.parametrize("strict", [True, False])
def test_kubernetes_takes_the_resources(strict: bool) -> None:
    tool = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for resource in GRADING:
        tool.validate(resource, tool.latest_version(), strict=strict)
    broken = json.loads(json.dumps(GRADING[1]))
    broken["spec"]["concurrencyPolicy"] = 3
    with pytest.raises(tool.ValidationError):
        tool.validate(broken, tool.latest_version(), strict=strict)


def test_the_charts_values_are_of_its_schema() -> None:
    """The keys and kinds that the chart's values.schema.yaml has for what is set here; each file has one content."""
    kinds = {
        "hub.services.ngshare": dict, "hub.extraFiles.lecturekit": dict, "hub.extraFiles.lecturekit_z2jh": dict,
        "singleuser.image": dict, "singleuser.cmd": str, "singleuser.defaultUrl": str, "singleuser.memory": dict,
        "singleuser.cpu": dict, "singleuser.allowPrivilegeEscalation": bool, "cull.enabled": bool,
        "cull.timeout": int, "cull.every": int,
    }  # fmt: skip
    kinds |= {f"singleuser.extraFiles.{name}": dict for name in ("page_config", "server_config", "nbgrader")}
    deep = ("hub.services", "hub.extraFiles", "singleuser.extraFiles")
    found = {}
    for part, values in VALUES.items():
        for key, value in values.items():
            name = f"{part}.{key}"
            found |= {f"{name}.{inner}": one for inner, one in value.items()} if name in deep else {name: value}
    assert found.keys() == kinds.keys()
    for name, value in found.items():
        assert isinstance(value, kinds[name]), name
    text = (HUB / "z2jh/values.yaml").read_text(encoding="utf-8")
    for part in ("hub", "singleuser"):
        for name, file in VALUES[part]["extraFiles"].items():
            given = text.count(f"--set-file {part}.extraFiles.{name}.stringData=")
            assert given + len(file.keys() & {"data"}) == 1, name
    for path in ("hub/lecturekit.py", "hub/z2jh/lecturekit_z2jh.py", "hub/students/nbgrader_config.py"):
        assert f"={path}" in text
        assert (ROOT / path).is_file()
