"""The Littlest JupyterHub alone: ngshare as a service of the hub's, and a bound on processes.

/opt/tljh/config/jupyterhub_config.d/lecturekit_tljh.py, beside lecturekit.py. ngshare has an environment of its own: it
loses what it is told under SQLAlchemy 2, which the hub's own environment may have.
"""

c = get_config()  # noqa: F821 (JupyterHub defines it)

c.JupyterHub.services.append(
    {
        "name": "ngshare",
        "url": "http://127.0.0.1:10101",
        "command": ["/opt/ngshare/bin/python", "-m", "ngshare", "--admins", "lecturekit"],
        "cwd": "/srv/ngshare",
        "user": "ngshare",
        "oauth_no_confirm": True,
    }
)
c.SystemdSpawner.unit_extra_properties = {"TasksMax": "300"}  # threads count, too: a fork bomb ends here
c.SystemdSpawner.isolate_tmp = True
c.SystemdSpawner.isolate_devices = True
