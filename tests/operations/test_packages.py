"""packaging/: the Debian package's parts, systemd's units, Kubernetes' manifests."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import unittest
from pathlib import Path

import yaml

from postgres import IS_ROOT, ROOT, directory

PACKAGING = ROOT / "packaging"


class Debian(unittest.TestCase):
    def setUp(self):
        manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
        self.deb = manifest["package"]["metadata"]["deb"]

    def test_everything_that_is_packed_is_there(self):
        for source, _, _ in self.deb["assets"]:
            if not source.startswith("target/"):
                self.assertTrue(list(ROOT.glob(source)), source)
        packed = {"/" + target for _, target, _ in self.deb["assets"]}
        for file in self.deb["conf-files"]:
            self.assertIn(file, packed)
        for unit in self.deb["systemd-units"]:
            self.assertTrue((ROOT / unit["unit-scripts"] / f"{unit['unit-name']}.service").exists())
            self.assertFalse(unit["enable"] or unit["start"], "nothing is started before it is configured")

    def test_its_scripts_can_be_read_and_take_what_debhelper_adds(self):
        for name in ["postinst", "prerm", "postrm"]:
            script = ROOT / self.deb["maintainer-scripts"] / name
            self.assertEqual(script.read_text().count("#DEBHELPER#"), 1, name)
            subprocess.run(["sh", "-n", script], check=True)

    def test_an_upgrade_restarts_the_server_and_leaves_its_socket_open(self):
        # What is said of units counts for all that have this name, the socket among them.
        for unit in self.deb["systemd-units"]:
            self.assertFalse(unit["restart-after-upgrade"] or unit["stop-on-upgrade"])
        scene = directory()
        self.addCleanup(shutil.rmtree, scene)
        for name in ["systemctl", "deb-systemd-invoke", "systemd-sysusers", "systemd-tmpfiles"]:
            (scene / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {scene}/said\n')
            (scene / name).chmod(0o755)
        script = (PACKAGING / "debian/postinst").read_text().replace("/run/systemd/system", str(scene))

        def restarted(*arguments):
            (scene / "said").write_text("")
            environment = {"PATH": f"{scene}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-c", script, "postinst", *arguments], check=True, env=environment)
            return [line for line in (scene / "said").read_text().splitlines() if "restart" in line or "socket" in line]

        self.assertEqual(restarted("configure", "0.1.0-1"), ["deb-systemd-invoke try-restart countersign.service"])
        self.assertEqual(restarted("configure", ""), [], "nothing runs yet")
        self.assertEqual(restarted("configure"), [], "nothing runs yet")

    def test_its_configuration_names_settings_that_there_are(self):
        documented = (ROOT / "docs/configuration.md").read_text()
        text = re.sub(r"^#(?=[a-z\[])", "", (PACKAGING / "debian/countersign.toml").read_text(), flags=re.MULTILINE)
        for key, value in tomllib.loads(text).items():
            for name in [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]:
                self.assertIn(f"| `{name}` |", documented)
        environment = (PACKAGING / "debian/countersign.env").read_text()
        for variable in re.findall(r"^#?(COUNTERSIGN_\w+)_FILE=", environment, flags=re.MULTILINE):
            self.assertIn(f"`{variable}`", documented)


class Systemd(unittest.TestCase):
    def setUp(self):
        self.scene = directory()
        self.addCleanup(shutil.rmtree, self.scene)
        for unit in ["countersign.service", "countersign.socket"]:
            # The program isn't installed here.
            text = (PACKAGING / "systemd" / unit).read_text().replace("/usr/bin/countersign", shutil.which("true"))
            (self.scene / unit).write_text(text)

    def test_the_units_are_understood(self):
        units = [self.scene / "countersign.service", self.scene / "countersign.socket"]
        said = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
        about = [line for line in said.stderr.splitlines() if "countersign" in line]
        self.assertEqual((said.returncode, about), (0, []))

    def test_the_server_may_do_little(self):
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", self.scene / "countersign.service"]
        said = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(said.returncode, 0, said.stdout[-300:] + said.stderr)

    def test_account_and_directories_are_understood(self):
        root = self.scene / "root"
        (root / "etc").mkdir(parents=True)
        for name in ["passwd", "group"]:
            (root / "etc" / name).write_text("")
        systemd = PACKAGING / "systemd"
        subprocess.run(["systemd-sysusers", f"--root={root}", systemd / "countersign.sysusers"], check=True)
        self.assertIn("countersign:x:", (root / "etc/passwd").read_text())
        tmpfiles = ["systemd-tmpfiles", f"--root={root}", "--create", systemd / "countersign.tmpfiles"]
        # Nobody but root gives directories away (73 is CANTCREAT of sysexits.h); they are there all the same.
        self.assertIn(subprocess.run(tmpfiles).returncode, [0] if IS_ROOT else [73])
        self.assertEqual((root / "var/lib/countersign").stat().st_mode & 0o777, 0o700)


class Kubernetes(unittest.TestCase):
    def test_the_manifests_are_as_their_schemas_say(self):
        resources = yaml.safe_load((PACKAGING / "kubernetes/kustomization.yaml").read_text())["resources"]
        for name in [*resources, "secret.example.yaml"]:
            program = Path(sys.executable).with_name("kubernetes-validate")
            subprocess.run([program, "--strict", "--quiet", PACKAGING / "kubernetes" / name], check=True)
        there = {path.name for path in (PACKAGING / "kubernetes").glob("*.yaml")}
        self.assertEqual(there, {*resources, "secret.example.yaml", "kustomization.yaml"})

    def test_what_the_pods_mount_and_ask_is_there(self):
        def read(name):
            return yaml.safe_load((PACKAGING / "kubernetes" / f"{name}.yaml").read_text())

        pod = read("deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        secrets = read("secret.example")["stringData"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for variable in container["env"]:
            if variable["name"].endswith("_FILE"):
                self.assertIn(variable["value"].removeprefix(mounts["secrets"] + "/"), secrets)
        configuration = tomllib.loads(read("configmap")["data"]["countersign.toml"])
        self.assertEqual(configuration["telemetry"]["listen"].rpartition(":")[2], "9090")
        self.assertFalse(pod["enableServiceLinks"])
        self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"])


if __name__ == "__main__":
    unittest.main()
