"""mqpaasctl as a script runs it."""
import json
import os
import subprocess

import rest

CTL = os.path.join(rest.BUILD, "ctl", "mqpaasctl")


class Ctl:
    """mqpaasctl with a contexts file of its own."""

    def __init__(self, folder):
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "MQPAAS_CONFIG": str(folder / "contexts.json"), "LC_ALL": "C.UTF-8"}
        self.env.update({name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ})

    def __call__(self, *arguments, status=0, text=None):
        done = subprocess.run([CTL, *arguments], env=self.env, input=(text or "").encode(), capture_output=True, timeout=300, check=False)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()  # line ends stay as they are
        assert status in (None, done.returncode), (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments, **more):
        return json.loads(self(*arguments, "-o", "json", **more).stdout)
