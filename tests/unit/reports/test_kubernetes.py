"""Manifests of plans: Kubernetes' own schemas take them, and a pod has all that the plan names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from migrator.cli import app
from migrator.errors import SpecError
from migrator.reports.to_kubernetes import Manifests, manifests
from migrator.spec.load import load_plan

PLANS = sorted((Path(__file__).parents[3] / "plans").glob("*.yaml"))
ON_DISK = {"dev_copy"}
IMAGE = "registry.example.com/migrator:0.1.0"
CLUSTERS = """
a:
  milvus: {uri: "https://a:19530", token: {file: secrets/token}, tls: {mode: server, ca_cert: /etc/ssl/milvus.pem}}
  storage: {provider: minio, endpoint: "http://a:9000", bucket: one, root_path: files_A,
            credentials: {type: static, access_key_id: {env: A_KEY}, secret_access_key: {env: A_SECRET}}}
"""
PLAN = """# Not all text is plain: ä, "quoted", {{ braces }}
version: 1
name: 2-of-a-name-that-is-longer-than-a-service-may-have-it-is
clusters: elsewhere/clusters.yaml
source: a
target:
  milvus: {uri: http://b:19530}
  storage: {provider: aws, bucket: two, root_path: files_B, credentials: {type: iam}}
collections:
  - source: "*.*"
options: {state: staging}
"""


def documents(text: str) -> list[dict[str, Any]]:
    return [dict(each) for each in YAML(typ="safe").load_all(text)]


def rendered(path: Path, *, dask_workers: int = 3) -> Manifests:
    return manifests(load_plan(path), image=IMAGE, dask_workers=dask_workers)


def in_staging(plan: Path, folder: Path) -> Path:
    """The same plan, whose journal is mirrored."""
    for each in PLANS:
        (folder / each.name).write_text(each.read_text(encoding="utf-8"), encoding="utf-8")
    path = folder / plan.name
    text = path.read_text(encoding="utf-8")
    state = "options:\n  state: staging\n"
    path.write_text(re.sub(r"^options:\n", state, text, flags=re.MULTILINE) if "\noptions:\n" in text else text + state)
    return path


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
@pytest.mark.parametrize(
    "plan", [each for each in PLANS if each.stem not in {*ON_DISK, "clusters"}], ids=lambda each: each.stem
)
def test_kubernetes_takes_them(plan: Path, version: str, tmp_path: Path) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="it carries the schemas of Kubernetes")
    for text in rendered(in_staging(plan, tmp_path)).files.values():
        for document in documents(text):
            kubernetes.validate(document, version, strict=True)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """One that names all there is to name."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "clusters.yaml").write_text(CLUSTERS, encoding="utf-8")
    path = tmp_path / "long.yaml"
    path.write_text(PLAN, encoding="utf-8")
    return path


def test_a_pod_has_what_the_plan_names(plan: Path) -> None:
    found = rendered(plan)
    config, job = documents(found.files["run.yaml"])
    worker = documents(found.files["dask.yaml"])[-1]
    assert config["data"] == {"plan.yaml": PLAN, "clusters.yaml": CLUSTERS}
    for spec in (job["spec"]["template"]["spec"], worker["spec"]["template"]["spec"]):
        (container,) = spec["containers"]
        references = {each["name"]: each["valueFrom"] for each in container["env"] if "valueFrom" in each}
        assert set(references) == {"A_KEY", "A_SECRET"}
        assert references["A_KEY"] == {"secretKeyRef": {"name": found.name, "key": "A_KEY"}}
        paths = {each["mountPath"] for each in container["volumeMounts"]}
        assert {"/etc/migrator/plan.yaml", "/etc/migrator/clusters.yaml"} <= paths
        assert {"/etc/migrator/secrets/token", "/etc/ssl/milvus.pem"} <= paths, "one of them relative to its file"
        assert spec["serviceAccountName"] == found.name
        assert container["image"] == IMAGE
    assert worker["spec"]["replicas"] == 3
    assert "--clusters=/etc/migrator/clusters.yaml" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_a_variable_whose_name_is_a_word_of_yaml_stays_one(plan: Path) -> None:
    plan.write_text(PLAN.replace("http://b:19530", "http://b:19530, token: {env: NO}"), encoding="utf-8")
    job = rendered(plan).files["run.yaml"].partition("\n---\n")[2]
    found = YAML(typ="safe", pure=True).load(f"%YAML 1.1\n---\n{job}")  # as kubectl reads it
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert "NO" in [each["name"] for each in container["env"]]


def test_every_file_has_a_key_of_its_own_and_lies_where_the_plan_looks_for_it(plan: Path) -> None:
    named = ["/a/b/c", "/a.b/c", "/a/my key", "../beside/ca.pem"]
    keys = "access_key_id: {file: %s}, secret_access_key: {file: %s}"
    (plan.parent / "elsewhere" / "clusters.yaml").write_text(
        CLUSTERS.replace("{file: secrets/token}", f"{{file: {named[2]}}}")
        .replace("/etc/ssl/milvus.pem", named[3])
        .replace("access_key_id: {env: A_KEY}, secret_access_key: {env: A_SECRET}", keys % (named[0], named[1])),
        encoding="utf-8",
    )
    found = rendered(plan).mounted
    assert {file.path for file in found} == {*named[:3], "/etc/beside/ca.pem"}
    assert len({file.key for file in found}) == len(found)
    assert all(re.fullmatch("[-._a-zA-Z0-9]+", file.key) for file in found)


def test_a_file_at_home_lies_at_the_pods_home(plan: Path) -> None:
    path = plan.parent / "elsewhere" / "clusters.yaml"
    path.write_text(CLUSTERS.replace("secrets/token", "~/token"), encoding="utf-8")
    found = rendered(plan)
    _, job = documents(found.files["run.yaml"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    home = next(each["value"] for each in container["env"] if each["name"] == "HOME")
    assert f"{home}/token" in {each["mountPath"] for each in container["volumeMounts"]}


def test_names_fit(plan: Path) -> None:
    for text in rendered(plan).files.values():
        for document in documents(text):
            name = document["metadata"]["name"]
            assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), name
            assert all(len(value) <= 63 for value in document["metadata"]["labels"].values())


def test_run_and_cluster_find_each_other(plan: Path) -> None:
    found = rendered(plan)
    service, policy, scheduler, worker = documents(found.files["dask.yaml"])
    _, job = documents(found.files["run.yaml"])
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert f"--scheduler={address}" in job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert address in worker["spec"]["template"]["spec"]["containers"][0]["command"]
    assert service["spec"]["selector"] == scheduler["spec"]["template"]["metadata"]["labels"]
    allowed = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    for pods in (job, scheduler, worker):
        assert allowed.items() <= pods["spec"]["template"]["metadata"]["labels"].items()


def test_without_workers_there_is_no_cluster(plan: Path) -> None:
    found = rendered(plan, dask_workers=0)
    assert set(found.files) == {"run.yaml"}
    assert "dask" not in found.files["run.yaml"]


def test_what_a_pod_cannot_have_is_refused_by_its_field(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    side = "{{milvus: {{uri: 'http://{0}:19530'}}, storage: {{provider: local, root_path: /var/{0}}}}}"
    sides = f"source: {side.format('a')}\ntarget: {side.format('b')}\nstaging: {{root_path: /var/backup}}\n"
    plan.write_text(f"version: 1\nname: on-disk\n{sides}collections: [books]\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        rendered(plan)
    fields = [each.field for each in caught.value.complaints]
    assert fields == ["options.state", "source.storage.provider", "target.storage.provider"]


def test_init_writes_them_beside_a_new_plan_and_an_old_one(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    run = CliRunner().invoke(app, ["init", str(plan), "--kubernetes", "--dask-workers", "0"])
    assert run.exit_code == 0, run.output
    assert load_plan(plan).options.state == "staging"
    written = plan.read_bytes()
    assert [path.name for path in (tmp_path / "kubernetes").iterdir()] == ["run.yaml"]
    assert "kubectl apply -f" in run.output
    assert "SOURCE_SECRET_ACCESS_KEY" in run.output
    again = CliRunner().invoke(app, ["init", str(plan), "--kubernetes"])
    assert again.exit_code == 2
    assert "run.yaml exists already" in again.output
    forced = CliRunner().invoke(app, ["init", str(plan), "--kubernetes", "--force"])
    assert forced.exit_code == 0, forced.output
    assert {path.name for path in (tmp_path / "kubernetes").iterdir()} == {"run.yaml", "dask.yaml"}
    assert plan.read_bytes() == written
