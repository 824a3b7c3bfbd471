"""What any JupyterHub needs for the course: threads that stay few, a student's JupyterLab, and a server for grading.

The Littlest JupyterHub reads it from /opt/tljh/config/jupyterhub_config.d, Zero to JupyterHub takes it as a file of the
hub's (hub/z2jh/values.yaml). Change GRADER and TEACHERS; nothing else here is about one course.
"""

GRADER = "lecturekit"  # the account whose server has Formgrader, and which nobody logs in to
TEACHERS = ["anna", "boris"]  # who may open that server
STUDENTS = "/etc/lecturekit/students"  # the folder hub/students, as a server sees it
THREADS = 2  # no more than a server's share of processors, or torch's threads only wait for each other


def config_path(spawner) -> str:
    """Where a server looks for settings besides its own: a student's has no Formgrader and no news."""
    return "" if spawner.user.name == GRADER else STUDENTS


ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS))
ENVIRONMENT["TOKENIZERS_PARALLELISM"] = "false"  # or it warns in every cell that forks
ENVIRONMENT["JUPYTER_CONFIG_PATH"] = config_path

c = get_config()  # noqa: F821 (JupyterHub defines it)

for spawner in (c.Spawner, c.KubeSpawner):  # the chart sets the latter's, which goes before the former's
    spawner.environment.update(ENVIRONMENT)
c.JupyterHub.load_groups.update({"teachers": {"users": TEACHERS}})
c.JupyterHub.load_roles.extend(
    [
        {
            "name": "teachers",
            "groups": ["teachers"],
            "scopes": [
                f"access:servers!user={GRADER}",
                f"servers!user={GRADER}",
                f"read:users:name!user={GRADER}",
            ],
        },
        # a server's own token must reach ngshare, or nobody can fetch or hand in
        {"name": "user", "scopes": ["self", "access:services!service=ngshare"]},
        {
            "name": "server",
            "scopes": ["users:activity!user", "access:servers!server", "access:services!service=ngshare"],
        },
    ]
)
